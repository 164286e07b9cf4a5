"""A model's signals as splines over what bends them: its equation is asked a few hundred times, not for every voxel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import spline_filter1d

from mensura.fit.model import Known, SignalModel

Doubles = NDArray[np.float64]

SUMS = {"reassoc", "contract", "arcp", "nsz"}
"""What makes sums quick and leaves alone what is not a number."""
DEGREE = 5
MARGIN = 16
"""Nodes beyond either end, so that what the spline assumes there does not reach inside."""
COARSEST = 8
"""Cells along what every voxel has of its own, to begin with."""
FINEST = 4096
"""Cells along an axis, of more of which a signal is not smooth."""
MOST = 2**18
"""Nodes of a table, for its size in memory."""
EXACT = 1e-8, 1e-6
"""Largest error along a signal, relative to its largest point, over one coordinate and over two."""
WORTH = 8
"""Nodes per voxel, with more of which the equation itself is quicker."""
CHECKED = 256
"""Places where a table is held against the equation, at most, along either axis."""


@dataclass(frozen=True)
class Axis:
    """A coordinate between two ends: cells of one width, and nodes at their edges and a margin beyond."""

    low: float
    high: float
    cells: int

    @property
    def step(self) -> float:
        return (self.high - self.low) / self.cells

    @property
    def first(self) -> float:
        return self.low - MARGIN * self.step

    @property
    def nodes(self) -> Doubles:
        return np.asarray(self.first + self.step * np.arange(self.cells + 1 + 2 * MARGIN))

    def checked(self, inside: float) -> Doubles:
        """Cells spread over all of the axis → places in them, as shares of their width, `CHECKED` in all."""
        return np.asarray(self.low + self.step * (np.arange(CHECKED) * self.cells // CHECKED + inside))


class Grid(NamedTuple):
    """A table as compiled functions take it, and the bounds of what is sought.

    Over one coordinate `table` holds polynomials, (cells, powers, signals), over two the splines' coefficients,
    (nodes, nodes, signals); `first` and `step` are of the cells or nodes. Signals are (linear parameters × points).
    """

    table: Doubles
    first: Doubles
    step: Doubles
    low: Doubles
    high: Doubles


@dataclass(frozen=True, eq=False)
class Table:
    """Axes of the nonlinear parameters' coordinates, then of what every voxel has of its own (its name, or ""), and
    coefficients of the splines over them, as in `Grid`."""

    axes: tuple[Axis, ...]
    own: str
    coefficients: Doubles

    @classmethod
    def of(cls, model: SignalModel, points: Doubles, known: Known, voxels: int) -> Self | None:
        """None where there are more than two coordinates, no linear parameter, or too few voxels to be worth it, and
        where the signals are not smooth."""
        own = [name for name, value in known.items() if np.ndim(value) == 2]
        if own and not model.smooth:
            return None
        if not voxels or not model.linear or not model.nonlinear or len(model.nonlinear) + len(own) > 2:
            return None
        sampled = _Sampled(model, points, known, own[0] if own else "")
        axes = sampled.axes()
        most = min(WORTH * voxels, MOST)
        while max(a.cells for a in axes) <= FINEST and np.prod([a.nodes.size for a in axes]) <= most:
            table = cls(axes, sampled.own, sampled.splines(axes))
            rough = [sampled.error(table, i) > EXACT[len(axes) - 1] for i in range(len(axes))]
            if not any(rough):
                return table
            axes = tuple(replace(a, cells=2 * a.cells) if r else a for a, r in zip(axes, rough, strict=True))
        return None

    def grid(self, sought: int) -> Grid:
        """The first coordinates are sought."""
        alone = len(self.axes) == 1
        first = np.array([a.low if alone else a.first for a in self.axes])
        low, high = (
            np.array(ends) for ends in zip(*((a.low, a.high) for a in self.axes[:sought]), strict=True)
        )
        return Grid(self.coefficients, first, np.array([a.step for a in self.axes]), low, high)


@dataclass(frozen=True)
class _Sampled:
    """A model, its points, what is known, and the name of what every voxel has of its own."""

    model: SignalModel
    points: Doubles
    known: Known
    own: str

    def axes(self) -> tuple[Axis, ...]:
        """The coarsest that may do."""
        found = []
        for i in self.model.nonlinear:
            p = self.model.parameters[i]
            low, high = p.inside(np.array([p.lower, p.upper]))
            found.append(Axis(float(low), float(high), p.starts))
        if self.own:
            low, high = float(np.min(self.known[self.own])), float(np.max(self.known[self.own]))
            found.append(Axis(low, high if high > low else low + 1e-3 * (abs(low) or 1.0), COARSEST))
        return tuple(found)

    def signals(self, coordinates: list[Doubles]) -> Doubles:
        """Coordinates (n) along each axis → signals of the linear parameters there, (n, linear, points)."""
        values = np.ones((coordinates[0].size, len(self.model.parameters)))
        for i, at in zip(self.model.nonlinear, coordinates, strict=False):
            values[:, i] = self.model.parameters[i].outside(at)
        known = {**self.known, self.own: coordinates[-1][:, None]} if self.own else self.known
        with np.errstate(all="ignore"):  # beyond the ends an equation may not hold
            return self.model.basis(self.points, values, known).transpose(0, 2, 1)

    def splines(self, axes: tuple[Axis, ...]) -> Doubles:
        """Coefficients of the splines through the signals at all nodes."""
        every = np.meshgrid(*(a.nodes for a in axes), indexing="ij")
        made = self.signals([at.ravel() for at in every]).reshape(*every[0].shape, -1)
        for axis in range(len(axes)):
            made = spline_filter1d(made, order=DEGREE, axis=axis, mode="mirror")
        if len(axes) == 2:
            return np.ascontiguousarray(made)
        first = MARGIN - DEGREE // 2 + np.arange(axes[0].cells)
        return np.ascontiguousarray(
            np.einsum("ij,jce->cie", polynomials(), [made[first + j] for j in range(DEGREE + 1)])
        )

    def error(self, table: Table, along: int) -> float:
        """The largest of splines midway between nodes of one axis, at nodes of the other, relative to the signal."""
        shuffled = np.random.default_rng(0).permutation(CHECKED)
        at = [a.checked(0.5) if i == along else a.checked(0.0)[shuffled] for i, a in enumerate(table.axes)]
        true = self.signals(at)
        off = np.abs(look_up(table.grid(1), np.stack(at, -1)).reshape(true.shape) - true).max(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = np.max(off / np.abs(true).max(axis=2))
        return float(worst) if np.isfinite(worst) else np.inf


@cache
def polynomials() -> Doubles:
    """Coefficients of the powers of the way from node to node, of each spline that is not 0 there: (powers, splines).

    B_j of degree d is ((t + d − j) B_{j−1} + (j + 1 − t) B_j)/d of those of degree d − 1.
    """
    t = np.polynomial.Polynomial([0.0, 1.0])
    made = [t**0]
    for d in range(1, DEGREE + 1):
        pairs = zip([0 * t, *made], [*made, 0 * t], strict=True)
        made = [((t + d - j) * one + (j + 1 - t) * other) / d for j, (one, other) in enumerate(pairs)]
    found: Doubles = np.stack([np.pad(one.coef, (0, DEGREE + 1 - one.coef.size)) for one in made], -1)
    found.flags.writeable = False
    return found


@njit(cache=True, nogil=True, fastmath=SUMS)
def _splines(at: float, nodes: int, values: Doubles, slopes: Doubles) -> int:
    """The splines that are not 0 at a place in units of nodes, their slopes, and the first node that they belong to."""
    node = int(min(max(at, DEGREE // 2), nodes - 1 - DEGREE // 2 - 1))
    t = at - node
    values[0] = 1.0
    for d in range(1, DEGREE + 1):
        if d == DEGREE:
            slopes[0], slopes[d] = -values[0], values[d - 1]
            for j in range(1, d):
                slopes[j] = values[j - 1] - values[j]
        values[d] = t * values[d - 1] / d
        for j in range(d - 1, 0, -1):
            values[j] = ((t + d - j) * values[j - 1] + (j + 1 - t) * values[j]) / d
        values[0] = (1 - t) * values[0] / d
    return node - DEGREE // 2


@njit(cache=True, nogil=True, fastmath=SUMS)
def _along(grid: Grid, place: Doubles, columns: Doubles) -> None:
    """`look`, over one coordinate."""
    table, first, per = grid.table, grid.first[0], 1 / grid.step[0]
    cells, _, size = table.shape
    for v in range(place.shape[1]):
        at = (place[0, v] - first) * per
        cell = min(max(int(at), 0), cells - 1)
        t = at - cell
        for e in range(size):
            c1, c2, c3 = table[cell, 1, e], table[cell, 2, e], table[cell, 3, e]
            c4, c5 = table[cell, 4, e], table[cell, 5, e]
            columns[e, v] = table[cell, 0, e] + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * c5))))
            columns[size + e, v] = per * (c1 + t * (2 * c2 + t * (3 * c3 + t * (4 * c4 + t * 5 * c5))))


@njit(cache=True, nogil=True, fastmath=SUMS)
def _across(grid: Grid, place: Doubles, columns: Doubles) -> None:
    """`look`, over two coordinates."""
    table, first, step = grid.table, grid.first, grid.step
    rows, across, size = table.shape
    flat, signal = table.reshape(rows, across * size), np.zeros((3, size))
    a, da, b, db = np.zeros(DEGREE + 1), np.zeros(DEGREE + 1), np.zeros(DEGREE + 1), np.zeros(DEGREE + 1)
    for v in range(place.shape[1]):
        row = _splines((place[0, v] - first[0]) / step[0], rows, a, da)
        column = _splines((place[1, v] - first[1]) / step[1], across, b, db)
        signal[:] = 0
        for i in range(DEGREE + 1):
            c = flat[row + i, column * size : (column + DEGREE + 1) * size]
            _gather(c, a[i], da[i], b, db, signal)
        for e in range(size):
            columns[e, v] = signal[0, e]
            columns[size + e, v] = signal[1, e] / step[0]
            columns[2 * size + e, v] = signal[2, e] / step[1]


@njit(cache=True, nogil=True, fastmath=SUMS)
def _gather(c: Doubles, here: float, bent: float, b: Doubles, db: Doubles, signal: Doubles) -> None:
    """Six splines' coefficients of all signals, one after the other → what they add to signals and their slopes."""
    size = signal.shape[1]
    b0, b1, b2, b3, b4, b5 = b[0], b[1], b[2], b[3], b[4], b[5]
    d0, d1, d2, d3, d4, d5 = db[0], db[1], db[2], db[3], db[4], db[5]
    for e in range(size):
        c0, c1, c2 = c[e], c[size + e], c[2 * size + e]
        c3, c4, c5 = c[3 * size + e], c[4 * size + e], c[5 * size + e]
        value = b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3 + b4 * c4 + b5 * c5
        signal[0, e] += here * value
        signal[1, e] += bent * value
        signal[2, e] += here * (d0 * c0 + d1 * c1 + d2 * c2 + d3 * c3 + d4 * c4 + d5 * c5)


@njit(cache=True, nogil=True, fastmath=SUMS)
def look(grid: Grid, place: Doubles, columns: Doubles) -> None:
    """Signals at places (2, lanes), and their slopes by each coordinate → ((1 + coordinates) × signals, lanes)."""
    if len(grid.first) == 1:
        _along(grid, place, columns)
    else:
        _across(grid, place, columns)


def look_up(grid: Grid, places: Doubles) -> Doubles:
    """Places (n, coordinates) → signals (n, linear × points)."""
    size = grid.table.shape[2]
    columns = np.empty(((1 + places.shape[1]) * size, len(places)))
    look(grid, np.ascontiguousarray(places.T), columns)
    return columns[:size].T
