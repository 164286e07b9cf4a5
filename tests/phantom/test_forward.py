"""The forward model against closed forms: field of a sphere, dephasing, noise."""

import numpy as np
import pytest

from mensura.phantom.forward import block_mean, dipole_field, gradient_echo
from mensura.scan import GAMMA_BAR, Grid


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


def test_phase_is_gamma_field_time():
    shape = (5, 6, 4)
    field = np.linspace(-0.4, 0.4, 120, dtype=np.float32).reshape(shape)
    ones = np.ones(shape, np.float32)
    phases = {"phase_offset": 0.7 * ones, "bipolar_phase": 0.2 * ones}
    times = (0.004, 0.012, 0.020)
    echoes = gradient_echo(field, ones, 25 * ones, echo_times=times, field_strength=3.0, **phases)
    for n, time in enumerate(times):
        expected = 2 * np.pi * GAMMA_BAR * 3e-6 * time * field + 0.7 + (-1) ** n * 0.2
        error = np.angle(echoes[..., n] * np.exp(-1j * expected))
        assert np.abs(error).max() < 1e-5
        np.testing.assert_allclose(np.abs(echoes[..., n]), np.exp(-25 * time), rtol=1e-5)


def test_blocks_average_the_complex_signal():
    """Two halves of a voxel in opposite phase cancel; their magnitudes would not."""
    field = np.zeros((4, 4, 4), np.float32)
    time = 0.010
    field[::2] = 0.5 / (GAMMA_BAR * 3e-6 * time)
    ones = np.ones_like(field)
    echoes = gradient_echo(
        field, ones, 0 * ones, echo_times=(time, 2 * time), field_strength=3.0, supersampling=2
    )
    assert echoes.shape == (2, 2, 2, 2)
    assert np.abs(echoes[..., 0]).max() < 1e-4
    np.testing.assert_allclose(np.abs(echoes[..., 1]), 1, atol=1e-4)


def test_noise_has_the_stated_level_and_is_seeded():
    shape = (48, 48, 48)
    mask = np.zeros(shape, bool)
    mask[8:40, 8:40, 8:40] = True
    magnitude = np.where(mask, 200, 0).astype(np.float32)
    zero = np.zeros(shape, np.float32)
    options = {"echo_times": (0.005, 0.010), "field_strength": 3.0, "mask": mask, "snr": 50.0}
    echoes = gradient_echo(zero, magnitude, zero, seed=3, **options)
    for n in range(2):
        for part in (echoes[..., n].real - magnitude, echoes[..., n].imag):
            assert abs(part.std() / 4.0 - 1) < 0.01
            assert abs(part.mean()) < 0.05
    assert abs(np.corrcoef(echoes[..., 0].imag.ravel(), echoes[..., 1].imag.ravel())[0, 1]) < 0.02
    background = np.abs(echoes[..., 0])[:8]
    assert abs(background.mean() / (4.0 * np.sqrt(np.pi / 2)) - 1) < 0.02  # Rayleigh
    np.testing.assert_array_equal(echoes, gradient_echo(zero, magnitude, zero, seed=3, **options))
    assert not np.array_equal(echoes, gradient_echo(zero, magnitude, zero, seed=4, **options))


def test_block_mean():
    x = np.arange(5 * 4 * 4, dtype=np.float32).reshape(5, 4, 4)
    means = block_mean(x, 2)
    assert means.shape == (2, 2, 2)
    assert means[0, 0, 0] == x[:2, :2, :2].mean()
    assert means[1, 1, 1] == x[2:4, 2:4, 2:4].mean()
