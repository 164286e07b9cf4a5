"""Pairs of images → the transmit field B1⁺ relative to nominal: closed forms with first-order errors."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.qmri.choices import Noise, known_noise
from mensura.qmri.estimates import Estimates, columns, ended
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]


def double_angle(
    signals: FloatArray,
    flip_angles: tuple[float, float],
    *,
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, 2) at angles α and 2α (rad) → B1 relative to nominal, with its error if the noise is known.

    cos(b1·α) = S(2α)/(2 S(α)), after full relaxation. Insko & Bolinger 1993, doi:10.1006/jmra.1993.1133. Magnitudes
    suffice as long as b1·2α stays below 180°. Raises ScanError unless the second angle is twice the first.
    """
    first, second = columns(signals, 2).T
    low, high = (float(a) for a in flip_angles)
    if not np.isclose(high, 2 * low, rtol=1e-3):
        raise ScanError(
            f"the double-angle method needs α and 2α, not {np.rad2deg(low):g}° and {np.rad2deg(high):g}°; sort them"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = second / (2 * first)
        angle = np.arccos(cosine)
        sigma = known_noise(noise) or np.nan
        error = (
            sigma
            / np.abs(first)
            * np.sqrt(0.25 + cosine**2)
            / np.sqrt(np.maximum(1 - cosine**2, 1e-12))
            / low
        )
    return _estimates(signals, np.abs(cosine) < 1, angle / low, error)


def actual_flip_angle(
    signals: FloatArray,
    repetition_times: tuple[float, float],
    *,
    flip_angle: Annotated[float, Tunable("rad", "nominal angle")],
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, 2) after TR1 and TR2 (s; TR2 > TR1), nominal angle → B1 relative to nominal, with its error.

    cos(b1·α) = (r n − 1)/(n − r), r = S2/S1, n = TR2/TR1, for TR ≪ T1. Yarnykh 2007, doi:10.1002/mrm.21120, equation 6.
    Raises ScanError if TR2 is not the longer, which happens when the images are swapped.
    """
    first, second = columns(signals, 2).T
    one, two = (float(t) for t in repetition_times)
    if not two > one > 0:
        raise ScanError(f"TR2 must be longer than TR1, but they are {two:g} and {one:g} s; swap the images")
    n = two / one
    with np.errstate(divide="ignore", invalid="ignore"):
        r = second / first
        if np.count_nonzero(r > 1) > len(r) / 2:
            raise ScanError(
                "the image of TR2 is the brighter in most voxels, as if they were swapped; give that of TR1 first"
            )
        cosine = (r * n - 1) / (n - r)
        slope = (n * n - 1) / np.square(n - r) / np.sqrt(np.maximum(1 - cosine**2, 1e-12)) / flip_angle
        error = (known_noise(noise) or np.nan) / np.abs(first) * np.sqrt(1 + r * r) * slope
    return _estimates(signals, np.abs(cosine) < 1, np.arccos(np.clip(cosine, -1, 1)) / flip_angle, error)


def bloch_siegert(
    phases: FloatArray,
    *,
    constant: Annotated[float, Tunable("rad", "phase of one pulse at the nominal B1: K·B1²")],
    noise: Annotated[float, Tunable("rad", "standard deviation of the phase; 0: unknown")] = 0.0,
) -> Estimates:
    """Phases (n, 2) with the pulse above and below resonance (rad) → B1 relative to nominal, with its error.

    Half their difference, in one turn about 0, is K B1². Sacolick et al. 2010, doi:10.1002/mrm.22357.
    """
    above, below = columns(phases, 2).T
    if np.nanmax(np.abs(phases), initial=0) > 2 * np.pi + 0.01:
        raise ScanError("Bloch–Siegert takes phases in rad, but these go beyond 2π; convert them")
    shift = np.mod(above - below, 2 * np.pi) / 2
    b1 = np.sqrt(shift / constant)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (known_noise(noise) or np.nan) / np.sqrt(2) / (2 * constant * b1)
    return _estimates(phases, shift > 0, b1, error)


def spin_and_stimulated_echo(
    signals: FloatArray,
    *,
    flip_angle: Annotated[float, Tunable("rad", "nominal angle α of α–2α–α")],
    mixing_time: Annotated[float, Tunable("s", "from the second to the third pulse")],
    t1: Annotated[float, Tunable("s", "of the tissue")] = 1.0,
    noise: Noise = 0.0,
) -> Estimates:
    """Spin and stimulated echo (n, 2) → B1 relative to nominal, with its error if the noise is known.

    cos(b1·α) = STE·e^{TM/T1}/SE. Jiru & Klose 2006, doi:10.1002/mrm.21083.
    """
    spin, stimulated = columns(signals, 2).T
    growth = np.exp(mixing_time / t1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = stimulated / spin * growth
        slope = 1 / np.sqrt(np.maximum(1 - cosine**2, 1e-12)) / flip_angle
        error = (known_noise(noise) or np.nan) / np.abs(spin) * np.sqrt(growth**2 + cosine**2) * slope
    return _estimates(signals, np.abs(cosine) < 1, np.arccos(np.clip(cosine, -1, 1)) / flip_angle, error)


def _estimates(signals: Any, possible: NDArray[np.bool_], b1: Doubles, error: Doubles) -> Estimates:
    return Estimates.closed(ended(signals, possible), TB1map=(b1, error))
