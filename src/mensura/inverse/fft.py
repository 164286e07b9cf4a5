"""Real Fourier transforms of volumes: ducc0, single precision, sizes padded to fast ones.

The number of threads is numba's (`numba.set_num_threads`), so that one switch rules the whole package.
The threads of ducc0 itself share the lines out so that some move between vector and scalar code, which round
differently. Here the volume is cut into the same slabs whatever the number of threads: the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import ducc0
import numba
import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.complex64]
SLABS = 16
LEAST = 8192
"""Voxels of a slab at least: below, sharing the work out costs more than the work."""


def rfft(x: NDArray[np.float32], out: Spectrum | None = None) -> Spectrum:
    """Real 3D volume → its half spectrum (last axis halved), unnormalised; written into `out` if given."""
    half = np.empty((*x.shape[:2], x.shape[2] // 2 + 1), np.complex64) if out is None else out

    def within(slab: slice) -> None:
        ducc0.fft.r2c(x[slab], axes=(1, 2), out=half[slab])

    def across(slab: slice) -> None:
        ducc0.fft.c2c(half[:, slab], axes=(0,), out=half[:, slab])

    _each_slab(within, x.shape[0], x.size)
    _each_slab(across, x.shape[1], x.size)
    return half


def irfft(spectrum: Spectrum, last_size: int, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Half spectrum → real 3D volume whose last axis has `last_size` voxels; the inverse of `rfft`.

    Without `out` the spectrum is left as it is; with it, the result is written there and the spectrum is used up.
    """
    half = np.empty_like(spectrum) if out is None else spectrum
    real = np.empty((*spectrum.shape[:2], last_size), np.float32) if out is None else out

    def across(slab: slice) -> None:
        ducc0.fft.c2c(spectrum[:, slab], axes=(0,), out=half[:, slab], forward=False, inorm=2)

    def within(slab: slice) -> None:
        ducc0.fft.c2r(half[slab], axes=(1, 2), lastsize=last_size, out=real[slab], forward=False, inorm=2)

    _each_slab(across, spectrum.shape[1], real.size)
    _each_slab(within, spectrum.shape[0], real.size)
    return real


def _each_slab(work: Callable[[slice], None], size: int, voxels: int) -> None:
    """The work on every slab of an axis, on as many threads as numba has."""
    count = min(max(voxels // LEAST, 1), SLABS)
    ends = [size * i // count for i in range(count + 1)]
    slabs = [slice(a, b) for a, b in pairwise(ends) if b > a]
    threads = numba.get_num_threads()
    for _ in _pool(threads).map(work, slabs) if min(threads, count) > 1 else map(work, slabs):
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def fast_shape(
    shape: Sequence[int], padding: Sequence[int] = (0, 0, 0), halvings: int = 0
) -> tuple[int, int, int]:
    """The smallest fast transform size that holds `shape` with `padding` voxels more along each axis.

    Each is a fast size that can be halved `halvings` times.
    """
    step = 2**halvings
    nx, ny, nz = (
        step * int(ducc0.fft.good_size(-(-(int(n) + int(p)) // step), axis == 2))
        for axis, (n, p) in enumerate(zip(shape, padding, strict=True))
    )
    return nx, ny, nz


def pad(x: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """`x` in the low corner of a zero volume of `shape`."""
    if x.shape == tuple(shape):
        return x
    out = np.zeros(tuple(shape), dtype=x.dtype)
    out[: x.shape[0], : x.shape[1], : x.shape[2]] = x
    return out


def crop(x: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """The low corner of `x` with `shape`; the adjoint of `pad`."""
    return x[: shape[0], : shape[1], : shape[2]]


def frequencies(shape: Sequence[int], voxel_size: Sequence[float]) -> tuple[NDArray[np.float32], ...]:
    """Spatial frequencies (cycles/mm) of the half spectrum, as three arrays that broadcast against it."""
    kx = np.fft.fftfreq(shape[0], voxel_size[0])[:, None, None]
    ky = np.fft.fftfreq(shape[1], voxel_size[1])[None, :, None]
    kz = np.fft.rfftfreq(shape[2], voxel_size[2])[None, None, :]
    return kx.astype(np.float32), ky.astype(np.float32), kz.astype(np.float32)
