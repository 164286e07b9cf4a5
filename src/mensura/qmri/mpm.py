"""Multi-parameter mapping: echoes with PD-, T1- and MT-weighting → T1, R2*, MT saturation and M0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Fit, Status
from mensura.methods import Tunable
from mensura.qmri.choices import Likelihood, Loss, Noise
from mensura.qmri.estatics import estatics
from mensura.qmri.estimates import Estimates, propagated
from mensura.qmri.mt import at_nominal_b1
from mensura.qmri.t1 import LONGEST, SHORTEST
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

STEPS = 40
CLOSE = 1e-10
"""Newton's steps at most, and the relative step at which T1 is found."""


def multi_parameter(
    signals: FloatArray,
    echo_times: Sequence[float],
    *,
    flip_angles: Annotated[tuple[float, ...], Tunable("rad", "of every image")],
    repetition_times: Annotated[
        tuple[float, ...], Tunable("s", "from excitation to excitation, of every image")
    ],
    mt_states: Annotated[tuple[int, ...], Tunable("1", "of every image: 1 with MT pulse, 0 without")],
    b1: FloatArray | None = None,
    b1_dependence: Annotated[
        float, Tunable("1", "share of MTsat that goes with B1; 0: MTsat goes with B1 squared alone")
    ] = 0.4,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
) -> Estimates:
    """Signals (n, m), echo times (s), angles (rad), TR (s), MT, B1 (n) → T1 (s), R1, R2* (1/s), MTsat (p.u.), M0.

    One R2* for all contrasts and the signal of each at TE = 0 (`estatics`). From those of the two angles without MT
    pulse T1 and M0 (`two_angles`), with them and the third the share of the magnetization that the MT pulse takes
    (`transferred`): the steady states are solved exactly, no angle or TR/T1 need be small. The angles are b1·nominal;
    MTsat is that at b1 = 1, δ/b1²·(1 − c)/(1 − c b1), c = `b1_dependence`. M0 holds the receive field. Without images
    with MT pulse there is no MTsat. Imperfect spoiling is not corrected.

    Helms et al. 2008, doi:10.1002/mrm.21542 (T1), doi:10.1002/mrm.21732 (MTsat); Weiskopf et al. 2013,
    doi:10.3389/fnins.2013.00095. Differs from the papers in the exact steady states.
    Raises ScanError unless there are two angles without, and at most one contrast with MT pulse.
    """
    contrasts, which = contrasts_of((echo_times, flip_angles, repetition_times, mt_states))
    fit = estatics(signals, echo_times, which, noise=noise, loss=loss, likelihood=likelihood)
    relative = np.ones(len(fit.values)) if b1 is None else np.asarray(b1, np.float64)
    maps = _maps(_Scans(contrasts, relative, b1_dependence), fit)
    t1 = maps["T1map"][0]
    status = fit.status.copy()
    status[~np.isfinite(relative)] = Status.NO_SIGNAL
    status[(status == Status.OK) & ~((t1 > SHORTEST) & (t1 < LONGEST))] = Status.OUT_OF_BOUNDS
    return replace(Estimates.closed(status, **maps), fit=fit)


@dataclass(frozen=True)
class Contrast:
    """What the images of one weighting share."""

    saturated: bool
    flip_angle: float
    repetition_time: float


@dataclass(frozen=True)
class _Scans:
    """PD-, T1- and perhaps MT-weighting, B1 of every voxel, and how MTsat goes with it."""

    contrasts: tuple[Contrast, ...]
    b1: Doubles
    b1_dependence: float


def contrasts_of(
    protocol: tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[int]],
) -> tuple[tuple[Contrast, ...], list[int]]:
    """Echo times, angles, TR and MT states of all images → the weightings in the order PD, T1, MT, and which of them
    each image has."""
    if len({len(values) for values in protocol}) > 1:
        raise ScanError(
            "there must be an echo time, a flip angle, a repetition time and an MT state of every image"
        )
    every = [
        Contrast(bool(mt), round(float(angle), 7), float(tr))
        for _, angle, tr, mt in zip(*protocol, strict=True)
    ]
    found = sorted(set(every), key=lambda c: (c.saturated, c.flip_angle, c.repetition_time))
    plain = [c for c in found if not c.saturated]
    if len(plain) != 2 or plain[0].flip_angle == plain[1].flip_angle or len(found) > 3:
        raise ScanError(
            "multi-parameter mapping takes two flip angles without MT pulse and at most one contrast with it; "
            f"there are {len(plain)} and {len(found) - len(plain)}"
        )
    return tuple(found), [found.index(c) for c in every]


def _maps(scans: _Scans, fit: Fit) -> dict[str, tuple[Doubles, Doubles]]:
    """Every map with its standard deviation."""
    amplitudes = fit.values[:, :-1].astype(np.float64)
    names = ["T1map", "R1map", "M0map", *(["MTsat"] if len(scans.contrasts) > 2 else [])]
    found = {name: _with_error(amplitudes, fit, _formula(name, scans)) for name in names}
    rate = fit.values[:, -1].astype(np.float64), fit.errors[:, -1].astype(np.float64)
    return {**found, "R2starmap": rate}


def _with_error(
    amplitudes: Doubles, fit: Fit, formula: Callable[[Doubles], Doubles]
) -> tuple[Doubles, Doubles]:
    """A function of the amplitudes (n, contrasts), and its standard deviation to first order."""
    slopes = {}
    for i in range(amplitudes.shape[1]):
        step = np.zeros_like(amplitudes)
        step[:, i] = 1e-4 * np.abs(amplitudes[:, i])
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes[i] = (formula(amplitudes + step) - formula(amplitudes - step)) / (2 * step[:, i])
    return formula(amplitudes), propagated(fit, slopes)


def _formula(name: str, scans: _Scans) -> Callable[[Doubles], Doubles]:
    """Amplitudes (n, contrasts) → the map of that name."""
    angles = [scans.b1 * c.flip_angle for c in scans.contrasts]
    times = [c.repetition_time for c in scans.contrasts]

    def made(amplitudes: Doubles) -> Doubles:
        t1, m0 = two_angles(
            (amplitudes[:, 0], amplitudes[:, 1]), (angles[0], angles[1]), (times[0], times[1])
        )
        if name == "MTsat":
            share = transferred(amplitudes[:, 2], angles[2], times[2], tissue=(m0, t1))
            return 100 * at_nominal_b1(share, scans.b1, scans.b1_dependence)
        return {"T1map": t1, "R1map": 1 / t1, "M0map": m0}[name]

    return made


def two_angles(
    signals: tuple[Doubles, Doubles],
    flip_angles: tuple[Any, Any],
    repetition_times: tuple[float, float],
) -> tuple[Doubles, Doubles]:
    """Spoiled gradient echoes of a smaller and a larger angle (rad), each with its TR (s) → T1 (s) and M0; exact.

    ln(S2/S1) = ln g2 − ln g1, g = sin a (1 − E1)/(1 − E1 cos a), is solved for 1/T1 by Newton's method on its
    logarithm. NaN where there is no T1 between a thousandth and a thousand seconds.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(signals[1] / signals[0])
        rate = np.ones_like(ratio)
        for _ in range(STEPS):
            (g1, slope1), (g2, slope2) = (
                _steady_state(a, tr, rate) for a, tr in zip(flip_angles, repetition_times, strict=True)
            )
            step = np.clip((ratio - np.log(g2 / g1)) / (rate * (slope2 - slope1)), -1, 1)
            rate = rate * np.exp(step)
            if not np.any(np.abs(step) > CLOSE):
                break
        found = (np.abs(step) < 1e3 * CLOSE) & (rate > 1e-3) & (rate < 1e3)
        rate = np.where(found, rate, np.nan)
        return 1 / rate, signals[0] / _steady_state(flip_angles[0], repetition_times[0], rate)[0]


def _steady_state(angle: Any, repetition_time: float, rate: Doubles) -> tuple[Doubles, Doubles]:
    """Angle (rad), TR (s), 1/T1 → the signal for M0 = 1, and the derivative of its logarithm by 1/T1."""
    left, back = np.exp(-repetition_time * rate), -np.expm1(-repetition_time * rate)
    lost = back + 2 * left * np.sin(angle / 2) ** 2
    slope = 2 * repetition_time * left * np.sin(angle / 2) ** 2 / (back * lost)
    return np.sin(angle) * back / lost, slope


def transferred(
    signal: Doubles, flip_angle: Any, repetition_time: float, *, tissue: tuple[Doubles, Doubles]
) -> Doubles:
    """Spoiled gradient echo with an MT pulse before each excitation, M0 and T1 (s) → the share δ that the pulse takes.

    S = M0 sin a (1 − δ)(1 − E1)/(1 − (1 − δ)E1 cos a), solved for δ. Helms et al. 2008, doi:10.1002/mrm.21732, without
    its approximation.
    """
    m0, t1 = tissue
    with np.errstate(divide="ignore", invalid="ignore"):
        left, back = np.exp(-repetition_time / t1), -np.expm1(-repetition_time / t1)
        share = signal / (m0 * np.sin(flip_angle))
        return np.asarray(1 - share / (back + share * left * np.cos(flip_angle)))
