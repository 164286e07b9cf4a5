"""The forward model against closed forms: fields of a sphere and of a cylinder; noise."""

import numpy as np
import pytest

from mensura.phantom.forward import add_noise, block_mean, dipole_field
from mensura.scan import Grid


def oblique(shape, voxel_size, degrees):
    a = np.radians(degrees)
    return Grid.from_voxel_size(shape, voxel_size, (0.6 * np.sin(a), 0.8 * np.sin(a), np.cos(a)))


def positions(grid):
    axes = [(np.arange(n) - n // 2) * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def sphere(grid, radius, fine=4):
    """Share of each voxel that lies inside a sphere about the central voxel."""
    r = positions(grid)
    share = np.zeros(grid.shape)
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    for dx in steps:
        for dy in steps:
            for dz in steps:
                shift = np.array([dx, dy, dz]) * grid.voxel_size
                share += np.linalg.norm(r + shift, axis=-1) < radius
    return (share / fine**3).astype(np.float32)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 54.7, 90.0])
@pytest.mark.parametrize(
    ("shape", "voxel_size"), [((48, 47, 49), (1, 1, 1)), ((61, 52, 33), (0.8, 0.9, 1.6))]
)
def test_sphere_matches_closed_form(shape, voxel_size, degrees):
    grid, radius, chi = oblique(shape, voxel_size, degrees), 10.0, 1.7
    field = dipole_field(chi * sphere(grid, radius), grid)
    r = positions(grid)
    distance = np.maximum(np.linalg.norm(r, axis=-1), 1e-9)
    cosine = r @ np.array(grid.b0_direction) / distance
    outside = chi / 3 * (radius / distance) ** 3 * (3 * cosine**2 - 1)
    margin = 2 * max(voxel_size)
    scale = chi / 3 * 2
    far = distance > radius + margin
    assert np.abs(field - outside)[far].max() < 0.01 * scale
    assert np.linalg.norm((field - outside)[far]) < 0.01 * np.linalg.norm(outside[far])
    assert np.abs(field)[distance < radius - margin].max() < 0.01 * scale


@pytest.mark.parametrize("degrees", [0.0, 54.7, 90.0])
@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.8, 1.0, 1.5)])
def test_cylinder_matches_closed_form(voxel_size, degrees):
    """Along the third axis, so long that its ends are not felt in the middle: cos²θ − 1/3 inside (Lorentz-corrected,
    over 2), sin²θ·cos 2φ/ρ² outside, with θ the angle between the cylinder and B0."""
    a, radius, chi = np.radians(degrees), 6.0, 0.8
    grid = Grid.from_voxel_size((44, 42, int(260 / voxel_size[2])), voxel_size, (np.sin(a), 0, np.cos(a)))
    middle = positions(grid)[:, :, grid.shape[2] // 2]
    x, y = middle[..., 0], middle[..., 1]
    share = np.zeros(x.shape)
    for dx in (np.arange(8) + 0.5) / 8 - 0.5:
        for dy in (np.arange(8) + 0.5) / 8 - 0.5:
            share += np.hypot(x + dx * voxel_size[0], y + dy * voxel_size[1]) < radius
    solid = np.repeat((share / 64)[:, :, None], grid.shape[2], axis=2).astype(np.float32)
    field = dipole_field(chi * solid, grid)[:, :, grid.shape[2] // 2]
    rho, cosine = np.hypot(x, y), np.cos(2 * np.arctan2(y, x))
    inside = chi / 6 * (3 * np.cos(a) ** 2 - 1)
    outside = chi / 2 * np.sin(a) ** 2 * cosine * (radius / np.maximum(rho, 1e-9)) ** 2
    margin, scale = 2 * max(voxel_size[:2]), chi / 3
    far, deep = rho > radius + margin, rho < radius - margin
    assert np.abs(field - outside)[far].max() < 0.01 * scale
    assert np.abs(field - inside)[deep].max() < 0.01 * scale
    if degrees > 0:
        assert np.linalg.norm((field - outside)[far]) < 0.01 * np.linalg.norm(outside[far])


def test_a_uniform_medium_shifts_nothing():
    grid = oblique((20, 21, 18), (1, 1.2, 2), 20)
    chi = np.full(grid.shape, 0.36, np.float32)
    np.testing.assert_allclose(dipole_field(chi, grid, background_chi=0.36), 0, atol=1e-7)


def test_field_does_not_wrap_around():
    """The field of a source at one end, seen at the other, is that of a point dipole at the true distance."""
    grid = Grid.from_voxel_size((8, 8, 64))
    chi = np.zeros(grid.shape, np.float32)
    chi[4, 4, 0] = 1
    field = dipole_field(chi, grid)
    z = np.arange(20, 64)
    np.testing.assert_allclose(field[4, 4, 20:], 2 / (4 * np.pi * z**3.0), rtol=2e-3, atol=2e-8)


def test_superposition_and_linearity():
    grid = oblique((17, 20, 15), (1, 1, 1.5), 40)
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, *grid.shape)).astype(np.float32)
    both = dipole_field(2 * a - 3 * b, grid)
    np.testing.assert_allclose(both, 2 * dipole_field(a, grid) - 3 * dipole_field(b, grid), atol=2e-5)


def test_background_field_is_harmonic_away_from_its_sources():
    grid = oblique((40, 40, 40), (1, 1, 1), 25)
    r = positions(grid)
    chi = (np.linalg.norm(r - [0, 14, -10], axis=-1) < 5).astype(np.float32)
    field = dipole_field(9.4 * chi, grid)
    laplacian = sum(np.roll(field, s, a) for s in (-1, 1) for a in range(3)) - 6 * field
    inside = np.linalg.norm(r, axis=-1) < 6
    assert np.abs(field[inside]).max() > 0.1
    assert np.abs(laplacian[inside]).max() < 3e-3 * np.abs(field[inside]).max()


def test_noise_has_the_stated_level_and_is_seeded():
    echoes = np.zeros((48, 48, 48, 2), np.complex64)
    add_noise(echoes, 4.0, seed=3)
    for n in range(2):
        for part in (echoes[..., n].real, echoes[..., n].imag):
            assert abs(part.std() / 4.0 - 1) < 0.01
            assert abs(part.mean()) < 0.05
    assert abs(np.corrcoef(echoes[..., 0].imag.ravel(), echoes[..., 1].imag.ravel())[0, 1]) < 0.02
    again, other = np.zeros_like(echoes), np.zeros_like(echoes)
    add_noise(again, 4.0, seed=3)
    add_noise(other, 4.0, seed=4)
    np.testing.assert_array_equal(echoes, again)
    assert not np.array_equal(echoes, other)


def test_block_mean():
    x = np.arange(5 * 4 * 4, dtype=np.float32).reshape(5, 4, 4)
    means = block_mean(x, 2)
    assert means.shape == (2, 2, 2)
    assert means[0, 0, 0] == x[:2, :2, :2].mean()
    assert means[1, 1, 1] == x[2:4, 2:4, 2:4].mean()
