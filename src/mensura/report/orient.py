"""From voxel axes to anatomical ones: which axis of an image runs right, which anterior, which superior."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import Grid


@dataclass(frozen=True)
class Axes:
    """How voxel axes map to anatomical ones, to turn an image to right–anterior–superior by quarter turns.

    `order[w]` is the voxel axis that lies closest to anatomical axis w (0 right, 1 anterior, 2 superior);
    `flipped[w]` says that it runs the other way; `angle` is the largest angle left between two axes, degrees.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    angle: float

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """An image in voxel axes → a view of it in anatomical axes (no voxel is interpolated)."""
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, -1 if f else 1) for f in self.flipped)]

    def sizes(self, grid: Grid) -> tuple[float, float, float]:
        """Voxel edge lengths along the anatomical axes, mm."""
        x, y, z = (grid.voxel_size[axis] for axis in self.order)
        return x, y, z

    def voxel_index(self, axis: int, index: int, grid: Grid) -> int:
        """Index along anatomical axis `axis` → index along the voxel axis of the file."""
        return grid.shape[self.order[axis]] - 1 - index if self.flipped[axis] else index


def closest_axes(grid: Grid) -> Axes:
    """A grid → the assignment of voxel to anatomical axes with the largest sum of direction cosines."""
    cosines = grid.affine[:3, :3] / np.array(grid.voxel_size)
    world = np.arange(3)
    order = max(permutations(range(3)), key=lambda p: float(np.abs(cosines[world, list(p)]).sum()))
    chosen = cosines[world, list(order)]
    angle = float(np.degrees(np.arccos(np.clip(np.abs(chosen).min(), 0, 1))))
    x, y, z = (bool(c < 0) for c in chosen)
    return Axes((order[0], order[1], order[2]), (x, y, z), angle)


def describe_orientation(grid: Grid) -> str:
    """A grid → the acquisition's orientation in words: plane of the slices, obliquity, angle to B0.

    The slices are taken to be stacked along the last voxel axis, as scanners store them.
    """
    axes = closest_axes(grid)
    plane = ("sagittal", "coronal", "axial")[axes.order.index(2)]
    tilt = float(np.degrees(np.arccos(np.clip(abs(grid.b0_direction[2]), 0, 1))))
    kind = f"{plane}, not tilted" if axes.angle < 0.5 else f"{plane}, oblique by {axes.angle:.1f}°"
    return f"{kind}; B0 is {tilt:.1f}° from the slice normal"
