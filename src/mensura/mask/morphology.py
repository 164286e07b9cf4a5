"""Shapes of masks: erosion and dilation in mm, holes, connected parts."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mensura.scan import BoolArray, FloatArray, Grid, ScanError, bounding_box


def erode(mask: BoolArray, grid: Grid, radius: float) -> BoolArray:
    """Mask → the voxels whose ball of `radius` (mm) lies in the mask.

    What lies beyond the volume's faces is unknown and counts as mask, so a cropped object keeps its cut side.
    """
    return ~dilate(~mask, grid, radius)


def dilate(mask: BoolArray, grid: Grid, radius: float) -> BoolArray:
    """Mask → all voxels whose centres lie within `radius` (mm) of a voxel of the mask."""
    if radius < 0:
        raise ScanError(f"a radius of {radius:g} mm cannot be meant; give zero or more")
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask, int(radius / min(grid.voxel_size)) + 1)
    out = np.zeros(mask.shape, dtype=bool)
    out[box] = distance(mask[box], grid, radius) <= radius * (1 + 1e-6)
    return out


def distance(mask: BoolArray, grid: Grid, limit: float) -> FloatArray:
    """Mask → distance (mm) to the nearest voxel of the mask; infinite where it is more than about `limit`."""
    squared = np.where(mask, np.float32(0), np.float32(np.inf))
    for axis, size in enumerate(grid.voxel_size):
        reach = int(limit / size + 1e-6)
        if reach:
            squared = _nearest_along(squared, axis, reach, np.float32(size * size))
    return np.sqrt(squared)


@numba.njit(cache=True, parallel=True)
def _nearest_along(
    squared: NDArray[np.float32], axis: int, reach: int, unit: np.float32
) -> NDArray[np.float32]:
    """min over |d| ≤ reach of squared(x + d·axis) + d²·unit: one pass of the separable distance transform."""
    nx, ny, nz = squared.shape
    out = squared.copy()
    for plane in numba.prange(nx):
        i = np.int64(plane)
        for j in range(ny):
            for d in range(-reach, reach + 1):
                cost = np.float32(d * d) * unit
                a, b = (i + d, j) if axis == 0 else ((i, j + d) if axis == 1 else (i, j))
                if 0 <= a < nx and 0 <= b < ny:
                    c = d if axis == 2 else 0
                    for k in range(max(0, -c), min(nz, nz - c)):
                        out[i, j, k] = min(out[i, j, k], squared[a, b, k + c] + cost)
    return out


def opening(mask: BoolArray, grid: Grid, radius: float) -> BoolArray:
    """Mask → the mask without the parts that no ball of `radius` (mm) fits into."""
    return dilate(erode(mask, grid, radius), grid, radius)


def closing(mask: BoolArray, grid: Grid, radius: float) -> BoolArray:
    """Mask → the mask with those gaps filled that no ball of `radius` (mm) fits into."""
    return erode(dilate(mask, grid, radius), grid, radius)


def fill_holes(mask: BoolArray) -> BoolArray:
    """Mask → the mask and every (six-connected) part of the background that reaches no face of the volume."""
    out = mask.copy()
    if mask.any():
        box = bounding_box(mask)
        labels, _ = ndimage.label(~np.pad(mask[box], 1))
        out[box] = (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return out


def largest_component(mask: BoolArray) -> BoolArray:
    """Mask → its largest six-connected part (the first in memory order where two are equally large)."""
    out = np.zeros(mask.shape, dtype=bool)
    if mask.any():
        box = bounding_box(mask)
        labels, _ = ndimage.label(mask[box])
        out[box] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return out
