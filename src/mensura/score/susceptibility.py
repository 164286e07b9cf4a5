"""Everything that is said of a susceptibility map against its truth, as a list of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from mensura.scan import BoolArray, ScanError
from mensura.score.agreement import bias, correlation, nrmse, nrmse_detrended, rmse
from mensura.score.calcification import calcification
from mensura.score.calibration import calibration_scores
from mensura.score.record import WHOLE, Missing, Pair, Score, or_nan
from mensura.score.regions import Segmentation, rim_mask
from mensura.score.structure import gradient_error, hfen, xsim

REGIONAL: Mapping[str, tuple[Callable[..., float], str]] = {
    "nrmse": (nrmse, "%"),
    "nrmse_detrended": (nrmse_detrended, "%"),
    "rmse": (rmse, "ppm"),
    "bias": (bias, "ppm"),
    "correlation": (correlation, "1"),
}
"""What is said of every region: name → function and unit."""


def susceptibility(
    estimate: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike,
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    segmentation: Segmentation | None = None,
    std: ArrayLike | None = None,
    valued: ArrayLike | None = None,
    missing: Missing = "excluded",
    rim: float = 3.0,
) -> list[Score]:
    """Two χ maps (ppm), a mask, voxel size (mm) → all scores, each with its region and coverage.

    Regions are the mask, its rim (`rim` mm wide) and interior, and those of the segmentation; "deep-grey"
    and "calcification" among them have scores of their own. `std` is the reported standard deviation (ppm),
    `valued` a mask of the voxels that have a value (besides being finite), `missing` says whether the others
    are left out or enter as 0. The zero of χ is a convention: after `offset`, each map is taken less its mean
    over the scored voxels. ScanError where maps do not fit or nothing is left.
    """
    pair = Pair.of(estimate, truth, mask, valued=valued, missing=missing)
    scores = [pair.score("offset", "ppm", bias(*pair.values()))]
    pair = pair.centred()
    for name, region in _regions(np.asarray(mask, bool), voxel_size, segmentation, rim):
        part = pair.within(region)
        if part.asked.any():
            scores += _regional(part, name)
            scores += calibration_scores(part, std, name) if std is not None else ()
    scores += _structural(pair, voxel_size)
    scores += _by_label(pair, segmentation, voxel_size) if segmentation is not None else ()
    return scores


def linearity(
    estimate: ArrayLike, truth: ArrayLike, labels: ArrayLike, mask: ArrayLike, *, nuclei: Sequence[int]
) -> float:
    """Two χ maps, a segmentation, a mask, the labels of deep grey nuclei → |1 − slope| of their mean χ.

    The line is fitted by least squares to the nuclei's means, estimate against truth, one point for each
    nucleus that the mask holds. DOI 10.1002/mrm.28754. ScanError for fewer than two means that differ.
    """
    e, t, inside = np.asarray(estimate, float), np.asarray(truth, float), np.asarray(mask, bool)
    found = [where for n in nuclei if (where := inside & (np.asarray(labels) == n)).any()]
    x, y = (np.array([values[where].mean() for where in found]) for values in (t, e))
    if len(found) < 2 or np.ptp(x) == 0:
        raise ScanError("linearity needs two nuclei that differ; give the labels of more nuclei")
    x, y = x - x.mean(), y - y.mean()
    return abs(1 - float(x @ y) / float(x @ x))


def _regions(
    mask: BoolArray, voxel_size: Sequence[float], segmentation: Segmentation | None, rim: float
) -> Iterator[tuple[str, BoolArray]]:
    """Name and voxels of every region."""
    at_rim = rim_mask(mask, voxel_size, rim)
    yield from ((WHOLE, mask), ("interior", mask & ~at_rim), ("rim", at_rim))
    if segmentation is not None:
        yield from segmentation.masks()


def _regional(pair: Pair, region: str) -> Iterator[Score]:
    values = pair.values()
    for name, (function, unit) in REGIONAL.items():
        yield pair.score(name, unit, or_nan(function, *values), region)


def _structural(pair: Pair, voxel_size: Sequence[float]) -> Iterator[Score]:
    maps = (pair.estimate, pair.truth, pair.scored)
    yield pair.score("hfen", "%", or_nan(hfen, *maps))
    yield pair.score("xsim", "1", or_nan(xsim, *maps))
    yield pair.score("gradient_error", "%", or_nan(gradient_error, *maps, voxel_size))


def _by_label(pair: Pair, segmentation: Segmentation, voxel_size: Sequence[float]) -> Iterator[Score]:
    """The scores that only nuclei and calcifications have."""
    parts = {name: pair.within(region) for name, region in segmentation.masks()}
    if "deep-grey" in parts and parts["deep-grey"].asked.any():
        maps = (pair.estimate, pair.truth, segmentation.labels, pair.scored)
        value = or_nan(partial(linearity, nuclei=segmentation.groups["deep-grey"]), *maps)
        yield parts["deep-grey"].score("linearity_error", "1", value, "deep-grey")
    if "calcification" in parts and parts["calcification"].asked.any():
        yield from _calcification(pair, parts["calcification"], voxel_size)


def _calcification(pair: Pair, part: Pair, voxel_size: Sequence[float]) -> Iterator[Score]:
    """Moment and streaks; the voxels counted are those of the label."""
    try:
        found = calcification(pair.estimate, pair.truth, part.asked, voxel_size, scored=pair.scored)
    except ScanError:
        return
    error = abs(found.moment - found.true_moment)
    share = 100 * error / abs(found.true_moment) if found.true_moment else float("nan")
    yield part.score("moment_error", "ppm·mm³", error, "calcification")
    yield part.score("moment_error_relative", "%", share, "calcification")
    yield part.score("streaks", "1", found.streaks, "calcification")
