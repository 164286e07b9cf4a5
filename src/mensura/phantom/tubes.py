"""Tubes along centrelines, of which vessels and lesions are made, and how they are painted into labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import Head
from mensura.phantom.labels import Label
from mensura.phantom.shapes import Points

Labels = NDArray[np.uint8]
Path = NDArray[np.float32]
"""Points of a centreline, one row each, mm."""
CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class Vessel:
    """A tube of blood (or of anything): `path` its centreline in mm, `radius` in mm.

    It is drawn over the labels in `over`; None: over those that the anatomy's vessels cover.
    """

    path: Path
    radius: float
    label: Label = Label.VEIN
    over: frozenset[int] | None = None

    @cached_property
    def centres(self) -> Path:
        """Its centreline, in steps that leave no waist between balls of its radius."""
        return spaced(self.path, max(0.3, self.radius / 6))


def paint(
    labels: Labels, affine: NDArray[np.float64], vessels: Sequence[Vessel], over: NDArray[np.bool_]
) -> None:
    """Draws vessels into a label volume in place, over those labels for which `over[label]` is true."""
    voxel_size = np.linalg.norm(affine[:3, :3], axis=0)
    inverse = np.linalg.inv(affine)
    kinds = np.arange(256)
    for vessel in vessels:
        coverable = over if vessel.over is None else np.isin(kinds, list(vessel.over))
        centres = vessel.centres @ inverse[:3, :3].T.astype(np.float32) + inverse[:3, 3].astype(np.float32)
        cells = _cells_within(centres, vessel.radius, voxel_size, labels.shape)
        np.put(labels, cells[coverable[np.take(labels, cells)]], vessel.label)


def spaced(path: Path, step: float = 0.3) -> Path:
    """The polyline resampled at about `step` mm."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], int(lengths[-1] / step) + 2)
    return np.stack([np.interp(at, lengths, column) for column in path.T], 1).astype(np.float32)


def rounded(points: Sequence[Sequence[float]], step: float = 1.0) -> Path:
    """A few points (mm) → a smooth centreline through them (a cubic spline over the chord's length)."""
    from scipy.interpolate import CubicSpline

    rows = np.asarray(points, np.float64)
    if len(rows) < 3:
        return spaced(rows.astype(np.float32), step)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(rows, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], int(lengths[-1] / step) + 2)
    return np.asarray(CubicSpline(lengths, rows)(at), np.float32)


def tapered(vessel: Vessel, end: float, pieces: int = 4) -> list[Vessel]:
    """A tube → tubes in a row whose radius falls from that of the tube to `end` (mm)."""
    cuts = np.linspace(0, len(vessel.path) - 1, pieces + 1).round().astype(int)
    radii = np.linspace(vessel.radius, end, pieces)
    return [
        Vessel(vessel.path[a : b + 1], float(radius), vessel.label, vessel.over)
        for a, b, radius in zip(cuts[:-1], cuts[1:], radii, strict=True)
        if b > a
    ]


def undisplaced(path: Path, head: Head) -> Path:
    """Points of the drawn head → where the warped head has them (fixed-point iteration)."""
    moved = path
    for _ in range(4):
        moved = moved + path - np.stack(head.displaced(columns(moved)), 1)
    return moved.astype(np.float32)


def columns(rows: Path) -> Points:
    """Points as rows → their coordinates x, y, z."""
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _cells_within(
    centres: Path, radius: float, voxel_size: NDArray[np.float64], shape: Sequence[int]
) -> NDArray[np.intp]:
    """Flat indices of the voxels whose centre lies within `radius` mm of a centre (voxel coordinates), some of them
    several times."""
    reach = np.ceil(radius / voxel_size).astype(int)
    size = np.array(shape[:3])
    centres = centres[np.all((centres >= -reach - 1) & (centres <= size + reach), axis=1)]
    steps = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    found, strides = [np.empty(0, np.intp)], np.array([shape[1] * shape[2], shape[2], 1])
    at_once = max(1, CELLS_AT_ONCE // len(steps))
    for some in (centres[i : i + at_once] for i in range(0, len(centres), at_once)):
        cells = np.rint(some).astype(int)[:, None, :] + steps
        distance = np.sum(((cells - some[:, None, :]) * voxel_size) ** 2, axis=-1)
        inside = (distance < radius**2) & np.all((cells >= 0) & (cells < size), axis=-1)
        found.append(cells[inside] @ strides)
    return np.concatenate(found)
