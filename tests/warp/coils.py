"""A coil with known terms, and objects whose distorted images are known exactly."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mensura.scan import Grid
from mensura.warp import Harmonics, coil_frame

TERMS = {
    ("A", 3, 0, "z"): -0.15,
    ("A", 5, 0, "z"): 0.05,
    ("A", 2, 0, "z"): 0.03,
    ("A", 3, 1, "x"): -0.12,
    ("A", 3, 3, "x"): 0.03,
    ("A", 2, 2, "x"): 0.05,
    ("B", 3, 1, "y"): -0.11,
    ("B", 5, 1, "y"): 0.03,
    ("A", 2, 2, "y"): -0.05,
}
"""Some 7 mm at the edges of `GRID`, more in its corners; with terms that a wrong sign of an axis turns over."""


def coil(terms: dict[tuple[str, int, int, str], float] = TERMS, radius: float = 250.0) -> Harmonics:
    degree = max((n for _, n, _, _ in terms), default=0)
    made = np.zeros((2, 3, degree + 1, degree + 1))
    for (kind, n, m, axis), value in terms.items():
        made["AB".index(kind), "xyz".index(axis), n, m] = value
    return Harmonics(radius, made[0], made[1])


def _oblique() -> Grid:
    angles = np.deg2rad([20.0, -15])
    a = np.array(
        [[1, 0, 0], [0, np.cos(angles[0]), -np.sin(angles[0])], [0, np.sin(angles[0]), np.cos(angles[0])]]
    )
    b = np.array(
        [[np.cos(angles[1]), -np.sin(angles[1]), 0], [np.sin(angles[1]), np.cos(angles[1]), 0], [0, 0, 1]]
    )
    shape = (49, 46, 40)
    affine = np.eye(4)
    affine[:3, :3] = a @ b @ np.diag([-4.0, 4, 5])
    affine[:3, 3] = np.array([15.0, -10, 20]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


GRID = _oblique()
"""196 × 184 × 200 mm, tilted, off the isocentre."""
FRAME = coil_frame("HFS", (0, 0, 12))


def places(grid: Grid) -> NDArray[np.float64]:
    """The voxels in mm, (x, y, z, 3)."""
    indices = np.moveaxis(np.indices(grid.shape, np.float64), 0, -1)
    return indices @ np.asarray(grid.affine)[:3, :3].T + np.asarray(grid.affine)[:3, 3]


def truth_of(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Blobs of 10 mm, with a phase that wraps many times."""
    random = np.random.default_rng(5)
    found = np.zeros(points.shape[:-1])
    for centre in random.uniform((-65, -85, -60), (95, 65, 100), (25, 3)):
        found += np.exp(-np.sum((points - centre) ** 2, axis=-1) / (2 * 10.0**2))
    x, y, z = np.moveaxis(points, -1, 0)
    return found * np.exp(1j * (0.12 * x - 0.08 * y + 0.0007 * z**2))


@lru_cache
def _origins() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For voxels of `GRID`, r′: where their content lies (mm), r by Newton's method; and det(1 + ∂d/∂r) there."""
    shown = places(GRID) @ FRAME[:3, :3].T + FRAME[:3, 3]
    true = shown.copy()
    for _ in range(6):
        moved, slopes = coil()(true)
        true -= np.linalg.solve(np.eye(3) + slopes, (true + moved - shown)[..., None])[..., 0]
    np.testing.assert_allclose(true + coil()(true)[0], shown, atol=1e-6)
    return (true - FRAME[:3, 3]) @ FRAME[:3, :3], np.linalg.det(np.eye(3) + coil()(true)[1])


def distorted(of: Callable[[NDArray[np.float64]], NDArray[np.complex128]]) -> NDArray[np.complex64]:
    """What the scanner shows at r′ = r + d(r): the object at r, by the volume it is stretched to."""
    origins, determinant = _origins()
    return (of(origins) / determinant).astype(np.complex64)
