"""Transmit-field maps: what their values mean, and the smooth field on another grid, by the geometry of the headers."""

from __future__ import annotations

import numpy as np

from mensura.qmri.resampled import carried
from mensura.scan import FloatArray, Grid, ScanError

WIDTH = 8.0
"""mm: B1 hardly changes over less; noise does."""
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
    return carried(b1, known, (source, target), [width / h for h in source.voxel_size])
