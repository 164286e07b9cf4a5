"""Inversion with total generalised variation as the prior."""

from __future__ import annotations

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.dipole.local import Local
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def tgv(
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
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, piecewise linear.

    As `tv`, with the prior min over v of ‖∇χ − v‖₁ + 2 voxels·‖E v‖₁, E the symmetrised gradient: slopes cost nothing,
    changes of slope do. Each linear step is exact, slopes included (closed form per frequency).
    Bredies et al. 2010, doi:10.1137/090769521.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    return data.invert(Prior(order=2), weight, (tol, max_iter), monitor)
