"""From a grid to the one with voxels of twice the size, and back: how a volume, and a filter, look there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
HALVED_FROM = 32
"""Longest side, in voxels, from which a coarser grid is worth it: below, iterations settle large structures as well."""


def halvings(shape: Sequence[int], padded: Sequence[int] = ()) -> int:
    """How many times a grid of this shape is worth halving, no more than the `padded` one allows."""
    worth = max(max(shape).bit_length() - HALVED_FROM.bit_length() + 1, 0)
    return min([worth, *((n & -n).bit_length() - 1 for n in padded)])


def halved(x: NDArray[np.generic], outside: float = 0) -> Array:
    """Means over 2×2×2 voxels of the last three axes; odd ends are filled up with `outside`."""
    odd = [(0, 0)] * (x.ndim - 3) + [(0, n % 2) for n in x.shape[-3:]]
    even = np.pad(x, odd, constant_values=outside) if any(n for _, n in odd) else x
    nx, ny, nz = (n // 2 for n in even.shape[-3:])
    blocks = even.reshape(*even.shape[:-3], nx, 2, ny, 2, nz, 2)
    means: Array = blocks.mean(axis=(-5, -3, -1), dtype=np.float32)
    return means


def double(x: Array, out: Array) -> None:
    """out = a periodic volume (its last three axes) at voxels of half the size, interpolated linearly."""
    for coarse, fine in zip(x.reshape(-1, *x.shape[-3:]), out.reshape(-1, *out.shape[-3:]), strict=True):
        _double(coarse, fine)


@njit(cache=True, parallel=True)
def _double(x: Array, out: Array) -> None:
    near, far = np.float32(0.75), np.float32(0.25)
    nx, ny, nz = x.shape
    for i in prange(out.shape[0]):
        a, b = i // 2, (i // 2 + (i % 2) * 2 - 1) % nx
        plane = np.empty((ny, nz), np.float32)
        for j in range(ny):
            for k in range(nz):
                plane[j, k] = near * x[a, j, k] + far * x[b, j, k]
        row = np.empty(nz, np.float32)
        for j in range(out.shape[1]):
            c, d = j // 2, (j // 2 + (j % 2) * 2 - 1) % ny
            for k in range(nz):
                row[k] = near * plane[c, k] + far * plane[d, k]
            for k in range(nz):
                out[i, j, 2 * k] = near * row[k] + far * row[k - 1]
                out[i, j, 2 * k + 1] = near * row[k] + far * row[(k + 1) % nz]


def low_frequencies(filter_: Array, shape: Sequence[int]) -> Array:
    """A filter (half spectrum) of volumes of `shape`, all even → the same filter on voxels of twice the size."""
    rows = [np.rint(np.fft.fftfreq(n // 2, 2 / n)).astype(int) for n in shape[:2]]
    return np.ascontiguousarray(filter_[np.ix_(*rows, np.arange(shape[2] // 4 + 1))])
