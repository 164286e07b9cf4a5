"""Real Fourier transforms of volumes: ducc0, single precision, sizes padded to fast ones.

The number of threads is numba's (`numba.set_num_threads`), so that one switch rules the whole package.
"""

from __future__ import annotations

from collections.abc import Sequence

import ducc0
import numba
import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.complex64]
AXES = (0, 1, 2)


def rfft(x: NDArray[np.float32]) -> Spectrum:
    """Real 3D volume → its half spectrum (last axis halved), unnormalised."""
    return ducc0.fft.r2c(x, axes=AXES, nthreads=numba.get_num_threads())  # type: ignore[no-any-return]


def irfft(spectrum: Spectrum, last_size: int) -> NDArray[np.float32]:
    """Half spectrum → real 3D volume whose last axis has `last_size` voxels; the inverse of `rfft`."""
    return ducc0.fft.c2r(  # type: ignore[no-any-return]
        spectrum, axes=AXES, lastsize=last_size, forward=False, inorm=2, nthreads=numba.get_num_threads()
    )


def fast_shape(shape: Sequence[int], padding: Sequence[int] = (0, 0, 0)) -> tuple[int, int, int]:
    """The smallest fast transform size that holds `shape` with `padding` voxels more along each axis."""
    nx, ny, nz = (
        int(ducc0.fft.good_size(int(n) + int(p), axis == 2))
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
