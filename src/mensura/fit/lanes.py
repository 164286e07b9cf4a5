"""What `walk` is given, finds, and keeps of the voxels that it has side by side.

Arrays of lanes end in them, a voxel each. Rows of matrices follow each other: row i, column j of p by p is i·p + j.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

LANES = 64


class Given(NamedTuple):
    """Data and weights (n, m), and where to start: coordinates that are sought, and what is each voxel's own."""

    data: Doubles
    weight: Doubles
    start: Doubles


class Walked(NamedTuple):
    """Coordinates (n, q), amplitudes (n, k), residuals (n, m), ½ Σ w r² (n), inverse normal matrices, and success."""

    places: Doubles
    amplitudes: Doubles
    residuals: Doubles
    costs: Doubles
    inverses: Doubles
    converged: Booleans


class State(NamedTuple):
    """Where the lanes are: coordinates, ½ Σ w r², amplitudes, residuals, slopes of the cost, the normal matrix's
    diagonal, and its rows: Cholesky's factor of the linear ones, of the others what that leaves."""

    place: Doubles
    cost: Doubles
    amplitude: Doubles
    residual: Doubles
    right: Doubles
    diagonal: Doubles
    factor: Doubles


class Work(NamedTuple):
    """Data and weights of the lanes; signals and their slopes by each coordinate, as they were looked up; signals times
    weight, slopes of the whole signal, and one of them times weight; a step and its matrix; all of the factor, and the
    inverse."""

    data: Doubles
    weight: Doubles
    columns: Doubles
    weighted: Doubles
    slope: Doubles
    turned: Doubles
    step: Doubles
    damped: Doubles
    whole: Doubles
    inverse: Doubles


class Lane(NamedTuple):
    """Of every lane: its voxel (-1: none), steps taken (-1: not begun), damping, what the step should gain, its length,
    degrees of freedom, whether the trial is better (at the end: whether the step to it is taken), and whether the voxel
    is done."""

    voxel: Integers
    steps: Integers
    damping: Doubles
    gain: Doubles
    way: Doubles
    freedom: Doubles
    better: Booleans
    done: Booleans


@njit(cache=True, nogil=True)
def lanes(m: int, k: int, q: int, axes: int) -> tuple[Work, State, State, Lane]:
    """Room for all."""
    p = k + q
    work = Work(
        np.zeros((m, LANES)), np.zeros((m, LANES)), np.zeros(((1 + axes) * k * m, LANES)), np.zeros((k * m, LANES)),
        np.zeros((q * m, LANES)), np.zeros((m, LANES)), np.zeros((q, LANES)), np.zeros((q * q, LANES)),
        np.zeros((p * p, LANES)), np.zeros((p * p, LANES)),
    )  # fmt: skip
    now, trial = _state(m, k, q), _state(m, k, q)
    none = np.full(LANES, -1), np.full(LANES, -1)
    lane = Lane(*none, np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.ones(LANES),
                np.zeros(LANES, np.bool_), np.ones(LANES, np.bool_))  # fmt: skip
    return work, now, trial, lane


@njit(cache=True, nogil=True)
def _state(m: int, k: int, q: int) -> State:
    rows = (k + q) * (k + q)
    return State(np.zeros((2, LANES)), np.zeros((1, LANES)), np.zeros((k, LANES)), np.zeros((m, LANES)),
                 np.zeros((q, LANES)), np.zeros((k + q, LANES)), np.zeros((rows, LANES)))  # fmt: skip
