"""Level sets (negative inside, about mm) and seeded waves, from which an anatomy is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = tuple[Array, Array, Array]
"""Coordinates x, y, z (mm) of points; arrays of one shape."""
Triple = tuple[float, float, float]


def ellipsoid(points: Points, centre: Triple, radii: Triple) -> Array:
    """Points → approximate signed distance (mm) from an ellipsoid, exact on its surface."""
    first: Array | np.float32 = np.float32(1e-6)
    second: Array | np.float32 = np.float32(1e-6)
    for p, c, r in zip(points, centre, radii, strict=True):
        scaled = (p - np.float32(c)) * np.float32(1 / r)
        first = first + scaled * scaled
        scaled = scaled * np.float32(1 / r)
        second = second + scaled * scaled
    length = np.sqrt(first)
    distance: Array = length * (length - 1) / np.sqrt(second)
    return distance


def tube(points: Points, path: Sequence[Triple], radii: Sequence[float]) -> Array:
    """Points → signed distance (mm) from a chain of tapering capsules through `path`."""
    nearest: Array | None = None
    for a, b, ra, rb in zip(path, path[1:], radii, radii[1:], strict=False):
        piece = _capsule(points, np.array(a, np.float32), np.array(b, np.float32), (ra, rb))
        nearest = piece if nearest is None else np.minimum(nearest, piece)
    assert nearest is not None
    return nearest


def union(a: Array, b: Array, blend: float) -> Array:
    """The lower of two level sets, rounded where they meet within `blend` mm."""
    overlap = np.maximum(np.float32(blend) - np.abs(a - b), 0)
    joined: Array = np.minimum(a, b) - overlap * overlap * np.float32(0.25 / blend)
    return joined


def intersection(a: Array, b: Array, blend: float) -> Array:
    """The higher of two level sets, rounded where they meet within `blend` mm."""
    return -union(-a, -b, blend)


def mirrored(points: Points) -> Points:
    """Points with |x| for x: what is drawn on the right appears on both sides."""
    return np.abs(points[0]), points[1], points[2]


def subset(points: Points, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Points:
    """The chosen points, as flat arrays."""
    return points[0][chosen], points[1][chosen], points[2][chosen]


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random function of position: Σ a·sin(k·r + φ). `k` in rad/mm, one row per wave."""

    k: Array
    phase: Array
    amplitude: Array

    def __call__(self, points: Points) -> Array:
        """The function at the points."""
        total = np.zeros(points[0].shape, np.float32)
        for k, phase, amplitude in zip(self.k, self.phase, self.amplitude, strict=True):
            total += amplitude * np.sin(_angle(points, k, phase))
        return total

    def with_slope(self, points: Points) -> tuple[Array, Array]:
        """The function and the length of its gradient (1/mm) at the points."""
        shape = points[0].shape
        total, slopes = np.zeros(shape, np.float32), [np.zeros(shape, np.float32) for _ in range(3)]
        for k, phase, amplitude in zip(self.k, self.phase, self.amplitude, strict=True):
            angle = _angle(points, k, phase)
            total += amplitude * np.sin(angle)
            change = amplitude * np.cos(angle)
            for slope, component in zip(slopes, k, strict=True):
                slope += component * change
        return total, np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)

    def on_plane(self, affine: NDArray[np.float64], i: float, shape: tuple[int, int]) -> Array:
        """The function on plane `i` of a voxel grid, by sums of products of one-dimensional waves (fast)."""
        turns = self.k @ affine[:3, :3].astype(np.float32)
        start = self.phase + self.k @ affine[:3, 3].astype(np.float32) + turns[:, 0] * np.float32(i)
        rows = start + np.arange(shape[0], dtype=np.float32)[:, None] * turns[:, 1]
        columns = np.arange(shape[1], dtype=np.float32)[:, None] * turns[:, 2]
        left = np.concatenate([np.sin(rows), np.cos(rows)], axis=1) * np.tile(self.amplitude, 2)
        plane: Array = left @ np.concatenate([np.cos(columns), np.sin(columns)], axis=1).T
        return plane


def random_waves(random: np.random.Generator, count: int, wavelengths: tuple[float, float]) -> Waves:
    """Waves in random directions with wavelengths (mm) spread evenly on a log scale; standard deviation 1."""
    direction = random.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    lengths = np.exp(random.uniform(np.log(wavelengths[0]), np.log(wavelengths[1]), count))
    return Waves(
        (2 * np.pi * direction / lengths[:, None]).astype(np.float32),
        random.uniform(0, 2 * np.pi, count).astype(np.float32),
        np.full(count, np.sqrt(2 / count), np.float32),
    )


def _angle(points: Points, k: Array, phase: np.float32) -> Array:
    angle: Array = points[0] * k[0] + points[1] * k[1] + points[2] * k[2] + phase
    return angle


def _capsule(points: Points, a: Array, b: Array, radii: tuple[float, float]) -> Array:
    along = b - a
    rest = [p - c for p, c in zip(points, a, strict=True)]
    share = sum(r * c for r, c in zip(rest, along, strict=True)) / np.float32(np.dot(along, along))
    share = np.clip(share, 0, 1)
    square = sum((r - share * c) ** 2 for r, c in zip(rest, along, strict=True))
    return np.asarray(np.sqrt(square) - (np.float32(radii[0]) + np.float32(radii[1] - radii[0]) * share))
