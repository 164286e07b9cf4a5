"""From a start to the best values: Levenberg and Marquardt's steps, linear parameters projected out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from mensura.fit import algebra
from mensura.fit.lanes import Given
from mensura.fit.likelihood import LIKELIHOODS, Scored
from mensura.fit.model import SignalModel
from mensura.fit.result import joined
from mensura.fit.table import Table
from mensura.fit.task import Found, Task
from mensura.fit.walk import CAREFUL, FREE, MAX_ITER, STILL, STUCK, walk

Doubles = NDArray[np.float64]
Report = Callable[[int, int, float], None]
T = TypeVar("T")

CHUNK = 8192
"""Voxels that are fitted together: with fewer, threads wait for each other; with many more, memory is slow."""

SETTLED = 1e-4
"""Squared length of a step, in standard errors, that ends the iteration once it was seen to help. More than what `walk`
takes unseen: here each step costs much more."""


class State(NamedTuple):
    """Where the voxels are: values (n, p), basis (n, m, k), signals, residuals and weights (n, m), cost (n)."""

    values: Doubles
    basis: Doubles
    signal: Doubles
    residual: Doubles
    weight: Doubles
    cost: Doubles


Evaluate = Callable[[Task, Doubles], State]


def solve(
    task: Task, likelihood: str = "gaussian", start: Doubles | None = None, monitor: Report | None = None
) -> Found:
    """Every voxel's best values; `start` (n, p), or the best of a dictionary."""

    def one(piece: slice) -> Found:
        return solved(task.part(piece), likelihood, None if start is None else start[piece])

    return joined(in_chunks(len(task.data), one, monitor))


def in_chunks(voxels: int, one: Callable[[slice], T], monitor: Report | None = None) -> list[T]:
    """What is to be done with some of the voxels → that of every chunk, on all threads."""
    pieces = [slice(at, at + CHUNK) for at in range(0, max(voxels, 1), CHUNK)]
    found = []
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for made in pool.map(one, pieces):
            found.append(made)
            if monitor is not None:
                monitor(len(found), len(pieces), 0.0)
    return found


def solved(task: Task, likelihood: str = "gaussian", start: Doubles | None = None) -> Found:
    """`solve` of one chunk."""
    places = task.start.places(task.data) if start is None else task.model.coordinates(start)
    if task.table is not None:
        found = _walked(task, task.table, places)
    else:
        found = _descended(task, projected, task.model.values(places))
    if likelihood != "gaussian":
        found = _descended(task, scored(LIKELIHOODS[likelihood]), found.values)
    return found


def _walked(task: Task, table: Table, places: Doubles) -> Found:
    """`_descended` by least squares, compiled, on a table of the signals."""
    model = task.model
    start = np.concatenate([places, task.known[table.own]], axis=1) if table.own else places
    walked = walk(table.grid(len(model.nonlinear)), len(model.linear), Given(task.data, task.weight, start))
    found = model.values(walked.places)
    found[:, model.linear] = walked.amplitudes
    return Found(found, walked.residuals, walked.costs, ordered(model, walked.inverses), walked.converged)


def projected(task: Task, values: Doubles) -> State:
    """Least squares, the linear parameters being the best there are for the others."""
    model, basis = task.model, _basis(task, values)
    if not model.linear:
        signal = model.signal(task.points, values, task.known)
        residual = task.data - signal
        return State(
            values, basis, signal, residual, task.weight, 0.5 * np.sum(task.weight * residual**2, axis=1)
        )
    amplitudes, residual, cost = algebra.project(basis, task.data, task.weight)
    values = values.copy()
    values[:, model.linear] = amplitudes
    return State(values, basis, task.data - residual, residual, task.weight, cost)


def scored(score: Callable[[Doubles, Doubles], Scored]) -> Evaluate:
    """Any likelihood, by its pseudo-residuals and information, in units of the data.

    Those that are not gaussian are of magnitudes: the sign of a point only told where to start.
    """

    def evaluate(task: Task, values: Doubles) -> State:
        assert task.noise is not None
        sigma = task.noise[:, None]
        signal = task.model.signal(task.points, values, task.known)
        residual, information, cost = score(np.abs(task.data) / sigma, signal / sigma)
        total = np.sum(task.weight * cost, axis=1) * task.noise**2
        return State(values, _basis(task, values), signal, residual * sigma, task.weight * information, total)

    return evaluate


def _basis(task: Task, values: Doubles) -> Doubles:
    return np.ascontiguousarray(task.model.basis(task.points, values, task.known))


def _descended(task: Task, evaluate: Evaluate, values: Doubles) -> Found:
    """Steps until they are small beside the standard errors; those that do not help are taken back and damped."""
    model, freedom = task.model, np.maximum(task.freedom, 1)
    state = State(*(np.array(a) for a in evaluate(task, values)))
    damping, converged = np.full(len(values), CAREFUL), np.zeros(len(values), bool)
    active, part = np.arange(len(values)), task
    for _ in range(MAX_ITER):
        now = state if part is task else State(*(a[active] for a in state))
        step, gain = algebra.steps(
            columns_of(part, now), now.residual, now.weight, len(model.linear), damping[active]
        )
        moved = _moved(model, now.values, step)
        trial = evaluate(part, moved)
        better = trial.cost <= now.cost * (1 + 1e-15)
        small = better & (damping[active] < FREE) & (gain <= SETTLED * now.cost / freedom[active])
        done = small | (_distance(model, moved, now.values) < STILL) | (damping[active] > STUCK)
        for mine, its in zip(state, trial, strict=True):
            mine[active[better]] = its[better]
        damping[active] *= np.where(better, 0.1, 10)
        converged[active[done]] = True
        if done.all():
            break
        if done.any():
            active = active[~done]
            part = task.part(active)
    inverse = inverse_normal(task, state)
    return Found(state.values, state.residual, state.cost, inverse, converged)


def inverse_normal(task: Task, state: State) -> Doubles:
    """(CᵀWC)⁻¹ by the coordinates of all parameters, in the order of the table (n, p, p); NaN where it has none."""
    return ordered(task.model, algebra.inverses(columns_of(task, state), state.weight))


def ordered(model: SignalModel, matrices: Doubles) -> Doubles:
    """Matrices (n, p, p) of the linear parameters, then the others, in the order of the table."""
    order = [*model.linear, *model.nonlinear]
    if order == sorted(order):
        return matrices
    back = np.argsort(order)
    return matrices[:, back][:, :, back]


def columns_of(task: Task, state: State) -> Doubles:
    """Derivatives of the signal by all coordinates, linear ones first."""
    if not task.model.nonlinear:
        return state.basis
    slopes = task.model.slopes(task.points, state.values, task.known, state.signal)
    return np.concatenate([state.basis, slopes], axis=2)


def _moved(model: SignalModel, values: Doubles, step: Doubles) -> Doubles:
    """Values one step on, inside the bounds."""
    moved = np.empty_like(values)
    for place, i in enumerate([*model.linear, *model.nonlinear]):
        parameter = model.parameters[i]
        moved[:, i] = parameter.bounded(parameter.inside(values[:, i]) + step[:, place])
    return moved


def _distance(model: SignalModel, one: Doubles, other: Doubles) -> Doubles:
    """The longest of the nonlinear parameters' ways, in their coordinates."""
    ways = [
        np.abs(p.inside(one[:, i]) - p.inside(other[:, i]))
        for i, p in enumerate(model.parameters)
        if not p.linear
    ]
    return np.max(ways, axis=0) if ways else np.zeros(len(one))
