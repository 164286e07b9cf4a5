"""The zero of susceptibility: only differences are measured, so a region must be said to be zero."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy.ndimage import binary_erosion, label

from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


def whole_mask(chi: FloatArray, mask: BoolArray, grid: Grid) -> tuple[FloatArray, BoolArray]:
    """χ (ppm) → χ whose mean over the mask is zero, and the region that it refers to (the mask).

    QSM consensus 2024, doi:10.1002/mrm.30006, recommendation 8.
    """
    return _refer(chi, mask, mask), mask


def region(
    chi: FloatArray, mask: BoolArray, grid: Grid, *, reference_region: BoolArray | None = None
) -> tuple[FloatArray, BoolArray]:
    """χ (ppm) → χ whose mean over `reference_region` is zero, and that region. ScanError without one in the mask."""
    if reference_region is None or not (reference_region & mask).any():
        raise ScanError(
            "the reference region is missing or has no voxel in the mask; give a mask of the region"
        )
    return _refer(chi, mask, reference_region & mask), reference_region & mask


def csf(
    chi: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    r2star: FloatArray | None = None,
    threshold: Annotated[float, Tunable("1/s", "largest R2* of cerebrospinal fluid")] = 5.0,
    depth: Annotated[float, Tunable("mm", "least distance from the mask's surface")] = 20.0,
) -> tuple[FloatArray, BoolArray]:
    """χ (ppm) and R2* (1/s) → χ whose mean over the ventricles' fluid is zero, and the region that was found.

    The largest parts with low R2*, away from the mask's surface and eroded by a voxel; every part at least a tenth
    of the largest counts. ScanError without an R2* map or without such a region.
    Liu et al. 2018, doi:10.1002/mrm.26946 (MEDI+0). Differs from the paper in that the region only sets the zero.
    """
    if r2star is None:
        raise ScanError(
            "the CSF reference needs an R2* map, so two echoes or more; choose reference whole_mask"
        )
    from scipy.ndimage import distance_transform_edt

    deep = distance_transform_edt(mask, sampling=grid.voxel_size) >= depth
    fluid = binary_erosion(deep & np.isfinite(r2star) & (r2star < threshold))
    parts, count = label(fluid)
    if count == 0:
        raise ScanError(
            f"no fluid with R2* below {threshold:g} 1/s was found deep in the mask; choose whole_mask"
        )
    sizes = np.bincount(parts.ravel())[1:]
    found = np.isin(parts, 1 + np.flatnonzero(sizes >= sizes.max() / 10))
    return _refer(chi, mask, found), found


def none(chi: FloatArray, mask: BoolArray, grid: Grid) -> tuple[FloatArray, BoolArray]:
    """χ (ppm) → the same χ, and the mask: the zero is wherever the inversion left it."""
    return chi.copy(), mask


def _refer(chi: FloatArray, mask: BoolArray, where: BoolArray) -> FloatArray:
    values = chi[where & np.isfinite(chi)]
    if not values.size:
        raise ScanError("no voxel of the reference region has a value; choose another region")
    return np.where(mask, chi - np.float32(values.mean(dtype=np.float64)), np.float32(0))
