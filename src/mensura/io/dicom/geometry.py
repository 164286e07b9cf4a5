"""Planes of a series and voxels of a map: whether they are the same, and how one is written as the other.

DICOM's axes point to the left, the back and the head (LPS), those of an affine to the right, the front and the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import Grid, ScanError

Array = NDArray[np.float64]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME = 5e-3
"""Millimetres by which the corners of a map and of a series may differ, from what both lose in writing."""
EVEN = 0.02
"""Millimetres by which planes may differ from even spacing, as they are rounded in some headers."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Planes of `rows` × `columns`: unit vectors along a row and down a column, `spacing` (between rows, between
    columns), slice thickness, and the position of each plane's first pixel (mm, LPS), evenly spaced."""

    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    shape: tuple[int, int]
    positions: tuple[tuple[float, ...], ...]

    @property
    def affine(self) -> Array:
        """(column, row, plane) → mm in LPS. ScanError where the planes are not evenly spaced."""
        across, down = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        places = np.array(self.positions)
        count = len(places)
        step = (
            (places[-1] - places[0]) / (count - 1) if count > 1 else np.cross(across, down) * self.thickness
        )
        found = np.eye(4)
        found[:3] = np.column_stack([across * self.spacing[1], down * self.spacing[0], step, places[0]])
        if np.abs(places[0] + np.arange(count)[:, None] * step - places).max() > EVEN:
            raise ScanError("the slices are not evenly spaced; export a scan with even slices")
        return found

    @property
    def gap(self) -> float:
        """Distance between the centres of neighbouring planes, mm."""
        return float(np.linalg.norm(self.affine[:3, 2]))


@dataclass(frozen=True, eq=False)
class Layout:
    """How a map's array becomes frames: which of its axes runs along columns, rows, planes, and which run backwards."""

    frames: Frames
    axes: tuple[int, ...]
    backwards: tuple[bool, ...]

    def cut(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (x, y, z) → its planes (plane, row, column), contiguous."""
        turned = data.transpose(self.axes)
        turned = turned[tuple(slice(None, None, -1 if back else 1) for back in self.backwards)]
        return np.ascontiguousarray(turned.transpose(2, 1, 0))


def fitted(frames: Frames, grid: Grid) -> Layout | None:
    """The layout that puts every voxel of a grid on a pixel of these planes, or None where they differ."""
    target = LPS @ grid.affine
    moved = np.linalg.inv(frames.affine) @ target
    axes = tuple(int(np.argmax(np.abs(moved[row, :3]))) for row in range(3))
    sizes = (frames.shape[1], frames.shape[0], len(frames.positions))
    if sorted(axes) != [0, 1, 2] or tuple(grid.shape[axis] for axis in axes) != sizes:
        return None
    backwards = tuple(bool(moved[row, axis] < 0) for row, axis in enumerate(axes))
    corners = np.array(
        [[n * (size - 1) for n, size in zip(c, sizes, strict=True)] for c in product((0, 1), repeat=3)]
    )
    there = np.zeros_like(corners)
    for row, axis in enumerate(axes):
        there[:, axis] = sizes[row] - 1 - corners[:, row] if backwards[row] else corners[:, row]
    apart = _placed(frames.affine, corners) - _placed(target, there)
    return Layout(frames, axes, backwards) if np.abs(apart).max() <= SAME else None


def own(grid: Grid, name: str) -> Layout:
    """The layout of a map on its own grid: planes along its third axis, turned as radiologists look at them.

    ScanError where rows and columns are not at right angles, which DICOM cannot hold.
    """
    affine = LPS @ grid.affine
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    units = affine[:3, :3] / sizes
    if abs(units[:, 0] @ units[:, 1]) > 1e-4:
        raise ScanError(
            f"{name}: rows and columns are not at right angles, as DICOM needs them; resample the map"
        )
    main = [int(np.argmax(np.abs(units[:, axis]))) for axis in (0, 1)]
    across, down = (0, 1) if main[0] < main[1] else (1, 0)
    signs = [1.0 if abs(units[2, axis]) < 0.7 else -1.0 for axis in (across, down)]
    turns = [
        signs[n] * units[int(np.argmax(np.abs(units[:, a]))), a] < 0 for n, a in enumerate((across, down))
    ]
    ways = [units[:, a] * (-1 if turn else 1) for a, turn in zip((across, down), turns, strict=True)]
    turns.append(bool(np.cross(*ways) @ units[:, 2] < 0))
    axes = (across, down, 2)
    start = np.array([0, 0, 0])
    for axis, back in zip(axes, turns, strict=True):
        start[axis] = grid.shape[axis] - 1 if back else 0
    first = _placed(affine, start[None])[0]
    step = affine[:3, 2] * (-1 if turns[2] else 1)
    frames = Frames(
        tuple(np.concatenate(ways).tolist()),
        (float(sizes[down]), float(sizes[across])),
        float(sizes[2]),
        (grid.shape[down], grid.shape[across]),
        tuple(tuple((first + n * step).tolist()) for n in range(grid.shape[2])),
    )
    return Layout(frames, axes, tuple(bool(turn) for turn in turns))


def overlap(frames: Frames, grid: Grid) -> bool:
    """Whether the middle of a grid lies in the box of the planes, or theirs in the box of the grid."""
    sizes = np.array([frames.shape[1], frames.shape[0], len(frames.positions)])
    ours, theirs = LPS @ grid.affine, frames.affine
    return _inside(ours, np.array(grid.shape), theirs, sizes) or _inside(
        theirs, sizes, ours, np.array(grid.shape)
    )


def _inside(affine: Array, sizes: NDArray[np.int64], other: Array, bounds: NDArray[np.int64]) -> bool:
    middle = _placed(np.linalg.inv(other), _placed(affine, (sizes[None] - 1) / 2))[0]
    return bool(np.all((middle > -0.5) & (middle < bounds - 0.5)))


def _placed(affine: NDArray[Any], points: NDArray[Any]) -> Array:
    found: Array = np.asarray(points, float) @ affine[:3, :3].T + affine[:3, 3]
    return found


def in_order(positions: Sequence[tuple[float, ...]], orientation: Sequence[float]) -> list[tuple[float, ...]]:
    """Positions, some of them several times → each once, along the normal of the planes."""
    normal = np.cross(orientation[:3], orientation[3:])
    along = sorted((float(np.dot(normal, position)), position) for position in positions)
    steps = zip(along, [(-np.inf, ()), *along], strict=False)
    return [position for (place, position), (before, _) in steps if place - before > EVEN / 2]
