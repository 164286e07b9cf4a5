"""What a susceptibility map implies, and how sure it is: the field it explains, and its standard deviation."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.methods import Tunable
from mensura.qsm import kernels
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


def explained_field(chi: FloatArray, mask: BoolArray, grid: Grid) -> FloatArray:
    """Susceptibility (ppm) → the field of these sources (ppm), f = d ∗ χ, zero outside the mask.

    d is the unit dipole; the volume is padded by half its size. Not-a-number counts as 0.
    """
    shape = _padded(grid)
    source = np.where(mask & np.isfinite(chi), chi, np.float32(0))
    return crop(irfft(rfft(pad(source, shape)) * kernels.dipole(shape, grid), shape[2]), mask.shape) * mask


def propagated(
    field_std: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    weight: Annotated[
        float, Tunable("1", "Tikhonov weight of the linear inverse that carries the noise")
    ] = 0.02,
) -> FloatArray:
    """Standard deviation of the field (ppm) → standard deviation of χ (ppm), zero outside the mask.

    Var χ = h² ∗ σ² for independent noise σ in each voxel, with the kernel h of the linear inverse
    D / (D² + weight). For a linear inversion with this kernel this is exact. The iterative methods are not linear:
    they are taken as this inverse, with a weight that gives the same noise as the default method on a digital head,
    where repeated noise was mapped. Errors of the model (background, motion) are not in it.

    ScanError if no voxel has a finite standard deviation.
    """
    known = mask & np.isfinite(field_std)
    if not known.any():
        raise ScanError(
            "the field's standard deviation is nowhere finite in the mask; leave it out or mend it"
        )
    most = np.quantile(field_std[known], 0.999)
    variance = np.where(known, np.minimum(field_std, most), np.where(mask, most, np.float32(0))) ** 2
    shape = _padded(grid)
    dipole = kernels.dipole(shape, grid)
    kernel = irfft((dipole / (dipole * dipole + np.float32(weight))).astype(np.complex64), shape[2])
    spread = irfft(rfft(kernel * kernel) * rfft(pad(variance.astype(np.float32), shape)), shape[2])
    return np.sqrt(np.maximum(crop(spread, mask.shape), 0)) * mask


def _padded(grid: Grid) -> tuple[int, int, int]:
    return fast_shape(grid.shape, [int(np.ceil(n / 2)) for n in grid.shape])
