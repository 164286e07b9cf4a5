"""Background removal: harmonic fields vanish, the local field stays, as much of the mask is kept as is claimed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_erosion

from mensura.qsm import harmonic
from mensura.qsm.background.harperella import harperella
from mensura.qsm.background.lbv import lbv
from mensura.qsm.background.multigrid import harmonic_inside, solve_poisson
from mensura.qsm.background.pdf import joint, pdf
from mensura.qsm.background.sharp import ismv, resharp, sharp, vsharp
from mensura.scan import Grid, ScanError
from mensura.score import nrmse

PROMISES: dict[str, tuple[Callable[..., Any], float, float, float]] = {
    "sharp": (sharp, 0.02, 38, 0.55),
    "vsharp": (vsharp, 0.02, 45, 0.8),
    "resharp": (resharp, 0.02, 38, 0.55),
    "ismv": (ismv, 0.02, 40, 0.6),
    "lbv": (lbv, 0.01, 40, 0.8),
    "harperella": (harperella, 0.02, 42, 0.8),
    "pdf": (pdf, 0.02, 48, 1.0),
    "joint": (joint, 0.02, 34, 1.0),
}
"""By name: the method, the share of an outer field that may be left, NRMSE % inside what is kept, what is kept."""
every = pytest.mark.parametrize("name", PROMISES)


def outer_field(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The field (ppm) of three sources outside an ellipsoid of 20 mm, and the ellipsoid."""
    mm = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(grid.shape, grid.voxel_size, strict=True)]
    x, y, z = np.meshgrid(*mm, indexing="ij")
    field = np.zeros(grid.shape)
    for cx, cy, cz, strength in ((32, 0, 4, 3000), (-3, -30, -18, -2000), (5, 8, 34, 1500)):
        r = np.stack([x - cx, y - cy, z - cz])
        distance = np.linalg.norm(r, axis=0) + 1e-6
        along = np.tensordot(np.array(grid.b0_direction), r, 1) / distance
        field += strength * (3 * along**2 - 1) / np.maximum(distance, 3) ** 3
    mask = x**2 + (y / 0.95) ** 2 + (z / 0.9) ** 2 < 20**2
    return np.where(mask, field, 0).astype(np.float32), mask


GRIDS = {
    "odd, even": Grid.from_voxel_size((41, 44, 43), (1.5, 1.5, 1.5)),
    "oblique slabs": Grid.from_voxel_size((52, 53, 26), (1.2, 1.2, 2.4), (0.3, -0.4, 0.87)),
}


@every
@pytest.mark.parametrize("where", GRIDS)
def test_the_field_of_outer_sources_vanishes(name: str, where: str) -> None:
    method, share, *_ = PROMISES[name]
    field, mask = outer_field(GRIDS[where])
    local, kept = method(field, mask, GRIDS[where])
    assert np.std(local[kept]) < share * np.std(field[mask])


@cache
def removed(name: str) -> tuple[np.ndarray, np.ndarray]:
    scan = head()
    found: tuple[np.ndarray, np.ndarray] = PROMISES[name][0](scan.total_field, scan.mask, scan.grid)
    return found


@every
def test_the_local_field_stays_where_it_is_promised(name: str) -> None:
    _, _, bound, coverage = PROMISES[name]
    scan = head()
    local, kept = removed(name)
    truth = scan.local_field * scan.mask
    assert nrmse(local, truth, kept & binary_erosion(scan.mask)) < bound
    assert kept.sum() >= coverage * scan.mask.sum()
    assert not local[~kept].any()


def test_fitting_both_sides_of_the_rim_beats_projecting_onto_one() -> None:
    scan = head()
    whole = binary_erosion(scan.mask)
    both, one = (nrmse(removed(name)[0], scan.local_field * scan.mask, whole) for name in ("joint", "pdf"))
    assert both < 0.8 * one


@pytest.mark.parametrize("method", [pdf, joint])
def test_a_corrupted_rim_is_weighed_down(method: Callable[..., Any]) -> None:
    scan = head()
    inside = np.argwhere(scan.mask)
    corner = inside[inside[:, 2].argmin()]
    box = tuple(slice(max(c - 2, 0), c + 3) for c in corner)
    far = scan.mask.copy()
    far[tuple(slice(max(c - 6, 0), c + 7) for c in corner)] = False
    std = np.full(scan.grid.shape, 1e-3, np.float32)
    bad = scan.total_field.copy()
    bad[box] += 0.3 * scan.mask[box]
    clean, _ = method(scan.total_field, scan.mask, scan.grid, field_std=std)
    blind, _ = method(bad, scan.mask, scan.grid, field_std=std)
    std[box] = 0.3
    weighed, _ = method(bad, scan.mask, scan.grid, field_std=std)
    assert nrmse(weighed, clean, far) < 0.6 * nrmse(blind, clean, far)


@every
def test_voxels_that_are_not_numbers_do_not_spread(name: str) -> None:
    scan = head()
    field = scan.total_field.copy()
    middle = tuple(int(c) for c in np.argwhere(scan.mask).mean(0))
    field[middle] = np.nan
    local, _ = PROMISES[name][0](field, scan.mask, scan.grid)
    assert np.isfinite(local).all()


@every
def test_a_field_of_nothing_stays_nothing(name: str) -> None:
    field, mask = outer_field(GRIDS["odd, even"])
    local, _ = PROMISES[name][0](np.zeros_like(field), mask, GRIDS["odd, even"])
    assert not local.any()


@pytest.mark.parametrize("name", ["sharp", "vsharp", "resharp", "ismv", "lbv", "harperella"])
def test_a_mask_without_an_inside_is_refused(name: str) -> None:
    scan = head()
    thin = np.zeros_like(scan.mask)
    thin[20, 20, 10:30] = True
    with pytest.raises(ScanError, match="mask"):
        PROMISES[name][0](scan.total_field, thin, scan.grid)


def test_a_field_without_any_number_is_refused() -> None:
    scan = head()
    for method in (pdf, joint):
        with pytest.raises(ScanError, match="finite"):
            method(np.full_like(scan.total_field, np.nan), scan.mask, scan.grid)


def test_peeling_gives_up_layers() -> None:
    scan = head()
    _, whole = lbv(scan.total_field, scan.mask, scan.grid)
    _, peeled = lbv(scan.total_field, scan.mask, scan.grid, peel=2)
    assert np.array_equal(peeled, binary_erosion(whole, iterations=2))


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (1.0, 1.2, 3.0)])
def test_multigrid_solves_poissons_equation_in_a_few_cycles(size: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(5)
    shape = (37, 42, 31)
    x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = binary_erosion(sum(a * a for a in x) + 0.3 * np.sin(5 * x[0]) * x[1] < 0.8)
    truth = (rng.standard_normal(shape) * inside).astype(np.float32)
    couplings = (1 / np.square(size)).astype(np.float32)
    right = (2 * couplings.sum() * truth - harmonic.neighbour_sum(truth, couplings)) * inside
    solution = solve_poisson(right, inside, size, tol=1e-5, max_iter=20)
    assert solution.converged
    assert np.abs(solution.x - truth).max() < 1e-2
    assert not solution.x[~inside].any()


def test_linear_fields_are_filled_in_exactly() -> None:
    """The three coordinates satisfy Laplace's equation: known on the rim, they are known everywhere."""
    grid = GRIDS["oblique slabs"]
    _, mask = outer_field(grid)
    interior = harmonic.interior(mask)
    x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid.shape), indexing="ij")
    field = (0.3 * x[0] - 0.2 * x[1] + 0.5 * x[2]).astype(np.float32)
    rim = np.where(interior, np.float32(0), field)
    found = harmonic_inside(rim, interior, grid.voxel_size, tol=1e-6)
    assert np.abs(found - field)[mask].max() < 1e-3


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_solid_harmonics_are_harmonic_and_complete(order: int) -> None:
    rng = np.random.default_rng(2)
    points, step = rng.uniform(-1, 1, (50, 3)), 1e-3
    functions = list(harmonic.solid_harmonics(points, order))
    assert np.linalg.matrix_rank(np.stack(functions)) == (order + 1) ** 2
    around = [points + sign * step * axis for axis in np.eye(3) for sign in (-1, 1)]
    sums = sum(np.stack(list(harmonic.solid_harmonics(p, order))) for p in around)
    assert np.abs(sums - 6 * np.stack(functions)).max() / step**2 < 1e-3


def test_low_orders_leave_and_veins_stay() -> None:
    grid = GRIDS["odd, even"]
    _, mask = outer_field(grid)
    x, y, z = np.meshgrid(*((np.arange(n) - n / 2) / n for n in grid.shape), indexing="ij")
    smooth = 0.02 * (x - 0.4 * y) + 0.05 * (x * y + z * z - x * x) + 0.01
    vein = np.where((np.abs(x - 0.1) < 0.05) & (np.abs(z) < 0.05), 0.1, 0)
    field = np.where(mask, smooth + vein, 0).astype(np.float32)
    left = harmonic.without_low_orders(field, mask, grid, 2)
    assert nrmse(left, vein.astype(np.float32), mask) < 8
    assert harmonic.without_low_orders(field, mask, grid, -1) is field
    with pytest.raises(ScanError, match="order 7"):
        harmonic.without_low_orders(field, mask, grid, 7)


def test_iterations_are_reported() -> None:
    scan = head()
    for method in (resharp, ismv, lbv, harperella, pdf, joint):
        seen: list[int] = []

        def note(i: int, _most: int, _change: float, seen: list[int] = seen) -> None:
            seen.append(i)

        method(scan.total_field, scan.mask, scan.grid, monitor=note)
        assert seen == list(range(1, len(seen) + 1)), method.__name__
        assert seen, method.__name__
