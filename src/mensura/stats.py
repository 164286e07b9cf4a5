"""How far an estimate is from the truth, and over how much of the mask it has a value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.scan import ScanError


def nrmse(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps of one unit and a mask → normalised root-mean-square error over the mask, demeaned, in %.

    100·‖(e − ē) − (t − t̄)‖₂ / ‖t − t̄‖₂, means over the mask: an offset, which a susceptibility map leaves
    open, costs nothing; a map of zeros scores 100. State the coverage beside it. ScanError for maps of
    different shape, an empty mask, a constant truth, or voxels of the mask without a value (erode the mask,
    or take `estimated` as the mask).
    """
    e, t = _inside(estimate, truth, mask)
    if not np.isfinite(e).all() or not np.isfinite(t).all():
        raise ScanError(
            "some voxels of the mask have no value; score over those that have one, with coverage"
        )
    t = t - t.mean()
    scale = float(np.linalg.norm(t))
    if scale == 0:
        raise ScanError("the truth is constant over the mask, so that no relative error can be given")
    return 100 * float(np.linalg.norm(e - e.mean() - t)) / scale


def coverage(mask_estimate: ArrayLike, mask: ArrayLike) -> float:
    """Mask of the voxels that have a value, mask of those that should → the share that has one, in %."""
    found, asked = np.asarray(mask_estimate, bool), np.asarray(mask, bool)
    if found.shape != asked.shape:
        raise ScanError(f"masks of shapes {found.shape} and {asked.shape} cannot be compared")
    if not asked.any():
        raise ScanError("the mask is empty; give another mask, so that its coverage can be stated")
    return 100 * float(np.count_nonzero(found & asked)) / float(np.count_nonzero(asked))


def _inside(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    e, t, chosen = np.asarray(estimate), np.asarray(truth), np.asarray(mask, bool)
    if not e.shape == t.shape == chosen.shape:
        raise ScanError(
            f"maps of shapes {e.shape} and {t.shape} and a mask of {chosen.shape} cannot be compared"
        )
    if not chosen.any():
        raise ScanError("the mask is empty, so that no error can be given")
    return e[chosen].astype(np.float64), t[chosen].astype(np.float64)
