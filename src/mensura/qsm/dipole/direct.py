"""Inversions in closed form: one division in k-space. All leave the mean of χ free (see reference)."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.inverse.operators import difference_spectrum
from mensura.methods import Tunable
from mensura.qsm import kernels
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

PADDING = 0.3
"""Zero margin as a share of the volume's size: the dipole's field falls with the cube of the distance."""


@on_box
def tkd(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    threshold: Annotated[
        float, Tunable("1", "kernel values below this are replaced by it, sign kept")
    ] = 0.15,
) -> FloatArray:
    """Local field (ppm) → χ (ppm), zero outside the mask: thresholded k-space division, scaled to the true size.

    χ̂ = f̂ / sign(D)·max(|D|, threshold), divided by the mean of D/D_threshold, which undoes the underestimation.
    Shmueli et al. 2009, doi:10.1002/mrm.22135; scaling: Schweser et al. 2013, doi:10.1002/mrm.24405.
    """
    shape, dipole = padded(grid)
    size = np.maximum(np.abs(dipole), np.float32(threshold))
    inverse: FloatArray = np.copysign(np.float32(1) / size, dipole)
    scaled: FloatArray = inverse / _mean(dipole * inverse, shape[2])
    return _divide(local_field, mask, scaled, shape)


@on_box
def tikhonov(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    weight: Annotated[float, Tunable("1", "weight of the penalty")] = 0.01,
    penalty: Annotated[
        str, Tunable("", "what is kept small: identity (χ) or gradient (∇χ, per 1/mm)")
    ] = "identity",
) -> FloatArray:
    """Local field (ppm) → χ (ppm), zero outside the mask: argmin ‖D χ̂ − f̂‖² + weight·‖Γ χ̂‖² in closed form.

    χ̂ = D f̂ / (D² + weight·|Γ|²), Γ the identity or the gradient. ScanError for another penalty.
    Kressler et al. 2010, doi:10.1109/TMI.2009.2023787; Bilgic et al. 2014, doi:10.1002/mrm.25029.
    """
    shape, dipole = padded(grid)
    inverse = regularised_inverse(dipole, weight, penalty, grid, shape)
    return _divide(local_field, mask, inverse, shape)


def regularised_inverse(
    dipole: FloatArray, weight: float, penalty: str, grid: Grid, shape: tuple[int, int, int]
) -> FloatArray:
    """D / (D² + weight·|Γ|²) on the half spectrum, 0 where nothing is known."""
    if penalty not in ("identity", "gradient"):
        raise ScanError(f"the penalty {penalty!r} is unknown; choose identity or gradient")
    gamma = difference_spectrum(shape, grid.voxel_size) if penalty == "gradient" else np.float32(1)
    normal = dipole * dipole + np.float32(weight) * gamma
    return np.divide(dipole, normal, out=np.zeros_like(dipole), where=normal > 0)


def padded(grid: Grid) -> tuple[tuple[int, int, int], FloatArray]:
    """Padded transform size and the dipole kernel on it."""
    shape = fast_shape(grid.shape, [int(np.ceil(n * PADDING)) for n in grid.shape])
    return shape, kernels.dipole(shape, grid)


def _divide(
    field: FloatArray, mask: BoolArray, inverse: FloatArray, shape: tuple[int, int, int]
) -> FloatArray:
    data = np.where(mask & np.isfinite(field), field, np.float32(0))
    return crop(irfft(rfft(pad(data, shape)) * inverse, shape[2]), mask.shape) * mask


def _mean(spectrum: FloatArray, last_size: int) -> np.float32:
    """Mean over the whole spectrum of a half-stored real array."""
    double = np.full(spectrum.shape[2], 2.0)
    double[0] = 1
    if last_size % 2 == 0:
        double[-1] = 1
    return np.float32(
        (spectrum.sum(axis=(0, 1), dtype=np.float64) * double).sum() / (spectrum[:, :, 0].size * last_size)
    )
