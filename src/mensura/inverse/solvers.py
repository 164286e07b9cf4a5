"""Conjugate gradients, and what every iterative solver shares: a `Solution`, `monitor` called once an iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.methods import Monitor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Solution:
    """What a solver ends with: `history` holds the relative change (or residual) of every iteration."""

    x: Array
    iterations: int
    converged: bool
    history: tuple[float, ...]


def conjugate_gradient(
    operator: Callable[[Array], Array],
    b: Array,
    *,
    start: Array | None = None,
    tol: float = 1e-3,
    max_iter: int = 100,
    monitor: Monitor | None = None,
) -> Solution:
    """Right side `b` of A x = b with A symmetric positive (semi)definite → x, until ‖b − A x‖ ≤ tol·‖b‖.

    Hestenes & Stiefel 1952 (10.6028/jres.049.044).
    """
    x = np.zeros_like(b) if start is None else start.copy()
    residual = b.copy() if start is None else b - operator(start)
    direction = residual.copy()
    squared, goal = dot(residual, residual), tol**2 * dot(b, b)
    history: list[float] = []
    while squared > goal and len(history) < max_iter:
        image = operator(direction)
        step = np.float32(squared / dot(direction, image))
        x += step * direction
        residual -= step * image
        before, squared = squared, dot(residual, residual)
        direction *= np.float32(squared / before)
        direction += residual
        history.append(float(np.sqrt(squared / goal) * tol))
        if monitor is not None:
            monitor(len(history), max_iter, history[-1])
    return Solution(x, len(history), bool(squared <= goal), tuple(history))


@njit(cache=True, parallel=True)
def _dot_slices(a: Array, b: Array) -> NDArray[np.float64]:
    sums = np.zeros(a.shape[0])
    for i in prange(a.shape[0]):
        s = 0.0
        for j in range(a.shape[1]):
            for k in range(a.shape[2]):
                s += np.float64(a[i, j, k]) * np.float64(b[i, j, k])
        sums[i] = s
    return sums


def dot(a: Array, b: Array) -> float:
    """Inner product of two volumes in double precision; the same on any number of threads."""
    return float(np.sum(_dot_slices(a, b)))


@njit(cache=True, parallel=True)
def _change_slices(x: Array, before: Array) -> NDArray[np.float64]:
    sums = np.zeros((x.shape[0], 2))
    for i in prange(x.shape[0]):
        s = 0.0
        t = 0.0
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                d = np.float64(x[i, j, k]) - np.float64(before[i, j, k])
                s += d * d
                t += np.float64(x[i, j, k]) ** 2
        sums[i, 0] = s
        sums[i, 1] = t
    return sums


def relative_change(x: Array, before: Array) -> float:
    """‖x − before‖ / ‖x‖ (0 for two zero volumes)."""
    difference, size = np.sum(_change_slices(x, before), axis=0)
    return float(np.sqrt(difference / size)) if size > 0 else 0.0
