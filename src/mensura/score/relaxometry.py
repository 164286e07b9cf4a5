"""Everything that is said of a map of T1, T2, R2* … against its truth, as a list of scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from mensura.score.agreement import Values, bias, correlation, inside, rmse
from mensura.score.calibration import TWO_SIDED_95, calibration_scores
from mensura.score.record import WHOLE, Missing, Pair, Score, or_nan
from mensura.score.regions import Segmentation


def relaxometry(
    estimate: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike,
    unit: str = "",
    *,
    segmentation: Segmentation | None = None,
    std: ArrayLike | None = None,
    valued: ArrayLike | None = None,
    missing: Missing = "excluded",
) -> list[Score]:
    """Two maps of one `unit` and a mask → all scores, each with its region and coverage.

    For the mask and each region of the segmentation: bias and median error, bias in % of the truth, wSD and
    wCV, RMSE, correlation, limits of agreement. `std`, the reported standard deviation, adds errors in units
    of it; `valued` is a mask of the voxels that have a value (besides being finite), `missing` says whether
    the others are left out or enter as 0. ScanError where
    maps do not fit or nothing is left.
    """
    pair = Pair.of(estimate, truth, mask, valued=valued, missing=missing)
    regions = [(WHOLE, pair.asked), *(segmentation.masks() if segmentation is not None else ())]
    scores: list[Score] = []
    for name, region in regions:
        part = pair.within(region)
        if part.asked.any():
            scores += _regional(part, unit, name)
            scores += calibration_scores(part, std, name) if std is not None else ()
    return scores


def relative_bias(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → 100·mean((e − t)/t), in %; NaN where a truth is 0."""
    return float(100 * np.mean(_relative(*inside(estimate, truth, mask))))


def within_sd(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → standard deviation (n − 1) of e − t, in the unit of the maps: wSD.

    The within-subject standard deviation (DOI 10.1177/0962280214537344) with the voxels as subjects, each
    measured once and its true value known, the mean error taken off. NaN for a single voxel.
    """
    e, t = inside(estimate, truth, mask)
    return _spread(e - t)


def within_cv(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → 100·standard deviation of (e − t)/t, in %: wCV.

    As `within_sd`, each error over its own truth, so that mixed tissues may be pooled; where the truth is
    one number, it is 100·wSD/t. NaN where a truth is 0.
    """
    return 100 * _spread(_relative(*inside(estimate, truth, mask)))


def limits_of_agreement(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> tuple[float, float]:
    """Two maps and a mask → Bland and Altman's 95 % limits, bias ∓ 1.96·wSD. DOI 10.1016/S0140-6736(86)90837-8."""
    centre, half = bias(estimate, truth, mask), TWO_SIDED_95 * within_sd(estimate, truth, mask)
    return centre - half, centre + half


def _regional(pair: Pair, unit: str, region: str) -> Iterator[Score]:
    """The scores of one region; those in % over the voxels whose truth is not 0."""
    values = pair.values()
    lower, upper = limits_of_agreement(*values) if values[0].size else (float("nan"), float("nan"))
    yield pair.score("bias", unit, or_nan(bias, *values), region)
    yield pair.score("median_error", unit, or_nan(_median_error, *values), region)
    relative = pair.within(pair.truth != 0)
    yield relative.score("bias_relative", "%", or_nan(relative_bias, *relative.values()), region)
    yield pair.score("wsd", unit, or_nan(within_sd, *values), region)
    yield relative.score("wcv", "%", or_nan(within_cv, *relative.values()), region)
    yield pair.score("rmse", unit, or_nan(rmse, *values), region)
    yield pair.score("correlation", "1", or_nan(correlation, *values), region)
    yield pair.score("limit_lower", unit, lower, region)
    yield pair.score("limit_upper", unit, upper, region)


def _median_error(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    e, t = inside(estimate, truth, mask)
    return float(np.median(e - t))


def _relative(e: Values, t: Values) -> Values:
    relative: Values = np.divide(e - t, t, out=np.full(e.shape, np.nan), where=t != 0)
    return relative


def _spread(values: Values) -> float:
    return float(np.std(values, ddof=1)) if values.size > 1 else float("nan")
