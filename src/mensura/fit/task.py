"""A fit to be done, checked once: the data, what weighs, and what is known of every voxel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from mensura.fit.model import SignalModel
from mensura.fit.start import Start
from mensura.fit.table import Table
from mensura.scan import BoolArray, ScanError

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Values (n, p), residuals (n, m), ½ Σ w r² (n), inverse normal matrices (n, p, p) in coordinates, and success."""

    values: Doubles
    residual: Doubles
    cost: Doubles
    inverse: Doubles
    converged: NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """Data (n, m) and weights (n, m), both 0 where a point is missing; known numbers or (n, 1); noise (n) or None.

    `start`: where the values are sought first. `table`: the model's signals for this protocol, if it is worth one.
    """

    model: SignalModel
    points: Doubles
    data: Doubles
    weight: Doubles
    known: Mapping[str, Any]
    noise: Doubles | None
    start: Start
    table: Table | None = None

    def part(self, which: Any) -> Task:
        """Some of the voxels."""
        known = {name: value[which] if np.ndim(value) else value for name, value in self.known.items()}
        noise = None if self.noise is None else self.noise[which]
        data, weight, start = self.data[which], self.weight[which], self.start.part(which)
        return replace(self, data=data, weight=weight, known=known, noise=noise, start=start)

    @property
    def counted(self) -> Doubles:
        """How many points count in each voxel."""
        return np.asarray(np.sum(self.weight > 0, axis=1), np.float64)

    @property
    def freedom(self) -> Doubles:
        """Points that count, less parameters."""
        return self.counted - len(self.model.parameters)


@dataclass(frozen=True)
class Asked:
    """A fit as it was asked for, checked: a task whose data and weights may have gaps, and which voxels are `told` all
    they need (n)."""

    whole: Task
    told: BoolArray

    @classmethod
    def of(
        cls,
        model: SignalModel,
        points: ArrayLike,
        data: ArrayLike,
        known: Mapping[str, Any] | None = None,
        weights: ArrayLike | None = None,
        noise: ArrayLike | None = None,
    ) -> Self:
        """ScanError for shapes that do not fit, or fewer points than parameters."""
        x, y = np.asarray(points, np.float64), np.atleast_2d(np.asarray(data, np.float64))
        n, m = y.shape
        if m < len(model.parameters):
            raise ScanError(
                f"{model.name} has {len(model.parameters)} parameters, but there are {m} points; measure more"
            )
        given = {name: _own(name, value, n) for name, value in (known or {}).items()}
        weight = np.broadcast_to(
            np.float64(1) if weights is None else np.asarray(weights, np.float64), (n, m)
        )
        told = np.ones(n, bool)
        for value in given.values():
            told &= np.isfinite(value[:, 0]) if np.ndim(value) else True
        filled = {name: np.where(np.isfinite(v), v, 1) if np.ndim(v) else v for name, v in given.items()}
        sigma = None if noise is None else np.broadcast_to(np.asarray(noise, np.float64), (n,))
        made = model.size(x, filled)
        if made != m:
            raise ScanError(
                f"{model.name} makes {made} points of this protocol, the data have {m}; check both"
            )
        start, table = Start.of(model, x, filled, n), Table.of(model, x, filled, n)
        return cls(Task(model, x, y, weight, filled, sigma, start, table), told)

    def task(self, which: Any = slice(None)) -> Task:
        """That of all voxels, or of some."""
        part = self.whole.part(which)
        data, weight = _present(part.data, part.weight, self.told[which])
        return replace(part, data=data, weight=weight)


def _own(name: str, value: Any, n: int) -> Any:
    """A number as it is; an array as (n, 1)."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    if value.shape != (n,):
        raise ScanError(
            f"{name} has the shape {value.shape} for {n} voxels; give one value, or one per voxel"
        )
    return value.astype(np.float64)[:, None]


@njit(cache=True, nogil=True)
def _present(data: Doubles, weight: Doubles, told: BoolArray) -> tuple[Doubles, Doubles]:
    """Data and weights (n, m), which voxels are told all they need (n) → the two, 0 where a point is missing."""
    n, m = data.shape
    y, w = np.zeros((n, m)), np.zeros((n, m))
    for v in range(n):
        for e in range(m):
            if told[v] and np.isfinite(data[v, e]) and np.isfinite(weight[v, e]) and weight[v, e] >= 0:
                y[v, e], w[v, e] = data[v, e], weight[v, e]
    return y, w
