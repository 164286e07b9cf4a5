"""Spherical mean values: what a ball of each radius sees, and the largest ball that fits around each voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mensura.inverse.fft import Spectrum, crop, fast_shape, irfft, pad, rfft
from mensura.inverse.grids import halvings
from mensura.qsm import kernels
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

FITS = 0.999


def padded_shape(grid: Grid, radii: Sequence[float]) -> tuple[int, int, int]:
    """A fast transform size in which balls of the largest radius do not reach round the edges."""
    margin = [int(np.ceil(max(radii) / h)) + 1 for h in grid.voxel_size]
    return fast_shape(grid.shape, margin, halvings(grid.shape))


def available(radii: Sequence[float], grid: Grid) -> list[float]:
    """The radii (mm) from large to small; those shorter than a voxel are replaced by one that just spans it."""
    if not radii or min(radii) <= 0:
        raise ScanError(f"the radii {list(radii)} must be positive lengths in mm")
    smallest = 1.001 * float(np.mean(grid.voxel_size))
    return sorted({max(float(r), smallest) for r in radii}, reverse=True)


def shells(mask: BoolArray, balls: Sequence[FloatArray], shape: tuple[int, int, int]) -> list[BoolArray]:
    """For each ball (half spectra, large to small): the voxels around which it lies in the mask but no larger one."""
    spectrum = rfft(pad(mask.astype(np.float32), shape))
    left, found = mask.copy(), []
    for ball in balls:
        share = crop(irfft(spectrum * ball, shape[2]), mask.shape)
        found.append(left & (share > FITS))
        left &= ~found[-1]
    return found


def filtered(spectrum: Spectrum, ball: FloatArray, last_size: int) -> FloatArray:
    """Field (half spectrum) minus its mean over the ball: harmonic parts vanish (mean value property)."""
    return irfft(spectrum * (1 - ball), last_size)


def noise_gain(grid: Grid, radius: float) -> np.float32:
    """By how much δ − (mean over the ball) multiplies the variance of white noise."""
    filter_ = -kernels.ball_mean(grid.voxel_size, radius).astype(np.float64)
    filter_[tuple(n // 2 for n in filter_.shape)] += 1
    return np.float32(np.sum(filter_**2))


def balls(shape: tuple[int, int, int], grid: Grid, radii: Sequence[float]) -> list[FloatArray]:
    return [kernels.sphere(shape, grid.voxel_size, r) for r in radii]
