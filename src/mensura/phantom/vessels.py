"""What is drawn over the tissues: veins (sinuses, deep, cortical, medullary), arteries and lesions, as tubes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import Head
from mensura.phantom.arteries import draw_arteries
from mensura.phantom.labels import BRAIN, Label
from mensura.phantom.lesions import LESIONS, draw_lesions
from mensura.phantom.tubes import Path, Vessel, columns, paint, rounded, spaced, undisplaced

__all__ = ["LESIONS", "Vessel", "draw_arteries", "draw_lesions", "draw_veins", "draw_vessels", "paint"]

BONY = BRAIN | {Label.BONE, Label.MARROW}
"""What a sinus is drawn over: it lies in a groove of the skull."""
CENTRE = np.array([0, -17, 15], np.float32)
DEEP: tuple[tuple[tuple[tuple[float, float, float], ...], float], ...] = (
    (((2, 2, 9), (2, -15, 14), (2, -32, 15), (0, -44, 12)), 1.0),
    (((16, 6, 16), (11, 4, 15), (5, 2, 11), (2, 2, 9)), 0.8),
    (((24, -26, 20), (14, -24, 18), (6, -20, 16), (2, -18, 14)), 0.7),
    (((20, 4, -14), (22, -8, -16), (19, -22, -8), (10, -36, 4), (0, -44, 12)), 0.9),
)
"""Centreline (mm) and radius of the deep veins of the right side; the last point drains them."""
COLLECTORS: tuple[tuple[tuple[float, float, float], ...], ...] = (
    ((17, 25, 17), (18, 16, 20), (16, 6, 16)),
    ((19, -8, 24), (19, 0, 22), (16, 6, 16)),
    ((20, -12, 24), (22, -20, 23), (24, -26, 20)),
    ((23, -54, 20), (25, -42, 22), (24, -26, 20)),
)
"""Veins under the walls of the right ventricle, which gather the medullary ones; the last point drains them."""


def draw_vessels(random: np.random.Generator, head: Head) -> list[Vessel]:
    """Draws arteries and veins of one head, in the coordinates of the scanner (the head's warp applied)."""
    return [*draw_arteries(head), *draw_veins(random, head)]


def draw_veins(random: np.random.Generator, head: Head) -> list[Vessel]:
    """Draws the veins of one head: small ones drain into larger ones, and all into the sinuses."""
    small, superficial = random.spawn(2)
    cortical, medullary = _cortical(random, head), _medullary(random)
    drawn = [*_sinuses(head), *_deep_veins(), *_collectors(), *cortical, *medullary]
    drawn += [*_pial(superficial, cortical, head), *_branches(small, medullary)]
    return [Vessel(undisplaced(spaced(v.path), head), v.radius, v.label, v.over) for v in drawn]


def _sinuses(head: Head) -> list[Vessel]:
    """Sagittal, straight, transverse and sigmoid sinuses."""
    angle = np.radians(np.linspace(25, 197, 60))
    arch = np.stack([0 * angle, np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    sagittal = _on_surface(arch, 2.6, head)
    confluence = tuple(float(v) for v in sagittal[-1])
    groove = rounded([confluence, (28, -94, -13), (52, -72, -19), (59, -50, -26), (54, -42, -46)])
    side = [*_lifted(groove, 4.0, head)[::8], (38, -34, -62)]
    straight = [(0, -44, 12), (0, -62, 3), confluence]
    vessels = [Vessel(sagittal, 3.2, Label.SINUS, BONY), Vessel(_path(straight), 1.9, Label.SINUS)]
    return vessels + [Vessel(rounded(side) * _path([(s, 1, 1)]), 3.0, Label.SINUS, BONY) for s in (-1, 1)]


def _deep_veins() -> list[Vessel]:
    flips = (_path([(-1, 1, 1)]), _path([(1, 1, 1)]))
    return [Vessel(_path(list(path)) * flip, radius) for path, radius in DEEP for flip in flips]


def _collectors() -> list[Vessel]:
    flips = (_path([(-1, 1, 1)]), _path([(1, 1, 1)]))
    return [Vessel(rounded(path) * flip, 0.6) for path in COLLECTORS for flip in flips]


def _cortical(random: np.random.Generator, head: Head, count: int = 26) -> list[Vessel]:
    """Veins that run over the convexity, in the mouth of the sulci, up to the sagittal sinus."""
    vessels = []
    for i in range(count):
        side = 1 if i % 2 else -1
        tilt = random.uniform(-0.9, 0.9)
        low, steps = random.uniform(0.1, 0.9), 24
        rise = np.linspace(low, np.pi / 2, steps)
        lean = tilt + 0.18 * np.cumsum(random.standard_normal(steps)) / np.sqrt(steps)
        ray = np.stack([side * np.cos(rise), np.sin(lean) * 1.1, np.sin(rise) * np.cos(lean)], 1)
        vessels.append(Vessel(_on_surface(ray.astype(np.float32), -1.2, head), random.uniform(0.6, 1.2)))
    return vessels


def _pial(random: np.random.Generator, parents: Sequence[Vessel], head: Head, each: int = 2) -> list[Vessel]:
    """Thinner veins over the convexity, each of which joins a cortical one, coming from behind or from below."""
    drawn = []
    for parent in parents:
        for _ in range(each):
            joint = parent.path[random.integers(0, len(parent.path) - 4)] - CENTRE
            joint = _unit(joint)
            across = _unit(np.cross(joint, random.standard_normal(3)))
            away = np.linspace(0, random.uniform(0.15, 0.40), 16)[:, None]
            wind = 0.012 * np.cumsum(random.standard_normal((16, 3)), axis=0) * (away > 0)
            rays = np.asarray(joint + away * (across - np.array([0, 0, 0.4])) + wind, np.float32)
            rays[0] = joint
            drawn.append(Vessel(_on_surface(rays, -1.2, head), 0.6 * parent.radius))
    return drawn


def _medullary(random: np.random.Generator, count: int = 170) -> list[Vessel]:
    """Small veins through the white matter, slightly winding, to a collector at the ventricle's wall."""
    collected = np.concatenate([v.path for v in _collectors()])
    vessels = []
    for _ in range(count):
        ray = random.standard_normal(3) * [1.2, 1, 0.8]
        ray[2] = abs(ray[2]) + 0.15
        ray = ray / np.linalg.norm(ray)
        start = np.array([np.sign(ray[0]) * 16, random.uniform(-52, 22), 20]) + 6 * ray
        length = random.uniform(15, 42)
        steps = np.linspace(0, length, 20)[:, None]
        wind = np.cumsum(random.standard_normal((20, 3)), axis=0) * 0.35
        path = start + steps * ray + wind
        drain = collected[np.argmin(np.linalg.norm(collected - path[0], axis=1))]
        whole = np.asarray(np.concatenate([[drain], path]), np.float32)
        vessels.append(Vessel(whole, random.uniform(0.35, 0.7)))
    return vessels


def _branches(random: np.random.Generator, parents: Sequence[Vessel], each: int = 2) -> list[Vessel]:
    """Thinner veins that join the medullary ones at an acute angle, coming from farther out."""
    drawn = []
    for parent in parents:
        for start in random.integers(3, len(parent.path) - 6, each):
            ahead = parent.path[-1] - parent.path[start]
            aside = 0.6 * np.linalg.norm(ahead) * _unit(random.standard_normal(3))
            steps = np.linspace(0, random.uniform(0.4, 0.9), 12)[:, None]
            wind = np.cumsum(random.standard_normal((12, 3)), axis=0) * 0.25
            wind[0] = 0
            path = parent.path[start] + steps * (ahead + aside) + wind
            drawn.append(Vessel(path.astype(np.float32), 0.7 * parent.radius))
    return drawn


def _unit(direction: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(direction / np.linalg.norm(direction), np.float64)


def _on_surface(rays: Path, height: float, head: Head) -> Path:
    """Directions from the middle of the cerebrum → points `height` mm above the brain's hull."""
    low, high = np.zeros(len(rays), np.float32), np.full(len(rays), 120, np.float32)
    for _ in range(18):
        middle = (low + high) / 2
        inside = head.surface(columns((CENTRE + middle[:, None] * rays).astype(np.float32))) < height
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(CENTRE + low[:, None] * rays, np.float32)


def _lifted(path: Path, height: float, head: Head) -> Path:
    """Points near the brain's hull, all but the first → moved along its normal to `height` mm above it."""
    moved = path.copy()
    for _ in range(6):
        missing = np.float32(height) - head.surface(columns(moved))
        slopes = []
        for axis in np.eye(3, dtype=np.float32):
            slopes.append(head.surface(columns(moved + axis)) - head.surface(columns(moved - axis)))
        normal = np.stack(slopes, 1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + np.float32(1e-6)
        moved[1:] += (missing[:, None] * normal)[1:]
    return moved


def _path(points: Sequence[Sequence[float]]) -> Path:
    return np.array(points, np.float32)
