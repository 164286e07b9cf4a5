"""Pairs of images → the transmit field B1⁺ relative to nominal: closed forms with first-order errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Parameter, SignalModel, fit_voxels
from mensura.methods import Tunable
from mensura.qmri.choices import Loss, Noise, known_noise
from mensura.qmri.estimates import Estimates, columns, ended
from mensura.qmri.transmit import believable
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]
LOWEST, HIGHEST = 0.2, 2.0
"""Of a B1 that is fitted."""


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
    b0: FloatArray | None = None,
    pulse_offset: Annotated[
        float, Tunable("Hz", "of the pulse from resonance, needed with a field map; 0: not told")
    ] = 0.0,
    noise: Annotated[float, Tunable("rad", "standard deviation of the phase; 0: unknown")] = 0.0,
) -> Estimates:
    """Phases (n, 2) with the pulse above and below resonance (rad), field (Hz, n) → B1 relative to nominal, its error.

    Half their difference, in one turn about 0, is K B1². K goes with 1/(Δ − f) and 1/(Δ + f) above and below where the
    field is f off and the pulse Δ, which leaves K/(1 − (f/Δ)²): to first order the field does not matter, and without
    it B1 is (f/Δ)²/2 too high. Sacolick et al. 2010, doi:10.1002/mrm.22357, equation 3.
    """
    above, below = columns(phases, 2).T
    if np.nanmax(np.abs(phases), initial=0) > 2 * np.pi + 0.01:
        raise ScanError("Bloch–Siegert takes phases in rad, but these go beyond 2π; convert them")
    shift = np.mod(above - below, 2 * np.pi) / 2
    local = constant * np.ones(len(shift)) if b0 is None else constant / _detuned(b0, pulse_offset)
    b1 = np.sqrt(shift / local)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (known_noise(noise) or np.nan) / np.sqrt(2) / (2 * local * b1)
    return _estimates(phases, (shift > 0) & np.isfinite(local), b1, error)


def _detuned(b0: FloatArray, pulse_offset: float) -> Doubles:
    """1 − (f/Δ)²; not a number where the pulse would come nearer to resonance than half its offset."""
    if not abs(pulse_offset) > 0:
        raise ScanError("a field map needs the offset of the Bloch–Siegert pulse; give --pulse-offset in Hz")
    ratio = np.abs(np.asarray(b0, np.float64) / pulse_offset)
    return np.where(ratio < 0.5, 1 - np.square(ratio), np.nan)


def spin_and_stimulated_echo(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    mixing_time: Annotated[float, Tunable("s", "from the second to the third pulse")],
    t1: Annotated[float, Tunable("s", "of the tissue")] = 1.0,
    noise: Noise = 0.0,
    loss: Loss = "none",
) -> Estimates:
    """Spin and stimulated echoes in turn (n, 2k), α of each α–2α–α (rad, 2k) → B1 relative to nominal, with its error.

    STE = SE·cos(b1·α)·e^{−TM/T1}, the amplitude free at each angle: magnitudes do, and where several angles are given
    they tell on which side of 90° each lies; a single one is taken to lie below. Least squares over all angles, so
    that those with little signal count little. Jiru & Klose 2006, doi:10.1002/mrm.21083. Differs from the paper in
    the fit (there: a mean over angles). Raises ScanError unless the images are pairs of one angle each.
    """
    angles = _in_pairs(flip_angles)
    count = angles.size // 2
    data = columns(signals, 2 * count)
    if mixing_time > 1:
        raise ScanError(f"a mixing time of {mixing_time:g} s looks like milliseconds; give seconds")
    highest = min(HIGHEST, np.pi / 2 / angles.max()) if count == 1 else HIGHEST
    b1 = Parameter("b1", "1", LOWEST, highest, starts=48)
    amplitudes = tuple(Parameter(f"a{n + 1}", "arbitrary", linear=True) for n in range(count))
    pairs = partial(_pairs, angles[::2], np.exp(-mixing_time / t1), bool(np.any(data < 0)))
    model = SignalModel(
        "spin and stimulated echo", pairs, (*amplitudes, b1), "10.1002/mrm.21083", between=False
    )
    fit = fit_voxels(model, np.arange(2.0 * count), data, noise=known_noise(noise), loss=loss)
    return Estimates.of(fit, TB1map=count)


def _in_pairs(flip_angles: Sequence[float]) -> Doubles:
    """The angles, if they are pairs of equal ones."""
    angles = np.asarray(flip_angles, np.float64)
    if angles.size < 2 or angles.size % 2 or not np.allclose(angles[::2], angles[1::2], rtol=1e-3):
        raise ScanError(
            "spin and stimulated echoes come in pairs of one angle, spin echo first, not at "
            f"{np.rad2deg(angles).round(2).tolist()}°; sort them"
        )
    return angles


def _pairs(angles: Doubles, left: float, signed: bool, points: Any, *values: Any) -> Any:
    """Echoes of all angles in turn, (n, 2k), for amplitudes and B1, each (n, 1); `left` of a stimulated echo."""
    *amplitudes, b1 = values
    ratio = left * np.cos(b1 * angles)
    ratio = ratio if signed else np.abs(ratio)
    pairs = [
        np.concatenate([a * np.ones_like(b1), a * ratio[:, n, None]], 1) for n, a in enumerate(amplitudes)
    ]
    return np.concatenate(pairs, axis=1)


def flip_angle_map(
    signals: FloatArray,
    *,
    flip_angle: Annotated[float, Tunable("rad", "nominal angle of the pulse that was mapped")],
    scale: Annotated[float, Tunable("1", "stored units of a degree")] = 10.0,
    zero: Annotated[float, Tunable("1", "stored value of 0°")] = 0.0,
) -> Estimates:
    """A scanner's map of flip angles, as stored (n, 1) → B1 relative to nominal, (stored − zero)/scale/nominal.

    Siemens tfl_b1map stores tenths of a degree (Chung et al. 2010, doi:10.1002/mrm.22423); its rf_map, by a pulse of
    90°, −180° … 180° as 0 … 4096. No error is told. Raises ScanError where the median is not that of a B1 map.
    """
    stored = columns(signals, 1)[:, 0]
    angle = (stored - zero) / scale
    b1 = np.deg2rad(angle) / flip_angle
    good = np.isfinite(stored) & (stored != 0) & (b1 > 0)
    believable(
        np.where(good, b1, np.nan), "the map of flip angles",
        f"its own median is {np.median(angle[good]) if good.any() else np.nan:.3g}°, the nominal angle "
        f"{np.rad2deg(flip_angle):.3g}°: give that of the pulse that was mapped (FlipAngle may be the readout's)",
    )  # fmt: skip
    return _estimates(signals, good, b1, np.full(len(b1), np.nan))


def _estimates(signals: Any, possible: NDArray[np.bool_], b1: Doubles, error: Doubles) -> Estimates:
    return Estimates.closed(ended(signals, possible), TB1map=(b1, error))
