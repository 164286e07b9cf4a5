"""Inversion with total variation as the prior."""

from __future__ import annotations

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.dipole.local import Local
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def tv(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Weight = 1e-4,
    tol: Tolerance = 1.5e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, piecewise constant.

    Minimises ½‖W (d∗χ − f)‖² + λ ‖∇χ‖₁ over χ supported in the mask, W the inverse error of the field (median 1),
    gradients per mm, λ = `weight` × error / 1 ppb. The error includes what no voxel resolves: a fifth of the field's
    spread among a voxel's neighbours (see `mensura.qsm.weights`). The default suits simulated heads of 1 to 3 mm.
    Bilgic et al. 2014, doi:10.1002/mrm.25029. Differs from the paper in the weights, the support and the scale of λ.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    return data.invert(Prior(), weight, (tol, max_iter), monitor)
