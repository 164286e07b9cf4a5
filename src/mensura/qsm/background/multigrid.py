"""Poisson's equation on the voxels inside a mask by geometric multigrid, at the cost of a few sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from mensura.inverse import grids
from mensura.inverse.solvers import Solution, dot
from mensura.methods import Monitor
from mensura.qsm import harmonic
from mensura.scan import BoolArray, FloatArray

COARSEST = 6
"""Levels are added until no axis of the grid is longer than this."""
SWEEPS = 2
"""Gauss–Seidel sweeps (both colours) before and after each correction; many on the coarsest level."""


@dataclass(frozen=True)
class Level:
    """The unknown voxels of one grid, with the couplings (1/mm²) to the neighbours along each axis."""

    inside: BoolArray
    couplings: FloatArray


def solve_poisson(
    right: FloatArray,
    inside: BoolArray,
    voxel_size: Sequence[float],
    *,
    tol: float,
    max_iter: int,
    monitor: Monitor | None = None,
) -> Solution:
    """−∇²x = `right` on the voxels `inside`, x = 0 elsewhere (7-point Laplacian) → x, until ‖r‖ ≤ tol·‖right‖.

    V-cycles with red-black Gauss–Seidel sweeps; every second voxel makes the next grid, as long as its voxels are
    near to cubes (only the axes with short voxels are halved). Brandt 1977, doi:10.1090/S0025-5718-1977-0431719-X.
    `inside` must not touch the edge of the grid.
    """
    levels = _levels(inside, voxel_size)
    x, residual = np.zeros_like(right), right.copy()
    size, history = float(np.sqrt(dot(right, right))), list[float]()
    left = size
    while left > tol * size and len(history) < max_iter:
        _cycle(levels, x, right)
        _residual(x, right, inside, levels[0].couplings, residual)
        left = float(np.sqrt(dot(residual, residual)))
        history.append(left / size)
        if monitor is not None:
            monitor(len(history), max_iter, history[-1])
    return Solution(x, len(history), left <= tol * size, tuple(history))


def harmonic_inside(
    field: FloatArray,
    interior: BoolArray,
    voxel_size: Sequence[float],
    *,
    tol: float = 1e-4,
    max_iter: int = 30,
    monitor: Monitor | None = None,
) -> FloatArray:
    """The field that solves Laplace's equation on the voxels `interior` and is `field` everywhere else."""
    couplings = (1 / np.square(voxel_size)).astype(np.float32)
    boundary = np.where(interior, np.float32(0), field)
    right = harmonic.neighbour_sum(boundary, couplings) * interior
    solution = solve_poisson(right, interior, voxel_size, tol=tol, max_iter=max_iter, monitor=monitor)
    return boundary + solution.x


def _levels(inside: BoolArray, voxel_size: Sequence[float]) -> list[Level]:
    size, levels = np.asarray(voxel_size, float), list[Level]()
    while True:
        levels.append(Level(inside, (1 / size**2).astype(np.float32)))
        steps = _steps(inside.shape, [float(h) for h in size])
        coarse = np.ascontiguousarray(inside[tuple(slice(None, None, s) for s in steps)])
        for axis in range(3):
            # what lies on the edge of the grid is a boundary, as on the finest grid
            np.moveaxis(coarse, axis, 0)[[0, -1]] = False
        if max(steps) == 1 or not coarse.any():
            return levels
        inside, size = coarse, size * steps


def _steps(shape: Sequence[int], size: Sequence[float]) -> grids.Steps:
    """By how much each axis is thinned out: 2 where it is long and its voxels are among the short ones."""
    x, y, z = (s if n > COARSEST else 1 for n, s in zip(shape, grids.steps(size), strict=True))
    return x, y, z


def _cycle(levels: Sequence[Level], x: FloatArray, right: FloatArray) -> None:
    """One V-cycle, in place."""
    level, *coarser = levels
    if not coarser:
        for _ in range(20 * SWEEPS):
            _sweep(x, right, level)
        return
    for _ in range(SWEEPS):
        _sweep(x, right, level)
    residual = np.zeros_like(right)
    _residual(x, right, level.inside, level.couplings, residual)
    steps = tuple(int(np.ceil(a / b) > 1) + 1 for a, b in zip(x.shape, coarser[0].inside.shape, strict=True))
    below = _restricted(residual, steps) * coarser[0].inside
    correction = np.zeros_like(below)
    _cycle(coarser, correction, below)
    x += _interpolated(correction, x.shape) * level.inside
    for _ in range(SWEEPS):
        _sweep(x, right, level)


def _sweep(x: FloatArray, right: FloatArray, level: Level) -> None:
    for colour in (0, 1):
        _relax(x, right, level.inside, level.couplings, colour)


@njit(cache=True, parallel=True)
def _relax(x: FloatArray, right: FloatArray, inside: BoolArray, couplings: FloatArray, colour: int) -> None:
    """Solve for every voxel of one colour of the chess board in place, its six neighbours held."""
    a, b, c = couplings
    share = np.float32(1) / (np.float32(2) * (a + b + c))
    for i in prange(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            for k in range(1 + (i + j + 1 + colour) % 2, x.shape[2] - 1, 2):
                if inside[i, j, k]:
                    s = right[i, j, k] + a * (x[i - 1, j, k] + x[i + 1, j, k])
                    s += b * (x[i, j - 1, k] + x[i, j + 1, k])
                    s += c * (x[i, j, k - 1] + x[i, j, k + 1])
                    x[i, j, k] = share * s


@njit(cache=True, parallel=True)
def _residual(
    x: FloatArray, right: FloatArray, inside: BoolArray, couplings: FloatArray, out: FloatArray
) -> None:
    """out = right + ∇²x on the voxels `inside`; elsewhere it is left as it is."""
    a, b, c = couplings
    total = np.float32(2) * (a + b + c)
    for i in prange(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            for k in range(1, x.shape[2] - 1):
                if inside[i, j, k]:
                    s = right[i, j, k] + a * (x[i - 1, j, k] + x[i + 1, j, k])
                    s += b * (x[i, j - 1, k] + x[i, j + 1, k])
                    s += c * (x[i, j, k - 1] + x[i, j, k + 1])
                    out[i, j, k] = s - total * x[i, j, k]


def _restricted(fine: FloatArray, steps: Sequence[int]) -> FloatArray:
    """Every second value along the axes with step 2, averaged with half its neighbours: ¼ ½ ¼."""
    for axis, step in enumerate(steps):
        if step == 2:
            lines = np.moveaxis(fine, axis, 0)
            coarse = np.float32(0.5) * lines[::2]
            coarse[1:] += np.float32(0.25) * lines[1 : 2 * len(coarse) - 2 : 2]
            between = lines[1::2]
            coarse[: len(between)] += np.float32(0.25) * between
            fine = np.moveaxis(coarse, 0, axis)
    return np.ascontiguousarray(fine)


def _interpolated(coarse: FloatArray, shape: Sequence[int]) -> FloatArray:
    """Linear interpolation back to `shape` along the axes that were thinned out."""
    for axis, n in enumerate(shape):
        lines = np.moveaxis(coarse, axis, 0)
        if len(lines) != n:
            fine = np.empty((n, *lines.shape[1:]), np.float32)
            fine[::2] = lines
            fine[1::2] = np.float32(0.5) * lines[: n // 2]
            fine[1 : 2 * len(lines) - 2 : 2] += np.float32(0.5) * lines[1:]
            coarse = np.moveaxis(fine, 0, axis)
    return coarse
