"""Signals as a function of their parameters → what standard deviation any unbiased fit can reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mensura.fit.likelihood import LIKELIHOODS

Doubles = NDArray[np.float64]

STEP = 1e-5
"""Of central differences, relative to the parameter (to 1 where it is 0): slopes are exact to about 1e-10."""
FLAT = 1e-8
"""Change of the signal, relative to it, by a whole parameter, below which nothing is told of the parameter."""
ALIKE = 1e-6
"""Singular value of slopes of unit length, below which parameters cannot be told apart."""
PART = 1e-3
"""Share of a parameter in a direction that is not told, from which it is not told itself."""


def cramer_rao(
    signal: Callable[[Doubles], Doubles],
    values: Doubles,
    noise: ArrayLike,
    likelihood: str = "gaussian",
) -> Doubles:
    """`signal` of values (n, p) → (n, m), true values, noise (one or n) → least standard deviations (n, p).

    √diag F⁻¹ with Fisher's information F = Jᵀ W J/σ²; J the slopes of the signal, W = 1 for normal noise, and σ² times
    the information of a magnitude for "rician" (and "noise_floor"). Infinite for a parameter that the signals do not
    tell, alone or from others; those beside it stay finite. Rao 1945; Cramér 1946.
    """
    values = np.asarray(values, np.float64)
    made = signal(values)
    sigma = np.broadcast_to(np.asarray(noise, np.float64), (len(values),))[:, None]
    size = np.where(values == 0, 1.0, np.abs(values))
    slopes = np.stack([_slope(signal, values, size, i) for i in range(values.shape[1])], -1)
    if likelihood != "gaussian":
        clean = np.abs(made) / sigma
        slopes = slopes * np.sqrt(LIKELIHOODS[likelihood](clean, clean)[1])[:, :, None]
    loudest = np.linalg.norm(made, axis=1)[:, None]
    return sigma * size * _spread(slopes, np.where(loudest > 0, loudest, 1.0))


def _slope(signal: Callable[[Doubles], Doubles], values: Doubles, size: Doubles, one: int) -> Doubles:
    """Derivative of the signals (n, m) by a parameter in units of its size."""
    step = np.zeros_like(values)
    step[:, one] = STEP * size[:, one]
    return (signal(values + step) - signal(values - step)) / (2 * STEP)


def _spread(slopes: Doubles, loudest: Doubles) -> Doubles:
    """√diag (JᵀJ)⁻¹ of slopes (n, m, p), infinite for what they do not tell (n, p)."""
    length = np.linalg.norm(slopes, axis=1)
    flat = length <= FLAT * loudest
    unit = np.where(flat, 1.0, length)
    _, singular, right = np.linalg.svd(
        np.where(flat[:, None], 0.0, slopes / unit[:, None]), full_matrices=True
    )
    padded = np.zeros(length.shape)
    padded[:, : singular.shape[1]] = singular
    told = padded > ALIKE
    weight = np.where(told, 1 / np.where(told, padded, 1), 0)
    variance = np.sum(np.square(right * weight[:, :, None]), axis=1)
    hidden = np.sum(np.square(np.where(told[:, :, None], 0, right)), axis=1) > PART**2
    return np.where(hidden, np.inf, np.sqrt(variance) / unit)
