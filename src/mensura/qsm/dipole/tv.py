"""Inversion with total variation as the prior."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.methods import Monitor, Tunable
from mensura.qsm import weights
from mensura.qsm.box import on_box
from mensura.qsm.dipole.direct import padded
from mensura.qsm.variational import DataTerm, minimise
from mensura.scan import BoolArray, FloatArray, Grid


@on_box
def tv(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Annotated[
        float, Tunable("1", "weight of the total variation at a field noise of 1 ppb; scales with the noise")
    ] = 1.5e-4,
    tol: Annotated[float, Tunable("1", "relative change that ends the iteration")] = 1.5e-2,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask.

    Minimises ½‖W (d∗χ − f)‖² + λ ‖∇χ‖₁ over χ supported in the mask, W the inverse noise (median 1), gradients
    per mm, λ = `weight` × noise / 1 ppb; the noise includes a tenth of the field's own size.
    Bilgic et al. 2014, doi:10.1002/mrm.25029. Differs from the paper in the weights, the support and the scale of λ.
    """
    trust = weights.squared(field_std, mask)
    field = weights.finite(np.where(mask, local_field, np.float32(0)), trust)
    shape, dipole = padded(grid)
    noise = weights.noise(field_std, mask, field)
    return minimise(
        [DataTerm(dipole, field, trust)],
        mask,
        grid,
        shape=shape,
        weight=weight,
        noise=noise,
        tol=tol,
        max_iter=max_iter,
        monitor=monitor,
    )
