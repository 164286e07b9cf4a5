"""Two-level inversion: strong sources first, then the rest of the field without theirs (in the manner of STAR-QSM)."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.methods import Monitor, Tunable
from mensura.qsm import weights
from mensura.qsm.box import on_box
from mensura.qsm.dipole.tv import tv
from mensura.qsm.uncertainty import explained_field
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

FIRST = 3.0
"""Weight of the total variation at the first level, as a multiple of that at the second."""
UNEXPLAINED = 0.03
"""Share of a strong source's field that its estimate leaves: its rim lies somewhere inside the voxels."""


@on_box
def star(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Annotated[
        float, Tunable("1", "weight of the total variation at a field noise of 1 ppb; scales with the noise")
    ] = 1e-4,
    strong: Annotated[
        float, Tunable("1", "times the typical |χ| of the map beyond which a source is strong")
    ] = 10.0,
    tol: Annotated[float, Tunable("1", "relative change that ends each level")] = 1.5e-2,
    max_iter: Annotated[int, Tunable("1", "most iterations of each level")] = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, strong sources before weak ones.

    χ₁ = `tv` of the field with three times the weight; strong is what differs from its median by `strong` robust
    standard deviations. χ = strong part + `tv` of what remains of the field without the strong part's, in which a
    standard deviation of 3 % of the strong field is added to the noise: no such estimate explains the field beside a
    haemorrhage better, and what it leaves would streak. Nothing strong: χ = `tv` of the field. ScanError for a
    `strong` that is not positive.
    Wei et al. 2015, doi:10.1002/nbm.3383. Differs from the paper in the prior (TV of χ), in what is strong,
    and in the second level's weights. On digital heads the error is that of `tv` within 0.5 points, with 4 to 11 %
    fewer streaks around a calcification.
    """
    if strong <= 0:
        raise ScanError(f"sources are strong beyond a positive multiple of the typical |χ|, not {strong:g}")
    field = np.where(mask, local_field, np.float32(0)).astype(np.float32)
    first = tv(field, mask, grid, field_std=field_std, weight=FIRST * weight, tol=tol, max_iter=max_iter)
    source = _strong(first, mask, strong)
    std = field_std
    if source.any():
        theirs = explained_field(source, mask, grid)
        field, std, change = _without(field, theirs, mask, field_std)
        weight *= change
    rest = tv(field, mask, grid, field_std=std, weight=weight, tol=tol, max_iter=max_iter, monitor=monitor)
    return source + rest


def _strong(chi: FloatArray, mask: BoolArray, strong: float) -> FloatArray:
    """χ where it differs from its median by more than `strong` robust standard deviations, less the median; else 0."""
    centred = chi - np.median(chi[mask])
    typical = 1.4826 * np.median(np.abs(centred[mask]))
    return np.where(mask & (np.abs(centred) > strong * typical), centred, np.float32(0))


def _without(
    field: FloatArray, theirs: FloatArray, mask: BoolArray, field_std: FloatArray | None
) -> tuple[FloatArray, FloatArray, float]:
    """Field less that of the strong sources, its standard deviation, and what keeps λ that of the whole field."""
    before = weights.noise(field_std, mask, np.nan_to_num(field))
    known = np.full(field.shape, before, np.float32) if field_std is None else field_std
    std = np.hypot(known, np.float32(UNEXPLAINED) * np.abs(theirs)).astype(np.float32)
    std[~(known > 0)] = 0
    rest = field - theirs
    return rest, std, before / weights.noise(std, mask, np.nan_to_num(rest))
