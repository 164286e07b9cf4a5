"""The field of what lies outside the field of view: a neck cut off by a box would be a wrong, sharp edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.forward import dipole_field
from mensura.phantom.shapes import Points
from mensura.scan import FloatArray, Grid

CELL = 4.0
SAMPLES = (-0.25, 0.25)
Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Lowest and highest coordinate (mm, scanner axes) along x, y and z."""
HEAD_BOX: Box = ((-95.0, 95.0), (-130.0, 118.0), (-190.0, 108.0))
"""Where a head's sources are looked for."""


def add_surroundings(
    field: FloatArray, chi_at: Callable[[Points], FloatArray], grid: Grid, box: Box = HEAD_BOX
) -> None:
    """Adds to `field` (ppm, in place) that of all sources in `box` outside the grid; `chi_at` relative to air.

    They are averaged over cells of about 4 mm, aligned with the grid; their field is interpolated linearly.
    """
    step = np.array([max(1, round(CELL / v)) for v in grid.voxel_size])
    low, high = _reach(grid, step, box)
    coarse = _coarse(grid, step, low, high)
    source = _average(chi_at, grid, coarse, step, low)
    far = dipole_field(source, coarse)
    weights = [
        _linear(n, s, first, size)
        for n, s, first, size in zip(grid.shape, step, low, coarse.shape, strict=True)
    ]
    far = np.einsum("yb,abc,zc->ayz", weights[1], far, weights[2], optimize=True)
    for i, row in enumerate(weights[0]):
        for cell in np.flatnonzero(row):
            field[i] += row[cell] * far[cell]


def _reach(grid: Grid, step: NDArray[Any], box: Box) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last cell along each axis such that the cells hold both the grid and the box of sources."""
    corners = np.array(list(product(*box)))
    inverse = np.linalg.inv(grid.affine)
    cells = (corners @ inverse[:3, :3].T + inverse[:3, 3] + 0.5) / step
    low = np.minimum(np.floor(cells.min(axis=0)), -1)
    high = np.maximum(np.ceil(cells.max(axis=0)), np.ceil(np.array(grid.shape) / step) + 1)
    return low.astype(np.intp), high.astype(np.intp)


def _coarse(grid: Grid, step: NDArray[Any], low: NDArray[np.intp], high: NDArray[np.intp]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, :3] *= step
    affine[:3, 3] = grid.affine[:3, 3] + grid.affine[:3, :3] @ ((low + 0.5) * step - 0.5)
    nx, ny, nz = (int(n) for n in high - low)
    return Grid((nx, ny, nz), affine, grid.b0_override)


def _average(
    chi_at: Callable[[Points], FloatArray],
    grid: Grid,
    coarse: Grid,
    step: NDArray[Any],
    low: NDArray[np.intp],
) -> FloatArray:
    """Mean susceptibility over each cell, with zero for samples that lie inside the grid."""
    total = np.zeros(coarse.shape, np.float32)
    index = np.indices(coarse.shape, dtype=np.float32)
    for shift in product(SAMPLES, repeat=3):
        at = [index[a] + np.float32(shift[a]) for a in range(3)]
        points = _positions(at, coarse.affine)
        voxel = [(at[a] + 0.5 + low[a]) * step[a] - 0.5 for a in range(3)]
        outside = ~np.logical_and.reduce(
            [(v > -0.5) & (v < n - 0.5) for v, n in zip(voxel, grid.shape, strict=True)]
        )
        total[outside] += chi_at((points[0][outside], points[1][outside], points[2][outside]))
    return total / np.float32(len(SAMPLES) ** 3)


def _positions(at: Sequence[FloatArray], affine: NDArray[np.float64]) -> Points:
    x, y, z = (
        sum((np.float32(affine[r, a]) * at[a] for a in range(3)), np.float32(affine[r, 3])) for r in range(3)
    )
    return np.asarray(x), np.asarray(y), np.asarray(z)


def _linear(n: int, step: int, first: int, size: int) -> FloatArray:
    """Matrix (n × size) that interpolates from cell centres to voxel centres along one axis."""
    at = (np.arange(n) + 0.5) / step - 0.5 - first
    left = np.clip(np.floor(at).astype(int), 0, size - 2)
    weights = np.zeros((n, size), np.float32)
    weights[np.arange(n), left] = 1 - (at - left)
    weights[np.arange(n), left + 1] = at - left
    return weights
