"""Inversion in two stages: absolute deviations find the voxels that do not fit, squares do the rest without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.dipole.local import Local, counted
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid

ROUGH = 2.0
"""Times the tolerance at which the first stage ends: whom to suspect is known early. 1, this, 3: the mean of six heads
is 26.5, 26.5, 26.6 %, in 60, 50, 45 iterations of both stages."""
SUSPICIOUS = 10.0
"""Errors: a misfit beyond this many of them counts less, in proportion; fewer take strong sources for mistakes."""


@on_box
def hd_qsm(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Weight = 1e-4,
    tol: Tolerance = 1.5e-2,
    max_iter: Most = 80,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, piecewise constant.

    First `l1_tv` with half the weight; then `tv` with the squared weights times min(1, 10 errors / misfit), from the
    misfit of the first. Each stage ends by itself; `monitor` counts on.
    Lambert et al. 2022, doi:10.1002/mrm.29218. Differs from the paper in the weights of the second stage, and as `tv`
    and `l1_tv` do.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    half = max_iter // 2
    rough = (ROUGH * tol, half)
    first = data.invert(Prior(), weight / 2, rough, counted(monitor, 0, max_iter), loss="l1")
    misfit = np.abs(data.misfit(first)) * np.sqrt(data.weight)
    limit = np.float32(SUSPICIOUS * data.noise)
    doubt = np.maximum(misfit / limit, 1) if limit > 0 else np.float32(1)
    rest = replace(data, weight=data.weight / doubt)
    return rest.invert(Prior(), weight, (tol, max_iter - half), counted(monitor, half, max_iter))
