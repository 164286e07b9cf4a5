"""The dipole kernel of free space, built voxel by voxel, and linear convolution with it in little memory.

The doubled (zero-padded) volume is never held as a whole: its transform along x is taken for a few columns
at a time, since outside the source's slab everything is zero before and unwanted after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import ducc0
import numpy as np
from numpy.typing import NDArray

from mensura.inverse import fft
from mensura.phantom.threads import each
from mensura.scan import FloatArray, Grid

NEAR = 12.0
"""Up to this many longest voxel edges from a source its voxel is a cuboid; further out, a point dipole."""
COLUMNS = 32


def dipole_spectrum(grid: Grid) -> FloatArray:
    """Grid → transform of the real-space kernel on the grid padded to twice its size (real, as K is even)."""
    padded = padded_shape(grid)
    axes = [_offsets(n, size) for n, size in zip(padded, grid.voxel_size, strict=True)]
    near = [_near(n, size, max(grid.voxel_size)) for n, size in zip(padded, grid.voxel_size, strict=True)]
    cuboid = _cuboid([a[i] for a, i in zip(axes, near, strict=True)], grid)
    half = np.empty((padded[0] // 2 + 1, padded[1], padded[2] // 2 + 1), np.complex64)
    spectrum = np.empty((padded[0], *half.shape[1:]), np.float32)

    def plane(i: int) -> None:  # the kernel's other half is its mirror image: K(−r) = K(r)
        kernel = _point_dipole(axes[0][i], axes[1][:, None], axes[2][None, :], grid)
        if i <= near[0].size // 2:
            kernel[np.ix_(*near[1:])] = cuboid[near[0].size // 2 + i]
        _drop_unpaired(kernel, i, padded)
        ducc0.fft.r2c(kernel, axes=(0, 1), out=half[i])

    def columns(start: int, stop: int) -> None:
        ducc0.fft.c2r(half[:, start:stop], axes=(0,), lastsize=padded[0], out=spectrum[:, start:stop])

    each(plane, half.shape[0])
    _each_group(columns, padded[1])
    return spectrum


def convolve(source: FloatArray, spectrum: FloatArray, grid: Grid) -> FloatArray:
    """Sources (ppm) on the grid and the kernel of `dipole_spectrum` → field (ppm) by linear convolution."""
    (nx, ny, nz), (px, py, pz) = grid.shape, padded_shape(grid)
    planes = np.empty((nx, py, pz // 2 + 1), np.complex64)
    field = np.empty(grid.shape, np.float32)

    def forward(i: int) -> None:
        plane = np.zeros((py, pz), np.float32)
        plane[:ny, :nz] = source[i]
        ducc0.fft.r2c(plane, axes=(0, 1), out=planes[i])

    def across(start: int, stop: int) -> None:
        columns = np.zeros((px, stop - start, pz // 2 + 1), np.complex64)
        columns[:nx] = planes[:, start:stop]
        ducc0.fft.c2c(columns, axes=(0,), out=columns)
        columns *= spectrum[:, start:stop]
        ducc0.fft.c2c(columns, axes=(0,), forward=False, inorm=2, out=columns)
        planes[:, start:stop] = columns[:nx]

    def backward(i: int) -> None:
        plane = ducc0.fft.c2r(planes[i], axes=(0, 1), lastsize=pz, forward=False, inorm=2)
        field[i] = plane[:ny, :nz]

    each(forward, nx)
    _each_group(across, py)
    each(backward, nx)
    return field


def _each_group(work: Callable[[int, int], None], size: int) -> None:
    """The work on groups of `COLUMNS` columns, shared among threads; one transform is never cut (slabs.md)."""
    groups = range(0, size, COLUMNS)
    each(lambda g: work(groups[g], min(groups[g] + COLUMNS, size)), len(groups))


def padded_shape(grid: Grid) -> tuple[int, int, int]:
    """A fast transform size of at least twice the grid's, enough for a linear convolution."""
    return fft.fast_shape(grid.shape, grid.shape)


def _offsets(n: int, size: float) -> NDArray[np.float32]:
    return (np.fft.fftfreq(n, 1 / n) * size).astype(np.float32)


def _near(n: int, size: float, longest: float) -> NDArray[np.intp]:
    """Indices (negative ones wrapped) of the offsets along one axis whose voxel counts as a cuboid."""
    reach = min(int(np.ceil(NEAR * longest / size)), (n - 1) // 2)
    return np.arange(-reach, reach + 1) % n


def _drop_unpaired(plane: NDArray[np.float32], i: int, padded: Sequence[int]) -> None:
    """Zero where an even size has an offset without its mirror image; no two voxels are that far apart."""
    if padded[1] % 2 == 0:
        plane[padded[1] // 2] = 0
    if padded[2] % 2 == 0:
        plane[:, padded[2] // 2] = 0
    if 2 * i == padded[0]:
        plane[:] = 0


def _point_dipole(
    x: np.float32, y: NDArray[np.float32], z: NDArray[np.float32], grid: Grid
) -> NDArray[np.float32]:
    """V·(3cos²θ − 1)/(4πr³) at one x (mm) for a plane of y, z; the origin gets a finite number."""
    b = [np.float32(c) for c in grid.b0_direction]
    scale = np.float32(np.prod(grid.voxel_size) / (4 * np.pi))
    square = np.maximum(x * x + y * y + z * z, np.float32(1e-12))
    along = b[0] * x + b[1] * y + b[2] * z
    kernel: NDArray[np.float32] = scale * (3 * along * along / square - 1) / (square * np.sqrt(square))
    return kernel


def _cuboid(axes: Sequence[NDArray[np.float32]], grid: Grid) -> NDArray[np.float64]:
    """K = δ_r0/3 − b·N(r)·b of one magnetised voxel at the offsets `axes` (mm), in double precision."""
    b = grid.b0_direction
    centres = [np.asarray(a, np.float64) for a in axes]
    total = np.zeros([a.size for a in axes])
    for signs in product((-1, 1), repeat=3):
        corner = [a + s * v / 2 for a, s, v in zip(centres, signs, grid.voxel_size, strict=True)]
        x, y, z = np.ix_(*corner)
        r = np.sqrt(x * x + y * y + z * z)
        turns = ((x, y, z), (y, z, x), (z, x, y))
        diagonal = sum(b[i] ** 2 * _own(turn, r) for i, turn in enumerate(turns))
        mixed = b[0] * b[1] * _cross(z, x, y) + b[1] * b[2] * _cross(x, y, z) + b[0] * b[2] * _cross(y, x, z)
        total += np.prod(signs) * (diagonal - 2 * mixed)
    total /= -4 * np.pi
    total[tuple(int(np.flatnonzero(a == 0)[0]) for a in centres)] += 1 / 3
    return total


def _own(corner: Sequence[NDArray[np.float64]], r: NDArray[np.float64]) -> NDArray[np.float64]:
    """A corner's part in the diagonal element of its first axis."""
    p, q, s = corner
    return np.arctan(q * s / (p * r))


def _cross(along: NDArray[np.float64], p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """A corner's part in the mixed element of p and q (log(along + r), without its cancellation)."""
    return np.arcsinh(along / np.sqrt(p * p + q * q))
