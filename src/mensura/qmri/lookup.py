"""Signals that are slow to compute, tabulated once per protocol over a relaxation time and B1, then interpolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

Doubles = NDArray[np.float64]
MARGIN = 8
"""Nodes beyond either end, so that what the spline assumes there does not reach inside."""


@dataclass(frozen=True, eq=False)
class Axis:
    """Evenly spaced nodes from the first on."""

    first: float
    step: float
    count: int

    @classmethod
    def over(cls, low: float, high: float, step: float) -> Axis:
        """Nodes at most a step apart that hold the range, with a margin on either side."""
        inside = max(int(np.ceil((high - low) / step)), 1)
        width = (high - low) / inside or step
        return cls(low - MARGIN * width, width, inside + 1 + 2 * MARGIN)

    @property
    def nodes(self) -> Doubles:
        return np.asarray(self.first + self.step * np.arange(self.count))


@dataclass(frozen=True, eq=False)
class Lookup:
    """Coefficients of cubic splines over ln(time) and B1: (time, B1, points)."""

    time: Axis
    b1: Axis
    coefficients: Doubles

    @classmethod
    def of(cls, signal: Callable[[Doubles, Doubles], Doubles], time: Axis, b1: Axis) -> Lookup:
        """`signal`(times (n), B1 (n)) → (n, points), on every pair of nodes; the time axis is in ln(s)."""
        every = np.meshgrid(np.exp(time.nodes), b1.nodes, indexing="ij")
        made = signal(every[0].ravel(), every[1].ravel()).reshape(time.count, b1.count, -1)
        for axis in (0, 1):
            made = spline_filter1d(made, order=3, axis=axis, mode="mirror")
        return cls(time, b1, np.ascontiguousarray(made))

    def __call__(self, time: Any, b1: Any) -> Doubles:
        """Times (s) and B1, (n, 1) or numbers → signals (n, points); beyond the nodes, those of the last."""
        shape = np.broadcast_shapes(np.shape(time), np.shape(b1), (1, 1))
        x, y = (np.broadcast_to(a, shape).ravel().astype(np.float64) for a in (np.log(time), b1))
        made = np.empty((x.size, self.coefficients.shape[2]))
        _interpolate((x - self.time.first) / self.time.step, (y - self.b1.first) / self.b1.step,
                     self.coefficients, made)  # fmt: skip
        return made


@njit(cache=True, nogil=True)
def _weights(at: float, count: int, weights: Doubles) -> int:
    """The four weights of a cubic B-spline at a place in units of nodes, and the first node they belong to."""
    at = min(max(at, 1.0), count - 3.0)
    node = int(at)
    t = at - node
    weights[0] = (1 - t) ** 3 / 6
    weights[1] = 2 / 3 - t * t * (1 - t / 2)
    weights[2] = 2 / 3 - (1 - t) ** 2 * (1 + t) / 2
    weights[3] = t**3 / 6
    return node - 1


@njit(cache=True, nogil=True)
def _interpolate(x: Doubles, y: Doubles, coefficients: Doubles, signals: Doubles) -> None:
    across, along = np.empty(4), np.empty(4)
    rows, columns, points = coefficients.shape
    for v in range(x.size):
        row, column = _weights(x[v], rows, across), _weights(y[v], columns, along)
        signals[v] = 0
        for i in range(4):
            for j in range(4):
                weight = across[i] * along[j]
                for e in range(points):
                    signals[v, e] += weight * coefficients[row + i, column + j, e]
