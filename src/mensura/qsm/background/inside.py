"""Background removal by finding the sources inside: what they explain stays, what no ball can tell is background."""

from __future__ import annotations

import numpy as np

from mensura.methods import Monitor
from mensura.qsm.box import on_box
from mensura.qsm.spherical import RADII, Most, Radii, Spherical, Tolerance, Weight
from mensura.qsm.uncertainty import explained_field
from mensura.qsm.variational import Prior
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def inside(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 5e-3,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> tuple[FloatArray, BoolArray]:
    """Total field and its standard deviation (ppm) → local field (ppm) and the mask (unchanged).

    χ is found in one step (see `smv_tv`); its field d∗χ is the local field, to which the part of f − d∗χ that differs
    from its mean over the largest ball in the mask is added: noise and detail that χ does not explain. No method
    that takes the field alone can tell the harmonic part of the local field from the background; the sources can.
    """
    chi = Spherical.means(total_field, mask, grid, field_std, radii).invert(
        Prior(), weight, (tol, max_iter), monitor
    )
    explained = explained_field(chi, mask, grid)
    rest = Spherical.means(total_field - explained, mask, grid, field_std, radii)
    return explained + np.where(rest.valued, rest.filtered, np.float32(0)), mask.copy()
