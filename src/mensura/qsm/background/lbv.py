"""Background removal as a boundary value problem."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy.ndimage import binary_erosion

from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, weights
from mensura.qsm.background.multigrid import harmonic_inside
from mensura.qsm.background.sharp import Order
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


@on_box
def lbv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    peel: Annotated[
        int, Tunable("voxels", "layers taken off the mask before its rim gives the boundary")
    ] = 0,
    order: Order = 4,
    tol: Annotated[float, Tunable("1", "relative residual that ends the iteration")] = 1e-4,
    max_iter: Annotated[int, Tunable("1", "most multigrid cycles")] = 30,
    monitor: Monitor | None = None,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask without its outermost voxels.

    The background solves Laplace's equation in the mask, with the total field as its value on the outermost
    voxels, where local sources are thus assumed to contribute nothing. What veins on the surface feed in all the
    same is smooth inside, and leaves with the solid harmonics up to `order`. 7-point Laplacian in physical
    distances. Zhou et al. 2014, doi:10.1002/nbm.3064. Differs from the paper in the solver (multigrid cycles) and
    in those harmonics.
    """
    field = weights.finite(np.where(mask, total_field, np.float32(0)), mask.astype(np.float32))
    peeled = binary_erosion(mask, iterations=peel) if peel > 0 else mask
    interior = harmonic.interior(peeled)
    if not interior.any():
        raise ScanError("the mask is too thin for a boundary and an interior; give a larger mask")
    background = harmonic_inside(
        field, interior, grid.voxel_size, tol=tol, max_iter=max_iter, monitor=monitor
    )
    local = harmonic.without_low_orders((field - background) * interior, interior, grid, order)
    return local, interior
