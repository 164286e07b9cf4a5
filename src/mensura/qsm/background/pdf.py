"""Background removal by projection onto the fields of dipoles outside the mask."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, pad
from mensura.inverse.operators import fourier_multiplier
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm import kernels, weights
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


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
