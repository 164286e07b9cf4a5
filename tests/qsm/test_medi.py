"""MEDI: strong sources kept, outliers left out, spherical means, uniform fluid; the magnitude's edges."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_dilation, binary_erosion

from mensura.inverse.fft import irfft, rfft
from mensura.qsm import edges, kernels, reference
from mensura.qsm.dipole.medi import medi, medi0
from mensura.scan import Grid, ScanError
from mensura.score import nrmse

GRID = Grid.from_voxel_size((56, 56, 56), (1.5, 1.5, 1.5))
NOISE = 1e-3


def forward(chi: np.ndarray) -> np.ndarray:
    """The field on a grid twice as large, so that nothing comes round the edges."""
    twice = tuple(2 * n for n in chi.shape)
    spectrum = rfft(np.pad(chi, [(0, n) for n in chi.shape]).astype(np.float32))
    field = irfft(spectrum * kernels.dipole(twice, GRID), twice[2])
    return field[tuple(slice(n) for n in chi.shape)]


@cache
def body(lesion: float) -> tuple[np.ndarray, ...]:
    """A ball with a few smooth-walled organs and, in a signal void, a ball of `lesion` ppm.

    → χ, mask, noisy local field, its standard deviation, magnitude, where the lesion is.
    """
    x, y, z = np.meshgrid(*[(np.arange(56) - 27.5) * 1.5] * 3, indexing="ij")
    mask = x**2 + y**2 + z**2 < 37**2
    chi = np.zeros(GRID.shape, np.float32)
    for i, (a, b, c, r) in enumerate(((15, 0, 5, 9), (-14, 8, -6, 10), (0, -16, 8, 8), (2, 14, 14, 7))):
        chi[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < r**2] = 0.05 * (1 + i) * (-1) ** i
    there = (x + 4) ** 2 + (y + 6) ** 2 + (z + 10) ** 2 < 4.5**2
    magnitude = np.where(mask, 100 - 200 * chi, 0).astype(np.float32)
    std = np.full(GRID.shape, NOISE, np.float32)
    if lesion:
        chi[there], magnitude[there], std[there] = lesion, 2, 0.1
    random = np.random.default_rng(4)
    field = (forward(chi) + std * random.standard_normal(GRID.shape)) * mask
    magnitude += random.standard_normal(GRID.shape).astype(np.float32) * mask
    return chi, mask, field.astype(np.float32), std, magnitude, there


def inverted(lesion: float, field: np.ndarray | None = None, **options: Any) -> np.ndarray:
    _, mask, known, std, magnitude, _ = body(lesion)
    given = known if field is None else field
    return medi(given, mask, GRID, magnitude=magnitude, field_std=std, **options)


@pytest.mark.parametrize("lesion", [-2.0, 1.0])
def test_a_strong_source_keeps_its_sign_and_moment_and_throws_no_streaks(lesion: float) -> None:
    chi, mask, *_, there = body(lesion)
    made = inverted(lesion)
    near = binary_dilation(there, iterations=2)
    shell = binary_dilation(there, iterations=8) & ~near & mask
    level = made[shell].mean() - chi[shell].mean()
    moment = (made - level)[near].sum() / chi[near].sum()
    assert np.sign(made[there].mean()) == np.sign(lesion)
    assert 0.8 < moment < 1.2
    assert np.std((made - chi)[shell]) < 0.02


def test_merit_leaves_corrupted_voxels_out() -> None:
    chi, mask, field, *_ = body(0.0)
    bad = np.zeros_like(mask)
    bad[tuple(np.random.default_rng(1).integers(14, 42, (3, 40)))] = True
    wrong = np.where(bad, field + 0.5, field)
    inside = binary_erosion(mask) & ~binary_dilation(bad)
    clean, with_, without = (
        nrmse(made, chi, inside)
        for made in (inverted(0.0), inverted(0.0, wrong), inverted(0.0, wrong, merit=False))
    )
    assert with_ - clean < 0.1 * (without - clean)


def test_merit_does_not_take_a_strong_source_for_an_outlier() -> None:
    mask = body(-2.0)[1]
    assert nrmse(inverted(-2.0), inverted(-2.0, merit=False), mask) < 3


def test_the_edges_of_the_magnitude_help() -> None:
    scan = head()
    field = (scan.local_field * scan.mask).astype(np.float32)
    inside = binary_erosion(scan.mask)
    blind = nrmse(medi(field, scan.mask, scan.grid), scan.chi, inside)
    seeing = nrmse(medi(field, scan.mask, scan.grid, magnitude=scan.magnitude), scan.chi, inside)
    assert seeing < 0.95 * blind


def test_spherical_means_are_blind_to_a_field_from_outside() -> None:
    chi, mask, field, *_ = body(0.0)
    x, y, z = np.meshgrid(*[(np.arange(56) - 27.5) * 1.5] * 3, indexing="ij")
    left = (2e-5 * (2 * z**2 - x**2 - y**2) + 1e-3 * x).astype(np.float32) * mask
    inside = binary_erosion(mask)
    plain = nrmse(inverted(0.0, field + left), inverted(0.0), inside)
    means = nrmse(
        inverted(0.0, field + left, radii=(8.0, 4.0, 2.0)), inverted(0.0, radii=(8.0, 4.0, 2.0)), inside
    )
    assert means < 0.1 * plain
    assert nrmse(inverted(0.0, field + left, radii=(8.0, 4.0, 2.0)), chi, inside) < 60


def test_fluid_becomes_uniform_only_where_r2star_shows_it() -> None:
    scan = head()
    field = (scan.local_field * scan.mask).astype(np.float32)
    fluid = reference.csf(scan.chi * scan.mask, scan.mask, scan.grid, r2star=scan.r2star)[1]
    free = medi0(field, scan.mask, scan.grid, magnitude=scan.magnitude)
    even = medi0(field, scan.mask, scan.grid, magnitude=scan.magnitude, r2star=scan.r2star)
    assert np.std(even[fluid]) < 0.7 * np.std(free[fluid])
    none = np.full(scan.grid.shape, 40, np.float32)
    dry = medi0(field, scan.mask, scan.grid, magnitude=scan.magnitude, r2star=none)
    same = medi(field, scan.mask, scan.grid, magnitude=scan.magnitude, radii=(8.0, 4.0, 2.0))
    assert np.array_equal(dry, free)
    assert np.array_equal(same, free)


def test_edges_are_the_tissues_not_the_receivers() -> None:
    scan = head()
    plain = edges.flat(scan.magnitude, scan.mask, scan.grid)
    x = np.linspace(-1, 1, scan.grid.shape[0], dtype=np.float32)[:, None, None, None]
    tilted = edges.flat(scan.magnitude * np.exp(1.2 * x), scan.mask, scan.grid)
    pairs = np.stack([scan.mask & np.roll(scan.mask, -1, axis) for axis in range(3)])
    assert np.mean(plain[pairs] != tilted[pairs]) < 0.03
    assert np.mean(plain[pairs] == 0) == pytest.approx(0.3, abs=0.01)
    assert np.array_equal(edges.flat(scan.magnitude * 7, scan.mask, scan.grid), plain)


def test_edges_are_where_susceptibility_changes() -> None:
    chi, mask, *_, magnitude, _ = body(0.0)
    flat = edges.flat(magnitude, mask, GRID, share=0.1)
    for axis in range(3):
        after = np.roll(chi, -1, axis)
        wall = mask & np.roll(mask, -1, axis) & (np.abs(after - chi) > 0.1)
        assert np.mean(flat[axis][wall] == 0) > 0.95


def test_without_a_magnitude_only_the_surface_is_free() -> None:
    mask = body(0.0)[1]
    for magnitude in (None, np.ones(GRID.shape, np.float32)):
        free = edges.flat(magnitude, mask, GRID) == 0
        for axis in range(3):
            assert np.array_equal(free[axis], mask ^ np.roll(mask, -1, axis))


def test_nonsense_is_refused() -> None:
    _, mask, field, *_ = body(0.0)
    with pytest.raises(ScanError, match="edge"):
        medi(field, mask, GRID, edges=1.5)
    with pytest.raises(ScanError, match="radii"):
        medi(field, mask, GRID, radii=(-3.0,))
