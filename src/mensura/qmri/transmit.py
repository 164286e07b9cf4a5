"""Transmit-field maps: what their values mean, and the smooth field on another grid, by the geometry of the headers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from mensura.scan import BoolArray, FloatArray, Grid, ScanError

WIDTH = 8.0
"""mm: B1 hardly changes over less; noise does."""
LEAST = 0.05
"""Share of a neighbourhood that must have a value."""
PERCENT = 10.0
"""A median B1 above this is in percent."""
LOWEST, HIGHEST = 0.2, 3.0
"""Between which the median of any B1 map lies."""


def relative(b1: FloatArray, name: str) -> tuple[FloatArray, list[str]]:
    """B1 around 1 or in percent (NaN where unknown) → B1 relative to nominal, and what is to be said of it.

    ScanError, naming the map, where its median can be neither.
    """
    typical = float(np.nanmedian(b1)) if np.isfinite(b1).any() else float("nan")
    if typical <= PERCENT:
        return believable(b1, name), []
    remark = f"the B1 map has a median of {typical:.3g}: taken as percent of nominal"
    return believable(b1 / np.float32(100), name), [remark]


def believable(b1: FloatArray, name: str, remedy: str = "") -> FloatArray:
    """B1 relative to nominal → the same. ScanError, naming the map, where its median is not that of a B1 map."""
    typical = float(np.nanmedian(b1)) if np.isfinite(b1).any() else float("nan")
    if not LOWEST < typical < HIGHEST:
        raise ScanError(
            f"{name}: B1 has a median of {typical:.3g} of nominal; "
            + (remedy or "give it relative to nominal (around 1), or in percent")
        )
    return b1.astype(np.float32)


def onto(b1: FloatArray, source: Grid, target: Grid, width: float = WIDTH) -> FloatArray:
    """B1 (NaN or 0 where unknown) on its grid → B1 on the target grid, smoothed to `width` (mm, full at half maximum).

    Unknown voxels do not count, so that the mask's edge does not pull; where nothing is known within reach, NaN.
    """
    known = np.isfinite(b1) & (b1 > 0)
    sigma = [width / 2.355 / h for h in source.voxel_size]
    total = gaussian_filter(np.where(known, b1, 0).astype(np.float32), sigma, truncate=3)
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


def _places(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Where each voxel of the target lies in the source's voxels: (3, x, y, z)."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in target.shape), indexing="ij"))
    places: NDArray[np.float64] = np.einsum("ij,j...->i...", to_source[:3, :3], at)
    return places + to_source[:3, 3, None, None, None]
