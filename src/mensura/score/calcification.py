"""Susceptibility around a calcification: its moment, and the streaks that it throws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mensura.scan import BoolArray, ScanError, bounding_box
from mensura.score.agreement import Values

CUBE, RIM, SHELL = 3, 7, 11
"""Voxels by which the boxes around the label are wider than it: holding it, of the streaks, of the threshold."""


@dataclass(frozen=True)
class Calcification:
    """`moment` and `true_moment` in ppm·mm³, and the `streaks` around it relative to its mean χ."""

    moment: float
    true_moment: float
    streaks: float


def calcification(
    estimate: ArrayLike,
    truth: ArrayLike,
    label: ArrayLike,
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    scored: ArrayLike | None = None,
) -> Calcification:
    """Two χ maps (ppm), the mask of one calcification, voxel size (mm) → its moments and its streaks.

    Boxes around the label, wider by 3, 7 and 11 voxels on each side. A voxel of the inner box is calcified
    where it is below every voxel of the outer box beyond it, and below 0: moment = Σχ·(volume of a voxel).
    The truth's moment is found in the same way, so that a perfect map has its moment. Streaks = standard
    deviation, in the middle box beyond the inner one, of the residual of the line fitted to the estimate
    against the truth, over |mean χ| of the calcified voxels; infinite where none is found. Only `scored`
    voxels enter. DOI 10.1002/mrm.28754, whose threshold goes in steps of 0.01 ppm. ScanError where the
    label is empty, or hardly anything around it is scored.
    """
    e, t, marked = np.asarray(estimate, float), np.asarray(truth, float), np.asarray(label, bool)
    known = np.isfinite(e) & np.isfinite(t) & (True if scored is None else np.asarray(scored, bool))
    cube, rim, shell = (_box(marked, margin) & known for margin in (CUBE, RIM, SHELL))
    rim, shell = rim & ~cube, shell & ~cube
    if not cube.any() or np.count_nonzero(rim) < 2:
        raise ScanError("too few voxels around the calcification have a value; give a larger mask")
    volume = float(np.prod(voxel_size))
    found, true = _calcified(e, cube, shell), _calcified(t, cube, shell)
    streaks = _residual(e[rim], t[rim]) / abs(float(found.mean())) if found.size else float("inf")
    return Calcification(volume * float(found.sum()), volume * float(true.sum()), streaks)


def _box(marked: BoolArray, margin: int) -> BoolArray:
    box = np.zeros(marked.shape, bool)
    box[bounding_box(marked, margin)] = True
    return box


def _calcified(values: Values, cube: BoolArray, shell: BoolArray) -> Values:
    inner = values[cube]
    return inner[inner < min(0.0, float(values[shell].min()))]


def _residual(e: Values, t: Values) -> float:
    """Standard deviation of what the line through (truth, estimate) leaves."""
    x, y = t - t.mean(), e - e.mean()
    slope = float(x @ y) / float(x @ x) if np.ptp(t) > 0 else 0.0
    return float(np.std(y - slope * x, ddof=1))
