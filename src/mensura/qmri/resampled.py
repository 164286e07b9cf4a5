"""Maps on another grid, by the geometry of the headers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from mensura.scan import BoolArray, FloatArray, Grid

LEAST = 0.05
"""Share of a neighbourhood that must have a value."""
FWHM = 2.355
"""Full width at half maximum of a Gaussian, in standard deviations."""


def carried(
    values: FloatArray, known: BoolArray, grids: tuple[Grid, Grid], widths: Sequence[float]
) -> FloatArray:
    """Values where they are known, their grid and another, widths (voxels of the first) → smoothed, on the other.

    Unknown voxels do not count, so that their edge does not pull; where nothing is known within reach, NaN. `widths`
    are full at half maximum.
    """
    source, target = grids
    sigma = [width / FWHM for width in widths]
    total = gaussian_filter(np.where(known, values, 0).astype(np.float32), sigma, truncate=3)
    count = gaussian_filter(known.astype(np.float32), sigma, truncate=3)
    if not source.matches(target):
        at = _places(source, target)
        total, count = (map_coordinates(a, at, order=1, mode="constant") for a in (total, count))
    field: FloatArray = np.where(count > LEAST, total / np.maximum(count, np.float32(LEAST)), np.nan)
    return field.astype(np.float32)


def coverage(source: Grid, target: Grid, mask: BoolArray) -> float:
    """Two grids, a mask on the target → the share of its voxels that lie in the field of view of the source."""
    edges = np.array(source.shape, np.float32)[:, None] - 0.5
    at = _places(source, target)[:, mask]
    return float(np.mean(((at >= -0.5) & (at <= edges)).all(axis=0))) if mask.any() else 0.0


def axes(source: Grid, target: Grid) -> NDArray[np.float64]:
    """The target's axes, a voxel long, in voxels of the source: (3, 3), a column each."""
    turned: NDArray[np.float64] = (np.linalg.inv(source.affine) @ target.affine)[:3, :3]
    return turned


def _places(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Where each voxel of the target lies in the source's voxels: (3, x, y, z)."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in target.shape), indexing="ij"))
    places: NDArray[np.float64] = np.einsum("ij,j...->i...", to_source[:3, :3], at)
    return places + to_source[:3, 3, None, None, None]
