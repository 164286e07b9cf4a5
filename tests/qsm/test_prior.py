"""What the prior filled in is the part of the map in the cone of weak dipole: none, all, or a sixth of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mensura.qsm.prior import prior_share
from mensura.scan import Grid

SHAPE = (40, 45, 42)


def grid() -> Grid:
    return Grid.from_voxel_size(SHAPE, (1.2, 1.0, 1.4), (0.2, -0.3, 0.93))


def wave(direction: tuple[float, float, float], length: float = 6.0) -> np.ndarray:
    """A plane wave (ppm) of `length` mm along a direction in voxel axes."""
    unit = np.asarray(direction) / np.linalg.norm(direction)
    at = np.meshgrid(
        *[np.arange(n) * h for n, h in zip(SHAPE, grid().voxel_size, strict=True)], indexing="ij"
    )
    phase = 2 * np.pi / length * sum(u * a for u, a in zip(unit, at, strict=True))
    made: np.ndarray = (0.05 * np.cos(phase)).astype(np.float32)
    return made


def at_angle(degrees: float) -> tuple[float, float, float]:
    """A direction at that angle to B0."""
    b0 = np.asarray(grid().b0_direction)
    side = np.cross(b0, [1.0, 0, 0])
    side /= np.linalg.norm(side)
    x, y, z = np.cos(np.radians(degrees)) * b0 + np.sin(np.radians(degrees)) * side
    return float(x), float(y), float(z)


def share_inside(chi: np.ndarray) -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[10:-10, 10:-10, 10:-10] = True
    share: np.ndarray = prior_share(chi, np.ones(SHAPE, bool), grid())[inside]
    return share


@pytest.mark.parametrize(("degrees", "least", "most"), [(54.7, 0.9, 1.0), (0, 0.0, 0.02), (90, 0.0, 0.02)])
def test_waves_at_the_magic_angle_are_the_priors_and_others_the_datas(
    degrees: float, least: float, most: float
) -> None:
    share = share_inside(wave(at_angle(degrees)))
    assert least <= share.min()
    assert share.max() <= most


def test_without_a_direction_the_share_is_that_of_the_cone() -> None:
    """|1/3 − cos²| < 0.1 holds for 17 % of all directions; detail as fine as a voxel has more, its dipole is weaker."""
    noise = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    noise = gaussian_filter(noise, [2.5 / h for h in grid().voxel_size])
    assert share_inside(noise).mean() == pytest.approx(np.sqrt(13 / 30) - np.sqrt(7 / 30), abs=0.06)


def test_the_share_has_no_scale_and_no_zero() -> None:
    chi = wave(at_angle(40)) + np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32) * 0.02
    np.testing.assert_allclose(share_inside(3 * chi + np.float32(0.5)), share_inside(chi), atol=1e-4)


def test_a_flat_map_has_no_share() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:30, 5:30, 5:30] = True
    assert not prior_share(np.zeros(SHAPE, np.float32), mask, grid()).any()
