"""B1 maps go onto other grids by their headers, smooth, and the mask's edge does not pull."""

from __future__ import annotations

import numpy as np

from mensura.qmri.transmit import onto
from mensura.scan import Grid


def field(grid: Grid) -> np.ndarray:
    """A linear field (in scanner coordinates)."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"))
    x, y, z = np.einsum("ij,j...->i...", grid.affine[:3, :3], at) + grid.affine[:3, 3, None, None, None]
    made: np.ndarray = (1 + 0.002 * x - 0.001 * y + 0.0015 * z).astype(np.float32)
    return made


def test_another_grid_sees_the_same_field() -> None:
    coarse = Grid.from_voxel_size((24, 26, 20), (4.0, 4.0, 5.0))
    shift = np.eye(4)
    shift[:3, 3] = (4, 5, 5)
    turned = Grid((30, 30, 20), coarse.affine @ shift @ np.diag([0.5, 0.5, 0.4, 1]))
    found = onto(field(coarse), coarse, turned)
    inner = (slice(8, -8),) * 3
    known = np.isfinite(found[inner])
    assert known.any()
    assert np.abs(found[inner] - field(turned)[inner])[known].max() < 2e-3


def test_noise_is_smoothed_and_unknown_voxels_do_not_count() -> None:
    grid = Grid.from_voxel_size((30, 30, 30), (2.0, 2.0, 2.0))
    noisy = field(grid) + 0.05 * np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    noisy[:10] = 0
    noisy[15, 15, 15] = np.nan
    found = onto(noisy, grid, grid)
    assert np.std((found - field(grid))[12:-4, 4:-4, 4:-4]) < 0.01
    assert abs(float(np.mean((found - field(grid))[10, 5:-5, 5:-5]))) < 0.01
    assert np.isnan(found[0, 0, 0])
