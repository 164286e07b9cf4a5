"""Sums and quotients of half spectra, frequency by frequency, each in one pass (numba, in place)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import Spectrum

Array = NDArray[np.float32]


@njit(cache=True, parallel=True)
def combine(kernel: Any, x: Spectrum, other: Any, y: Any, out: Spectrum) -> None:
    """out = kernel·x + other·y, without what is None."""
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                s = np.complex64(0)
                if kernel is not None:
                    s += kernel[i, j, k] * x[i, j, k]
                if other is not None:
                    s += other[i, j, k] * y[i, j, k]
                out[i, j, k] = s


@njit(cache=True, parallel=True)
def add_scaled(total: Spectrum, spectrum: Spectrum, multiplier: Array, scalar: np.float32) -> None:
    """total += scalar · multiplier · spectrum."""
    for i in prange(total.shape[0]):
        for j in range(total.shape[1]):
            for k in range(total.shape[2]):
                total[i, j, k] += (scalar * multiplier[i, j, k]) * spectrum[i, j, k]


@njit(cache=True, parallel=True)
def subtract_scaled(total: Spectrum, multiplier: Array, spectrum: Spectrum) -> None:
    """total −= multiplier · spectrum."""
    for i in prange(total.shape[0]):
        total[i] -= multiplier[i] * spectrum[i]


@njit(cache=True, parallel=True)
def solve(right: Spectrum, more: Spectrum, inverse: Array, x: Spectrum) -> None:
    """x = inverse·(right + more), also written over `more`."""
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                s = inverse[i, j, k] * (right[i, j, k] + more[i, j, k])
                x[i, j, k] = s
                more[i, j, k] = s


@njit(cache=True, parallel=True)
def solve_other(right: Spectrum, inverse: Array, cross: Array, x: Spectrum, y: Spectrum) -> None:
    """y = inverse·right − cross·x."""
    for i in prange(x.shape[0]):
        y[i] = inverse[i] * right[i] - cross[i] * x[i]


@njit(cache=True, parallel=True)
def solve_slopes(
    sides: Any, inverse: Array, symbols: Any, penalty: np.float32, length2: np.float32, x: Spectrum
) -> None:
    """x from right + more and v, the right side of the slopes, which become their solution in place.

    Eᴴ E = ½ (|k|² + k kᴴ): along k and across it the slopes' normal is a number each (Sherman–Morrison).
    """
    right, more, v = sides
    one, half = np.float32(1), np.float32(0.5)
    for i in prange(x.shape[0]):
        a = symbols[0][i]
        for j in range(x.shape[1]):
            b = symbols[1][j]
            for k in range(x.shape[2]):
                c = symbols[2][k]
                q = abs(a) ** 2 + abs(b) ** 2 + abs(c) ** 2
                along = np.conj(a) * v[0, i, j, k] + np.conj(b) * v[1, i, j, k] + np.conj(c) * v[2, i, j, k]
                s = inverse[i, j, k] * (right[i, j, k] + more[i, j, k] + along / (one + length2 * q))
                x[i, j, k] = s
                more[i, j, k] = s
                push = penalty * s
                push -= half * length2 / (one + length2 * q) * (along + penalty * q * s)
                scale = one / (penalty * (one + half * length2 * q))
                v[0, i, j, k] = (v[0, i, j, k] + a * push) * scale
                v[1, i, j, k] = (v[1, i, j, k] + b * push) * scale
                v[2, i, j, k] = (v[2, i, j, k] + c * push) * scale
