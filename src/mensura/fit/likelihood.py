"""What the data's noise is like: pseudo-residuals and weights that turn any likelihood into least squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e, i1e

Doubles = NDArray[np.float64]
Scored = tuple[Doubles, Doubles, Doubles]
"""Pseudo-residual and information of every point, and minus the log-likelihood of every voxel."""

TOP, SPACING = 12.0, 0.02
"""The Fisher information of a Rician signal is looked up below this ratio of signal to noise, in such steps."""


def gaussian(data: Doubles, signal: Doubles) -> Scored:
    """Data and signal (n, m) in units of the noise, noise normal."""
    residual = data - signal
    return residual, np.ones_like(residual), 0.5 * np.square(residual)


def rician(data: Doubles, signal: Doubles) -> Scored:
    """Magnitude data and signal (n, m) in units of the noise of either channel; density of Rice.

    The score is m·I₁(ms)/I₀(ms) − s; over its variance, the Fisher information, it is the residual of scoring.
    Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618.
    """
    size, sign = np.abs(signal), np.where(signal < 0, -1.0, 1.0)
    z = data * size
    bessel = i0e(z)
    score = sign * (data * i1e(z) / bessel - size)
    information = np.maximum(rician_information(size), 1e-3)
    return score / information, information, 0.5 * np.square(data - size) - np.log(bessel)


def noise_floor(data: Doubles, signal: Doubles) -> Scored:
    """Magnitude data and signal (n, m) in units of the noise of either channel, squares about Rice's mean.

    The mean is √(π/2)·L_{½}(−s²/2); its spread is taken for that of the noise, which it is at most.
    Koay & Basser 2006, doi:10.1016/j.jmr.2006.01.016.
    """
    size, sign = np.abs(signal), np.where(signal < 0, -1.0, 1.0)
    half = np.square(size) / 4
    low, high = i0e(half), i1e(half)
    mean = np.sqrt(np.pi / 2) * ((1 + 2 * half) * low + 2 * half * high)
    slope = np.maximum(np.sqrt(np.pi / 2) * size / 2 * (low + high), 1e-2)
    misfit = data - mean
    return sign * misfit / slope, np.square(slope), 0.5 * np.square(misfit)


LIKELIHOODS: Mapping[str, Callable[[Doubles, Doubles], Scored]] = {
    "gaussian": gaussian,
    "rician": rician,
    "noise_floor": noise_floor,
}


def rician_information(ratio: Doubles) -> Doubles:
    """Signal over noise → σ²·(Fisher information of a Rician magnitude about its signal)."""
    table = information_table()
    beyond = 1 - 0.5 / np.square(np.maximum(ratio, TOP))
    return np.where(ratio < TOP, np.interp(ratio, SPACING * np.arange(table.size), table), beyond)


@cache
def information_table() -> Doubles:
    """σ²·(Fisher information of a Rician magnitude about its signal) at ratios 0, SPACING … of signal to noise.

    E[(m·I₁(am)/I₀(am) − a)²] over the Rician density with σ = 1, by the trapezoidal rule.
    """
    ratio = np.arange(0, TOP + SPACING / 2, SPACING)[:, None]
    m = np.linspace(0, TOP + 9, 2000)[None]
    bessel = i0e(ratio * m)
    density = m * np.exp(-((m - ratio) ** 2) / 2) * bessel
    score = m * i1e(ratio * m) / bessel - ratio
    found: Doubles = (density * score**2).sum(axis=1) / density.sum(axis=1)
    return found
