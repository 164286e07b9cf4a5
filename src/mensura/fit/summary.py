"""What was found in every voxel → its errors, how well it fits, and how it ended; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit.model import SignalModel
from mensura.fit.result import Status
from mensura.scan import FloatArray

Doubles = NDArray[np.float64]

UNKNOWABLE = 1.0
"""Standard error of a logarithm, or of a parameter over its range, from which it is not identified."""
LOUD = 3.0
"""Times the noise that the largest point of a voxel must reach."""
NOT_CONVERGED, NOT_IDENTIFIABLE = int(Status.NOT_CONVERGED), int(Status.NOT_IDENTIFIABLE)
OUT_OF_BOUNDS, BELOW_NOISE = int(Status.OUT_OF_BOUNDS), int(Status.BELOW_NOISE)
NO_SIGNAL, OK = int(Status.NO_SIGNAL), int(Status.OK)


class Bounds(NamedTuple):
    """Of every parameter: its bounds (infinite, if it is linear), the span of its coordinate, and whether that is a
    logarithm."""

    lower: Doubles
    upper: Doubles
    span: Doubles
    logarithmic: NDArray[np.bool_]

    @classmethod
    def of(cls, model: SignalModel) -> Bounds:
        spans = [
            np.inf if p.linear else 1.0 if p.logarithmic else p.upper - p.lower for p in model.parameters
        ]
        ends = [(-np.inf, np.inf) if p.linear else (p.lower, p.upper) for p in model.parameters]
        lower, upper = np.array(ends, np.float64).T.copy()
        return cls(lower, upper, np.array(spans), np.array([p.logarithmic for p in model.parameters]))


class Summed(NamedTuple):
    """Data and weights (n, m); values, ½ Σ w r², inverse normal matrices and success of a fit; the noise's variance
    (n), and its standard deviation where it is known (n), else not a number."""

    data: Doubles
    weight: Doubles
    values: Doubles
    cost: Doubles
    inverse: Doubles
    converged: NDArray[np.bool_]
    variance: Doubles
    noise: Doubles


class Columns(NamedTuple):
    """Of a `Fit`; not a number where the status is not OK, or a point is missing."""

    values: FloatArray
    errors: FloatArray
    status: NDArray[np.uint8]
    residual: FloatArray
    weights: FloatArray
    correlation: FloatArray
    r_squared: FloatArray
    chi_squared: FloatArray
    aic: FloatArray
    freedom: NDArray[np.int16]
    data: FloatArray

    @classmethod
    def empty(cls, n: int, m: int, p: int) -> Columns:
        """Room for the fits of n voxels with m points and p parameters, in single precision."""

        def room(*shape: int) -> FloatArray:
            return np.empty((n, *shape), np.float32)

        codes, freedom = np.empty(n, np.uint8), np.empty(n, np.int16)
        return cls(
            room(p), room(p), codes, room(), room(m), room(p, p), room(), room(), room(), freedom, room(m)
        )

    def part(self, which: slice) -> Columns:
        """That of some of the voxels, to be written into."""
        return Columns._make(column[which] for column in self)


@njit(cache=True, nogil=True, error_model="numpy")
def variances(weight: Doubles, cost: Doubles, parameters: int) -> Doubles:
    """The noise's variance (n) from ½ Σ w r²; not a number without more points than parameters."""
    n, m = weight.shape
    variance = np.full(n, np.nan)
    for v in range(n):
        freedom = -parameters
        for e in range(m):
            freedom += weight[v, e] > 0
        if freedom > 0:
            variance[v] = 2 * cost[v] / freedom
    return variance


@njit(cache=True, nogil=True, error_model="numpy")
def summarise(given: Summed, bounds: Bounds, columns: Columns) -> None:
    """What was found in every voxel → what a `Fit` says of it."""
    _statuses(given, bounds, columns.status)
    _errors(given, bounds, columns)
    _goodness(given, columns)
    _keep(given, columns)


@njit(cache=True, nogil=True, error_model="numpy")
def _statuses(given: Summed, bounds: Bounds, status: NDArray[np.uint8]) -> None:
    """How each voxel ended; the later reason counts."""
    data, weight, values, _, inverse, converged, variance, noise = given
    lower, upper, span, _ = bounds
    (n, m), p = data.shape, values.shape[1]
    for v in range(n):
        ended = OK if converged[v] else NOT_CONVERGED
        for i in range(p):
            if not np.isfinite(inverse[v, i, i]):
                ended = NOT_IDENTIFIABLE
        for i in range(p):
            if np.sqrt(inverse[v, i, i] * variance[v]) > UNKNOWABLE * span[i]:
                ended = NOT_IDENTIFIABLE
            if values[v, i] <= lower[i] or values[v, i] >= upper[i]:
                ended = OUT_OF_BOUNDS
        counted, loudest, silent = 0, 0.0, True
        for e in range(m):
            silent = silent and data[v, e] == 0
            if weight[v, e] > 0:
                counted += 1
                loudest = max(loudest, abs(data[v, e]))
        if loudest < LOUD * noise[v]:
            ended = BELOW_NOISE
        if counted < p or silent:
            ended = NO_SIGNAL
        status[v] = ended


@njit(cache=True, nogil=True, error_model="numpy")
def _errors(given: Summed, bounds: Bounds, columns: Columns) -> None:
    """Values, their standard deviations and correlations."""
    _, _, values, _, inverse, _, variance, _ = given
    all_values, errors, status, correlation = (
        columns.values,
        columns.errors,
        columns.status,
        columns.correlation,
    )
    n, p = values.shape
    root, logarithmic = np.empty(p), bounds.logarithmic
    for v in range(n):
        unless = 0.0 if status[v] == OK else np.nan
        deviation = np.sqrt(variance[v]) + unless
        for i in range(p):
            root[i] = np.sqrt(inverse[v, i, i])
            all_values[v, i] = values[v, i] + unless
            errors[v, i] = root[i] * deviation * (values[v, i] if logarithmic[i] else 1.0)
            for j in range(i + 1):
                both = inverse[v, i, j] / (root[i] * root[j]) + unless
                correlation[v, i, j] = both
                correlation[v, j, i] = both


@njit(cache=True, nogil=True, error_model="numpy")
def _goodness(given: Summed, columns: Columns) -> None:
    """Root mean square; R², the share of the data's variance that the model explains; χ², the squares over the noise's
    variance, if that is known; Akaike's criterion, n ln(Σ w r²/n) + 2(p + 1)."""
    data, weight, values, cost, _, _, _, noise = given
    status, residual, r_squared = columns.status, columns.residual, columns.r_squared
    chi_squared, aic = columns.chi_squared, columns.aic
    (n, m), p = data.shape, values.shape[1]
    for v in range(n):
        counted, total, size, away = 0, 0.0, 0.0, 0.0
        for e in range(m):
            counted += weight[v, e] > 0
            total += weight[v, e]
            size += weight[v, e] * data[v, e]
        mean = size / total
        for e in range(m):
            away += weight[v, e] * (data[v, e] - mean) ** 2
        unless = 0.0 if status[v] == OK else np.nan
        squares = 2 * cost[v] + unless
        residual[v] = np.sqrt(squares / max(total, 1e-300))
        r_squared[v] = 1 - squares / away
        chi_squared[v] = squares / noise[v] ** 2
        aic[v] = counted * np.log(squares / counted) + 2 * (p + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(given: Summed, columns: Columns) -> None:
    """Data and weights, and how many points more than parameters."""
    data, weight = given.data, given.weight
    (n, m), p = data.shape, given.values.shape[1]
    for v in range(n):
        counted = 0
        for e in range(m):
            counts = weight[v, e] > 0
            counted += counts
            columns.weights[v, e] = weight[v, e]
            columns.data[v, e] = data[v, e] if counts else np.nan
        columns.freedom[v] = counted - p
