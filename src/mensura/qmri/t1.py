"""Signals → T1: inversion and saturation recovery, Look-Locker, variable flip angles, MP2RAGE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
    keywords,
)
from mensura.qmri.equations import ComplexArray
from mensura.qmri.estimates import Estimates, propagated
from mensura.qmri.lookup import Lookup
from mensura.qmri.phases import together
from mensura.qmri.recovery import amplitudes, beside_t1, slopes
from mensura.qmri.spoiling import Diffusivity, Increment, Moment, Spoiling, SpoilingT2, tabulated
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

LONGEST, SHORTEST = 10.0, 0.005
"""Bounds of T1, s."""
T1 = Parameter("t1", "s", SHORTEST, LONGEST, starts=64)
M0 = Parameter("m0", "arbitrary", linear=True)
EFFICIENT = 1.5
"""Inverted share of the magnetization that noise can feign; 1 is all of it."""
STEPS = 20
"""Of Newton's method, for T1 of trains of readouts."""
ABSURD = 6
"""Times that: a point of the wrong sign, not noise or flow."""


def _pair(points: Any, t1: Any) -> tuple[Any, Any]:
    """Times after the inversion (m,), or these and the repetition times (2, m) → what a and b are factors of."""
    if points.ndim == 1:
        return 1.0, np.exp(-points / t1)
    left = np.exp(-points[0] / t1)
    return 1 - left, np.exp(-points[1] / t1) - left


def _recovery(points: Any, a: Any, b: Any, t1: Any) -> Any:
    one, other = _pair(points, t1)
    return a * one + b * other


How = dict[str, Any]
"""The keywords of a fit that a model hands on."""
AFFINE = (Parameter("a", "arbitrary", linear=True), Parameter("b", "arbitrary", linear=True))
RECOVERY = SignalModel("recovery", _recovery, (*AFFINE, T1), "10.1002/mrm.22497")


def _complex_recovery(points: Any, a: Any, b: Any, imaginary_a: Any, imaginary_b: Any, t1: Any) -> Any:
    """The times are given twice, for the real and for the imaginary parts."""
    half = points[..., : points.shape[-1] // 2]
    return np.concatenate([_recovery(half, a, b, t1), _recovery(half, imaginary_a, imaginary_b, t1)], -1)


IMAGINARY = tuple(Parameter(f"imaginary {p.name}", p.unit, linear=True) for p in AFFINE)
COMPLEX_RECOVERY = SignalModel(
    "complex recovery", _complex_recovery, (*AFFINE, *IMAGINARY, T1), "10.1002/mrm.22497", between=False
)


def inversion_recovery(
    signals: FloatArray | ComplexArray,
    inversion_times: Sequence[float],
    *,
    repetition_time: Annotated[
        float | tuple[float, ...],
        Tunable("s", "from inversion to inversion, of all images or of each; inf: full recovery"),
    ] = np.inf,
    polarity: Annotated[
        Literal["auto", "magnitude", "signed", "complex"],
        Tunable(
            "", "what is left of the phase; auto: all of complex signals, the sign if a point is negative"
        ),
    ] = "auto",
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m; complex, signed or magnitude), inversion times (s) → T1 (s), M0, efficiency, each with its error.

    S = a + b e^{−TI/T1}; a and b are the best there are for each T1, so that neither the efficiency of the inversion
    nor an incomplete recovery biases T1. M0 = (a + b e^{−TR/T1})/(1 − e^{−TR/T1}), the efficiency is −b/M0 − 1.
    Where TR differs between the images, S = M0[1 − (1 + efficiency) e^{−TI/T1} + efficiency e^{−TR/T1}]: as above if
    it does not. Of magnitudes the sign is found: all points before the smallest are turned, and that itself if this
    fits better and does not need an efficiency that there cannot be.
    Of complex signals a and b are complex, M0 is its size and the efficiency the real part: noise stays normal about
    the null, where magnitudes bias T1. The phase may be any, but must be the same at all inversion times; if it is
    not, auto takes magnitudes and says so (`phases`). A loss weighs real and imaginary parts each for itself. Without
    phase, a likelihood of magnitudes takes that bias out.

    Barral et al. 2010, doi:10.1002/mrm.22497. Differs from the paper in the search: a dictionary, then Gauss–Newton.
    Raises ScanError for fewer than 3 inversion times, or negative ones.
    """
    signals, notes = together(signals) if polarity == "auto" else (signals, ())
    points, data, repetition = _inverted(signals, inversion_times, repetition_time)
    how = {"likelihood": likelihood, **keywords(noise, loss, (errors, bootstraps, seed), monitor)}
    fit = _recovered(points, data, polarity, how, EFFICIENT)
    made = replace(Estimates.of(fit, T1map=fit.values.shape[1] - 1), notes=notes)
    beside = beside_t1(fit, repetition)
    return made.derived("M0map", beside[0], beside[1]).derived("IEmap", beside[2], beside[3])


def _inverted(
    signals: Any, inversion_times: Sequence[float], repetition_time: float | Sequence[float]
) -> tuple[Doubles, Any, float | None]:
    """Points of the fit (times, or these and repetition times), data in their order, the TR of all if it is one."""
    repetition = np.array([checked_seconds(value, "repetition time") for value in np.ravel(repetition_time)])
    times, data = _ordered(signals, inversion_times, "inversion times")
    if repetition.size not in (1, times.size):
        raise ScanError(
            f"there are {times.size} images but {repetition.size} repetition times; give one for each"
        )
    if np.unique(repetition).size == 1:
        return times, data, float(repetition[0])
    return np.stack([times, repetition[np.argsort(inversion_times, kind="stable")]]), data, None


def _recovered(points: Doubles, data: Any, polarity: str, how: How, most: float = np.inf) -> Fit:
    """The fit of complex or signed signals, or of magnitudes whose sign is to be found, with `most` efficiency."""
    phased = np.iscomplexobj(data)
    if polarity == "auto":
        polarity = "complex" if phased else "signed" if np.nanmin(data, initial=0) < 0 else "magnitude"
    if polarity != "magnitude" and how.get("likelihood", "gaussian") != "gaussian":
        raise ScanError(
            f"the likelihood {how['likelihood']} is of magnitudes, but the signals are {polarity}; leave it out, or "
            "take the polarity magnitude"
        )
    if polarity != "magnitude" and phased != (polarity == "complex"):
        kind = "complex" if phased else "real"
        raise ScanError(f"the signals are {kind} and cannot be taken as {polarity}; leave the polarity out")
    if polarity == "complex":
        known = np.isfinite(data)
        parts = np.concatenate([np.where(known, part, np.nan) for part in (data.real, data.imag)], axis=1)
        return fit_voxels(COMPLEX_RECOVERY, np.tile(points, 2), parts, **how)
    if polarity == "signed":
        return fit_voxels(RECOVERY, points, data, **how)
    return _turned(points, np.abs(data) if phased else data, how, most)


def _turned(points: Doubles, data: Doubles, how: How, most: float) -> Fit:
    """The better of the two fits to magnitudes whose early points, without or with the smallest, are turned.

    Better is the one that is possible, that rejects fewer points, then the one that leaves less: a loss would reject a
    point of the wrong sign and find the others agree. Where T1 is shorter than the first times, a wrong sign fits as
    well, with an inversion of many times the magnetization.
    """
    smallest = np.argmin(np.where(np.isfinite(data), data, np.inf), axis=1)[:, None]
    place = np.arange(data.shape[1])
    turned = [np.where(place < smallest + more, -data, data) for more in (0, 1)]
    fits = [fit_voxels(RECOVERY, points, one, **{**how, "bootstrap": None}) for one in turned]
    good = [f.status == Status.OK for f in fits]
    first, second = (np.where(ok, f.residual, np.inf) for f, ok in zip(fits, good, strict=True))
    fewer = np.subtract(*(np.where(ok, _rejected(f), place.size) for f, ok in zip(fits, good, strict=True)))
    doubt, other = (np.where(ok, _doubt(f, points, most), 2) for f, ok in zip(fits, good, strict=True))
    later = np.where(doubt == other, (fewer > 0) | ((fewer == 0) & (second < first)), other < doubt)
    if how["bootstrap"] is not None:
        return fit_voxels(RECOVERY, points, np.where(later[:, None], *turned[::-1]), **how)
    return either(later, fits[1], fits[0])


def _doubt(fit: Fit, points: Doubles, most: float) -> NDArray[np.intp]:
    """Whether the share of the magnetization that must have been inverted, whatever a common TR is, is possible (0),
    too much (1) or absurd (2)."""
    a, b = fit.values[:, 0].astype(float), fit.values[:, 1].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = b / a if points.ndim > 1 else -b / a - 1
    return np.where(share <= most, 0, np.where(share <= ABSURD * most, 1, 2))


def _rejected(fit: Fit) -> NDArray[np.intp]:
    """How many points of each voxel count for nothing."""
    assert fit.weights is not None
    return np.asarray(np.count_nonzero(fit.weights == 0, axis=1))


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
    times, data = _ordered(np.asarray(signals, np.float64), saturation_times, "saturation times")
    how = keywords(noise, loss, (errors, bootstraps, seed), monitor)
    fit = fit_voxels(RECOVERY, times, data, likelihood=likelihood, **how)
    return Estimates.of(fit, T1map=2, M0map=0)


def look_locker(
    signals: FloatArray | ComplexArray,
    inversion_times: Sequence[float],
    *,
    repetition_time: Annotated[
        float, Tunable("s", "from inversion to inversion, of a single train; inf: full recovery before each")
    ] = np.inf,
    efficiency: Annotated[float, Tunable("1", "share of the magnetization that is inverted")] = 1.0,
    noise: Noise = 0.0,
    loss: Loss = "none",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m; complex, signed or magnitude), times after the inversion (s) → T1 and T1* (s), with their errors.

    S = A − B e^{−t/T1*}: readouts of small angle hasten the recovery, to A = M0 T1*/T1. The inversion leaves
    A − B = −η M, η the efficiency, M what was there: M0 after full recovery, so that T1 = T1*(B/A − 1)/η (MOLLI as
    well); else, with `repetition_time`, M0 + (S(last) − M0) e^{−rest/T1} after the rest without readouts, and T1 is
    sought by Newton's method. Deichmann & Haase 1992, doi:10.1016/0022-2364(92)90347-A; Messroghli et al. 2004,
    doi:10.1002/mrm.20110. Differs from them in the incomplete recovery.
    """
    signals, notes = together(signals)
    times, data = _ordered(signals, inversion_times, "inversion times")
    rest = checked_seconds(repetition_time, "repetition time") - times[-1]
    if not (rest > 0 and 0.5 < efficiency <= 1):
        raise ScanError(
            f"a repetition time of {repetition_time:g} s and an efficiency of {efficiency:g} cannot be meant; the "
            f"former ends after the last readout at {times[-1]:g} s, the latter lies between 0.5 and 1"
        )
    how = keywords(noise, loss, (errors, bootstraps, seed), monitor)
    fit = _recovered(times, data, "auto", how)
    a, b, star = amplitudes(fit)
    freed = partial(_without_readouts, last=float(times[-1]), rest=rest, efficiency=efficiency)
    with np.errstate(all="ignore"):
        ratio, step = np.real(-b / a), 1e-5
        by_ratio = (freed(ratio + step, star) - freed(ratio - step, star)) / (2 * step)
        by_star = (freed(ratio, star * (1 + step)) - freed(ratio, star * (1 - step))) / (2 * step * star)
        value = freed(ratio, star)
        error = propagated(fit, slopes(by_ratio * b / a**2, -by_ratio / a, by_star))
    made = replace(Estimates.of(fit, T1starmap=fit.values.shape[1] - 1), notes=notes)
    status = np.where((made.status == Status.OK) & ~np.isfinite(value), Status.OUT_OF_BOUNDS, made.status)
    return replace(made.derived("T1map", value, error), status=status.astype(np.uint8))


def _without_readouts(
    ratio: Doubles, star: Doubles, *, last: float, rest: float, efficiency: float
) -> Doubles:
    """B/A and T1* (s) of a train, its last readout and the rest after it (s), efficiency → T1 (s), or not a number."""
    start = (ratio - 1) / efficiency
    t1 = star * start
    if not np.isfinite(rest):
        return np.where(np.isfinite(t1), t1, np.nan)
    end = 1 - ratio * np.exp(-last / star)
    step = np.zeros_like(t1)
    for _ in range(STEPS):
        t1 = np.clip(t1 - step, SHORTEST, LONGEST)
        left = np.exp(-rest / t1)
        found = star * (start - end * left) / (1 - left)
        slope = star * (start - end) / np.square(1 - left) * left * rest / np.square(t1)
        step = (t1 - found) / (1 - slope)
    return np.where((np.abs(step) < 1e-6 * t1) & (t1 < LONGEST), t1, np.nan)


def _spoiled(
    angles: Any, m0: Any, t1: Any, repetition_time: float, b1: Any = 1.0, factor: Lookup | None = None
) -> Any:
    ideal = equations.spoiled_gradient_echo(angles, m0, t1, repetition_time=repetition_time, b1=b1)
    return ideal if factor is None else ideal * factor(t1, b1)


SPOILED = SignalModel("spoiled gradient echo", _spoiled, (M0, T1), "10.1063/1.1719961")


def variable_flip_angle(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    repetition_time: Annotated[float, Tunable("s", "from excitation to excitation")],
    b1: FloatArray | None = None,
    spoiling_increment: Increment = 0.0,
    spoiling_t2: SpoilingT2 = 0.07,
    spoiling_moment: Moment = 0.0,
    diffusivity: Diffusivity = 0.0008,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
    errors: Errors = "analytic",
    bootstraps: Bootstraps = 200,
    seed: Seed = 0,
    monitor: Monitor | None = None,
) -> Estimates:
    """Signals (n, m), flip angles (rad), B1 relative to nominal (n) → T1 (s) and M0, each with its error; nonlinear.

    Least squares of the steady state of a spoiled gradient echo (Ernst & Anderson 1966,
    doi:10.1063/1.1719961), which is the maximum of the likelihood; Chang et al. 2008, doi:10.1002/mrm.21669. B1
    multiplies every angle; without it T1 is off by about twice B1's error. Spoiling is ideal, or that of RF pulses
    whose phase step grows by `spoiling_increment` each repetition: every angle's signal is then multiplied by what
    the extended phase graph of this protocol leaves of Ernst's (`spoiling_factor`), which depends on T1, B1 and the
    T2 that is assumed; after Preibisch & Deichmann 2009, doi:10.1002/mrm.21776, who correct T1 instead. The error of
    the assumed T2 is not part of the standard deviation. Raises ScanError for fewer than two angles.
    """
    angles = checked_angles(flip_angles)
    known: dict[str, Any] = {"repetition_time": checked_seconds(repetition_time, "repetition time")}
    if b1 is not None:
        known["b1"] = np.asarray(b1, np.float64)
    how = keywords(noise, loss, (errors, bootstraps, seed), monitor)
    spoiling = Spoiling.told(spoiling_increment, spoiling_t2, spoiling_moment, diffusivity)
    if spoiling is not None:
        known["factor"] = tabulated(angles, known["repetition_time"], spoiling, known.get("b1"))
    fit = fit_voxels(SPOILED, angles, signals, known=known, likelihood=likelihood, **how)
    return Estimates.of(fit, T1map=1, M0map=0)


def _ordered(signals: Any, times: Sequence[float], name: str) -> tuple[Doubles, Any]:
    """Times and signals, which may be complex, in the order of time."""
    t = np.asarray([checked_seconds(value, name) for value in times])
    data = np.asarray(signals, np.complex128 if np.iscomplexobj(signals) else np.float64)
    if data.shape[1] != t.size:
        raise ScanError(f"there are {data.shape[1]} images but {t.size} {name}; give one for each")
    order = np.argsort(t, kind="stable")
    return t[order], data if np.all(np.diff(order) > 0) else data[:, order]


def checked_seconds(value: float, name: str) -> float:
    """A time (s) → the same. ScanError, naming it, for one that is negative or in milliseconds."""
    if not value >= 0:
        raise ScanError(f"the {name} must not be negative, but one is {value:g} s")
    if np.isfinite(value) and value > 60:
        raise ScanError(f"the {name} of {value:g} s looks like milliseconds; give seconds")
    return float(value)


def checked_angles(flip_angles: Sequence[float]) -> Doubles:
    """Flip angles (rad) → the same. ScanError for fewer than two different ones, or others than pulses have."""
    angles = np.asarray(flip_angles, np.float64)
    if np.unique(np.round(angles, 6)).size < 2:
        raise ScanError("T1 needs at least two different flip angles; measure another one")
    if not (np.all(angles > 0) and np.all(angles < np.pi)):
        raise ScanError(
            f"flip angles lie between 0 and π rad (0 and 180°), but {np.rad2deg(angles).round(1).tolist()}° are given"
        )
    return angles
