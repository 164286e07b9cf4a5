"""Convolution kernels of the forward model, as half spectra in physical frequencies: dipole and sphere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mensura.inverse.fft import frequencies, rfft
from mensura.scan import Grid

Array = NDArray[np.float32]


def dipole(shape: Sequence[int], grid: Grid) -> Array:
    """Half spectrum of the unit dipole's field along B0: 1/3 − (k·b)²/|k|², and 0 at k = 0.

    The zero at the origin leaves the mean of χ free; the map is referenced afterwards.
    Salomir 2003 (10.1002/cmr.b.10083), Marques & Bowtell 2005 (10.1002/cmr.b.20034).
    """
    kx, ky, kz = frequencies(shape, grid.voxel_size)
    bx, by, bz = grid.b0_direction
    squared = kx * kx + ky * ky + kz * kz
    squared[0, 0, 0] = 1
    along = np.float32(bx) * kx + np.float32(by) * ky + np.float32(bz) * kz
    kernel = np.float32(1 / 3) - along * along / squared
    kernel[0, 0, 0] = 0
    return kernel.astype(np.float32, copy=False)


def sphere(shape: Sequence[int], voxel_size: Sequence[float], radius: float) -> Array:
    """Half spectrum of the mean over a ball of `radius` mm (voxels on the surface by the share inside; sum 1)."""
    ball = ball_mean(voxel_size, radius)
    kernel = np.zeros(tuple(shape), np.float32)
    reach = [n // 2 for n in ball.shape]
    index = np.ix_(*(np.arange(-r, r + 1) % n for r, n in zip(reach, shape, strict=True)))
    kernel[index] = ball
    return np.ascontiguousarray(rfft(kernel).real)


def ball_mean(voxel_size: Sequence[float], radius: float, samples: int = 5) -> Array:
    """The weights of the mean over a ball of `radius` mm, on a small centred array."""
    size = np.asarray(voxel_size, float)
    reach = np.maximum(np.ceil(radius / size - 0.5), 0).astype(int)
    fine = (np.arange(samples) - (samples - 1) / 2) / samples
    axes = [((np.arange(-r, r + 1)[:, None] + fine).ravel()) * h for r, h in zip(reach, size, strict=True)]
    inside = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2 <= radius**2
    blocks = inside.reshape([n for r in reach for n in (2 * r + 1, samples)])
    share = blocks.mean(axis=(1, 3, 5))
    return (share / share.sum()).astype(np.float32)
