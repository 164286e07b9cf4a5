"""Total field inversion: susceptibility inside and outside the mask from the total field in one step."""

from __future__ import annotations

import numpy as np

from mensura.inverse.fft import pad
from mensura.methods import Monitor
from mensura.qsm import edges
from mensura.qsm.box import on_box
from mensura.qsm.single_step.unknown import Scene, Unknown, small
from mensura.qsm.variational import Most, Prior, Tolerance, Weight
from mensura.scan import BoolArray, FloatArray, Grid

SOURCE_PENALTY = 5e-4
"""ρ of the sources outside: sets the speed only. 1e-4 to 1e-3 are alike, 1e-5 and 1e-2 are slower (2 mm head)."""
SETTLE = 0.3
"""How much closer coarse grids come to the minimum. A strong source outside is found there, given time: 32.0 to
30.8 % for a head of 0.7×0.7×2 mm with one behind the cerebellum; without one no difference."""


@on_box
def tfi(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    magnitude: FloatArray | None = None,
    weight: Weight = 2e-4,
    tol: Tolerance = 1.2e-2,
    max_iter: Most = 60,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field, its standard deviation (ppm), magnitude → χ (ppm), zero outside the mask, its mean left free.

    Minimises ½‖W(d∗(χ + y) − f)‖² + λ‖G ∇χ‖₁ over χ in the mask and y outside of it, W the inverse error of each
    voxel (nearly 0 at the mask's surface), G ≤ 1 the smaller the more the magnitude changes (1 without it, see
    `mensura.qsm.edges.graded`), λ = `weight` × noise / 1 ppb. The sources y cost nothing, so that air and bone may be
    as strong as they are.
    Raises ScanError if no voxel has all its neighbours in the mask.

    Liu et al. 2017, doi:10.1002/mrm.26331. Differs from the paper in the solver: ADMM, which eliminates y frequency by
    frequency, from a start that Laplace's equation gives, where the paper needs a preconditioner. The data term is
    linear, so that strong sources do not wrap. y has no prior of its own.
    """
    scene = Scene.of(total_field, mask, grid, field_std)
    inside = pad(mask.astype(np.float32), scene.shape)
    forbidden = np.where(inside > 0, np.float32(np.inf), np.float32(0))
    ones = np.ones_like(scene.dipole)
    background = Unknown(kernel=scene.dipole, cost=small(ones, SOURCE_PENALTY, forbidden))
    prior = Prior(edges=edges.graded(magnitude, mask, grid))
    return scene.invert(background, prior, weight, (tol, max_iter), monitor, settle=SETTLE)
