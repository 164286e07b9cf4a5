"""The 14 spheres of a plate of the system phantom, found in a slice: ten on a circle, four inside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

RADIUS, INNER = 50.0, 28.3
"""mm: of the circle of ten, and of that of the other four."""
CORE = 4.0
"""mm: of the part of a sphere that is averaged."""


def found(image: NDArray[np.floating], spacing: float) -> NDArray[np.float64]:
    """A slice in which all spheres are brighter than their walls → their centres (14, 2), in voxels."""
    centre, turn = _circle(convolve(image, _kernel(spacing), mode="nearest"), spacing)
    ten = [(RADIUS, turn + n * np.pi / 5) for n in range(10)]
    four = [(INNER, turn + np.deg2rad(27 + 90 * n)) for n in range(4)]
    return np.array([centre + r / spacing * np.array([np.cos(a), np.sin(a)]) for r, a in ten + four])


def means(images: NDArray[np.floating], centres: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Images (x, y, series) and centres → the mean of each sphere in each image (14, series)."""
    x, y = np.indices(images.shape[:2])
    cores = [np.hypot(x - cx, y - cy) * spacing < CORE for cx, cy in centres]
    return np.array([images[core].mean(axis=0) for core in cores], float)


def _kernel(spacing: float) -> NDArray[np.float64]:
    """A disc minus its wall."""
    reach = int(np.ceil(9.5 / spacing))
    x, y = np.mgrid[-reach : reach + 1, -reach : reach + 1] * spacing
    away = np.hypot(x, y)
    disc, wall = (away < 5.5).astype(float), ((away > 7) & (away < 9)).astype(float)
    return disc / disc.sum() - wall / wall.sum()


def _circle(contrast: NDArray[np.float64], spacing: float) -> tuple[NDArray[np.float64], float]:
    """Centre and turn (0 … 36°) of the circle of ten places that are the brightest against their walls."""
    reach = int(25 / spacing)
    offsets = np.arange(-reach, reach + 1)
    centres = np.array([(x, y) for x in offsets for y in offsets]) + np.array(contrast.shape) // 2
    best = (-np.inf, centres[0], 0.0)
    for turn in np.deg2rad(np.arange(0.0, 36.0, 2.0)):
        around = turn + np.arange(10) * np.pi / 5
        at = np.rint(RADIUS / spacing * np.stack([np.cos(around), np.sin(around)])).astype(int)
        scores = contrast[centres[:, :1] + at[0], centres[:, 1:] + at[1]].sum(axis=1)
        if scores.max() > best[0]:
            best = (float(scores.max()), centres[int(scores.argmax())], float(turn))
    return best[1].astype(float), best[2]
