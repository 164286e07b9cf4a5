"""Echoes of several contrasts → one R2* for all, and each contrast's signal at TE = 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mensura.fit import Fit, Parameter, SignalModel, fit_voxels
from mensura.qmri.choices import Likelihood, Loss, Noise, known_noise
from mensura.qmri.gradients import Dephasing, counting, dephased
from mensura.scan import FloatArray, ScanError

R2STAR = Parameter("r2star", "1/s", -50.0, 2000.0, starts=48)
"""May be negative, as noise makes it where hardly anything decays: fluid at short echo times."""


def decays(contrasts: tuple[int, ...], times: Any, *parameters: Any) -> Any:
    """Amplitudes of the contrasts and R2* → what each image holds of its own contrast's decay."""
    *amplitudes, rate = parameters
    return np.concatenate([amplitudes[c] for c in contrasts], axis=-1) * np.exp(-rate * times)


def _dephasing_decays(
    contrasts: tuple[int, ...], dephasing: Dephasing, times: Any, *parameters: Any, place: Any
) -> Any:
    """The same times what the field's gradient leaves."""
    return decays(contrasts, times, *parameters) * dephasing.left(place, times)


def estatics(
    signals: FloatArray,
    echo_times: Sequence[float],
    contrasts: Sequence[int],
    *,
    field_rises: FloatArray | None = None,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
) -> Fit:
    """Signals (n, m), echo time (s) and contrast (0, 1, …) of every image → amplitudes at TE = 0, then R2* (1/s).

    S = A_c e^{−R2*·TE}: least squares of all images together, the amplitudes being the best there are for each R2*.
    Where it is known by how much the field rises across the voxel (Hz, n × 3), times what that leaves (`gradients`).
    Weiskopf et al. 2014, doi:10.3389/fnins.2014.00278. Differs from the paper in that the signals are fitted, not
    their logarithms: noise does not bias late echoes. Raises ScanError where no contrast has two echo times.
    """
    groups = tuple(int(c) for c in contrasts)
    times = np.asarray(echo_times, np.float64)
    if len(groups) != times.size or np.shape(signals)[1] != times.size:
        raise ScanError(
            f"there are {np.shape(signals)[1]} images, {times.size} echo times and {len(groups)} contrasts; "
            "give one of each for every image"
        )
    if not any(np.unique(times[np.equal(groups, c)]).size > 1 for c in set(groups)):
        raise ScanError("R2* needs two echo times of the same contrast; measure more echoes")
    amplitudes = [Parameter(f"amplitude{c}", "arbitrary", linear=True) for c in range(max(groups) + 1)]
    data, dephasing = counting(signals, field_rises, times)
    equation = partial(decays, groups) if dephasing is None else partial(_dephasing_decays, groups, dephasing)
    known = {} if dephasing is None else {"place": dephasing.place}
    parameters, smooth = (*amplitudes, R2STAR), dephasing is None
    model = SignalModel(
        "estatics", equation, parameters, "10.3389/fnins.2014.00278", between=False, smooth=smooth
    )
    how: Any = {"noise": known_noise(noise), "loss": loss, "likelihood": likelihood}
    fit = fit_voxels(model, times, data, known=known, **how)
    return replace(fit, status=dephased(fit.status, data, field_rises))
