"""Multi-parameter mapping: echoes with PD-, T1- and MT-weighting → T1, R2*, MT saturation and M0."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.fit import Fit, Status
from mensura.methods import Tunable
from mensura.qmri.choices import Likelihood, Loss, Noise
from mensura.qmri.estatics import estatics
from mensura.qmri.estimates import Estimates, propagated
from mensura.qmri.lookup import Lookup
from mensura.qmri.mt import at_nominal_b1
from mensura.qmri.spoiling import (
    Diffusivity,
    Increment,
    Moment,
    Spoiling,
    SpoilingT2,
    ideally,
    tabulated_each,
)
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
    field_rises: FloatArray | None = None,
    b1_dependence: Annotated[
        float, Tunable("1", "share of MTsat that goes with B1; 0: MTsat goes with B1 squared alone")
    ] = 0.4,
    spoiling_increment: Increment = 0.0,
    spoiling_t2: SpoilingT2 = 0.07,
    spoiling_moment: Moment = 0.0,
    diffusivity: Diffusivity = 0.0008,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
) -> Estimates:
    """Signals (n, m), echo times (s), angles (rad), TR (s), MT, B1 (n) → T1 (s), R1, R2* (1/s), MTsat (p.u.), M0.

    One R2* for all contrasts and the signal of each at TE = 0 (`estatics`). From those of the two angles without MT
    pulse T1 and M0 (`two_angles`), with them and the third the share of the magnetization that the MT pulse takes
    (`transferred`): the steady states are solved exactly, no angle or TR/T1 need be small. The angles are b1·nominal;
    MTsat is that at b1 = 1, δ/b1²·(1 − c)/(1 − c b1), c = `b1_dependence`. M0 holds the receive field. Without images
    with MT pulse there is no MTsat. R2* is freed of the field's gradient where it is known by how much the field rises
    across the voxel (Hz, n × 3). Imperfect spoiling is corrected as in `variable_flip_angle`: the amplitudes of every
    weighting are divided by what the extended phase graph of its angle and TR leaves at this T1, that with MT pulse as
    if without.

    Helms et al. 2008, doi:10.1002/mrm.21542 (T1), doi:10.1002/mrm.21732 (MTsat); Weiskopf et al. 2013,
    doi:10.3389/fnins.2013.00095. Differs from the papers in the exact steady states.
    Raises ScanError unless there are two angles without, and at most one contrast with MT pulse.
    """
    contrasts, which = contrasts_of((echo_times, flip_angles, repetition_times, mt_states))
    fit = estatics(
        signals, echo_times, which, field_rises=field_rises, noise=noise, loss=loss, likelihood=likelihood
    )
    relative = np.ones(len(fit.values)) if b1 is None else np.asarray(b1, np.float64)
    spoiling = Spoiling.told(spoiling_increment, spoiling_t2, spoiling_moment, diffusivity)
    tables = tabulated_each(
        [c.flip_angle for c in contrasts], [c.repetition_time for c in contrasts], spoiling, relative
    )
    maps = _maps(_Scans(contrasts, relative, b1_dependence, tables), fit)
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
    """PD-, T1- and perhaps MT-weighting, B1 of every voxel, how MTsat goes with it, what spoiling leaves of each."""

    contrasts: tuple[Contrast, ...]
    b1: Doubles
    b1_dependence: float
    tables: Sequence[Lookup] = ()


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
    """Every map with its standard deviation, to first order."""
    amplitudes = fit.values[:, :-1].astype(np.float64)
    slopes: dict[str, dict[int, Doubles]] = defaultdict(dict)
    for i in range(amplitudes.shape[1]):
        step = np.zeros_like(amplitudes)
        step[:, i] = 1e-4 * np.abs(amplitudes[:, i])
        above, below = _made(scans, amplitudes + step), _made(scans, amplitudes - step)
        for name in above:
            with np.errstate(divide="ignore", invalid="ignore"):
                slopes[name][i] = (above[name] - below[name]) / (2 * step[:, i])
    values = _made(scans, amplitudes)
    rate = fit.values[:, -1].astype(np.float64), fit.errors[:, -1].astype(np.float64)
    return {
        **{name: (values[name], propagated(fit, slopes[name])) for name in values},
        "R2starmap": rate,
    }


def _made(scans: _Scans, amplitudes: Doubles) -> dict[str, Doubles]:
    """Amplitudes (n, contrasts) → the maps that are made of them."""
    angles = [scans.b1 * c.flip_angle for c in scans.contrasts]
    times = [c.repetition_time for c in scans.contrasts]

    def solved(ideal: Doubles) -> tuple[Doubles, Doubles]:
        return two_angles((ideal[:, 0], ideal[:, 1]), (angles[0], angles[1]), (times[0], times[1]))

    ideal = ideally(amplitudes, lambda signals: solved(signals)[0], scans.tables, scans.b1)
    t1, m0 = solved(ideal)
    found = {"T1map": t1, "R1map": 1 / t1, "M0map": m0}
    if len(angles) > 2:
        share = transferred(ideal[:, 2], angles[2], times[2], tissue=(m0, t1))
        found["MTsat"] = 100 * at_nominal_b1(share, scans.b1, scans.b1_dependence)
    return found


def two_angles(
    signals: tuple[Doubles, Doubles],
    flip_angles: tuple[Any, Any],
    repetition_times: tuple[float, float],
) -> tuple[Doubles, Doubles]:
    """Spoiled gradient echoes of a smaller and a larger angle (rad), each with its TR (s) → T1 (s) and M0; exact.

    ln(S2/S1) = ln g2 − ln g1, g = sin a (1 − E1)/(1 − E1 cos a), is solved for 1/T1 by Newton's method on its
    logarithm. NaN where there is no T1 between a thousandth and a thousand seconds.
    """
    one, two = (np.broadcast_to(a, signals[0].shape).astype(np.float64) for a in flip_angles)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.full(signals[0].shape, np.nan)
        _solve(np.log(signals[1] / signals[0]), (one, two), repetition_times, rate)
        return 1 / rate, signals[0] / _steady_state(one, repetition_times[0], rate)[0]


@njit(cache=True, parallel=True)
def _solve(
    ratios: Doubles, angles: tuple[Doubles, Doubles], repetition_times: tuple[float, float], rates: Doubles
) -> None:
    """Logarithms of the ratio of two signals → 1/T1 (1/s), left as it is where there is none."""
    for v in prange(ratios.size):
        rate, step = 1.0, 1.0
        for _ in range(STEPS):
            g1, slope1 = _steady_state(angles[0][v], repetition_times[0], rate)
            g2, slope2 = _steady_state(angles[1][v], repetition_times[1], rate)
            bend = rate * (slope2 - slope1)
            step = (ratios[v] - np.log(g2 / g1)) / bend if bend != 0 else np.nan
            step = min(max(step, -1.0), 1.0) if np.isfinite(step) else step
            rate *= np.exp(step)
            if not abs(step) > CLOSE:
                break
        if abs(step) < 1e3 * CLOSE and 1e-3 < rate < 1e3:
            rates[v] = rate


@njit(cache=True)
def _steady_state(angle: Any, repetition_time: float, rate: Any) -> Any:
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
