"""Signals → T1: inversion and saturation recovery, Look-Locker, variable flip angles, MP2RAGE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Fit, Parameter, SignalModel, Status, fit_voxels
from mensura.fit.result import either
from mensura.methods import Monitor, Tunable
from mensura.qmri import equations
from mensura.qmri.choices import (
    Bootstraps,
    Errors,
    Likelihood,
    Loss,
    Noise,
    Seed,
    chosen_errors,
    known_noise,
)
from mensura.qmri.estimates import Estimates, ended, propagated
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

LONGEST, SHORTEST = 10.0, 0.005
"""Bounds of T1, s."""
T1 = Parameter("t1", "s", SHORTEST, LONGEST, starts=48)
M0 = Parameter("m0", "arbitrary", linear=True)


def _recovery(times: Any, a: Any, b: Any, t1: Any) -> Any:
    return a + b * np.exp(-times / t1)


How = dict[str, Any]
"""The keywords of a fit that a model hands on."""
AFFINE = (Parameter("a", "arbitrary", linear=True), Parameter("b", "arbitrary", linear=True))
RECOVERY = SignalModel("recovery", _recovery, (*AFFINE, T1), "10.1002/mrm.22497")


def inversion_recovery(
    signals: FloatArray,
    inversion_times: Sequence[float],
    *,
    repetition_time: Annotated[
        float, Tunable("s", "from inversion to inversion; inf: full recovery")
    ] = np.inf,
    polarity: Annotated[
        Literal["auto", "magnitude", "signed"],
        Tunable("", "whether the sign of the signal was lost; auto: it was if no point is negative"),
    ] = "auto",
    noise: Noise = 0.0,
    loss: Loss = "none",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m; signed or magnitude), inversion times (s) → T1 (s), M0, inversion efficiency, each with its error.

    S = a + b e^{−TI/T1}; a and b are the best there are for each T1, so that neither the efficiency of the inversion
    nor an incomplete recovery biases T1. M0 = (a + b e^{−TR/T1})/(1 − e^{−TR/T1}), the efficiency is −b/M0 − 1.
    Of magnitudes the sign is found: all points before the smallest are turned, and that itself if this fits better.

    Barral et al. 2010, doi:10.1002/mrm.22497. Differs from the paper in the search: a dictionary, then Gauss–Newton.
    Raises ScanError for fewer than 3 inversion times, or negative ones.
    """
    times, data = _ordered(signals, inversion_times, "inversion times")
    bootstrap = chosen_errors(errors, bootstraps, seed)
    how: How = {"noise": known_noise(noise), "loss": loss, "bootstrap": bootstrap, "monitor": monitor}
    fit = _recovered(times, data, polarity, how)
    a, b, t1 = fit.values.T.astype(float)
    left = np.exp(-repetition_time / t1)
    m0 = (a + b * left) / (1 - left)
    slope = left * repetition_time / t1**2 if np.isfinite(repetition_time) else 0 * t1
    by_t1 = slope * (b + m0) / (1 - left)
    m0_error = propagated(fit, {0: 1 / (1 - left), 1: left / (1 - left), 2: by_t1})
    efficiency = -b / m0 - 1
    by = {0: b / m0**2 / (1 - left), 1: -1 / m0 + b / m0**2 * left / (1 - left), 2: b / m0**2 * by_t1}
    made = Estimates.of(fit, T1map=2)
    return made.derived("M0map", m0, m0_error).derived("IEmap", efficiency, propagated(fit, by))


def _recovered(times: Doubles, data: Doubles, polarity: str, how: How) -> Fit:
    """The fit of signed signals, or of magnitudes whose sign is to be found."""
    if polarity == "signed" or (polarity == "auto" and np.nanmin(data, initial=0) < 0):
        return fit_voxels(RECOVERY, times, data, **how)
    return _turned(times, data, how)


def _turned(times: Doubles, data: Doubles, how: How) -> Fit:
    """The better of the two fits to magnitudes whose early points, without or with the smallest, are turned."""
    smallest = np.argmin(np.where(np.isfinite(data), data, np.inf), axis=1)[:, None]
    place = np.arange(times.size)
    turned = [np.where(place < smallest + more, -data, data) for more in (0, 1)]
    fits = [fit_voxels(RECOVERY, times, one, **{**how, "bootstrap": None}) for one in turned]
    first, second = (np.where(f.status == Status.OK, f.residual, np.inf) for f in fits)
    if how["bootstrap"] is not None:
        return fit_voxels(RECOVERY, times, np.where((second < first)[:, None], *turned[::-1]), **how)
    return either(second < first, fits[1], fits[0])


def saturation_recovery(
    signals: FloatArray,
    saturation_times: Sequence[float],
    *,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m), times after the saturation (s) → T1 (s) and M0, each with its error.

    S = a + b e^{−t/T1}: an incomplete saturation does not bias T1. M0 is a.
    """
    times, data = _ordered(signals, saturation_times, "saturation times")
    bootstrap = chosen_errors(errors, bootstraps, seed)
    fit = fit_voxels(
        RECOVERY, times, data, noise=known_noise(noise), loss=loss, likelihood=likelihood, bootstrap=bootstrap,
        monitor=monitor,
    )  # fmt: skip
    return Estimates.of(fit, T1map=2, M0map=0)


def look_locker(
    signals: FloatArray,
    inversion_times: Sequence[float],
    *,
    noise: Noise = 0.0,
    loss: Loss = "none",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m; signed or magnitude), times after the inversion (s) → T1 (s) and T1* (s), each with its error.

    S = A − B e^{−t/T1*}, T1 = T1*(B/A − 1): readouts of small angle hasten the recovery, which this undoes for a
    perfect inversion (MOLLI as well).
    Deichmann & Haase 1992, doi:10.1016/0022-2364(92)90347-A; Messroghli et al. 2004, doi:10.1002/mrm.20110.
    """
    times, data = _ordered(signals, inversion_times, "inversion times")
    bootstrap = chosen_errors(errors, bootstraps, seed)
    how: How = {"noise": known_noise(noise), "loss": loss, "bootstrap": bootstrap, "monitor": monitor}
    fit = _recovered(times, data, "auto", how)
    a, b, star = fit.values.T.astype(float)
    factor = -b / a - 1
    error = propagated(fit, {0: star * b / a**2, 1: -star / a, 2: factor})
    return Estimates.of(fit, T1starmap=2).derived("T1map", star * factor, error)


def _spoiled(angles: Any, m0: Any, t1: Any, repetition_time: float, b1: Any = 1.0) -> Any:
    return equations.spoiled_gradient_echo(angles, m0, t1, repetition_time=repetition_time, b1=b1)


SPOILED = SignalModel("spoiled gradient echo", _spoiled, (M0, T1), "10.1063/1.1719961")


def variable_flip_angle(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    repetition_time: Annotated[float, Tunable("s", "from excitation to excitation")],
    b1: FloatArray | None = None,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m), flip angles (rad), B1 relative to nominal (n) → T1 (s) and M0, each with its error; nonlinear.

    Least squares of the steady state of an ideally spoiled gradient echo (Ernst & Anderson 1966,
    doi:10.1063/1.1719961), which is the maximum of the likelihood; Chang et al. 2008, doi:10.1002/mrm.21669. B1
    multiplies every angle; without it T1 is off by about twice B1's error. Raises ScanError for fewer than two angles.
    """
    angles = _angles(flip_angles)
    known: dict[str, Any] = {"repetition_time": _seconds(repetition_time, "repetition time")}
    if b1 is not None:
        known["b1"] = np.asarray(b1, np.float64)
    bootstrap = chosen_errors(errors, bootstraps, seed)
    fit = fit_voxels(
        SPOILED, angles, signals, known=known, noise=known_noise(noise), loss=loss, likelihood=likelihood,
        bootstrap=bootstrap, monitor=monitor,
    )  # fmt: skip
    return Estimates.of(fit, T1map=1, M0map=0)


def despot1(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    repetition_time: Annotated[float, Tunable("s", "from excitation to excitation")],
    b1: FloatArray | None = None,
    rounds: Annotated[int, Tunable("1", "of weights; 0: the unweighted line, which is biased by noise")] = 3,
) -> Estimates:
    """Signals (n, m), flip angles (rad), B1 (n) → T1 (s) and M0, each with its error; a weighted straight line.

    S/sin a = E1·S/tan a + M0(1 − E1), weighted by (sin a/(1 − E1 cos a))², in rounds. Deoni et al. 2003,
    doi:10.1002/mrm.10407; weights: Chang et al. 2008, doi:10.1002/mrm.21669. Errors are first order.
    """
    angle = _angles(flip_angles)[None] * (1.0 if b1 is None else np.asarray(b1, np.float64)[:, None])
    tr, data = _seconds(repetition_time, "repetition time"), np.asarray(signals, np.float64)
    x, y, sine = data / np.tan(angle), data / np.sin(angle), np.sin(angle)
    weight, (slope, offset) = np.ones_like(x), (np.zeros(len(x)), np.zeros(len(x)))
    for _ in range(rounds + 1):
        slope, offset = _line(x, y, weight)
        weight = np.square(sine / (1 - np.clip(slope, 0, 1)[:, None] * np.cos(angle)))
    with np.errstate(divide="ignore", invalid="ignore"):
        t1, m0 = -tr / np.log(slope), offset / (1 - slope)
    residual = data - _spoiled(angle, m0[:, None], t1[:, None], tr)
    errors = _first_order(angle, m0, t1, tr, residual)
    status = ended(data, (t1 > SHORTEST) & (t1 < LONGEST))
    return Estimates.closed(status, T1map=(t1, errors[1]), M0map=(m0, errors[0]))


def _line(x: Doubles, y: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Weighted straight lines y = slope·x + offset of every voxel."""
    total = weight.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mx, my = (weight * x).sum(1) / total, (weight * y).sum(1) / total
        dx = x - mx[:, None]
        slope = (weight * dx * (y - my[:, None])).sum(1) / (weight * dx * dx).sum(1)
    return slope, my - slope * mx


def _first_order(
    angle: Doubles, m0: Doubles, t1: Doubles, tr: float, residual: Doubles
) -> tuple[Doubles, Doubles]:
    """Cramér and Rao's errors of M0 and T1 for noise as large as the residuals; NaN with two angles."""
    m, n = angle.shape[1], len(m0)
    by_m0 = np.broadcast_to(_spoiled(angle, 1.0, t1[:, None], tr), (n, m))
    step = 1e-5 * t1[:, None]
    ends = [_spoiled(angle, m0[:, None], t1[:, None] + s * step, tr) for s in (1, -1)]
    by_t1 = (ends[0] - ends[1]) / (2 * step)
    a, b, c = (by_m0**2).sum(1), (by_m0 * by_t1).sum(1), (by_t1**2).sum(1)
    variance = np.sum(residual**2, axis=1) / (m - 2) if m > 2 else np.full(n, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = a * c - b * b
        return np.sqrt(variance * c / determinant), np.sqrt(variance * a / determinant)


def _ordered(signals: FloatArray, times: Sequence[float], name: str) -> tuple[Doubles, Doubles]:
    """Times and signals in the order of time."""
    t = np.asarray([_seconds(value, name) for value in times])
    data = np.asarray(signals, np.float64)
    if data.shape[1] != t.size:
        raise ScanError(f"there are {data.shape[1]} images but {t.size} {name}; give one for each")
    order = np.argsort(t)
    return t[order], data[:, order]


def _seconds(value: float, name: str) -> float:
    if not value >= 0:
        raise ScanError(f"the {name} must not be negative, but one is {value:g} s")
    if np.isfinite(value) and value > 60:
        raise ScanError(f"the {name} of {value:g} s looks like milliseconds; give seconds")
    return float(value)


def _angles(flip_angles: Sequence[float]) -> Doubles:
    angles = np.asarray(flip_angles, np.float64)
    if np.unique(np.round(angles, 6)).size < 2:
        raise ScanError("T1 needs at least two different flip angles; measure another one")
    if not (np.all(angles > 0) and np.all(angles < np.pi)):
        raise ScanError(
            f"flip angles lie between 0 and π rad (0 and 180°), but {np.rad2deg(angles).round(1).tolist()}° are given"
        )
    return angles
