"""Where the magnitude is flat: the prior knowledge that all morphology methods share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numba import njit, prange
from scipy.ndimage import uniform_filter

from mensura.scan import BoolArray, FloatArray, Grid, ScanError

T = TypeVar("T", FloatArray, BoolArray)

LEVEL = 20.0
"""mm: slower changes of the magnitude are the receive coils', not the tissue's."""
STEEP = 1.5
"""The difference that halves the cost of a step, relative to the median one. 1, this, 2: the mean over eight heads is
37.0, 36.5, 36.6 %; with the difference of the combined magnitude 37.1, at 1.5 T 47 instead of 42 %."""
ACROSS = np.array([0.15, 0.7, 0.15], np.float32)
"""Weights of neighbouring differences. At SNR 15 they gain 0.5–0.8 points of NRMSE, at SNR 50 they cost 0.1–0.4."""


def flat(magnitude: FloatArray | None, mask: BoolArray, grid: Grid, share: float = 0.3) -> FloatArray:
    """Magnitude (arbitrary, all echoes or one) → 1 where a step of χ costs, 0 where it is free; (3, x, y, z).

    What differs is the vector of the echoes, divided by its local mean size. Free are the `share` of the pairs of
    voxels in the mask that differ most (along each axis, one threshold for all), and every pair that crosses the
    mask's surface: outside χ is 0 by decree, not flat. Without a magnitude only the surface is free. ScanError for a
    share outside 0…1.

    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082. Differs from the paper in the local mean, the average,
    and the surface, which that method leaves to the magnitude (freeing it gains 1–3 points of NRMSE on three heads).
    """
    if not 0 <= share < 1:
        raise ScanError(f"the share of edge voxels must lie in 0…1, not {share:g}")
    after = [_next(mask, axis) for axis in range(3)]
    pairs = np.stack([mask & other for other in after])
    free = np.stack([mask ^ other for other in after])
    if magnitude is not None and share > 0 and pairs.any():
        slope = _slopes(magnitude, mask, pairs, grid)
        threshold = np.quantile(slope[pairs], 1 - share)
        free |= pairs & (slope > threshold)
    return (~free).astype(np.float32)


def graded(magnitude: FloatArray | None, mask: BoolArray, grid: Grid, least: float = 0.1) -> FloatArray:
    """Magnitude (arbitrary, any echoes) → what a step of χ costs, 1 where it is flat, or `least`; (3, x, y, z).

    1 / (1 + (g/g₀)²), g the differences that `flat` cuts in two, g₀ 1.5 times their median: no share to choose, and
    no voxel is without a prior. Pairs that cross the mask's surface cost 1, and so does everything without a magnitude.
    """
    cost = np.ones((3, *mask.shape), np.float32)
    pairs = np.stack([mask & _next(mask, axis) for axis in range(3)])
    if magnitude is None or not pairs.any():
        return cost
    slope = _slopes(magnitude, mask, pairs, grid)
    typical = np.float32(STEEP) * np.median(slope[pairs])
    if typical > 0:
        cost[pairs] = np.maximum(1 / (1 + np.square(slope[pairs] / typical)), np.float32(least))
    return cost


def _slopes(magnitude: FloatArray, mask: BoolArray, pairs: BoolArray, grid: Grid) -> FloatArray:
    """Magnitude (x, y, z[, echo]) → how much it changes per mm along each axis, (3, x, y, z); 0 but for `pairs`.

    The root sum of squares of the echoes' forward differences, each averaged over its neighbours across: tissues that
    look alike in one echo differ in another. All echoes are divided by their common mean around.
    """
    finite = np.isfinite(magnitude)
    shown = magnitude if finite.all() else np.where(finite, magnitude, np.float32(0))
    echoes = np.ascontiguousarray(shown if shown.ndim == 4 else shown[..., None], np.float32)
    combined = np.sqrt(np.einsum("...e,...e", echoes, echoes)) * mask
    box = [max(round(LEVEL / h), 1) | 1 for h in grid.voxel_size]
    mean = uniform_filter(combined, box, mode="constant")
    count = uniform_filter(mask.astype(np.float32), box, mode="constant")
    scale = np.divide(count, mean, out=np.zeros_like(mean), where=mask & (mean > 0))
    slope = np.zeros((3, *mask.shape), np.float32)
    for axis, size in enumerate(grid.voxel_size):
        image, level = np.moveaxis(echoes, axis, 0), np.moveaxis(scale, axis, 0)
        there, out = np.moveaxis(pairs[axis], axis, 0), np.moveaxis(slope[axis], axis, 0)
        _steps(image, level, there, out, np.float32(1 / size))
    return slope


@njit(cache=True, parallel=True)
def _steps(
    echoes: FloatArray, scale: FloatArray, pairs: BoolArray, out: FloatArray, per_mm: np.float32
) -> None:
    """out = root sum of squares over the echoes of their scaled steps along the first axis, averaged across."""
    nx, ny, nz, ne = echoes.shape
    for i in prange(nx):
        total = np.zeros(ne, np.float32)
        for j in range(ny):
            for k in range(nz):
                if not pairs[i, j, k]:
                    continue
                total[:] = 0
                count = np.float32(0)
                for y in range(max(j - 1, 0), min(j + 2, ny)):
                    for z in range(max(k - 1, 0), min(k + 2, nz)):
                        if pairs[i, y, z]:
                            weight = ACROSS[y - j + 1] * ACROSS[z - k + 1]
                            count += weight
                            for e in range(ne):
                                step = (
                                    echoes[i + 1, y, z, e] * scale[i + 1, y, z]
                                    - echoes[i, y, z, e] * scale[i, y, z]
                                )
                                total[e] += weight * step
                out[i, j, k] = np.sqrt(np.sum(total * total)) / count * per_mm


def _next(image: T, axis: int) -> T:
    """Every voxel's next neighbour along an axis; 0 beyond the grid."""
    shifted = np.roll(image, -1, axis)
    shifted[(slice(None),) * axis + (-1,)] = 0
    return shifted
