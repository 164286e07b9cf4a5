"""What is drawn over the tissues: veins (sinuses, deep, cortical, medullary) and lesions, as tubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import Head, Labels, cerebrum
from mensura.phantom.shapes import Points
from mensura.phantom.tissues import Label
from mensura.scan import ScanError

Path = NDArray[np.float32]
"""Points of a centreline, one row each, mm."""
CENTRE = np.array([0, -17, 15], np.float32)
DEEP: tuple[tuple[tuple[tuple[float, float, float], ...], float], ...] = (
    (((2, 2, 9), (2, -15, 14), (2, -32, 15), (0, -44, 12)), 1.0),
    (((16, 6, 16), (11, 4, 15), (5, 2, 11), (2, 2, 9)), 0.8),
    (((24, -26, 20), (14, -24, 18), (6, -20, 16), (2, -18, 14)), 0.7),
    (((20, 4, -14), (22, -8, -16), (19, -22, -8), (10, -36, 4), (0, -44, 12)), 0.9),
)
"""Centreline (mm) and radius of the deep veins of the right side; the last point drains them."""


LESIONS: dict[str, tuple[Label, tuple[float, float, float], float]] = {
    "calcification": (Label.CALCIFICATION, (24.0, -34.0, 26.0), 3.2),
    "haemorrhage": (Label.HAEMORRHAGE, (-27.0, -44.0, 24.0), 5.0),
}
"""Label, centre and radius (mm) of the lesions that can be asked for."""


@dataclass(frozen=True, eq=False)
class Vessel:
    """A tube of blood: `path` its centreline in mm, `radius` in mm."""

    path: Path
    radius: float
    label: Label = Label.VEIN


def draw_veins(random: np.random.Generator, head: Head) -> list[Vessel]:
    """Draws the veins of one head, in the coordinates of the scanner (the head's warp applied)."""
    drawn = [*_sinuses(), *_deep_veins(), *_cortical(random), *_medullary(random)]
    return [Vessel(_undisplaced(_dense(v.path), head), v.radius, v.label) for v in drawn]


def paint(
    labels: Labels, affine: NDArray[np.float64], vessels: Sequence[Vessel], over: NDArray[np.bool_]
) -> None:
    """Draws vessels into a label volume in place, over those labels for which `over[label]` is true."""
    voxel_size = np.linalg.norm(affine[:3, :3], axis=0)
    inverse = np.linalg.inv(affine)
    for vessel in vessels:
        centres = vessel.path @ inverse[:3, :3].T.astype(np.float32) + inverse[:3, 3].astype(np.float32)
        cells = _cells_within(centres, vessel.radius, voxel_size, labels.shape)
        chosen = cells[over[labels.flat[cells]]]
        labels.flat[chosen] = vessel.label


def draw_lesions(random: np.random.Generator, names: Sequence[str]) -> list[Vessel]:
    """Names out of `LESIONS` → lumpy balls, drawn as thick, short tubes; ScanError for an unknown name."""
    unknown = sorted(set(names) - set(LESIONS))
    if unknown:
        raise ScanError(f"there is no lesion {unknown[0]!r}; choose from {', '.join(LESIONS)}")
    lumps = random.uniform(-1, 1, (len(LESIONS), 6, 3))
    drawn = []
    for lump, (name, (label, centre, radius)) in zip(lumps, LESIONS.items(), strict=True):
        if name in names:
            path = np.asarray(centre + 0.45 * radius * lump, np.float32)
            drawn.append(Vessel(_dense(path), 0.75 * radius, label))
    return drawn


def _cells_within(
    centres: Path, radius: float, voxel_size: NDArray[np.float64], shape: Sequence[int]
) -> NDArray[np.intp]:
    """Flat indices of the voxels whose centre lies within `radius` mm of a centre (voxel coordinates)."""
    reach = np.ceil(radius / voxel_size).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1).reshape(-1, 3)
    cells = np.rint(centres).astype(int)[:, None, :] + steps
    distance = np.sum(((cells - centres[:, None, :]) * voxel_size) ** 2, axis=-1)
    inside = (distance < radius**2) & np.all((cells >= 0) & (cells < np.array(shape[:3])), axis=-1)
    return np.unique(np.ravel_multi_index(tuple(cells[inside].T), tuple(shape[:3])))


def _sinuses() -> list[Vessel]:
    """Sagittal, straight, transverse and sigmoid sinuses."""
    angle = np.radians(np.linspace(25, 197, 60))
    arch = np.stack([0 * angle, np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    sagittal = _on_surface(arch, 2.6)
    confluence = tuple(float(v) for v in sagittal[-1])
    side = [confluence, (28, -94, -13), (52, -72, -19), (59, -50, -26), (54, -42, -46), (38, -34, -62)]
    straight = [(0, -44, 12), (0, -62, 3), confluence]
    vessels = [Vessel(sagittal, 3.2, Label.SINUS), Vessel(_path(straight), 1.9, Label.SINUS)]
    return vessels + [Vessel(_path(side) * _path([(s, 1, 1)]), 3.0, Label.SINUS) for s in (-1, 1)]


def _deep_veins() -> list[Vessel]:
    flips = (_path([(-1, 1, 1)]), _path([(1, 1, 1)]))
    return [Vessel(_path(list(path)) * flip, radius) for path, radius in DEEP for flip in flips]


def _cortical(random: np.random.Generator, count: int = 26) -> list[Vessel]:
    """Veins that run over the convexity, in the mouth of the sulci, up to the sagittal sinus."""
    vessels = []
    for i in range(count):
        side = 1 if i % 2 else -1
        tilt = random.uniform(-0.9, 0.9)
        low, steps = random.uniform(0.1, 0.9), 24
        rise = np.linspace(low, np.pi / 2, steps)
        lean = tilt + 0.18 * np.cumsum(random.standard_normal(steps)) / np.sqrt(steps)
        ray = np.stack([side * np.cos(rise), np.sin(lean) * 1.1, np.sin(rise) * np.cos(lean)], 1)
        vessels.append(Vessel(_on_surface(ray.astype(np.float32), -1.2), random.uniform(0.6, 1.2)))
    return vessels


def _medullary(random: np.random.Generator, count: int = 170) -> list[Vessel]:
    """Small veins through the white matter, from the ventricles' walls outwards, slightly winding."""
    vessels = []
    for _ in range(count):
        ray = random.standard_normal(3) * [1.2, 1, 0.8]
        ray[2] = abs(ray[2]) + 0.15
        ray = ray / np.linalg.norm(ray)
        start = np.array([np.sign(ray[0]) * 16, random.uniform(-52, 22), 20]) + 6 * ray
        length = random.uniform(15, 42)
        steps = np.linspace(0, length, 20)[:, None]
        wind = np.cumsum(random.standard_normal((20, 3)), axis=0) * 0.35
        vessels.append(Vessel((start + steps * ray + wind).astype(np.float32), random.uniform(0.35, 0.7)))
    return vessels


def _on_surface(rays: Path, height: float) -> Path:
    """Directions from the middle of the cerebrum → points `height` mm above its surface."""
    low, high = np.zeros(len(rays), np.float32), np.full(len(rays), 120, np.float32)
    for _ in range(18):
        middle = (low + high) / 2
        inside = cerebrum(_columns((CENTRE + middle[:, None] * rays).astype(np.float32))) < height
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(CENTRE + low[:, None] * rays, np.float32)


def _undisplaced(path: Path, head: Head) -> Path:
    """Points of the drawn head → where the warped head has them (fixed-point iteration)."""
    moved = path
    for _ in range(4):
        moved = moved + path - np.stack(head.displaced(_columns(moved)), 1)
    return moved.astype(np.float32)


def _dense(path: Path, step: float = 0.3) -> Path:
    """The polyline resampled at about `step` mm."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], int(lengths[-1] / step) + 2)
    return np.stack([np.interp(at, lengths, column) for column in path.T], 1).astype(np.float32)


def _path(points: Sequence[Sequence[float]]) -> Path:
    return np.array(points, np.float32)


def _columns(rows: Path) -> Points:
    return rows[:, 0], rows[:, 1], rows[:, 2]
