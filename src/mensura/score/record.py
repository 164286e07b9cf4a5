"""What a score is, and which voxels enter it: those of the mask where the truth is known and the map has a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mensura.scan import BoolArray, ScanError
from mensura.score.agreement import Values, coverage

WHOLE = "mask"
"""The region that is the whole mask."""
Missing = Literal["excluded", "zero"]


@dataclass(frozen=True)
class Score:
    """One number: `value` in `unit` (NaN where it is not defined), of a `region` of the mask.

    `coverage` is the share (%) of the region's voxels that have a value; `voxels` is how many entered.
    """

    name: str
    value: float
    unit: str
    region: str
    coverage: float
    voxels: int


@dataclass(frozen=True, eq=False)
class Pair:
    """Two maps to compare: float64, `asked` where the truth is known, `valued` where the estimate has a value,
    `scored` the voxels that enter."""

    estimate: Values
    truth: Values
    asked: BoolArray
    valued: BoolArray
    scored: BoolArray

    @classmethod
    def of(
        cls,
        estimate: ArrayLike,
        truth: ArrayLike,
        mask: ArrayLike,
        *,
        valued: ArrayLike | None = None,
        missing: Missing = "excluded",
    ) -> Pair:
        """Two maps of one unit and a mask → the pair.

        A voxel has a value where the estimate is finite and lies in `valued`. `missing` says whether the
        others are left out or enter as 0. ScanError for shapes that differ or where nothing is left.
        """
        e, t, asked = np.array(estimate, float), np.array(truth, float), np.array(mask, bool)
        has = np.isfinite(e) if valued is None else np.isfinite(e) & np.asarray(valued, bool)
        if not e.shape == t.shape == asked.shape == has.shape:
            raise ScanError(
                f"maps of shapes {e.shape} and {t.shape} and a mask of {asked.shape} cannot be compared; "
                "bring them to one grid"
            )
        asked &= np.isfinite(t)
        if not asked.any():
            raise ScanError("the truth has no value inside the mask; give the mask of these maps")
        e[~has] = 0
        t[~asked] = 0
        pair = cls(e, t, asked, has, asked if missing == "zero" else asked & has)
        if not pair.scored.any():
            raise ScanError("the estimate has no value inside the mask; give the mask of these maps")
        return pair

    def centred(self) -> Pair:
        """The same, each map less its mean over the scored voxels."""
        e, t = (values - values[self.scored].mean() for values in (self.estimate, self.truth))
        return replace(self, estimate=e, truth=t)

    def within(self, region: ArrayLike) -> Pair:
        """The same, with only the voxels of a region asked and scored."""
        chosen = np.asarray(region, bool)
        if chosen.shape != self.asked.shape:
            raise ScanError(f"a region of shape {chosen.shape} does not fit maps of {self.asked.shape}")
        return replace(self, asked=self.asked & chosen, scored=self.scored & chosen)

    def values(self) -> tuple[Values, Values, BoolArray]:
        """Estimate and truth of the scored voxels, and a mask for them that leaves none out."""
        e, t = self.estimate[self.scored], self.truth[self.scored]
        return e, t, np.ones(e.shape, bool)

    def score(self, name: str, unit: str, value: float, region: str = WHOLE) -> Score:
        """A number → the record of it."""
        share = coverage(self.valued, self.asked) if self.asked.any() else 0.0
        return Score(name, value, unit, region, share, int(np.count_nonzero(self.scored)))


def or_nan(function: Callable[..., float], *arguments: ArrayLike | Sequence[float]) -> float:
    """A metric and its arguments → its value; NaN where the metric is not defined there."""
    try:
        return float(function(*arguments))
    except ScanError:
        return float("nan")
