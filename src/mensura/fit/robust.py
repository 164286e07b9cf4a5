"""Losses that corrupted points cannot pull: their weights, which points they reject, and what is left to believe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from mensura.fit.descent import Report, columns_of, inverse_normal, projected, solve
from mensura.fit.result import either
from mensura.fit.task import Found, Task

Doubles = NDArray[np.float64]

NORMAL = 1.482602
"""Standard deviation over median absolute deviation, for normal noise."""
ROUNDS = 10
"""Of weights, each from the residuals of the last."""
SURPRISE = 0.01
"""Share of voxels with normal noise whose points are doubted."""
DRAWS = 4000
EXACT = 1e-6
"""Noise, relative to the largest point, below which data count as without: what tabulated signals are exact to."""
FEW = 16
"""Up to so many points, each is left out once to find where the rounds start; with more, rounds towards the least
absolute deviations do."""


@dataclass(frozen=True)
class Loss:
    """ψ(r)/r and ψ′(r) of residuals r in units of the noise, and from where on a point counts as rejected."""

    weight: Callable[[Doubles], Doubles]
    slope: Callable[[Doubles], Doubles]
    rejects: float = 4.685


def _tukey(cut: float) -> Loss:
    def square(r: Doubles) -> Doubles:
        return np.minimum(np.square(r / cut), 1)

    return Loss(lambda r: np.square(1 - square(r)), lambda r: (1 - square(r)) * (1 - 5 * square(r)), cut)


def _huber(cut: float) -> Loss:
    return Loss(lambda r: cut / np.maximum(np.abs(r), cut), lambda r: (np.abs(r) < cut).astype(np.float64))


def _geman_mcclure(cut: float) -> Loss:
    def square(r: Doubles) -> Doubles:
        return np.square(r / cut)

    return Loss(lambda r: (1 + square(r)) ** -2.0, lambda r: (1 - 3 * square(r)) * (1 + square(r)) ** -3.0)


LOSSES: Mapping[str, Loss] = {
    "tukey": _tukey(4.685),
    "huber": _huber(1.345),
    "geman_mcclure": _geman_mcclure(3.787),
}
"""Each keeps 95 % of the information of normal noise. Holland & Welsch 1977, doi:10.1080/03610927708827533."""


def rejecting(task: Task, loss: Loss, monitor: Report | None) -> tuple[Task, Found, Doubles, Doubles]:
    """The task without the points that were rejected, what was found, the points' weights, and the noise's variance.

    Rounds of weights from the residuals over the noise: the voxel's own, or that of most voxels if that is larger. The
    variance makes (CᵀWC)⁻¹ of the points kept the sandwich of Huber 1981, section 7.6: Σψ²/(n − p)/(mean ψ′)².
    The rounds: Chang et al. 2005, doi:10.1002/mrm.20426. Differs from the paper in the losses and in the start.
    """
    found, typical = _without_one(task, monitor) if task.data.shape[1] <= FEW else _least_deviations(task)
    own = np.maximum(
        spread(found.residual, task), EXACT * np.sqrt(np.max(np.square(task.data) * task.weight, axis=1))
    )
    scale = np.maximum(own, typical)[:, None] / np.sqrt(np.maximum(task.weight, 1e-300))
    for done in range(ROUNDS):
        weight = task.weight * loss.weight(found.residual / scale)
        found = solve(replace(task, weight=weight), start=found.values)
        if monitor is not None:
            monitor(done + 1, ROUNDS, 0.0)
    r, counts = found.residual / scale, task.weight > 0
    keeps = counts & (np.abs(r) < loss.rejects)
    kept = replace(task, weight=np.where(keeps, task.weight, 0))
    psi, slope = loss.weight(r) * r * counts, loss.slope(r) * counts
    mean = np.maximum(np.sum(slope, axis=1) / np.maximum(task.counted, 1), 0.1)
    variance = np.sum(psi**2, axis=1) / np.maximum(task.freedom, 1) / mean**2 * np.maximum(own, typical) ** 2
    inverse = inverse_normal(kept, projected(kept, found.values))
    weight = np.where(keeps, task.weight * loss.weight(r), 0)
    return kept, replace(found, inverse=inverse), weight, variance


def spread(residual: Doubles, task: Task) -> Doubles:
    """Residuals (n, m) → the noise's standard deviation in each voxel, by the median; 0 where no point counts."""
    counted = np.where(task.weight > 0, np.abs(residual) * np.sqrt(task.weight), np.inf)
    last = np.maximum(task.counted.astype(int) - 1, 0)
    ordered, row = np.sort(counted, axis=1), np.arange(len(counted))
    middle = 0.5 * (ordered[row, last // 2] + ordered[row, (last + 1) // 2])
    scale = NORMAL * middle * np.sqrt(task.counted / np.maximum(task.freedom, 1))
    return np.where(task.counted > 0, scale, 0)


def _without_one(task: Task, monitor: Report | None) -> tuple[Found, float]:
    """The fit to all points, or to all but the worst where they cannot all be right; the noise of most voxels.

    Most voxels' noise is told by the medians of what is left: of all points, without the same one everywhere (a
    corrupted volume), or each voxel without its worst (spikes); the least, once each is held against normal noise.
    """
    whole = solve(task)
    variance = 2 * whole.cost / np.maximum(task.freedom, 1)
    best, least = whole, np.full(len(variance), np.inf)
    medians = [np.median(variance) / _middle(task.freedom)]
    for one in range(task.data.shape[1]):
        part = replace(task, weight=np.where(np.arange(task.data.shape[1]) == one, 0, task.weight))
        found = solve(part)
        left = np.where(part.freedom > 0, 2 * found.cost / np.maximum(part.freedom, 1), np.inf)
        medians.append(np.median(left) / _middle(part.freedom))
        best, least = either(left < least, found, best), np.minimum(left, least)
        if monitor is not None:
            monitor(one + 1, task.data.shape[1], 0.0)
    medians.append(np.median(least) / _least_of_normal(task))
    typical = float(np.min(medians))
    doubtful = variance > typical * chdtri(np.maximum(task.freedom, 1), SURPRISE) / np.maximum(
        task.freedom, 1
    )
    return either(doubtful & np.isfinite(least), best, whole), float(np.sqrt(typical))


def _middle(freedom: Doubles) -> float:
    """Median of χ² over its degrees of freedom, for those of most voxels."""
    typical = max(float(np.median(freedom)), 1.0)
    return float(chdtri(typical, 0.5) / typical)


def _least_of_normal(task: Task) -> float:
    """Median, over draws of unit normal noise, of the variance that is left without the worst point."""
    middle = task.part(slice(len(task.data) // 2, len(task.data) // 2 + 1))
    state = projected(middle, solve(middle).values)
    columns = columns_of(middle, state)[0] * np.sqrt(middle.weight[0])[:, None]
    left = np.eye(len(columns)) - columns @ np.linalg.pinv(columns)
    noise = np.random.default_rng(0).standard_normal((DRAWS, len(columns))) @ left
    worst = np.max(np.square(noise) / np.maximum(np.diag(left), 1e-6), axis=1)
    freedom = max(len(columns) - columns.shape[1] - 1, 1)
    return float(np.median(np.sum(np.square(noise), axis=1) - worst) / freedom)


def _least_deviations(task: Task) -> tuple[Found, float]:
    """Rounds of weights 1/|r| towards the least absolute deviations; the noise of most voxels."""
    found = solve(task)
    for _ in range(ROUNDS):
        scale = np.maximum(spread(found.residual, task), 1e-300)[:, None]
        size = np.abs(found.residual) * np.sqrt(task.weight) / scale
        found = solve(replace(task, weight=task.weight / np.maximum(size, 0.2)), start=found.values)
    return found, float(np.median(spread(found.residual, task)))
