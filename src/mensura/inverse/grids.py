"""From a grid to a coarser one and back: how a volume, and a filter, look there.

The voxels become twice as long along the axes where they are short, so that they come near to cubes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
Steps = tuple[int, int, int]
"""Voxels of the fine grid to one of the coarse, along each axis: 2 or 1."""
HALVED_FROM = 32
"""Longest side, in voxels, from which a coarser grid is worth it: below, iterations settle large structures as well."""
LONG = 1.5
"""Voxels so many times as long as the shortest ones are left as they are."""


def halvings(shape: Sequence[int], padded: Sequence[int] = ()) -> int:
    """How many times a grid of this shape is worth halving, no more than the `padded` one allows."""
    worth = max(max(shape).bit_length() - HALVED_FROM.bit_length() + 1, 0)
    return min([worth, *((n & -n).bit_length() - 1 for n in padded)])


def steps(voxel_size: Sequence[float]) -> Steps:
    """2 along the axes whose voxels are among the short ones, else 1."""
    x, y, z = (2 if h < LONG * min(voxel_size) else 1 for h in voxel_size)
    return x, y, z


def halved(x: NDArray[np.generic], by: Steps = (2, 2, 2), outside: float = 0) -> Array:
    """Means over blocks of `by` voxels of the last three axes; odd ends are filled up with `outside`."""
    odd = [(0, 0)] * (x.ndim - 3) + [(0, n % s) for n, s in zip(x.shape[-3:], by, strict=True)]
    even = np.pad(x, odd, constant_values=outside) if any(n for _, n in odd) else x
    blocks = even.reshape(
        *even.shape[:-3], *(n for size, s in zip(even.shape[-3:], by, strict=True) for n in (size // s, s))
    )
    means: Array = blocks.mean(axis=(-5, -3, -1), dtype=np.float32)
    return means


def double(x: Array, out: Array) -> None:
    """out = a periodic volume (its last three axes) on the finer grid of `out`, interpolated linearly."""
    for coarse, fine in zip(x.reshape(-1, *x.shape[-3:]), out.reshape(-1, *out.shape[-3:]), strict=True):
        _double(coarse, fine)


@njit(cache=True, parallel=True)
def _double(x: Array, out: Array) -> None:
    near, far = np.float32(0.75), np.float32(0.25)
    nx, ny, nz = x.shape
    whole = nz == out.shape[2]
    for i in prange(out.shape[0]):
        a, b = _neighbours(i, nx, out.shape[0])
        plane = np.empty((ny, nz), np.float32)
        for j in range(ny):
            for k in range(nz):
                plane[j, k] = near * x[a, j, k] + far * x[b, j, k]
        row = np.empty(nz, np.float32)
        for j in range(out.shape[1]):
            c, d = _neighbours(j, ny, out.shape[1])
            for k in range(nz):
                row[k] = near * plane[c, k] + far * plane[d, k]
            if whole:
                out[i, j] = row
                continue
            for k in range(nz):
                out[i, j, 2 * k] = near * row[k] + far * row[k - 1]
                out[i, j, 2 * k + 1] = near * row[k] + far * row[(k + 1) % nz]


@njit(inline="always")
def _neighbours(i: int, coarse: int, fine: int) -> Any:
    """The coarse voxel that holds the fine one, and the next nearest."""
    at = np.int64(i)
    if coarse == fine:
        return at, at
    return at // 2, (at // 2 + (at % 2) * 2 - 1) % coarse


def low_frequencies(filter_: Array, shape: Sequence[int], by: Steps = (2, 2, 2)) -> Array:
    """A filter (half spectrum) of volumes of `shape`, which `by` divides → the same filter on the coarser grid."""
    x, y, z = (n // s for n, s in zip(shape, by, strict=True))
    rows = [np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in (x, y)]
    return np.ascontiguousarray(filter_[np.ix_(*rows, np.arange(z // 2 + 1))])
