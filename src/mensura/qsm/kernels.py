"""Convolution kernels of the forward model, as half spectra in physical frequencies: dipole and sphere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import frequencies, rfft
from mensura.scan import Grid

Array = NDArray[np.float32]


def dipole(shape: Sequence[int], grid: Grid) -> Array:
    """Half spectrum of the field along B0 of a voxel of unit susceptibility, averaged over voxels; 0 at k = 0.

    The continuous kernel is D(k) = 1/3 − (k·b)²/|k|². A voxel that is uniform, and a field that is averaged over
    voxels, see its aliases: Σₘ D(k + m/h)·sinc²((k + m/h)·h), here over the 27 nearest m, normalised. Without
    them the kernel jumps at the Nyquist planes of an oblique grid (model error there 30 % of the local field
    where this one has 19 %). The zero at the origin leaves the mean of χ free; the map is referenced afterwards.
    Salomir 2003 (10.1002/cmr.b.10083), Marques & Bowtell 2005 (10.1002/cmr.b.20034).
    """
    x, y, z = (f.ravel() for f in frequencies(shape, grid.voxel_size))
    kernel: Array = _voxel_dipole(x, y, z, np.array(grid.voxel_size), np.array(grid.b0_direction))
    kernel[0, 0, 0] = 0
    return kernel


@njit(cache=True, parallel=True)
def _voxel_dipole(x: Array, y: Array, z: Array, size: NDArray[np.float64], b: NDArray[np.float64]) -> Array:
    """The dipole kernel at frequencies x, y, z (1/mm), averaged over the 27 nearest aliases."""
    out = np.zeros((x.size, y.size, z.size), np.float32)
    wx, wy, wz = _alias_weights(x, size[0]), _alias_weights(y, size[1]), _alias_weights(z, size[2])
    for i in prange(x.size):
        for a in range(3):
            kx = x[i] + (a - 1) / size[0]
            for j in range(y.size):
                for c in range(3):
                    ky = y[j] + (c - 1) / size[1]
                    w = wx[i, a] * wy[j, c]
                    across, plane = kx * b[0] + ky * b[1], kx * kx + ky * ky
                    for e in range(3):
                        for k in range(z.size):
                            kz = z[k] + (e - 1) / size[2]
                            along = across + kz * b[2]
                            squared = plane + kz * kz
                            if squared > 0:
                                out[i, j, k] += w * wz[k, e] * (1 / 3 - along * along / squared)
    return out


@njit(cache=True)
def _alias_weights(k: Array, h: float) -> NDArray[np.float64]:
    """sinc² of the three nearest aliases along one axis, normalised to sum 1."""
    weight = np.zeros((k.size, 3))
    for i in range(k.size):
        for m in range(3):
            t = np.pi * (k[i] * h + m - 1)
            weight[i, m] = 1.0 if t == 0 else (np.sin(t) / t) ** 2
        weight[i] /= weight[i].sum()
    return weight


def sphere(shape: Sequence[int], voxel_size: Sequence[float], radius: float) -> Array:
    """Half spectrum of the mean over a ball of `radius` mm (voxels on the surface by the share inside; sum 1)."""
    ball = ball_mean(voxel_size, radius)
    kernel = np.zeros(tuple(shape), np.float32)
    reach = [n // 2 for n in ball.shape]
    index = np.ix_(*(np.arange(-r, r + 1) % n for r, n in zip(reach, shape, strict=True)))
    kernel[index] = ball
    return np.ascontiguousarray(rfft(kernel).real)


def ball_mean(voxel_size: Sequence[float], radius: float, samples: int = 5) -> Array:
    """The weights of the mean over a ball of `radius` mm, on a small centred array: positive, with sum 1.

    A field without sources has its own value as this mean if the weights' second moments are the same along all
    axes. A ball cut into long voxels has not: its weights are tilted until each moment is radius²/5, that of a ball.
    Where that is impossible (a ball hardly larger than a voxel) the six neighbours serve, with weights 1/h².
    """
    size = np.asarray(voxel_size, float)
    reach = np.maximum(np.ceil(radius / size - 0.5), 1).astype(int)
    fine = (np.arange(samples) - (samples - 1) / 2) / samples
    axes = [((np.arange(-r, r + 1)[:, None] + fine).ravel()) * h for r, h in zip(reach, size, strict=True)]
    inside = (
        axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2 <= radius**2
    )
    share = inside.reshape([n for r in reach for n in (2 * r + 1, samples)]).mean(axis=(1, 3, 5))
    squares = [((np.arange(-r, r + 1)) * h) ** 2 for r, h in zip(reach, size, strict=True)]
    return np.asarray(_isotropic(share, squares, radius**2 / 5, size), np.float32)


def _isotropic(
    share: NDArray[np.float64],
    squares: Sequence[NDArray[np.float64]],
    moment: float,
    size: NDArray[np.float64],
) -> NDArray[np.float64]:
    """`share` times a quadratic with sum 1 and the second `moment` along every axis, or else the six neighbours."""
    basis = np.stack([np.ones(share.shape), *np.broadcast_arrays(*np.ix_(*squares))])
    normal = np.einsum("axyz,bxyz,xyz->ab", basis, basis, share)
    if np.linalg.cond(normal) < 1e12:
        tilt = np.einsum("a,axyz->xyz", np.linalg.solve(normal, [1, moment, moment, moment]), basis)
        if tilt[share > 0].min() >= 0:
            return np.asarray(share * tilt)
    weights = np.zeros(share.shape)
    centre = np.array(share.shape) // 2
    for axis, h in enumerate(size):
        for step in (-1, 1):
            at = centre.copy()
            at[axis] += step
            weights[tuple(at)] = 0.5 / h**2 / np.sum(1 / size**2)
    return weights
