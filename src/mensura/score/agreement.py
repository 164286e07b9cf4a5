"""Two maps and a mask → one number: errors, correlation, coverage. Every voxel of the mask must have a value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.scan import ScanError

Values = NDArray[np.float64]


def nrmse(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps of one unit and a mask → normalised root-mean-square error over the mask, demeaned, in %.

    100·‖(e − ē) − (t − t̄)‖₂ / ‖t − t̄‖₂, means over the mask: an offset, which a susceptibility map leaves
    open, costs nothing; a map of zeros scores 100. State the coverage beside it. ScanError for maps of
    different shape, an empty mask, a constant truth, or voxels of the mask without a value (erode the mask,
    or let `susceptibility` leave them out and count them). DOI 10.1002/mrm.28754.
    """
    e, t = _centred(estimate, truth, mask)
    return 100 * norm(e - t) / norm(t)


def nrmse_detrended(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → the demeaned NRMSE (%) of the estimate divided by its slope against the truth.

    100·‖(e − ē)/s − (t − t̄)‖₂ / ‖t − t̄‖₂ with s = Σ(e − ē)(t − t̄) / Σ(t − t̄)², which equals 100·√(1/r² − 1)
    for a correlation r: neither offset nor scale costs anything. Infinite where s ≤ 0. The line is fitted
    to the estimate as a function of the truth and then inverted, as in the second reconstruction challenge
    (DOI 10.1002/mrm.28754), which however inverts a negative slope too, so that −t would score 0.
    """
    e, t = _centred(estimate, truth, mask)
    slope = float(e @ t) / float(t @ t)
    return 100 * norm(e / slope - t) / norm(t) if slope > 0 else float("inf")


def rmse(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → √mean(e − t)², in the unit of the maps; nothing is demeaned."""
    e, t = inside(estimate, truth, mask)
    return float(np.sqrt(np.mean((e - t) ** 2)))


def bias(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → mean(e − t), in the unit of the maps."""
    e, t = inside(estimate, truth, mask)
    return float(np.mean(e - t))


def correlation(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → Pearson's correlation; ScanError where one of them is constant."""
    e, t = _centred(estimate, truth, mask)
    if np.ptp(e) == 0:
        raise ScanError("the estimate is constant over the mask, so that no correlation can be given")
    return float(np.clip(e @ t / (norm(e) * norm(t)), -1, 1))


def coverage(mask_estimate: ArrayLike, mask: ArrayLike) -> float:
    """Mask of the voxels that have a value, mask of those that should → the share that has one, in %."""
    found, asked = np.asarray(mask_estimate, bool), np.asarray(mask, bool)
    if found.shape != asked.shape:
        raise ScanError(f"masks of shapes {found.shape} and {asked.shape} cannot be compared")
    if not asked.any():
        raise ScanError("the mask is empty; give another mask, so that its coverage can be stated")
    return 100 * float(np.count_nonzero(found & asked)) / float(np.count_nonzero(asked))


def inside(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> tuple[Values, Values]:
    """Two maps and a mask → their values inside it, float64; ScanError where one has none."""
    e, t, chosen = np.asarray(estimate), np.asarray(truth), np.asarray(mask, bool)
    if not e.shape == t.shape == chosen.shape:
        raise ScanError(
            f"maps of shapes {e.shape} and {t.shape} and a mask of {chosen.shape} cannot be compared; "
            "bring them to one grid"
        )
    if not chosen.any():
        raise ScanError("the mask is empty, so that no error can be given")
    e, t = e[chosen].astype(np.float64), t[chosen].astype(np.float64)
    if not (np.isfinite(e).all() and np.isfinite(t).all()):
        raise ScanError(
            "some voxels of the mask have no value; score over those that have one, with coverage"
        )
    return e, t


def _centred(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> tuple[Values, Values]:
    e, t = inside(estimate, truth, mask)
    if np.ptp(t) == 0:
        raise ScanError("the truth is constant over the mask, so that no relative error can be given")
    return e - e.mean(), t - t.mean()


def norm(values: Values) -> float:
    """Root of the sum of squares."""
    return float(np.linalg.norm(values))
