"""From the total field to susceptibility in one step: spherical means inside the data term, any prior on χ."""

from __future__ import annotations

from mensura.methods import Monitor
from mensura.qsm import edges
from mensura.qsm.box import on_box
from mensura.qsm.spherical import RADII, Radii, Spherical
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def smv_tv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 1.2e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field and its standard deviation (ppm) → χ (ppm), zero outside the mask, its mean left free.

    Minimises ½ Σᵣ ‖Mᵣ W (Sᵣ∗d∗χ − Sᵣ∗f)‖² + λ ‖∇χ‖₁ over χ supported in the mask. Sᵣ = δ − (mean over a ball of
    radius r) annihilates the field of every source outside the ball (it is harmonic there), Mᵣ selects the voxels
    whose ball of radius r lies in the mask while no larger one does, d is the unit dipole, W the inverse noise
    of the filtered field. The smallest ball spans one voxel, so only the outermost voxels are without data of their
    own. Nothing is deconvolved and every voxel keeps a value. Raises ScanError if no voxel has a ball in the mask.

    Chatnuntawech et al. 2017, doi:10.1002/nbm.3570. Differs from the paper in the noise weights, the support
    constraint, total variation without magnitude priors, and λ, which is `weight` × the field's noise / 1 ppb.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    return data.invert(Prior(), weight, (tol, max_iter), monitor)


@on_box
def smv_tgv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 1e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field and its standard deviation (ppm) → χ (ppm), zero outside the mask: as `smv_tv`, with slopes for free.

    The prior is total generalised variation of second order: min over v of Σ|∇χ − v| + 2 voxels·|E v|, E the
    symmetric gradient. Bredies et al. 2010, doi:10.1137/090769521.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    return data.invert(Prior(order=2), weight, (tol, max_iter), monitor)


@on_box
def smv_medi(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    magnitude: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 1e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field, its standard deviation (ppm), magnitude → χ (ppm), zero outside the mask: as `smv_tv`, with edges.

    A step of χ costs the less the more the magnitude changes there (see `mensura.qsm.edges.graded`), 1 without it.
    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082. Differs from that method in graded edges, and in one step.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    prior = Prior(edges=edges.graded(magnitude, mask, grid))
    return data.invert(prior, weight, (tol, max_iter), monitor)
