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


@njit(cache=True, parallel=True, error_model="numpy")
def _voxel_dipole(x: Array, y: Array, z: Array, size: NDArray[np.float64], b: NDArray[np.float64]) -> Array:
    """The dipole kernel at frequencies x, y, z (1/mm), averaged over the 27 nearest aliases.

    Aliases and weights are the same at ±x and ±y; only the signs in k·b differ. So each quarter of the half spectrum
    is written from the moments Σ w kz^p/|k|² of the first, p = 0, 1, 2.
    """
    nx, ny, nz = x.size, y.size, z.size
    out = np.empty((nx, ny, nz), np.float32)
    wx, wy, wz = _alias_weights(x, size[0]), _alias_weights(y, size[1]), _alias_weights(z, size[2])
    kz = np.stack((z - 1 / size[2], z + 0 / size[2], z + 1 / size[2])).astype(np.float32)
    weights = np.ascontiguousarray(wz.T).astype(np.float32)
    for i in prange(nx // 2 + 1):
        row, opposite_i = np.empty((4, nz), np.float32), (nx - i) % nx
        for j in range(ny // 2 + 1):
            opposite_j = (ny - j) % ny
            row[:] = np.float32(1 / 3)
            for a in range(3):
                kx = x[i] + (a - 1) / size[0]
                for c in range(3):
                    ky = y[j] + (c - 1) / size[1]
                    _add_aliases(row, kz, weights, (kx, ky, wx[i, a] * wy[j, c]), b)
            # the mirrored rows first: those on the Nyquist plane are their own mirror and keep the sign they have
            out[opposite_i, opposite_j] = row[3]
            out[opposite_i, j] = row[2]
            out[i, opposite_j] = row[1]
            out[i, j] = row[0]
    return out


@njit(cache=True, error_model="numpy")
def _add_aliases(
    row: Array, kz: Array, wz: Array, alias: tuple[float, float, float], b: NDArray[np.float64]
) -> None:
    """Subtract (k·b)²/|k|² of three aliases along z, at (kx, ky), (kx, −ky), (−kx, ky) and (−kx, −ky)."""
    kx, ky, weight = alias
    plane, w = np.float32(kx * kx + ky * ky + 1e-30), np.float32(weight)
    same, other = np.float32(kx * b[0] + ky * b[1]), np.float32(kx * b[0] - ky * b[1])
    along, across = np.float32(b[2] * b[2]), np.float32(2 * b[2])
    for k in range(kz.shape[1]):
        low, mid, high = kz[0, k], kz[1, k], kz[2, k]
        q0 = w * wz[0, k] / (plane + low * low)
        q1 = w * wz[1, k] / (plane + mid * mid)
        q2 = w * wz[2, k] / (plane + high * high)
        first = q0 * low + q1 * mid + q2 * high
        zero, square = q0 + q1 + q2, along * (q0 * low * low + q1 * mid * mid + q2 * high * high)
        row[0, k] -= same * (same * zero + across * first) + square
        row[1, k] -= other * (other * zero + across * first) + square
        row[2, k] -= other * (other * zero - across * first) + square
        row[3, k] -= same * (same * zero - across * first) + square


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
