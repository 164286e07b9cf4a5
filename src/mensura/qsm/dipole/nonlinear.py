"""Inversions of the phase itself, blind to whole turns, with variational priors (FANSI)."""

from __future__ import annotations

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.dipole.local import Local
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def nonlinear_tv(
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

    Minimises ½‖W (exp(i s d∗χ) − exp(i s f))‖²/s² + λ ‖∇χ‖₁, else as `tv`: a misfit counts less the nearer it comes to
    half a turn. s turns the phase of the largest field by π/2: a larger one takes a strong source for a weak one of
    another turn, and the map collapses around it.
    Milovic et al. 2018, doi:10.1002/mrm.27073. Differs from the paper in s, the weights, the support, and in Newton
    steps that are safe without a limit.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    return data.invert(Prior(), weight, (tol, max_iter), monitor, loss="phase")


@on_box
def nonlinear_tgv(
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

    The misfit of `nonlinear_tv` with the prior of `tgv`. Milovic et al. 2018, doi:10.1002/mrm.27073.
    """
    data = Local.measured(local_field, mask, grid, field_std)
    return data.invert(Prior(order=2), weight, (tol, max_iter), monitor, loss="phase")
