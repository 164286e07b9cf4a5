"""Spectra of T2: non-negative least squares with as much smoothness as the data bear."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.methods import Monitor
from mensura.qmri.epg import trains

Doubles = NDArray[np.float64]

LEVELS = 13
"""Of B1, for each a dictionary of echo trains."""
LOWEST = 0.5
CHUNK = 1024
HALVINGS = 18
"""Of the interval of weights, on a logarithmic scale."""


def spectra(
    data: Doubles,
    grid: Doubles,
    b1: Doubles | None,
    how: tuple[Any, float],
    monitor: Monitor | None = None,
) -> tuple[Doubles, Doubles]:
    """Data (n, m), T2 values (k), B1 (n) or None, (protocol, χ² factor) → spectra (n, k) and the B1 used (n)."""
    protocol, misfit = how
    levels = np.linspace(LOWEST, 1, LEVELS) if b1 is None else np.linspace(b1.min(), b1.max(), LEVELS)
    ones = np.ones((grid.size, 1))
    kernels = np.ascontiguousarray([trains(ones, grid[:, None], b * ones, protocol).T for b in levels])
    chosen = None if b1 is None else np.argmin(np.abs(levels[:, None] - b1[None]), axis=0)
    pieces = [slice(i, i + CHUNK) for i in range(0, len(data), CHUNK)]

    def one(piece: slice) -> tuple[Doubles, NDArray[np.intp]]:
        part = np.ascontiguousarray(data[piece])
        level = _best_levels(part, kernels) if chosen is None else chosen[piece]
        return _smooth(part, kernels, level, misfit), level

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        found = []
        for made in pool.map(one, pieces):
            found.append(made)
            if monitor is not None:
                monitor(len(found), len(pieces), 0.0)
    weights = np.concatenate([w for w, _ in found])
    return weights, levels[np.concatenate([level for _, level in found])]


@njit(cache=True, nogil=True)
def _best_levels(data: Doubles, kernels: Doubles) -> NDArray[np.intp]:
    """The kernel of each voxel that leaves the least misfit."""
    n = len(data)
    best, least = np.zeros(n, np.intp), np.full(n, np.inf)
    for b in range(kernels.shape[0]):
        kernel, turned = kernels[b], np.ascontiguousarray(kernels[b].T)
        gram = turned @ kernel
        for v in range(n):
            x = _nonnegative(gram, turned @ data[v])
            left = np.sum((kernel @ x - data[v]) ** 2)
            if left < least[v]:
                best[v], least[v] = b, left
    return best


@njit(cache=True, nogil=True)
def _smooth(data: Doubles, kernels: Doubles, level: NDArray[np.intp], misfit: float) -> Doubles:
    """Spectra whose weight of ‖x‖² raises the misfit by the factor, found by halving."""
    n, k = len(data), kernels.shape[2]
    found = np.zeros((n, k))
    for v in range(n):
        kernel, turned = kernels[level[v]], np.ascontiguousarray(kernels[level[v]].T)
        gram, right = turned @ kernel, turned @ data[v]
        x = _nonnegative(gram, right)
        most = misfit * np.sum((kernel @ x - data[v]) ** 2)
        low, high = -14.0, 2.0
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            y = _nonnegative(gram + np.exp(middle) * gram[0, 0] * np.eye(k), right)
            if np.sum((kernel @ y - data[v]) ** 2) <= most:
                low, x = middle, y
            else:
                high = middle
        found[v] = x
    return found


@njit(cache=True, nogil=True)
def _nonnegative(gram: Doubles, right: Doubles) -> Doubles:
    """argmin ½ xᵀGx − rᵀx over x ≥ 0 by the active set of Lawson & Hanson 1974, chapter 23."""
    k = right.size
    x, passive = np.zeros(k), np.zeros(k, np.bool_)
    tolerance = 1e-10 * np.max(np.abs(right))
    for _ in range(3 * k):
        slope = right - gram @ x
        best, where = tolerance, -1
        for i in range(k):
            if not passive[i] and slope[i] > best:
                best, where = slope[i], i
        if where < 0:
            break
        passive[where] = True
        while True:
            index = np.flatnonzero(passive)
            part = np.empty((index.size, index.size))
            for a in range(index.size):
                for b in range(index.size):
                    part[a, b] = gram[index[a], index[b]]
                part[a, a] *= 1 + 1e-12
            solution = np.linalg.solve(part, right[index])
            if solution.min() > 0:
                x[:] = 0
                x[index] = solution
                break
            ratio = 1.0
            for a in range(index.size):
                if solution[a] <= 0:
                    ratio = min(ratio, x[index[a]] / (x[index[a]] - solution[a]))
            for a in range(index.size):
                x[index[a]] += ratio * (solution[a] - x[index[a]])
                if x[index[a]] <= 1e-14 * np.max(x):
                    x[index[a]] = 0
                    passive[index[a]] = False
            if not np.any(passive):
                break
    return x
