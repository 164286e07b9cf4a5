"""The steps of `descent` on a table of the signals, compiled: voxels side by side, so that all arithmetic is wide.

Where a lane's voxel is done, the next begins. The unknowns are the linear parameters, then the nonlinear ones.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit.algebra import SMALLEST
from mensura.fit.lanes import LANES, Given, Lane, State, Walked, Work, lanes
from mensura.fit.table import SUMS, Grid, look

Doubles = NDArray[np.float64]

MAX_ITER = 60
TRUSTED = 1e-6
"""Squared length of a step, in standard errors, that is taken without looking where it leads: the end."""
STILL = 1e-9
"""Length of a step in the parameters' coordinates that ends it as well, for data without noise."""
CAREFUL = 1e-3
"""Damping of the first step."""
FREE = 1e-2
"""Damping below which a step is as long as it should be."""
STUCK = 1e12
"""Damping at which no step of any length helps: the values are as good as numbers can be."""


@njit(cache=True, nogil=True, fastmath=SUMS)
def _clear(a: Doubles, i: int) -> None:
    for v in range(LANES):
        a[i, v] = 0.0


@njit(cache=True, nogil=True, fastmath=SUMS)
def _add(a: Doubles, i: int, b: Doubles, j: int, c: Doubles, k: int) -> None:
    for v in range(LANES):
        a[i, v] += b[j, v] * c[k, v]


@njit(cache=True, nogil=True, fastmath=SUMS)
def _less(a: Doubles, i: int, b: Doubles, j: int, c: Doubles, k: int) -> None:
    for v in range(LANES):
        a[i, v] -= b[j, v] * c[k, v]


@njit(cache=True, nogil=True, fastmath=SUMS)
def _times(a: Doubles, i: int, b: Doubles, j: int) -> None:
    for v in range(LANES):
        a[i, v] *= b[j, v]


@njit(cache=True, nogil=True, fastmath=SUMS)
def _reduce(f: Doubles, p: int, i: int, first: int, last: int) -> None:
    """Row i of a matrix, of which rows first to last are Cholesky's factor (diagonal inverted), as far as they go."""
    for j in range(first, i + 1):
        for n in range(first, min(j, last)):
            _less(f, i * p + j, f, i * p + n, f, j * p + n)
        if j < min(i, last):
            _times(f, i * p + j, f, j * p + j)


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def _pivot(f: Doubles, i: int, diagonal: Doubles, d: int) -> None:
    """The inverted diagonal of a factor; 0 where the matrix is not positive definite to working precision."""
    for v in range(LANES):
        s = f[i, v]
        f[i, v] = 1 / np.sqrt(s) if s > SMALLEST * diagonal[d, v] else 0.0


@njit(cache=True, nogil=True, fastmath=SUMS)
def _substitute(f: Doubles, p: int, n: int, b: Doubles) -> None:
    """b ← A⁻¹b from the first n rows of the factor of A; 0 where it has none."""
    for i in range(n):
        for v in range(LANES):
            if f[i * p + i, v] == 0:
                for j in range(n):
                    b[j, v] = 0.0
    for i in range(n):
        for j in range(i):
            _less(b, i, f, i * p + j, b, j)
        _times(b, i, f, i * p + i)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            _less(b, i, f, j * p + i, b, j)
        _times(b, i, f, i * p + i)


@njit(cache=True, nogil=True, fastmath=SUMS)
def _project(work: Work, state: State) -> None:
    """Columns at the state's place → the best amplitudes there, residuals, and cost."""
    m, k, p, f = len(work.data), len(state.amplitude), len(state.diagonal), state.factor
    for i in range(k):
        _clear(state.amplitude, i)
        for e in range(i * m, i * m + m):
            for v in range(LANES):
                work.weighted[e, v] = work.weight[e - i * m, v] * work.columns[e, v]
            _add(state.amplitude, i, work.weighted, e, work.data, e - i * m)
        for j in range(i + 1):
            _clear(f, i * p + j)
            for e in range(m):
                _add(f, i * p + j, work.weighted, i * m + e, work.columns, j * m + e)
        state.diagonal[i] = f[i * p + i]
        _reduce(f, p, i, 0, k)
        _pivot(f, i * p + i, state.diagonal, i)
    _substitute(f, p, k, state.amplitude)
    _clear(state.cost, 0)
    for e in range(m):
        for v in range(LANES):
            state.residual[e, v] = work.data[e, v]
        for i in range(k):
            _less(state.residual, e, state.amplitude, i, work.columns, i * m + e)
        for v in range(LANES):
            state.cost[0, v] += 0.5 * work.weight[e, v] * state.residual[e, v] ** 2


@njit(cache=True, nogil=True, fastmath=SUMS)
def _bend(work: Work, state: State) -> None:
    """The same → the rows of the nonlinear parameters, and the slopes of the cost by them."""
    m, k, p, f, slope = len(work.data), len(state.amplitude), len(state.diagonal), state.factor, work.slope
    for i in range(k, p):
        q = (i - k) * m
        _clear(state.right, i - k)
        for j in range(i + 1):
            _clear(f, i * p + j)
        for e in range(m):
            _clear(slope, q + e)
            for j in range(k):
                _add(slope, q + e, state.amplitude, j, work.columns, (1 + i - k) * k * m + j * m + e)
            for j in range(k):
                _add(f, i * p + j, work.weighted, j * m + e, slope, q + e)
            for v in range(LANES):
                work.turned[e, v] = work.weight[e, v] * slope[q + e, v]
            _add(state.right, i - k, work.turned, e, state.residual, e)
            for j in range(k, i + 1):
                _add(f, i * p + j, work.turned, e, slope, (j - k) * m + e)
        state.diagonal[i] = f[i * p + i]
        _reduce(f, p, i, 0, k)


@njit(cache=True, nogil=True, fastmath=SUMS)
def _step(work: Work, state: State, lane: Lane) -> None:
    """The damped steps of the nonlinear parameters, and what they should lower the cost by.

    Damping lengthens what is left of the columns once the linear ones are projected out.
    """
    q, k, p = len(state.right), len(state.amplitude), len(state.diagonal)
    for i in range(q):
        work.step[i] = state.right[i]
        for j in range(i + 1):
            work.damped[i * q + j] = state.factor[(k + i) * p + k + j]
        for v in range(LANES):
            work.damped[i * q + i, v] *= 1 + lane.damping[v]
        _reduce(work.damped, q, i, 0, q)
        _pivot(work.damped, i * q + i, state.diagonal, k + i)
    _substitute(work.damped, q, q, work.step)
    lane.gain[:] = 0
    for i in range(q):
        for v in range(LANES):
            lane.gain[v] += 0.5 * state.right[i, v] * work.step[i, v]


@njit(cache=True, nogil=True, fastmath=SUMS)
def _inverse(work: Work, state: State) -> None:
    """The inverse normal matrices, upper half; not a number where there is none."""
    k, p, f, a = len(state.amplitude), len(state.diagonal), work.whole, work.inverse
    f[:] = state.factor
    for i in range(k, p):
        _reduce(f, p, i, k, p)
        _pivot(f, i * p + i, state.diagonal, i)
    for i in range(p):
        for j in range(i):
            _clear(f, j * p + i)
            for n in range(j, i):
                _less(f, j * p + i, f, i * p + n, f, j * p + n)
            _times(f, j * p + i, f, i * p + i)
    for i in range(p):
        for j in range(i + 1):
            _clear(a, j * p + i)
            for n in range(i, p):
                _add(a, j * p + i, f, i * p + n, f, j * p + n)
    for i in range(p):
        for v in range(LANES):
            if f[i * p + i, v] == 0:
                a[:, v] = np.nan


@njit(cache=True, nogil=True)
def _load(work: Work, trial: State, lane: Lane, coming: int, task: Given) -> int:
    """The voxels from `coming` on → lanes that are done, about to begin; which voxel comes next."""
    (n, m), axes, p = task.data.shape, task.start.shape[1], len(trial.diagonal)
    for v in range(LANES):
        if not lane.done[v]:
            continue
        lane.voxel[v], lane.steps[v], lane.done[v] = -1, -1, coming >= n
        if coming < n:
            counted = 0
            for e in range(m):
                work.data[e, v], work.weight[e, v] = task.data[coming, e], task.weight[coming, e]
                counted += task.weight[coming, e] > 0
            for i in range(axes):
                trial.place[i, v] = task.start[coming, i]
            lane.voxel[v], lane.freedom[v] = coming, max(counted - p, 1)
            coming += 1
    return coming


@njit(cache=True, nogil=True)
def _store(work: Work, now: State, lane: Lane, walked: Walked) -> int:
    """Lanes that are done → what was found in their voxels; how many."""
    k, m, p, count = len(now.amplitude), len(now.residual), len(now.diagonal), 0
    for v in range(LANES):
        at = lane.voxel[v]
        if not lane.done[v] or at < 0:
            continue
        count += 1
        for i in range(p - k):
            walked.places[at, i] = now.place[i, v]
        walked.costs[at] = now.cost[0, v]
        for i in range(k):
            walked.amplitudes[at, i] = now.amplitude[i, v]
        for e in range(m):
            walked.residuals[at, e] = now.residual[e, v]
        for i in range(p):
            for j in range(i + 1):
                one = work.inverse[j * p + i, v]
                walked.inverses[at, i, j] = one
                walked.inverses[at, j, i] = one
    return count


@njit(cache=True, nogil=True)
def _judge(now: State, trial: State, lane: Lane) -> None:
    """Which trials are better, and how much to damp the next steps."""
    for v in range(LANES):
        begun, damping = lane.steps[v] >= 0, lane.damping[v]
        better = not begun or trial.cost[0, v] <= now.cost[0, v] * (1 + 1e-15)
        lane.better[v] = better
        lane.damping[v] = CAREFUL if not begun else damping * (0.1 if better else 10)
        lane.steps[v] += 1


@njit(cache=True, nogil=True)
def _take(now: State, trial: State, lane: Lane) -> tuple[State, State]:
    """The better trials are where the lanes are now; the two change places where all are better."""
    if np.all(lane.better):
        return trial, now
    for mine, its in zip(now, trial):  # noqa: B905 (compiled)
        for i in range(len(mine)):
            for v in range(LANES):
                mine[i, v] = its[i, v] if lane.better[v] else mine[i, v]
    return now, trial


@njit(cache=True, nogil=True)
def _move(work: Work, now: State, trial: State, lane: Lane, grid: Grid) -> None:
    """One step on, inside the bounds."""
    lane.way[:] = 0
    trial.place[:] = now.place
    for i in range(len(now.right)):
        for v in range(LANES):
            on = min(max(now.place[i, v] + work.step[i, v], grid.low[i]), grid.high[i])
            work.step[i, v] = on - now.place[i, v]
            lane.way[v] = max(lane.way[v], abs(work.step[i, v]))
            trial.place[i, v] = on


@njit(cache=True, nogil=True)
def _end(now: State, lane: Lane, walked: Walked) -> None:
    """Which voxels are done: by a last step that is too small to be looked at, or without it, as none helps."""
    for v in range(LANES):
        small = lane.damping[v] < FREE and lane.gain[v] <= TRUSTED * now.cost[0, v] / lane.freedom[v]
        lane.better[v] = small or lane.way[v] < STILL
        ended = lane.better[v] or lane.damping[v] > STUCK
        lane.done[v] = lane.voxel[v] < 0 or ended or lane.steps[v] >= MAX_ITER
        if lane.done[v] and lane.voxel[v] >= 0:
            walked.converged[lane.voxel[v]] = ended


@njit(cache=True, nogil=True, fastmath=SUMS)
def _finish(work: Work, now: State, trial: State, lane: Lane) -> None:
    """That step, taken: the amplitudes follow to first order, δa = −A⁻¹ B δ, from rows (L⁻¹ B)ᵀ of the factor.

    Cost and residuals stay those of the place before.
    """
    q, k, p, f = len(now.right), len(now.amplitude), len(now.diagonal), now.factor
    for j in range(k):
        _clear(work.turned, j)
        for i in range(q):
            _less(work.turned, j, f, (k + i) * p + j, work.step, i)
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            _less(work.turned, i, f, j * p + i, work.turned, j)
        _times(work.turned, i, f, i * p + i)
        for v in range(LANES):
            now.amplitude[i, v] += work.turned[i, v] if lane.better[v] else 0.0
    for i in range(q):
        for v in range(LANES):
            now.place[i, v] = trial.place[i, v] if lane.better[v] else now.place[i, v]


@njit(cache=True, nogil=True)
def walk(grid: Grid, linear: int, task: Given) -> Walked:
    """Signals to look up, how many parameters are linear, and what is given → what was found."""
    (n, m), k, q = task.data.shape, linear, len(grid.low)
    work, now, trial, lane = lanes(m, k, q, len(grid.first))
    walked = Walked(
        np.empty((n, q)),
        np.empty((n, k)),
        np.empty((n, m)),
        np.empty(n),
        np.empty((n, k + q, k + q)),
        np.zeros(n, np.bool_),
    )
    coming, left = 0, n
    while left > 0:
        coming = _load(work, trial, lane, coming, task)
        look(grid, trial.place, work.columns)
        _project(work, trial)
        _bend(work, trial)
        _judge(now, trial, lane)
        now, trial = _take(now, trial, lane)
        _step(work, now, lane)
        _move(work, now, trial, lane, grid)
        _end(now, lane, walked)
        _inverse(work, now)
        _finish(work, now, trial, lane)
        left -= _store(work, now, lane, walked)
    return walked
