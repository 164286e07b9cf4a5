"""From the total field to susceptibility in one step: background removal and inversion as one minimisation."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, pad, rfft
from mensura.methods import Monitor, Tunable
from mensura.qsm import kernels, smv, weights
from mensura.qsm.box import on_box
from mensura.qsm.variational import DataTerm, minimise
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


@on_box
def smv_tv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Annotated[
        tuple[float, ...], Tunable("mm", "radii of the spherical means, each used where it fits in the mask")
    ] = (16.0, 8.0, 4.0, 2.0),
    weight: Annotated[
        float, Tunable("1", "weight of the total variation at a field noise of 1 ppb; scales with the noise")
    ] = 1.5e-4,
    tol: Annotated[float, Tunable("1", "relative change that ends the iteration")] = 5e-3,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field and its standard deviation (ppm) → χ (ppm), zero outside the mask, its mean left free.

    Minimises ½ Σᵣ ‖Mᵣ W (Sᵣ∗d∗χ − Sᵣ∗f)‖² + λ ‖∇χ‖₁ over χ supported in the mask. Sᵣ = δ − (mean over a ball of
    radius r) annihilates the field of every source outside the ball (it is harmonic there), Mᵣ selects the voxels
    whose ball of radius r lies in the mask while no larger one does, d is the unit dipole, W the inverse noise
    of the filtered field.
    Nothing is deconvolved and every voxel keeps a value. Raises ScanError if no voxel has a ball inside the mask.

    Chatnuntawech et al. 2017, doi:10.1002/nbm.3570. Differs from the paper in the noise weights, the support
    constraint, total variation without magnitude priors, and λ, which is `weight` × the field's noise / 1 ppb.
    """
    trust = weights.squared(field_std, mask)
    field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
    sizes = smv.available(radii, grid)
    shape = smv.padded_shape(grid, sizes)
    balls = smv.balls(shape, grid, sizes)
    shells = smv.shells(mask, balls, shape)
    used = [i for i, shell in enumerate(shells) if shell.any()]
    if not used:
        raise ScanError(
            f"no ball of radius {sizes[-1]:g} mm fits in the mask; give a larger mask or smaller radii"
        )
    spectrum, dipole = rfft(pad(field, shape)), kernels.dipole(shape, grid)
    terms, merged = [], np.zeros(grid.shape, np.float32)
    for i in used:
        data = crop(smv.filtered(spectrum, balls[i], shape[2]), grid.shape)
        merged[shells[i]] = data[shells[i]]
        terms.append(
            DataTerm(dipole * (1 - balls[i]), data, trust * shells[i] / smv.noise_gain(grid, sizes[i]))
        )
    noise = weights.noise(field_std, np.logical_or.reduce(shells), merged)
    return minimise(
        terms,
        mask,
        grid,
        shape=shape,
        weight=weight,
        noise=noise,
        tol=tol,
        max_iter=max_iter,
        monitor=monitor,
    )
