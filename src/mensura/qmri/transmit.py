"""A transmit-field map on one grid → the smooth field on another, by the geometry of their headers."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from mensura.scan import FloatArray, Grid

WIDTH = 8.0
"""mm: B1 hardly changes over less; noise does."""
LEAST = 0.05
"""Share of a neighbourhood that must have a value."""


def onto(b1: FloatArray, source: Grid, target: Grid, width: float = WIDTH) -> FloatArray:
    """B1 (NaN or 0 where unknown) on its grid → B1 on the target grid, smoothed to `width` (mm, full at half maximum).

    Unknown voxels do not count, so that the mask's edge does not pull; where nothing is known within reach, NaN.
    """
    known = np.isfinite(b1) & (b1 > 0)
    sigma = [width / 2.355 / h for h in source.voxel_size]
    total = gaussian_filter(np.where(known, b1, 0).astype(np.float32), sigma, truncate=3)
    count = gaussian_filter(known.astype(np.float32), sigma, truncate=3)
    if not source.matches(target):
        to_source = np.linalg.inv(source.affine) @ target.affine
        at = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in target.shape), indexing="ij"))
        at = np.einsum("ij,j...->i...", to_source[:3, :3], at) + to_source[:3, 3, None, None, None]
        total, count = (map_coordinates(a, at, order=1, mode="constant") for a in (total, count))
    field: FloatArray = np.where(count > LEAST, total / np.maximum(count, np.float32(LEAST)), np.nan)
    return field.astype(np.float32)
