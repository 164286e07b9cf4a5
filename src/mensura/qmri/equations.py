"""Protocol and tissue → signal: the steady states and relaxations that relaxometry fits, one function each.

First what the protocol varies, then the tissue, then the fixed protocol by keyword; `b1` is the transmit field
relative to nominal and multiplies every flip angle. All arguments broadcast; float32 stays float32 (plain
numbers do not promote it). Times in s, angles in rad, frequencies in Hz; signals have the unit of `m0`.
Transverse decay up to the echo belongs to m0, and transverse magnetization does not survive to the next pulse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.qmri.broadcast import floats
from mensura.scan import GAMMA_BAR, ScanError

Array = NDArray[np.floating[Any]]
ComplexArray = NDArray[np.complexfloating[Any, Any]]
Affine = tuple[Any, Any]
"""(slope, offset): how the longitudinal magnetization hangs on that at the start of the cycle; m0 is 1."""

WATER_SHIFT = 4.7
"""Chemical shift of water at body temperature, ppm."""
FAT_SHIFTS = (5.3, 4.31, 2.76, 2.1, 1.3, 0.9)
"""Chemical shifts of the six peaks of fat, ppm."""
FAT_AMPLITUDES = (0.048, 0.039, 0.004, 0.128, 0.693, 0.087)
"""Relative amplitudes of these peaks (normalised to sum 1 where they are used): Hernando 2013,
DOI 10.1002/mrm.24593, at the shifts of Hamilton 2011, DOI 10.1002/nbm.1622."""


def _recovered(duration: float, t1: Array) -> Affine:
    """Duration (s), T1 (s) → what is left of the magnetization, e^{−t/T1}, and what has come back, 1 − that."""
    exponent = -float(duration) / t1
    return np.exp(exponent), -np.expm1(exponent)


def _wait(state: Affine, duration: float, t1: Array) -> Affine:
    """M → 1 + (M − 1)e^{−t/T1} on (slope, offset)."""
    left, back = _recovered(duration, t1)
    return state[0] * left, state[1] * left + back


def _scale(state: Affine, factor: Any) -> Affine:
    """M → factor·M on (slope, offset): a pulse that leaves this fraction of the longitudinal magnetization."""
    return state[0] * factor, state[1] * factor


def _steady(cycle: Affine) -> Any:
    """The magnetization that a whole cycle maps onto itself: M = slope·M + offset."""
    return cycle[1] / (1 - cycle[0])


def _stack(signals: list[Any]) -> Array:
    """Signals of several readouts → one array with the readouts along a last axis."""
    return np.stack(np.broadcast_arrays(*signals), -1)


def spoiled_gradient_echo(
    flip_angle: ArrayLike, m0: ArrayLike, t1: ArrayLike, *, repetition_time: float, b1: ArrayLike = 1.0
) -> Array:
    """Flip angle (rad), m0, T1 (s) → steady-state signal of an ideally spoiled gradient echo (unit of m0).

    S = m0 sin a (1 − E1)/(1 − E1 cos a), a = b1·flip angle, E1 = e^{−TR/T1}.
    Ernst & Anderson 1966, DOI 10.1063/1.1719961.
    """
    return mt_spoiled_gradient_echo(flip_angle, m0, t1, 0.0, repetition_time=repetition_time, b1=b1)


def mt_spoiled_gradient_echo(
    flip_angle: ArrayLike,
    m0: ArrayLike,
    t1: ArrayLike,
    mt_saturation: ArrayLike,
    *,
    repetition_time: float,
    b1: ArrayLike = 1.0,
    b1_dependence: float = 0.4,
) -> Array:
    """Flip angle (rad), m0, T1 (s), MT saturation (fraction) → spoiled gradient echo with an MT pulse each TR.

    S = m0 sin a (1 − δ)(1 − E1)/(1 − (1 − δ)E1 cos a): just before each excitation the MT pulse removes the
    fraction δ = `mt_saturation`·b1²·(1 − c b1)/(1 − c) of the longitudinal magnetization, c = `b1_dependence`.
    b1² is the power of the pulse; the last factor makes δ/b1², which is what nominal flip angles yield, the
    apparent saturation that the usual correction (1 − c)/(1 − c b1) restores to `mt_saturation`.
    Helms 2008, DOI 10.1002/mrm.21732; correction: Weiskopf 2013, DOI 10.3389/fnins.2013.00095.
    """
    angle, m, t, delta, relative = floats(flip_angle, m0, t1, mt_saturation, b1)
    angle = relative * angle
    delta = delta * relative**2 * (1 - b1_dependence * relative) / (1 - b1_dependence)
    left, back = _recovered(repetition_time, t)
    # 1 − (1−δ)E1 cos a, written as a sum of small positive terms: float32 keeps its digits at short TR
    lost = back + left * (2 * np.sin(angle / 2) ** 2 + delta * np.cos(angle))
    signal: Array = m * np.sin(angle) * (1 - delta) * back / lost
    return signal


def exponential_decay(times: ArrayLike, m0: ArrayLike, rate: ArrayLike) -> Array:
    """Times (s), m0, rate (1/s) → m0 e^{−rate·t} (unit of m0)."""
    t, m, r = floats(times, m0, rate)
    signal: Array = m * np.exp(-r * t)
    return signal


def inversion_recovery(
    inversion_times: ArrayLike,
    m0: ArrayLike,
    t1: ArrayLike,
    *,
    efficiency: ArrayLike = 1.0,
    repetition_time: ArrayLike = np.inf,
) -> Array:
    """Inversion times (s), m0, T1 (s) → signed signal of inversion recovery with a 90° readout (unit of m0).

    S = m0 (1 − (1 + η)e^{−TI/T1} + η e^{−TR/T1}), TR from inversion to inversion, the inversion leaving −η M.
    Barral 2010, DOI 10.1002/mrm.22497.
    """
    ti, m, t, eta, tr = floats(inversion_times, m0, t1, efficiency, repetition_time)
    signal: Array = m * (1 - (1 + eta) * np.exp(-ti / t) + eta * np.exp(-tr / t))
    return signal


def saturation_recovery(
    times: ArrayLike, m0: ArrayLike, t1: ArrayLike, *, efficiency: ArrayLike = 1.0
) -> Array:
    """Times after the saturation (s), m0, T1 (s) → longitudinal magnetization (unit of m0).

    S = m0 (1 − η e^{−t/T1}): the saturation leaves (1 − η) m0.
    """
    wait, m, t, eta = floats(times, m0, t1, efficiency)
    signal: Array = m * (1 - eta * np.exp(-wait / t))
    return signal


def look_locker(
    m0: ArrayLike,
    t1: ArrayLike,
    *,
    flip_angle: float,
    readout_times: Sequence[float] | NDArray[np.float64],
    cycle_time: float,
    efficiency: ArrayLike = 1.0,
    b1: ArrayLike = 1.0,
) -> Array:
    """m0, T1 (s) → signed spoiled signal of each readout after the inversion, (…, readouts) (unit of m0).

    The inversion leaves −η M, readout i at `readout_times`[i] (s) takes sin a and leaves cos a of the
    magnetization, the rest of `cycle_time` is recovery; solved for the periodic steady state of the cycles.
    Look & Locker 1970, DOI 10.1063/1.1684482; Deichmann & Haase 1992, DOI 10.1016/0022-2364(92)90347-A.
    Differs from the latter in allowing any readout times and incomplete recovery.
    """
    times = [float(t) for t in readout_times]
    edges = [0.0, *times, float(cycle_time)]
    if not times or any(b < a for a, b in pairwise(edges)):
        raise ScanError(f"readout times {times} must rise from 0 to the cycle time {cycle_time} s; sort them")
    m, t, eta, relative = floats(m0, t1, efficiency, b1)
    angle, state, readouts = relative * float(flip_angle), (-eta, 0 * eta), []
    for before, now in zip(edges[:-2], times, strict=True):
        state = _wait(state, now - before, t)
        readouts.append(state)
        state = _scale(state, np.cos(angle))
    start = _steady(_wait(state, edges[-1] - edges[-2], t))
    return _stack([m * np.sin(angle) * (slope * start + offset) for slope, offset in readouts])


def _train(state: Affine, pulses: int, angle: Array, interval: float, t1: Array) -> Affine:
    """State before a train of excitations → state one interval after the last: `pulses` × (cos a, recovery)."""
    left, back = _recovered(interval, t1)
    factor = left * np.cos(angle)
    lost = back + 2 * left * np.sin(angle / 2) ** 2
    power = factor**pulses
    return state[0] * power, state[1] * power + back * (1 - power) / lost


def mp2rage(
    m0: ArrayLike,
    t1: ArrayLike,
    *,
    flip_angles: tuple[float, float],
    inversion_times: tuple[float, float],
    excitation_interval: float,
    excitations: tuple[int, int],
    cycle_time: float,
    efficiency: ArrayLike = 0.96,
    b1: ArrayLike = 1.0,
) -> Array:
    """m0, T1 (s) → signed signals of the two gradient-echo trains of MP2RAGE at their k-space centre, (…, 2).

    Inversion (M → −ηM) – TA – train 1 – TB – train 2 – TC, periodic over `cycle_time` (s). A train has
    `excitations` (before, after the k-space centre, the centre counting among the latter) every
    `excitation_interval` (s); its centre falls on the inversion time.
    Marques 2010, DOI 10.1016/j.neuroimage.2009.10.002, appendix. Differs from the paper in counting the
    excitations before the centre as given (the paper: n/2 − 1), which keeps the centre at the inversion time.
    """
    before, after = excitations
    first, second = inversion_times
    lead, tail = before * excitation_interval, after * excitation_interval
    gaps = (first - lead, second - first - lead - tail, cycle_time - second - tail)
    if min(before, after) < 0 or min(gaps) < -1e-9:
        raise ScanError(
            f"MP2RAGE trains of {before}+{after} excitations every {excitation_interval} s do not fit inversion "
            f"times {first}, {second} s in a cycle of {cycle_time} s; check the excitations per train"
        )
    m, t, eta, relative = floats(m0, t1, efficiency, b1)
    state, centres = (-eta, 0 * eta), []
    for gap, flip_angle in zip(gaps[:2], flip_angles, strict=True):
        angle = relative * float(flip_angle)
        centre = _train(_wait(state, gap, t), before, angle, excitation_interval, t)
        centres.append((np.sin(angle), centre))
        state = _train(centre, after, angle, excitation_interval, t)
    start = _steady(_wait(state, gaps[2], t))
    return _stack([m * sine * (slope * start + offset) for sine, (slope, offset) in centres])


def mp2rage_uniform(first: ArrayLike, second: ArrayLike) -> Array:
    """Complex or signed signals of both inversion times → uniform image, −0.5…0.5 (0 where both are 0).

    UNI = Re(S1* S2)/(|S1|² + |S2|²). Marques 2010, DOI 10.1016/j.neuroimage.2009.10.002, equation 3.
    """
    s1, s2 = np.asarray(first), np.asarray(second)
    product = np.real(np.conj(s1) * s2)
    power = np.abs(s1) ** 2 + np.abs(s2) ** 2
    uniform: Array = product / np.where(power > 0, power, 1)
    return uniform


def inversion_prepared_gradient_echo(
    flip_angle: ArrayLike,
    m0: ArrayLike,
    t1: ArrayLike,
    *,
    inversion_time: float,
    repetition_time: float,
    excitations: tuple[int, int],
    cycle_time: float = 0.0,
    efficiency: ArrayLike = 1.0,
    b1: ArrayLike = 1.0,
) -> Array:
    """Flip angle (rad), m0, T1 (s) → signed signal of a spoiled gradient-echo train after an inversion (unit of m0).

    Inversion (M → −ηM) – wait – train – wait, periodic over `cycle_time` (s; 0: the next inversion ends the train). The
    train has `excitations` (before, after the k-space centre, the centre counting among the latter) every
    `repetition_time` (s); the signal is that at its centre, `inversion_time` (s) after the inversion. Without pulses
    before and with a train that leaves the magnetization alone, S = m0 sin a (1 − (1 + η)e^{−TI/T1}/(1 + ηe^{−Tr/T1})).
    Deoni 2007, DOI 10.1002/jmri.21130. Differs from the paper, which takes full saturation by the train's end
    (1 − (1 + η)e^{−TI/T1} + e^{−Tr/T1}, as after 90° pulses), in following the magnetization through all pulses.
    """
    before, after = excitations
    lead, tail = before * repetition_time, after * repetition_time
    rest = cycle_time - inversion_time - tail if cycle_time else 0.0
    if min(before, after, rest + 1e-9, inversion_time - lead + 1e-9) < 0:
        raise ScanError(
            f"a train of {before}+{after} excitations every {repetition_time:g} s does not fit an inversion time of "
            f"{inversion_time:g} s in a cycle of {cycle_time:g} s; check the excitations"
        )
    angle, m, t, eta, relative = floats(flip_angle, m0, t1, efficiency, b1)
    angle = relative * angle
    centre = _train(_wait((-eta, 0 * eta), inversion_time - lead, t), before, angle, repetition_time, t)
    start = _steady(_wait(_train(centre, after, angle, repetition_time, t), rest, t))
    signal: Array = m * np.sin(angle) * (centre[0] * start + centre[1])
    return signal


def double_angle(flip_angle: ArrayLike, m0: ArrayLike, *, b1: ArrayLike = 1.0) -> Array:
    """Flip angle (rad), m0 → signal after full relaxation, m0 sin(b1·flip angle) (unit of m0).

    Insko & Bolinger 1993, DOI 10.1006/jmra.1993.1133.
    """
    angle, m, relative = floats(flip_angle, m0, b1)
    signal: Array = m * np.sin(relative * angle)
    return signal


def actual_flip_angle(
    m0: ArrayLike,
    t1: ArrayLike,
    *,
    flip_angle: float,
    repetition_times: tuple[float, float],
    b1: ArrayLike = 1.0,
) -> Array:
    """m0, T1 (s) → the two signals of actual-flip-angle imaging, (…, 2) (unit of m0).

    Identical pulses followed by TR1 and TR2 in turn, ideally spoiled:
    S1 = m0 sin a (1 − E2 + (1 − E1)E2 cos a)/(1 − E1 E2 cos² a), S2 with 1 and 2 exchanged.
    Yarnykh 2007, DOI 10.1002/mrm.21120, equations 1 and 2.
    """
    m, t, relative = floats(m0, t1, b1)
    angle = relative * float(flip_angle)
    signals = []
    for after, before in (repetition_times, repetition_times[::-1]):
        cycle = _wait(_scale((1.0, 0.0), np.cos(angle)), after, t)
        cycle = _wait(_scale(cycle, np.cos(angle)), before, t)
        signals.append(m * np.sin(angle) * _steady(cycle))
    return _stack(signals)


def spin_and_stimulated_echo(
    flip_angle: ArrayLike, m0: ArrayLike, t1: ArrayLike, *, mixing_time: float, b1: ArrayLike = 1.0
) -> Array:
    """Flip angle α (rad), m0, T1 (s) → spin echo and stimulated echo of the pulses α–2α–α, (…, 2).

    SE = m0 sin³a, STE = m0 sin³a cos a e^{−TM/T1}, a = b1·α, after full relaxation; the equal decay with T2 of
    both belongs to m0. Jiru & Klose 2006, DOI 10.1002/mrm.21083.
    """
    angle, m, t, relative = floats(flip_angle, m0, t1, b1)
    angle = relative * angle
    spin = m * np.sin(angle) ** 3
    return _stack([spin, spin * np.cos(angle) * np.exp(-float(mixing_time) / t)])


def fat_modulation(echo_times: ArrayLike, field_strength: float) -> ComplexArray:
    """Echo times (s), field (T) → complex signal of fat relative to that at echo time 0, on resonance of water.

    Σ_p α_p e^{2πi Δf_p TE} with Δf_p = γ̄ B0 (δ_p − 4.7 ppm): peaks below water lose phase.
    """
    weights = np.asarray(FAT_AMPLITUDES) / sum(FAT_AMPLITUDES)
    shifts = GAMMA_BAR * field_strength * 1e-6 * (np.asarray(FAT_SHIFTS) - WATER_SHIFT)
    times = np.asarray(echo_times, np.float64)[..., None]
    modulation: ComplexArray = np.exp(2j * np.pi * shifts * times) @ weights
    return modulation


def gradient_echo(
    echo_times: ArrayLike,
    m0: ArrayLike,
    r2star: ArrayLike,
    *,
    frequency: ArrayLike,
    phase_offset: ArrayLike = 0.0,
) -> ComplexArray:
    """Echo times (s), m0, R2* (1/s) → complex signal; a frequency (Hz) above 0 makes the phase rise.

    S = m0 e^{−R2*·TE} e^{i(2π f TE + φ0)}, φ0 = `phase_offset` (rad).
    """
    times, m, rate, f, offset = floats(echo_times, m0, r2star, frequency, phase_offset)
    signal: ComplexArray = m * np.exp(-rate * times + 1j * (2 * np.pi * f * times + offset))
    return signal


def fat_water(
    echo_times: ArrayLike,
    water: ArrayLike,
    fat: ArrayLike,
    r2star: ArrayLike,
    *,
    frequency: ArrayLike,
    field_strength: float,
) -> ComplexArray:
    """Echo times (s), water, fat, R2* (1/s), frequency of water (Hz), field (T) → complex signal.

    S = (W + F Σ_p α_p e^{2πi Δf_p TE}) e^{−R2*·TE} e^{2πi f TE}, one R2* for both.
    """
    times, w, f, rate, frequency = floats(echo_times, water, fat, r2star, frequency)
    carrier = gradient_echo(times, np.ones_like(w), rate, frequency=frequency)
    modulation = fat_modulation(echo_times, field_strength).astype(carrier.dtype)
    signal: ComplexArray = (w + f * modulation) * carrier
    return signal
