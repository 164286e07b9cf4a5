"""Where the magnitude is flat: the prior knowledge that all morphology methods share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from scipy.ndimage import convolve1d, uniform_filter

from mensura.scan import BoolArray, FloatArray, Grid, ScanError

T = TypeVar("T", FloatArray, BoolArray)

LEVEL = 20.0
"""mm: slower changes of the magnitude are the receive coils', not the tissue's."""
STEEP = 2.0
"""The difference that halves the cost of a step, relative to the median one."""
ACROSS = np.array([0.15, 0.7, 0.15], np.float32)
"""Weights of neighbouring differences. At SNR 15 they gain 0.5–0.8 points of NRMSE, at SNR 50 they cost 0.1–0.4."""


def flat(magnitude: FloatArray | None, mask: BoolArray, grid: Grid, share: float = 0.3) -> FloatArray:
    """Magnitude (arbitrary, all echoes or one) → 1 where a step of χ costs, 0 where it is free; (3, x, y, z).

    The root sum of squares of the echoes is divided by its local mean, its forward differences per mm are averaged
    over the neighbours across. Free are the `share` of the pairs of voxels in the mask that differ most (along each
    axis, one threshold for all), and every pair that crosses the mask's surface: outside χ is 0 by decree, not flat.
    Without a magnitude only the surface is free. ScanError for a share outside 0…1.

    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082. Differs from the paper in the local mean, the average,
    and the surface, which that method leaves to the magnitude (freeing it gains 1–3 points of NRMSE on three heads).
    """
    if not 0 <= share < 1:
        raise ScanError(f"the share of edge voxels must lie in 0…1, not {share:g}")
    after = [_next(mask, axis) for axis in range(3)]
    pairs = np.stack([mask & other for other in after])
    free = np.stack([mask ^ other for other in after])
    if magnitude is not None and share > 0 and pairs.any():
        slope = _slopes(_levelled(magnitude, mask, grid), pairs, grid)
        threshold = np.quantile(slope[pairs], 1 - share)
        free |= pairs & (slope > threshold)
    return (~free).astype(np.float32)


def graded(magnitude: FloatArray | None, mask: BoolArray, grid: Grid, least: float = 0.1) -> FloatArray:
    """Magnitude (arbitrary, any echoes) → what a step of χ costs, 1 where it is flat, or `least`; (3, x, y, z).

    1 / (1 + (g/g₀)²), g the differences that `flat` cuts in two, g₀ twice their median: no share to choose, and no
    voxel is without a prior. (Once the median: at 1.5 T, where the magnitude hardly shows iron, 51 % for 47.)
    Pairs that cross the mask's surface cost 1, and so does everything without a magnitude.
    """
    cost = np.ones((3, *mask.shape), np.float32)
    pairs = np.stack([mask & _next(mask, axis) for axis in range(3)])
    if magnitude is None or not pairs.any():
        return cost
    slope = _slopes(_levelled(magnitude, mask, grid), pairs, grid)
    typical = np.float32(STEEP) * np.median(slope[pairs])
    if typical > 0:
        cost[pairs] = np.maximum(1 / (1 + np.square(slope[pairs] / typical)), np.float32(least))
    return cost


def _levelled(magnitude: FloatArray, mask: BoolArray, grid: Grid) -> FloatArray:
    """All echoes as one image, relative to its mean over a box of 20 mm in the mask."""
    combined = magnitude if magnitude.ndim == 3 else np.sqrt(np.einsum("...e,...e", magnitude, magnitude))
    shown = np.where(mask & np.isfinite(combined), combined, np.float32(0)).astype(np.float32)
    box = [max(round(LEVEL / h), 1) | 1 for h in grid.voxel_size]
    mean = uniform_filter(shown, box, mode="constant")
    count = uniform_filter(mask.astype(np.float32), box, mode="constant")
    level: FloatArray = np.divide(shown * count, mean, out=np.zeros_like(shown), where=mask & (mean > 0))
    return level


def _slopes(image: FloatArray, pairs: BoolArray, grid: Grid) -> FloatArray:
    """|forward difference| per mm along each axis, averaged over the neighbours across; pairs in the mask only."""
    slope = np.zeros((3, *image.shape), np.float32)
    for axis, size in enumerate(grid.voxel_size):
        step = np.where(pairs[axis], _next(image, axis) - image, np.float32(0))
        count = pairs[axis].astype(np.float32)
        for across in {0, 1, 2} - {axis}:
            step = convolve1d(step, ACROSS, axis=across, mode="constant")
            count = convolve1d(count, ACROSS, axis=across, mode="constant")
        np.divide(np.abs(step), count * np.float32(size), out=slope[axis], where=pairs[axis])
    return slope


def _next(image: T, axis: int) -> T:
    """Every voxel's next neighbour along an axis; 0 beyond the grid."""
    shifted = np.roll(image, -1, axis)
    shifted[(slice(None),) * axis + (-1,)] = 0
    return shifted
