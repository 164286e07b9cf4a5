"""Images with and without a magnetization transfer pulse → MTR and MTsat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Status
from mensura.methods import Tunable
from mensura.qmri.choices import Noise, known_noise
from mensura.qmri.estimates import Estimates, columns, ended
from mensura.qmri.spoiling import (
    Diffusivity,
    Increment,
    Moment,
    Spoiling,
    SpoilingT2,
    ideally,
    tabulated_each,
)
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]


def magnetization_transfer_ratio(signals: FloatArray, *, noise: Noise = 0.0) -> Estimates:
    """Signals (n, 2) without and with the MT pulse → MTR (%), with its error if the noise is known.

    100·(S0 − S_MT)/S0. Henkelman et al. 2001, doi:10.1002/nbm.683.
    """
    without, with_ = columns(signals, 2).T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = with_ / without
        error = 100 * (known_noise(noise) or np.nan) / np.abs(without) * np.sqrt(1 + ratio**2)
    return Estimates.closed(_status(signals, without), MTRmap=(100 * (1 - ratio), error))


def magnetization_transfer_saturation(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    repetition_times: Annotated[tuple[float, ...], Tunable("s", "of the three images, or one for all")],
    b1: FloatArray | None = None,
    b1_dependence: Annotated[
        float, Tunable("1", "share of MTsat that goes with B1; 0: MTsat goes with B1 squared alone")
    ] = 0.4,
    spoiling_increment: Increment = 0.0,
    spoiling_t2: SpoilingT2 = 0.07,
    spoiling_moment: Moment = 0.0,
    diffusivity: Diffusivity = 0.0008,
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, 3): MT-, PD- and T1-weighted; angles (rad), TR (s), B1 (n) → MTsat (p.u.), T1 (s), M0, with errors.

    R1 and A from the PD- and T1-weighted images by the rational approximation, MTsat = (A α/S_MT − 1) R1 TR − α²/2,
    α the local angles b1·nominal; MTsat at b1 = 1 is this over b1² and (1 − c b1)/(1 − c), c = `b1_dependence`.
    Imperfect spoiling is corrected as in `variable_flip_angle`, of the MT-weighted image as if without its pulse.
    Helms et al. 2008, doi:10.1002/mrm.21732; B1: Weiskopf et al. 2013, doi:10.3389/fnins.2013.00095.
    """
    data = columns(signals, 3)
    relative = np.ones(len(data)) if b1 is None else np.asarray(b1, np.float64)
    angles = np.asarray(flip_angles, np.float64)[None] * relative[:, None]
    if len(flip_angles) != 3 or np.size(repetition_times) not in (1, 3):
        raise ScanError(
            "MTsat needs three flip angles, and one repetition time or three; give them in the images' order"
        )
    times = np.broadcast_to(np.asarray(repetition_times, np.float64), (3,))
    spoiling = Spoiling.told(spoiling_increment, spoiling_t2, spoiling_moment, diffusivity)
    tables = tabulated_each(flip_angles, times.tolist(), spoiling, relative)
    solved = partial(_helms, angles=angles, times=times)

    def made(images: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        return solved(ideally(images, lambda ideal: solved(ideal)[0], tables, relative))

    sigma = known_noise(noise)
    errors = [np.full(len(data), np.nan)] * 3
    if sigma is not None:
        errors = [np.sqrt(total) for total in _variances(data, made, sigma)]
    correction = at_nominal_b1(np.ones(len(data)), relative, b1_dependence)
    t1, m0, saturation = made(data)
    status = _status(signals, data[:, 1])
    status[(status == Status.OK) & ~(t1 > 0)] = Status.OUT_OF_BOUNDS
    return Estimates.closed(
        status,
        MTsat=(100 * saturation * correction, 100 * errors[2] * correction),
        T1map=(t1, errors[0]),
        M0map=(m0, errors[1]),
    )


def at_nominal_b1(share: Doubles, b1: Doubles, b1_dependence: float) -> Doubles:
    """What an MT pulse takes where the transmit field is `b1` → what it would take at b1 = 1.

    δ/b1²·(1 − c)/(1 − c b1), c = `b1_dependence`: its power goes with b1², the rest is empirical.
    Weiskopf et al. 2013, doi:10.3389/fnins.2013.00095 (which starts from δ/b1², as nominal angles yield it).
    """
    return np.asarray(share / np.square(b1) * (1 - b1_dependence) / (1 - b1_dependence * b1))


def _helms(data: Doubles, angles: Doubles, times: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """T1 (s), M0 and MT saturation (fraction) of signals (n, 3)."""
    mt, pd, t1 = data.T
    a_mt, a_pd, a_t1 = angles.T
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = 0.5 * (t1 * a_t1 / times[2] - pd * a_pd / times[1]) / (pd / a_pd - t1 / a_t1)
        amplitude = (
            pd * t1 * (times[1] * a_t1 / a_pd - times[2] * a_pd / a_t1)
            / (t1 * times[1] * a_t1 - pd * times[2] * a_pd)
        )  # fmt: skip
        saturation = (amplitude * a_mt / mt - 1) * rate * times[0] - 0.5 * a_mt**2
        return 1 / rate, amplitude, saturation


def _variances(
    data: Doubles, made: Callable[[Doubles], tuple[Doubles, Doubles, Doubles]], sigma: float
) -> list[Doubles]:
    """First-order variances of what is made of signals (n, 3) for noise sigma in each image, by differences."""
    totals = [np.zeros(len(data)) for _ in range(3)]
    for image in range(3):
        step = np.zeros_like(data)
        step[:, image] = 1e-4 * np.abs(data[:, image])
        high, low = made(data + step), made(data - step)
        for total, up, down in zip(totals, high, low, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                total += np.square(sigma * (up - down) / (2 * step[:, image]))
    return totals


def _status(signals: FloatArray, reference: Doubles) -> NDArray[np.uint8]:
    status = ended(signals, np.ones(len(signals), bool))
    status[~(np.abs(reference) > 0)] = Status.NO_SIGNAL
    return status
