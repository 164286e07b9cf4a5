"""Total field → local field: removing what sources outside the mask contribute."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.inverse.operators import fourier_multiplier
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import harmonic, kernels, smv, weights
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


@on_box
def vsharp(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radius: Annotated[float, Tunable("mm", "radius of the largest sphere")] = 12.0,
    step: Annotated[float, Tunable("mm", "from one radius to the next; the smallest spans one voxel")] = 1.0,
    threshold: Annotated[float, Tunable("1", "largest kernel value that is not inverted")] = 0.05,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels that have one.

    (δ − Sᵣ)∗f with the largest sphere Sᵣ that lies in the mask around each voxel, then deconvolved with the largest
    kernel where |1 − Ŝ| exceeds `threshold`. Voxels whose smallest sphere sticks out of the mask are lost.
    ScanError if none is left. Li et al. 2011, doi:10.1016/j.neuroimage.2010.11.088; Wu et al. 2012,
    doi:10.1002/mrm.23000.
    """
    sizes = smv.available(np.arange(radius, 0, -step).tolist(), grid)
    shape = smv.padded_shape(grid, sizes)
    balls = smv.balls(shape, grid, sizes)
    shells = smv.shells(mask, balls, shape)
    field = weights.finite(np.where(mask, total_field, np.float32(0)), np.zeros(mask.shape, np.float32))
    spectrum, merged = rfft(pad(field, shape)), np.zeros(shape, np.float32)
    window = merged[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    for ball, shell in zip(balls, shells, strict=True):
        if shell.any():
            window[shell] = crop(smv.filtered(spectrum, ball, shape[2]), mask.shape)[shell]
    kept = np.logical_or.reduce(shells)
    if not kept.any():
        raise ScanError("no sphere fits in the mask; give a larger mask or a smaller radius")
    largest = next(ball for ball, shell in zip(balls, shells, strict=True) if shell.any())
    kernel = 1 - largest
    inverse = np.divide(1, kernel, out=np.zeros_like(kernel), where=np.abs(kernel) > threshold)
    return crop(irfft(rfft(merged) * inverse, shape[2]), mask.shape) * kept, kept


@on_box
def pdf(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    padding: Annotated[float, Tunable("mm", "margin around the mask in which sources may lie")] = 40.0,
    tol: Annotated[
        float, Tunable("1", "relative residual of the normal equations that ends the iteration")
    ] = 1e-3,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 100,
    monitor: Monitor | None = None,
) -> Local:
    """Total field and its standard deviation (ppm) → local field (ppm) and the mask (unchanged).

    Projection onto dipole fields: min over χ outside the mask of ‖W M (f − d∗χ)‖², W the inverse noise, by
    conjugate gradients. Liu et al. 2011, doi:10.1002/nbm.1670.
    """
    trust = weights.squared(field_std, mask)
    field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
    if not np.count_nonzero(trust):
        raise ScanError("the total field has no finite value in the mask; check how it was made")
    shape = fast_shape(grid.shape, [int(np.ceil(2 * padding / h)) for h in grid.voxel_size])
    # a source's image across the periodic edge is kept away by half the padding on either side
    outside, trusted, data = (pad(x, shape) for x in (mask.astype(np.float32), trust, field))
    np.subtract(1, outside, out=outside)
    dipole = fourier_multiplier(kernels.dipole(shape, grid), shape[2])

    def normal(x: FloatArray) -> FloatArray:
        return outside * dipole.adjoint(trusted * dipole.forward(outside * x))

    right = outside * dipole.adjoint(trusted * data)
    solution = conjugate_gradient(normal, right, tol=tol, max_iter=max_iter, monitor=monitor)
    background = crop(dipole.forward(outside * solution.x), mask.shape)
    return (field - background) * mask, mask.copy()


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
