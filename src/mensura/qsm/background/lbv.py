"""Background removal as a boundary value problem."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, weights
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


@on_box
def lbv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    tol: Annotated[float, Tunable("1", "relative residual that ends the iteration")] = 1e-4,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 1000,
    monitor: Monitor | None = None,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask without its outermost voxels.

    The background solves Laplace's equation in the mask, with the total field as its value on the outermost
    voxels, where local sources are thus assumed to contribute nothing. Conjugate gradients on the 7-point
    Laplacian, in physical distances. Zhou et al. 2014, doi:10.1002/nbm.3064. Differs from the paper in the solver.
    """
    trust = mask.astype(np.float32)
    field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
    interior = harmonic.interior(trust > 0)
    if not interior.any():
        raise ScanError("the mask is too thin for a boundary and an interior; give a larger mask")
    couplings = (1 / np.square(grid.voxel_size)).astype(np.float32)
    boundary = np.where(interior, np.float32(0), field)
    right = harmonic.neighbour_sum(boundary, couplings) * interior

    def operator(x: FloatArray) -> FloatArray:
        return harmonic.negative_laplacian(x, interior, couplings)

    solution = conjugate_gradient(operator, right, tol=tol, max_iter=max_iter, monitor=monitor)
    return (field - solution.x) * interior, interior
