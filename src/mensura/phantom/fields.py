"""Functions of position that are held on a grid and interpolated; smooth random warps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mensura.phantom.shapes import Array, Points, Waves, random_waves
from mensura.phantom.surroundings import HEAD_BOX

NODES = 6.0
"""Spacing (mm) of the points between which a warp is interpolated."""


@dataclass(frozen=True, eq=False)
class Field:
    """Values on a grid, interpolated linearly between its points.

    `inverse` (3×4) leads from mm to indices. Beyond the grid there is `outside`; NaN: the value at its edge.
    """

    values: Array
    inverse: NDArray[np.float64]
    outside: float = float("nan")

    @classmethod
    def on(cls, values: Array, first: Sequence[float], step: float, outside: float = float("nan")) -> Field:
        """Values on a grid along x, y, z with a first point (mm) and a spacing (mm)."""
        start = np.asarray(first, np.float64)[:, None]
        return cls(values, np.hstack([np.eye(3), -start]) / step, outside)

    def __call__(self, points: Points) -> Array:
        """The function at points (mm)."""
        found = np.empty(points[0].shape, np.float32)
        x, y, z = (np.ravel(p) for p in points)
        _interpolate(
            self.values, self.inverse.astype(np.float32), np.float32(self.outside), x, y, z, found.ravel()
        )
        return found


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth map: every point times `scale` (along x, y, z), plus `shifts` (mm)."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shifts: tuple[Field, Field, Field] | None = None

    def __call__(self, points: Points) -> Points:
        """Where points go."""
        x, y, z = (p * np.float32(s) for p, s in zip(points, self.scale, strict=True))
        if self.shifts is None:
            return x, y, z
        across, along, up = self.shifts
        return x + across(points), y + along(points), z + up(points)


Band = tuple[float, int, tuple[float, float]]
"""Part of a warp: standard deviation (mm), number of waves, their wavelengths (mm)."""


def random_warp(
    random: np.random.Generator, bands: Sequence[Band], scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Warp:
    """Draws a warp made of waves, around a head."""
    drawn = [
        [(size, random_waves(random, count, lengths)) for _ in range(3)] for size, count, lengths in bands
    ]
    across, along, up = (held([band[axis] for band in drawn]) for axis in range(3))
    return Warp(scale, (across, along, up))


def held(waves: Sequence[tuple[float, Waves]]) -> Field:
    """A sum of waves, each times its size, sampled around a head: much faster than the waves themselves."""
    low, high = np.array(HEAD_BOX).T
    counts = (np.ceil((high - low) / NODES) + 1).astype(int)
    x, y, z = np.indices(counts, np.float32) * np.float32(NODES) + low.astype(np.float32)[:, None, None, None]
    values = sum((np.float32(size) * wave((x, y, z)) for size, wave in waves), np.zeros(counts, np.float32))
    return Field.on(values, low, NODES)


@numba.njit(cache=True, nogil=True)
def _interpolate(values, inverse, outside, x, y, z, found):  # type: ignore[no-untyped-def]
    nx, ny, nz = values.shape
    for n in range(x.size):
        a = inverse[0, 0] * x[n] + inverse[0, 1] * y[n] + inverse[0, 2] * z[n] + inverse[0, 3]
        b = inverse[1, 0] * x[n] + inverse[1, 1] * y[n] + inverse[1, 2] * z[n] + inverse[1, 3]
        c = inverse[2, 0] * x[n] + inverse[2, 1] * y[n] + inverse[2, 2] * z[n] + inverse[2, 3]
        if a < 0 or b < 0 or c < 0 or a > nx - 1 or b > ny - 1 or c > nz - 1:
            if outside == outside:  # not NaN
                found[n] = outside
                continue
            a, b, c = min(max(a, 0), nx - 1), min(max(b, 0), ny - 1), min(max(c, 0), nz - 1)
        i, j, k = min(int(a), nx - 2), min(int(b), ny - 2), min(int(c), nz - 2)
        u, v, w = a - i, b - j, c - k
        low = (1 - v) * ((1 - w) * values[i, j, k] + w * values[i, j, k + 1])
        low += v * ((1 - w) * values[i, j + 1, k] + w * values[i, j + 1, k + 1])
        high = (1 - v) * ((1 - w) * values[i + 1, j, k] + w * values[i + 1, j, k + 1])
        high += v * ((1 - w) * values[i + 1, j + 1, k] + w * values[i + 1, j + 1, k + 1])
        found[n] = (1 - u) * low + u * high
