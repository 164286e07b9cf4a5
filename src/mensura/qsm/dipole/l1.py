"""Inversion with absolute deviations as the misfit: a few wrong voxels count as a few, however wrong they are."""

from __future__ import annotations

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.dipole.local import Local
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def l1_tv(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Weight = 5e-5,
    tol: Tolerance = 1.5e-2,
    max_iter: Most = 60,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, piecewise constant.

    Minimises σ ‖W (d∗χ − f)‖₁ + λ ‖∇χ‖₁, σ the field's error, else as `tv`. A voxel pulls on the map as one does in
    `tv` whose misfit is its error; the default weight is half of that method's, as strong sources ask for.
    Milovic et al. 2022, doi:10.1002/mrm.28957. Differs from the paper in a misfit of the field, not of its phase, and
    in the weights, the support and the scale of λ.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    return data.invert(Prior(), weight, (tol, max_iter), monitor, loss="l1")
