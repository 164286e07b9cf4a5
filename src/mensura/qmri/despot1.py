"""Spoiled gradient echoes of several angles → T1 by a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.qmri.equations import spoiled_gradient_echo
from mensura.qmri.estimates import Estimates, ended
from mensura.qmri.spoiling import Diffusivity, Increment, Moment, Spoiling, SpoilingT2, ideally, tabulated
from mensura.qmri.t1 import LONGEST, SHORTEST, checked_angles, checked_seconds
from mensura.scan import FloatArray

Doubles = NDArray[np.float64]


def despot1(
    signals: FloatArray,
    flip_angles: Sequence[float],
    *,
    repetition_time: Annotated[float, Tunable("s", "from excitation to excitation")],
    b1: FloatArray | None = None,
    spoiling_increment: Increment = 0.0,
    spoiling_t2: SpoilingT2 = 0.07,
    spoiling_moment: Moment = 0.0,
    diffusivity: Diffusivity = 0.0008,
    rounds: Annotated[int, Tunable("1", "of weights; 0: the unweighted line, which is biased by noise")] = 3,
) -> Estimates:
    """Signals (n, m), flip angles (rad), B1 (n) → T1 (s) and M0, each with its error; a weighted straight line.

    S/sin a = E1·S/tan a + M0(1 − E1), weighted by (sin a/(1 − E1 cos a))², in rounds. Deoni et al. 2003,
    doi:10.1002/mrm.10407; weights: Chang et al. 2008, doi:10.1002/mrm.21669. Errors are first order. Imperfect spoiling
    is corrected as in `variable_flip_angle`.
    """
    nominal, tr = checked_angles(flip_angles), checked_seconds(repetition_time, "repetition time")
    data = np.asarray(signals, np.float64)
    relative = np.ones(len(data)) if b1 is None else np.asarray(b1, np.float64)
    angle = nominal[None] * relative[:, None]
    solved = partial(_straight, angle=angle, tr=tr, rounds=rounds)
    spoiling = Spoiling.told(spoiling_increment, spoiling_t2, spoiling_moment, diffusivity)
    if spoiling is not None:
        table = tabulated(nominal, tr, spoiling, relative)
        data = ideally(data, lambda ideal: solved(ideal)[0], [table], relative)
    t1, m0 = solved(data)
    residual = data - spoiled_gradient_echo(angle, m0[:, None], t1[:, None], repetition_time=tr)
    errors = _first_order(angle, m0, t1, tr, residual)
    status = ended(np.asarray(signals), (t1 > SHORTEST) & (t1 < LONGEST))
    return Estimates.closed(status, T1map=(t1, errors[1]), M0map=(m0, errors[0]))


def _straight(data: Doubles, *, angle: Doubles, tr: float, rounds: int) -> tuple[Doubles, Doubles]:
    """T1 (s) and M0 of weighted straight lines through signals (n, m) at angles (rad, n × m)."""
    x, y, sine = data / np.tan(angle), data / np.sin(angle), np.sin(angle)
    weight, (slope, offset) = np.ones_like(x), (np.zeros(len(x)), np.zeros(len(x)))
    for _ in range(rounds + 1):
        slope, offset = _line(x, y, weight)
        weight = np.square(sine / (1 - np.clip(slope, 0, 1)[:, None] * np.cos(angle)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return -tr / np.log(slope), offset / (1 - slope)


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
    by_m0 = np.broadcast_to(spoiled_gradient_echo(angle, 1.0, t1[:, None], repetition_time=tr), (n, m))
    step = 1e-5 * t1[:, None]
    ends = [
        spoiled_gradient_echo(angle, m0[:, None], t1[:, None] + s * step, repetition_time=tr) for s in (1, -1)
    ]
    by_t1 = (ends[0] - ends[1]) / (2 * step)
    a, b, c = (by_m0**2).sum(1), (by_m0 * by_t1).sum(1), (by_t1**2).sum(1)
    variance = np.sum(residual**2, axis=1) / (m - 2) if m > 2 else np.full(n, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = a * c - b * b
        return np.sqrt(variance * c / determinant), np.sqrt(variance * a / determinant)
