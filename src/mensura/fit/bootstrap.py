"""Standard errors from the residuals of each voxel, whatever the noise of each point: the wild bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mensura.fit import algebra
from mensura.fit.descent import CHUNK, Report, columns_of, projected, solve
from mensura.fit.task import Found, Task

Doubles = NDArray[np.float64]

LEAST = 1e-3
"""What leverage leaves of a point's variance, below which its residual says nothing more."""


@dataclass(frozen=True)
class Bootstrap:
    """How often the data are made anew and fitted, and the seed of the signs."""

    repeats: int = 200
    seed: int = 0


def bootstrapped(
    task: Task, found: Found, how: Bootstrap, monitor: Report | None = None
) -> tuple[Found, Doubles]:
    """What was found by least squares → the same with the covariance over refits as its inverse, and a variance of 1.

    y* = f(θ̂) + r_i s_i/√(1 − h_i), signs s_i = ±1 with even odds, r the residuals, h the leverages of the fit, so that
    the covariance is right for noise that differs from point to point, and does not lean for noise that does not. Signs
    belong to a voxel's place, a repeat and the seed: neither threads nor chunks change them. After a loss,
    refits are to all points that it keeps. Where there are no more points than parameters, there is no variance.
    Wu 1986, doi:10.1214/aos/1176350142; the root of 1 − h: HC2 of MacKinnon & White 1985,
    doi:10.1016/0304-4076(85)90158-7.
    """
    n, p = found.values.shape
    which = np.flatnonzero((task.freedom > 0) & np.isfinite(found.inverse).all(axis=(1, 2)) & found.converged)
    if not which.size:
        return found, np.full(n, np.nan)
    part, start = replace(task.part(which), noise=None), found.values[which]
    signal, scaled = _spread_residuals(part, start)
    total, squares, done = np.zeros((which.size, p)), np.zeros((which.size, p, p)), 0
    for signs in _signs(how, task.data.shape, which):
        away = _coordinates(part, _refitted(part, start, signal + scaled * signs)) - _coordinates(part, start)
        total += away.sum(axis=0)
        squares += np.einsum("knp,knq->npq", away, away)
        done += len(signs)
        if monitor is not None:
            monitor(done, how.repeats, 0.0)
    covariance, variance = found.inverse.copy(), np.full(n, np.nan)
    mean, variance[which] = total / how.repeats, 1
    covariance[which] = (squares - how.repeats * mean[:, :, None] * mean[:, None]) / (how.repeats - 1)
    return replace(found, inverse=covariance), variance


def _spread_residuals(task: Task, values: Doubles) -> tuple[Doubles, Doubles]:
    """The fitted signals, and residuals as large as the noise: over √(1 − leverage)."""
    state = projected(task, values)
    columns = columns_of(task, state)
    inverse = algebra.inverses(columns, task.weight)
    leverage = task.weight * np.einsum("nmp,npq,nmq->nm", columns, inverse, columns)
    return state.signal, state.residual / np.sqrt(np.clip(1 - leverage, LEAST, 1))


def _signs(how: Bootstrap, shape: tuple[int, ...], which: NDArray[np.intp]) -> Iterator[Doubles]:
    """±1 of the chosen voxels' points, (repeats at once, n, m): as many at once as make a chunk."""
    at_once = max(CHUNK // max(which.size, 1), 1)
    for first in range(0, how.repeats, at_once):
        draws = [
            np.random.default_rng([how.seed, repeat]).integers(0, 2, shape, np.int8)[which]
            for repeat in range(first, min(first + at_once, how.repeats))
        ]
        yield np.stack(draws) * 2.0 - 1.0


def _refitted(task: Task, start: Doubles, data: Doubles) -> Doubles:
    """Data (repeats, n, m) → the values of their fits, (repeats, n, p)."""
    repeats, n, m = data.shape
    many = replace(task.part(np.tile(np.arange(n), repeats)), data=data.reshape(-1, m))
    found = solve(many, start=np.tile(start, (repeats, 1)))
    return found.values.reshape(repeats, n, -1)


def _coordinates(task: Task, values: Doubles) -> Doubles:
    """Values (…, p) → the coordinates in which they are sought."""
    return np.stack([p.inside(values[..., i]) for i, p in enumerate(task.model.parameters)], -1)
