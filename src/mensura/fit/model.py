"""A signal equation, and what is to be known of its parameters: all that a fit needs of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import ScanError

Doubles = NDArray[np.float64]
Known = Mapping[str, Any]

STEP = 1e-7
"""Of the differences, relative to the parameter (or its logarithm): slopes are exact to about 1e-7 of themselves."""


@dataclass(frozen=True)
class Parameter:
    """A number that the fit looks for: its unit, its bounds, and whether the signal is proportional to it.

    A parameter above 0 is sought by its logarithm. `starts` values between the bounds are tried first.
    """

    name: str
    unit: str
    lower: float = -np.inf
    upper: float = np.inf
    linear: bool = False
    starts: int = 32

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ScanError(f"the bounds of {self.name} are {self.lower:g} and {self.upper:g}; sort them")
        if not self.linear and not np.isfinite([self.lower, self.upper]).all():
            raise ScanError(f"{self.name} is not linear and needs two finite bounds")

    @property
    def logarithmic(self) -> bool:
        """Whether it is sought by its logarithm."""
        return not self.linear and self.lower > 0

    def inside(self, value: Doubles) -> Doubles:
        """Value → coordinate in which it is sought."""
        return np.log(value) if self.logarithmic else np.asarray(value, np.float64)

    def outside(self, coordinate: Doubles) -> Doubles:
        """Coordinate → value."""
        return np.exp(coordinate) if self.logarithmic else coordinate

    def bounded(self, coordinate: Doubles) -> Doubles:
        """Coordinate → value between the bounds; at the coordinate of a bound, or beyond, the very number it is."""
        low, high = self.inside(np.array([self.lower, self.upper]))
        value = self.outside(np.clip(coordinate, low, high))
        return np.where(coordinate <= low, self.lower, np.where(coordinate >= high, self.upper, value))

    def grid(self) -> Doubles:
        """Values to try first, evenly spaced in the coordinate, the bounds themselves left out."""
        low, high = self.inside(np.array([self.lower, self.upper]))
        share = (np.arange(self.starts) + 0.5) / self.starts
        return self.outside(low + share * (high - low))


@dataclass(frozen=True)
class SignalModel:
    """`equation`(points (m,), *parameters (n, 1), **known) → signals (n, m), and its table of parameters.

    `known` are numbers, or arrays (n, 1) of what each voxel has, as its B1. Linear parameters must enter as factors of
    a sum. The equation is a pure function, in double precision; derivatives are differences. `between`: whether it
    holds between the points that were measured, too; that of a train of pulses holds at its echoes alone. `smooth`:
    whether what each voxel has is a quantity that signals bend with; a number that stands for a voxel is none.
    """

    name: str
    equation: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    doi: str
    between: bool = True
    smooth: bool = True

    @property
    def linear(self) -> list[int]:
        return [i for i, p in enumerate(self.parameters) if p.linear]

    @property
    def nonlinear(self) -> list[int]:
        return [i for i, p in enumerate(self.parameters) if not p.linear]

    def signal(self, points: Doubles, values: Doubles, known: Known) -> Doubles:
        """Values (n, p) → signals (n, m)."""
        arguments = [values[:, i, None] for i in range(len(self.parameters))]
        made = np.asarray(self.equation(points, *arguments, **known), np.float64)
        return np.broadcast_to(made, (len(values), made.shape[-1]))

    def basis(self, points: Doubles, values: Doubles, known: Known) -> Doubles:
        """The signals of the linear parameters, each 1 while the others are 0: (n, m, linear)."""
        signals = []
        for one in self.linear:
            unit = values.copy()
            unit[:, self.linear] = 0
            unit[:, one] = 1
            signals.append(self.signal(points, unit, known))
        if not signals:
            return np.zeros((len(values), self.size(points, known), 0))
        return np.stack(signals, -1)

    def size(self, points: Doubles, known: Known) -> int:
        """How many points a voxel has."""
        few = {name: value[:1] if np.ndim(value) else value for name, value in known.items()}
        return int(self.signal(points, self.candidates()[:1], few).shape[1])

    def slopes(self, points: Doubles, values: Doubles, known: Known, signal: Doubles) -> Doubles:
        """Derivatives of the signal, which is given, by the nonlinear parameters' coordinates: (n, m, nonlinear)."""
        found = []
        for one in self.nonlinear:
            parameter, moved = self.parameters[one], values.copy()
            at = parameter.inside(values[:, one])
            step = STEP * (1.0 if parameter.logarithmic else parameter.upper - parameter.lower)
            moved[:, one] = parameter.outside(at + step)
            found.append((self.signal(points, moved, known) - signal) / step)
        return np.stack(found, -1)

    def candidates(self) -> Doubles:
        """Values to try first, (g, p): all combinations of the nonlinear parameters' grids, linear ones 1."""
        grids = [p.grid() if not p.linear else np.ones(1) for p in self.parameters]
        return np.array(list(product(*grids)))

    def coordinates(self, values: Doubles) -> Doubles:
        """Values (n, p) → the coordinates in which the nonlinear ones are sought, (n, q)."""
        found = [self.parameters[i].inside(values[:, i]) for i in self.nonlinear]
        return np.stack(found, -1) if found else np.empty((len(values), 0))

    def values(self, coordinates: Doubles) -> Doubles:
        """Coordinates (n, q) → values inside the bounds (n, p), linear ones 1."""
        found = np.ones((len(coordinates), len(self.parameters)))
        for place, i in enumerate(self.nonlinear):
            found[:, i] = self.parameters[i].bounded(coordinates[:, place])
        return found
