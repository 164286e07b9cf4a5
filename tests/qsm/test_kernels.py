"""The dipole kernel against closed forms, and spherical means against the mean value property."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.inverse.fft import irfft, rfft
from mensura.qsm import kernels, smv
from mensura.scan import Grid, ScanError


def test_magic_angle_and_axes_of_the_dipole_kernel() -> None:
    grid = Grid.from_voxel_size((64, 64, 64), (1, 1, 1))
    kernel = kernels.dipole(grid.shape, grid)
    assert kernel[0, 0, 0] == 0
    assert kernel[1, 0, 0] == pytest.approx(1 / 3, abs=1e-3)
    assert kernel[0, 0, 1] == pytest.approx(-2 / 3, abs=1e-3)
    assert kernel[1, 1, 1] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (0.5, -0.2, 0.8)])
def test_field_of_a_sphere_outside(direction: tuple[float, float, float]) -> None:
    """χ/3·(a/r)³·(3cos²θ − 1), on anisotropic voxels, for any direction of B0."""
    grid = Grid.from_voxel_size((95, 95, 64), (1.0, 1.0, 1.5), direction)
    axes = [(np.arange(n) - n // 2) * h for n, h in zip(grid.shape, grid.voxel_size, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    radius, chi = 8.0, 0.5
    ball = np.clip((radius - r) / 1.2 + 0.5, 0, 1).astype(np.float32)
    volume = ball.sum() * 1.5
    field = irfft(rfft(chi * ball) * kernels.dipole(grid.shape, grid), grid.shape[2])
    b = np.array(grid.b0_direction)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (x * b[0] + y * b[1] + z * b[2]) / r
        truth = chi * volume / (4 * np.pi * r**3) * (3 * cosine**2 - 1)
    shell = (r > 12) & (r < 20)
    assert np.sqrt(np.mean((field - truth)[shell] ** 2)) < 0.05 * np.sqrt(np.mean(truth[shell] ** 2))


@pytest.mark.parametrize("voxel", [(1, 1, 1), (0.7, 0.7, 2.0), (1.4, 1.4, 4.0), (3, 3, 3)])
@pytest.mark.parametrize("radius", [2.3, 4.0, 8.0])
def test_a_harmonic_field_is_its_own_spherical_mean(voxel: tuple[float, float, float], radius: float) -> None:
    weights = kernels.ball_mean(voxel, radius).astype(np.float64)
    axes = [(np.arange(n) - n // 2) * h for n, h in zip(weights.shape, voxel, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    assert weights.min() >= -1e-7
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    size = np.sum(weights * (x**2 + y**2 + z**2))
    for harmonic in (x, x * y, x**2 - y**2, 2 * z**2 - x**2 - y**2, x * y * z):
        assert abs(np.sum(weights * harmonic)) < 1e-4 * size


def test_each_voxel_gets_the_largest_ball_that_fits() -> None:
    grid = Grid.from_voxel_size((41, 41, 41), (1, 1, 1))
    x, y, z = np.meshgrid(*[np.arange(41) - 20] * 3, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    mask = r <= 16
    radii = smv.available((8.0, 4.0, 2.0), grid)
    shape = smv.padded_shape(grid, radii)
    shells = smv.shells(mask, smv.balls(shape, grid, radii), shape)
    assert sum(s.astype(int) for s in shells).max() == 1
    for shell, low, high in zip(shells, (0, 8, 12), (8, 12, 14), strict=True):
        depths = r[shell]
        assert low - 1.5 <= depths.min()
        assert depths.max() <= high + 1
    assert np.logical_or.reduce(shells)[r < 13].all()


def test_radii_are_ordered_and_never_shorter_than_a_voxel() -> None:
    grid = Grid.from_voxel_size((9, 9, 9), (3, 3, 3))
    assert smv.available((2.0, 8.0, 1.0), grid) == [8.0, pytest.approx(3.003)]
    with pytest.raises(ScanError, match="radii"):
        smv.available((4.0, -1.0), grid)


def test_noise_gain_is_what_white_noise_does() -> None:
    grid = Grid.from_voxel_size((40, 40, 40), (1, 1, 1))
    noise = np.random.default_rng(0).standard_normal((40, 40, 40)).astype(np.float32)
    ball = kernels.sphere((40, 40, 40), grid.voxel_size, 2.5)
    filtered = smv.filtered(rfft(noise), ball, 40)
    assert filtered.var() == pytest.approx(float(smv.noise_gain(grid, 2.5)), rel=0.03)
