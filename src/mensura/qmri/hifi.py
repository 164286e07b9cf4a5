"""Spoiled gradient echoes of several angles, some after an inversion → T1 and B1 together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Fit, Parameter, SignalModel, Status, fit_voxels
from mensura.fit.result import either, replaced
from mensura.methods import Tunable
from mensura.qmri import equations
from mensura.qmri.choices import Likelihood, Loss, Noise, known_noise
from mensura.qmri.estimates import Estimates
from mensura.qmri.t1 import M0, T1
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

B1 = Parameter("b1", "1", 0.3, 2.0, starts=24)


@dataclass(frozen=True)
class Protocol:
    """What all images share; times in s, `hard` for an inversion pulse whose angle B1 scales."""

    repetition_time: float
    excitations: tuple[int, int]
    cycle_time: float
    efficiency: float
    hard: bool
    magnitude: bool


def images(points: Any, m0: Any, t1: Any, b1: Any, protocol: Protocol) -> Doubles:
    """Flip angles and inversion times (2, m), the latter 0 without an inversion → signals (n, m)."""
    angles, times = points
    n = np.broadcast_shapes(np.shape(t1), np.shape(b1), np.shape(m0))[0]
    signals = np.empty((n, angles.size))
    plain = times == 0
    signals[:, plain] = equations.spoiled_gradient_echo(
        angles[plain], 1.0, t1, repetition_time=protocol.repetition_time, b1=b1
    )
    for i in np.flatnonzero(~plain):
        signals[:, i : i + 1] = equations.inversion_prepared_gradient_echo(
            angles[i], 1.0, t1, inversion_time=float(times[i]), repetition_time=protocol.repetition_time,
            excitations=protocol.excitations, cycle_time=protocol.cycle_time, b1=b1,
            efficiency=protocol.efficiency * (-np.cos(np.pi * b1) if protocol.hard else 1.0),
        )  # fmt: skip
    return np.asarray(m0 * (np.abs(signals) if protocol.magnitude else signals))


HIFI = SignalModel(
    "spoiled and inversion-prepared gradient echoes",
    images,
    (M0, T1, B1),
    "10.1002/jmri.21130",
    between=False,
)


def despot1_hifi(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    inversion_times: Annotated[
        tuple[float, ...], Tunable("s", "of each image, to its centre of k-space; 0: no inversion")
    ],
    repetition_time: Annotated[float, Tunable("s", "from excitation to excitation, in all images")],
    excitations: Annotated[
        tuple[int, int], Tunable("1", "after each inversion, before the centre of k-space and from it on")
    ],
    cycle_time: Annotated[
        float, Tunable("s", "from inversion to inversion; 0: an inversion follows the last excitation")
    ] = 0.0,
    inversion: Annotated[
        Literal["adiabatic", "hard"], Tunable("", "whether B1 leaves the inversion alone or scales its angle")
    ] = "adiabatic",
    efficiency: Annotated[
        float, Tunable("1", "share of the magnetization that is inverted where B1 is 1")
    ] = 1.0,
    polarity: Annotated[
        Literal["auto", "magnitude", "signed"],
        Tunable("", "whether the sign of the signal was lost; auto: it was if no point is negative"),
    ] = "auto",
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
) -> Estimates:
    """Signals (n, m), flip angles (rad) of all images → T1 (s), M0 and B1, each with its error; DESPOT1-HIFI.

    Least squares of Ernst's steady state in the images without an inversion, and of a periodic train of the same
    spoiled pulses after an inversion in the others (`inversion_prepared_gradient_echo`); B1 multiplies every angle.
    Of magnitudes the sign is found: that of the smallest after an inversion is tried both ways.
    Spoiling is ideal, receive gain and echo time are those of all images. B1 is smooth and the voxels' own is not:
    smooth the map and give it to `variable_flip_angle` for the least noise in T1. Deoni 2007, doi:10.1002/jmri.21130.
    Differs from the paper in following the magnetization through the pulses of the train, and in fitting all at once.
    Raises ScanError for fewer than two angles without, or no image with, an inversion.
    """
    points = points_of(flip_angles, inversion_times)
    data = np.asarray(signals, np.float64)
    lost = polarity == "magnitude" or (polarity == "auto" and not np.any(data < 0))
    protocol = Protocol(repetition_time, excitations, cycle_time, efficiency, inversion == "hard", lost)
    how: dict[str, Any] = {"noise": known_noise(noise), "loss": loss, "likelihood": likelihood}
    fit = fit_voxels(HIFI, points, data, known={"protocol": protocol}, **how)
    if lost and likelihood == "gaussian":
        fit = _signed(fit, points, data, (replace(protocol, magnitude=False), how))
    return Estimates.of(fit, T1map=1, M0map=0, TB1map=2)


def _signed(fit: Fit, points: Doubles, data: Doubles, how: tuple[Protocol, Mapping[str, Any]]) -> Fit:
    """The fit to magnitudes, or a better one to signals with other signs; where there was none, all signs are tried."""
    protocol, choices = how

    def fitted(signals: Doubles) -> Fit:
        return fit_voxels(HIFI, points, signals, known={"protocol": protocol}, **choices)

    other = fitted(_other_sign(points, data, fit, protocol))
    fit = either(_misfit(other) < _misfit(fit), other, fit)
    for longest in (0.0, *np.unique(points[1])[1:]):
        failed = np.flatnonzero((fit.status == Status.OUT_OF_BOUNDS) | (fit.status == Status.NOT_CONVERGED))
        turned = (points[1] > 0) & (points[1] <= longest)
        if failed.size:
            fit = replaced(fit, failed, fitted(np.where(turned, -data[failed], data[failed])))
    return fit


def _other_sign(points: Doubles, data: Doubles, fit: Fit, signed: Protocol) -> Doubles:
    """Magnitudes → the signs of their fit, but for the smallest after an inversion, which cannot cross 0 as one."""
    values = np.where(np.isfinite(fit.values), fit.values, 1).astype(np.float64)
    m0, long, relative = values.T[:, :, None]
    sign = np.where(images(points, m0, long, relative, signed) < 0, -1.0, 1.0)
    smallest = np.argmin(np.where((points[1] > 0) & np.isfinite(data), data, np.inf), axis=1)
    sign[np.arange(len(data)), smallest] *= -1
    return np.asarray(sign * data)


def _misfit(fit: Fit) -> FloatArray:
    return np.where(fit.status == Status.OK, fit.residual, np.float32(np.inf))


def points_of(flip_angles: Sequence[float], inversion_times: Sequence[float]) -> Doubles:
    """Flip angles (rad) and inversion times (s) of all images → both (2, m). ScanError for what cannot be meant."""
    angles, times = (
        np.asarray(flip_angles, np.float64),
        np.nan_to_num(np.asarray(inversion_times, np.float64)),
    )
    if angles.size != times.size:
        raise ScanError(
            f"there are {angles.size} flip angles but {times.size} inversion times; give one for each image, 0 for "
            "those without an inversion"
        )
    if not (np.all(angles > 0) and np.all(angles < np.pi)):
        raise ScanError(
            f"flip angles lie between 0 and π rad (0 and 180°), but {np.rad2deg(angles).round(1).tolist()}° are given"
        )
    if np.any(times < 0) or times.max() > 60:
        raise ScanError(
            f"inversion times of {times.min():g} to {times.max():g} s cannot be meant; give seconds"
        )
    if np.unique(angles[times == 0].round(6)).size < 2 or not np.any(times > 0):
        raise ScanError(
            "T1 and B1 need two different flip angles without an inversion and an image with one; measure another"
        )
    return np.stack([angles, times])
