"""Proximal steps of pointwise terms, fused with the update of their state (numba, in place).

A term f(A x) of a sum keeps one volume, its state a = copy + dual (the Douglas–Rachford form of ADMM). Given the
new value v = A x, a step does a ← a + relax·(v − prox(a)), then v ← 2·prox(a) − a: what the next linear step wants
A x to be near. Weights come divided by the term's penalty ρ. Data and weights may be smaller than the volume: they
lie in its low corner, and beyond them the term is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.grids import Steps, halved

Array = NDArray[np.float32]
SQUARED, ABSOLUTE, PERIODIC = 0, 1, 2
"""Kinds of a misfit z − data with weight w: ½ w (z − data)²; w |z − data|; w (1 − cos(s (z − data)))/s²."""

ONE, TWO, TURN = np.float32(1), np.float32(2), np.float32(2 * np.pi)
NEWTON_STEPS = 4


@njit(inline="always")
def _prox(kind: int, t: Any, weight: Any, turn: Any) -> Any:
    """The misfit that the proximal step leaves of a misfit t.

    Periodic: within the nearest turn, p + w sin p = q for p = s·misfit. Up to its root the left side is concave
    and rising, so that Newton's steps from the squared misfit's answer, which lies below, climb to it safely.
    """
    if kind == SQUARED:
        return t / (ONE + weight)
    if kind == ABSOLUTE:
        return t - min(max(t, -weight), weight)
    if weight == 0:
        return t
    whole = np.rint(t * turn / TURN) * TURN
    q = t * turn - whole
    p = q / (ONE + weight)
    for _ in range(NEWTON_STEPS):
        p -= (p + weight * np.sin(p) - q) / (ONE + weight * np.cos(p))
    return (p + whole) / turn


@njit(cache=True, parallel=True)
def fit_data(
    state: Array,
    value: Array,
    relax: np.float32,
    kind: int,
    data: Array,
    weight: Array,
    turn: np.float32,
) -> None:
    """The step of a misfit to data; `turn` is s of the periodic one (rad per unit of the data)."""
    nx, ny, nz = data.shape
    for i in prange(state.shape[0]):
        for j in range(state.shape[1]):
            known = nz if i < nx and j < ny else 0
            for k in range(known):
                d, w = data[i, j, k], weight[i, j, k]
                a = state[i, j, k] - d
                a += relax * (value[i, j, k] - d - _prox(kind, a, w, turn))
                state[i, j, k] = a + d
                value[i, j, k] = TWO * _prox(kind, a, w, turn) - a + d
            for k in range(known, state.shape[2]):
                a = state[i, j, k] + relax * (value[i, j, k] - state[i, j, k])
                state[i, j, k] = a
                value[i, j, k] = a


@dataclass(frozen=True)
class Misfit:
    """The step of a misfit to data, of a kind of those above; weights over ρ, an infinite one forbids any misfit."""

    data: Array
    weight: Array
    kind: int = SQUARED
    turn: float = 1.0

    def __call__(self, state: Array, value: Array, relax: np.float32) -> None:
        fit_data(state, value, relax, self.kind, self.data, self.weight, np.float32(self.turn))

    def coarser(self, by: Steps) -> Misfit:
        """The same on a coarser grid: data averaged by their weights, on the circle if periodic."""
        counted = np.where(np.isinf(self.weight), ONE, self.weight)
        weight = halved(counted, by)
        if self.kind == PERIODIC:
            angle = np.float32(self.turn) * self.data
            sine, cosine = (halved(counted * f(angle), by) for f in (np.sin, np.cos))
            data = np.arctan2(sine, cosine) / self.turn
        else:
            total = halved(counted * self.data, by)
            data = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        return Misfit(data.astype(np.float32), halved(self.weight, by), self.kind, self.turn)


@njit(cache=True, parallel=True)
def confine(
    state: Array, x: Array, relax: np.float32, inside: NDArray[np.bool_], total: Array, penalty: np.float32
) -> None:
    """The step of the condition that x is 0 outside a mask; the result, times the penalty, is added to `total`."""
    nx, ny, nz = inside.shape
    for i in prange(state.shape[0]):
        for j in range(state.shape[1]):
            known = nz if i < nx and j < ny else 0
            for k in range(state.shape[2]):
                a = state[i, j, k]
                free = k < known and inside[i, j, k]
                a += relax * (x[i, j, k] - a) if free else relax * x[i, j, k]
                state[i, j, k] = a
                total[i, j, k] += penalty * a if free else -penalty * a
