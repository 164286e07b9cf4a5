"""Magnitudes of gradient echoes → R2* and T2*, freed of the field's gradient where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Parameter, SignalModel, fit_voxels
from mensura.methods import Monitor, Tunable
from mensura.qmri.choices import Bootstraps, Errors, Loss, Noise, Seed, keywords
from mensura.qmri.estatics import R2STAR
from mensura.qmri.estimates import Estimates
from mensura.qmri.estimators import noise_level
from mensura.qmri.gradients import Dephasing, counting, dephased, left
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

LONGEST = 2.5
"""s, no longer than the T2 of water: where R2* is lower, its inverse says nothing."""
S0 = Parameter("s0", "arbitrary", linear=True)


def _decay(dephasing: Dephasing | None, times: Any, s0: Any, rate: Any, place: Any = None) -> Any:
    return s0 * np.exp(-rate * times) * (1 if dephasing is None else dephasing.left(place, times))


def effective_decay(
    signals: FloatArray,
    echo_times: Sequence[float],
    *,
    field_rises: FloatArray | None = None,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Annotated[
        Literal["auto", "gaussian", "rician", "noise_floor"],
        Tunable("", "of magnitudes; auto: rician, its noise from the residuals of all voxels if not given"),
    ] = "auto",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Magnitudes (n, m), echo times (s), rise of the field across voxels (Hz, n × 3) → R2* (1/s), T2* (s) and S0.

    S = S0 e^{−R2*·TE} Π sinc(Δf·TE) over the axes (`gradients`); without the rises Δf the sinc is left out, and R2*
    holds what the field's gradient dephases. An echo of which less than 40 % is left, and those after it, do not count.
    Auto is gaussian where there is a loss, errors by bootstrap, or two echoes, which tell no noise. T2* is 1/R2*, none
    above 2.5 s.

    Bonny et al. 1996, doi:10.1002/mrm.1910360216; the gradient: Hernando et al. 2012, doi:10.1002/mrm.23306. Differs
    from the latter in that the field is given. Raises ScanError for fewer than two echo times.
    """
    times = _echo_times(echo_times, np.shape(signals)[1])
    data, dephasing = counting(signals, field_rises, times)
    model = SignalModel(
        "decay of gradient echoes",
        partial(_decay, dephasing),
        (S0, R2STAR),
        "10.1002/mrm.1910360216",
        smooth=dephasing is None,
    )
    known = {} if dephasing is None else {"place": dephasing.place}
    how = keywords(noise, loss, (errors, bootstraps, seed), monitor)
    if likelihood == "auto":
        plain = loss != "none" or errors != "analytic" or times.size < 3
        likelihood = "gaussian" if plain else "rician"
        how["noise"] = how["noise"] or (None if plain else _noise(signals, times, field_rises))
    fit = fit_voxels(model, times, data, known=known, likelihood=likelihood, **how)
    fit = replace(fit, status=dephased(fit.status, data, field_rises))
    made = Estimates.of(fit, R2starmap=1, S0map=0)
    rate, error = (a.astype(np.float64) for a in made.maps["R2starmap"])
    with np.errstate(divide="ignore", invalid="ignore"):
        short = rate > 1 / LONGEST
        time, time_error = (np.where(short, a, np.nan) for a in (1 / rate, error / rate**2))
    return made.derived("T2starmap", time, time_error)


def _echo_times(echo_times: Sequence[float], images: int) -> Doubles:
    times = np.asarray(echo_times, np.float64)
    if times.size != images:
        raise ScanError(f"there are {images} images but {times.size} echo times; give one for each")
    if np.unique(times).size < 2:
        raise ScanError("R2* needs two echo times; measure more echoes")
    if not (times.min() > 0 and times.max() < 1):
        raise ScanError(f"echo times of {times.min():g} to {times.max():g} s cannot be meant; give seconds")
    return times


def _noise(signals: FloatArray, times: Doubles, rises: FloatArray | None) -> float:
    """Standard deviation of the noise of a channel, from the residuals of straight lines through all voxels."""
    order = np.argsort(times, kind="stable")
    image = np.asarray(signals, np.float32)[:, None, None, order]
    shares = None if rises is None else left(np.asarray(rises, np.float32), times[order])
    return noise_level(image, np.ones(image.shape[:3], bool), times[order].tolist(), shares)
