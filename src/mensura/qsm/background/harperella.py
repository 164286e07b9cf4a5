"""Background removal from the Laplacian of the field inside the mask."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, pad
from mensura.inverse.operators import difference_spectrum, fourier_multiplier
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, kernels, weights
from mensura.qsm.background.multigrid import harmonic_inside
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


@on_box
def harperella(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    radius: Annotated[float, Tunable("mm", "radius of the spheres whose means are made small")] = 3.0,
    padding: Annotated[float, Tunable("mm", "margin around the mask in which sources may lie")] = 20.0,
    tol: Annotated[float, Tunable("1", "relative residual that ends the iteration")] = 0.1,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 60,
    monitor: Monitor | None = None,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels that have a Laplacian.

    Only ρ = ∇²f inside the mask is taken from the field. The ρ outside is free, and such that the spherical means
    of the local field vanish inside as far as they can: min over ρ outside of ‖M S∗∇⁻²ρ‖², by conjugate
    gradients that end early, for the spherical means of tissue are not quite zero. Li et al. 2014,
    doi:10.1002/nbm.3056. Differs from the paper in that the total field is given, not its wrapped phase, and in
    the start: the ρ outside for which the local field vanishes on the rim.
    """
    field = weights.finite(np.where(mask, total_field, np.float32(0)), mask.astype(np.float32))
    interior = harmonic.interior(mask)
    if not interior.any():
        raise ScanError("the mask is too thin for a Laplacian anywhere; give a larger mask")
    shape = fast_shape(grid.shape, [int(np.ceil(2 * padding / h)) for h in grid.voxel_size])
    inside = pad(interior.astype(np.float32), shape)
    free = 1 - inside
    poisson = _inverse_laplacian(shape, grid)
    field_of = fourier_multiplier(poisson, shape[2])
    means = fourier_multiplier(poisson * kernels.sphere(shape, grid.voxel_size, radius), shape[2])
    start = field - harmonic_inside(field, interior, grid.voxel_size)
    known = _laplacian(pad(start, shape), grid)

    def normal(x: FloatArray) -> FloatArray:
        return free * means.adjoint(inside * means.forward(free * x))

    right = -free * means.adjoint(inside * means.forward(known))
    solution = conjugate_gradient(normal, right, tol=tol, max_iter=max_iter, monitor=monitor)
    local = crop(field_of.forward(known + free * solution.x), mask.shape)
    return np.ascontiguousarray(local * interior), interior


def _laplacian(field: FloatArray, grid: Grid) -> FloatArray:
    """∇²f (ppm/mm²) with six neighbours; what lies off the grid counts as 0."""
    couplings = (1 / np.square(grid.voxel_size)).astype(np.float32)
    return harmonic.neighbour_sum(field, couplings) - np.float32(2 * couplings.sum()) * field


def _inverse_laplacian(shape: tuple[int, int, int], grid: Grid) -> FloatArray:
    """Half spectrum of ∇⁻², 0 at the origin."""
    squared = difference_spectrum(shape, grid.voxel_size)
    return np.divide(-1, squared, out=np.zeros_like(squared), where=squared > 0)
