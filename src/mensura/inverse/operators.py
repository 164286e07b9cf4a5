"""Linear operators on volumes: periodic finite differences with their adjoint, and Fourier multipliers.

All arrays are float32 and C-contiguous; a gradient is an array of shape (3, x, y, z), per mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import Spectrum, irfft, rfft

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Operator:
    """A linear map as a pair of functions."""

    forward: Callable[[Array], Array]
    adjoint: Callable[[Array], Array]


def fourier_multiplier(multiplier: NDArray[np.float32], last_size: int) -> Operator:
    """The circular convolution whose half spectrum is the real array `multiplier` (self-adjoint)."""

    def apply(x: Array) -> Array:
        spectrum = rfft(x)
        scale(spectrum, multiplier)
        return irfft(spectrum, last_size)

    return Operator(apply, apply)


def difference_spectrum(shape: Sequence[int], voxel_size: Sequence[float]) -> NDArray[np.float32]:
    """|k|² of the periodic forward differences (1/mm²): the half spectrum of −div∘grad."""
    parts = []
    for axis, (n, h) in enumerate(zip(shape, voxel_size, strict=True)):
        k = np.fft.rfftfreq(n) if axis == 2 else np.fft.fftfreq(n)
        part = (2 - 2 * np.cos(2 * np.pi * k)) / h**2
        parts.append(part.reshape([-1 if a == axis else 1 for a in range(3)]))
    return np.asarray(parts[0] + parts[1] + parts[2], np.float32)


@njit(cache=True, parallel=True)
def scale(spectrum: Spectrum, multiplier: NDArray[np.float32]) -> None:
    """Multiply a half spectrum by a real array, in place."""
    for i in prange(spectrum.shape[0]):
        spectrum[i] *= multiplier[i]


def gradient(x: Array, inverse_size: Array) -> Array:
    """Periodic forward differences of a volume, times `inverse_size` (1/mm)."""
    out = np.empty((3, *x.shape), np.float32)
    gradient_to(x, inverse_size, out)
    return out


def negative_divergence(g: Array, inverse_size: Array) -> Array:
    """The adjoint of `gradient`."""
    out = np.empty(g.shape[1:], np.float32)
    negative_divergence_to(g, inverse_size, out)
    return out


@njit(cache=True, parallel=True)
def gradient_to(x: Array, inverse_size: Array, g: Array) -> None:
    """`gradient`, written into `g`."""
    nx, ny, nz = x.shape
    hx, hy, hz = inverse_size
    for i in prange(nx):
        i1 = i + 1 if i + 1 < nx else 0
        for j in range(ny):
            j1 = j + 1 if j + 1 < ny else 0
            for k in range(nz - 1):
                g[2, i, j, k] = (x[i, j, k + 1] - x[i, j, k]) * hz
            g[2, i, j, nz - 1] = (x[i, j, 0] - x[i, j, nz - 1]) * hz
            for k in range(nz):
                g[0, i, j, k] = (x[i1, j, k] - x[i, j, k]) * hx
                g[1, i, j, k] = (x[i, j1, k] - x[i, j, k]) * hy


@njit(cache=True, parallel=True)
def negative_divergence_to(g: Array, inverse_size: Array, d: Array) -> None:
    """`negative_divergence`, written into `d`."""
    nx, ny, nz = d.shape
    hx, hy, hz = inverse_size
    for i in prange(nx):
        i0 = i - 1 if i > 0 else nx - 1
        for j in range(ny):
            j0 = j - 1 if j > 0 else ny - 1
            for k in range(nz):
                d[i, j, k] = (g[0, i0, j, k] - g[0, i, j, k]) * hx + (g[1, i, j0, k] - g[1, i, j, k]) * hy
            for k in range(1, nz):
                d[i, j, k] += (g[2, i, j, k - 1] - g[2, i, j, k]) * hz
            d[i, j, 0] += (g[2, i, j, nz - 1] - g[2, i, j, 0]) * hz
