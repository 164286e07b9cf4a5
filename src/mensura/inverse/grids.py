"""From a grid to the one with voxels of twice the size, and back: how a volume, and a filter, look there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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


def doubled(x: Array) -> Array:
    """Linear interpolation of a periodic volume (its last three axes) at voxels of half the size."""
    for axis in range(x.ndim - 3, x.ndim):
        near = np.float32(0.75) * x
        pair = [near + np.float32(0.25) * np.roll(x, shift, axis) for shift in (1, -1)]
        x = np.stack(pair, axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return x


def low_frequencies(filter_: Array, shape: Sequence[int]) -> Array:
    """A filter (half spectrum) of volumes of `shape`, all even → the same filter on voxels of twice the size."""
    rows = [np.rint(np.fft.fftfreq(n // 2, 2 / n)).astype(int) for n in shape[:2]]
    return np.ascontiguousarray(filter_[np.ix_(*rows, np.arange(shape[2] // 4 + 1))])
