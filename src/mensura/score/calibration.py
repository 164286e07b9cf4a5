"""Whether a reported standard deviation is the true one: errors in units of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from mensura.scan import BoolArray, ScanError
from mensura.score.agreement import Values, inside
from mensura.score.record import WHOLE, Pair, Score

TWO_SIDED_95 = 1.959963984540054
"""Standard deviations that hold 95 % of a normal distribution."""
MAD_TO_SD = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""
EDGES = np.linspace(-4, 4, 17)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Errors over reported standard deviations, z = (e − t)/σ, of `voxels` voxels.

    `mean` and robust `spread` of z (0 and 1 are expected); `interval`: the share (%) with |z| ≤ 1.96 (95);
    `ratio`: √(Σ(e − t)²/Σσ²), actual over reported error (1; above: σ is too small). `edges` and `shares` (%):
    histogram of z, its first and last bins open, so that the shares sum to 100; `expected` for N(0, 1).
    """

    voxels: int
    mean: float
    spread: float
    interval: float
    ratio: float
    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    expected: NDArray[np.float64]


def calibration(estimate: ArrayLike, truth: ArrayLike, std: ArrayLike, mask: ArrayLike) -> Calibration:
    """Estimate, truth, reported standard deviation (one unit), mask → how well the latter tells the error.

    Voxels whose σ is not a positive number do not enter; ScanError where none is left.
    """
    usable = positive(std, mask)
    if not usable.any():
        raise ScanError("no voxel of the mask has a positive standard deviation; give the map of it")
    e, t = inside(estimate, truth, usable)
    sigma = np.asarray(std, float)[usable]
    z = (e - t) / sigma
    return Calibration(
        voxels=z.size,
        mean=float(z.mean()),
        spread=MAD_TO_SD * float(np.median(np.abs(z - np.median(z)))),
        interval=100 * float(np.mean(np.abs(z) <= TWO_SIDED_95)),
        ratio=float(np.sqrt(np.sum((e - t) ** 2) / np.sum(sigma**2))),
        edges=EDGES,
        shares=_shares(z),
        expected=100 * np.diff(np.concatenate([[0], ndtr(EDGES[1:-1]), [1]])),
    )


def calibration_scores(pair: Pair, std: ArrayLike, region: str = WHOLE) -> Iterator[Score]:
    """A pair and the reported standard deviation → how well the latter tells the error, as scores.

    None for a region of the mask that holds no positive standard deviation.
    """
    usable = positive(std, pair.scored)
    if region != WHOLE and not usable.any():
        return
    found = calibration(pair.estimate, pair.truth, std, usable)
    chosen = replace(pair, valued=pair.valued & usable, scored=usable)
    yield chosen.score("z_mean", "1", found.mean, region)
    yield chosen.score("z_spread", "1", found.spread, region)
    yield chosen.score("interval_coverage", "%", found.interval, region)
    yield chosen.score("calibration_ratio", "1", found.ratio, region)


def positive(std: ArrayLike, mask: ArrayLike) -> BoolArray:
    """Standard deviation, mask → the voxels of the mask where it is a positive number."""
    sigma, chosen = np.asarray(std, float), np.asarray(mask, bool)
    if sigma.shape != chosen.shape:
        raise ScanError(
            f"a standard deviation of shape {sigma.shape} and a mask of {chosen.shape} cannot be compared; "
            "bring them to one grid"
        )
    with np.errstate(invalid="ignore"):
        found: BoolArray = chosen & np.isfinite(sigma) & (sigma > 0)
    return found


def _shares(z: Values) -> NDArray[np.float64]:
    """Share (%) of z in each bin; the outermost ones take what lies beyond."""
    counts, _ = np.histogram(z, np.concatenate([[-np.inf], EDGES[1:-1], [np.inf]]))
    return np.asarray(100 * counts / z.size)
