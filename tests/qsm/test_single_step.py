"""Total field to susceptibility in one step: what the background cannot change, and how near the truth it comes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_erosion

from mensura.qsm import kernels
from mensura.qsm.single_step.tfi import tfi
from mensura.qsm.single_step.tgv_qsm import tgv_qsm
from mensura.scan import Grid, ScanError
from mensura.score import nrmse

METHODS = {"tgv_qsm": (tgv_qsm, 54), "tfi": (tfi, 48)}
OBLIQUE = 1.28
"""Times the bound: at 30° the voxels of 3 mm, cut through the tissue at another angle, fit the model less well."""
both = pytest.mark.parametrize("name", METHODS)


@cache
def mapped(name: str, angle: float = 0.0, voxel: tuple[float, float, float] = (3.0, 3.0, 3.0)) -> np.ndarray:
    scan, (method, _) = head(angle, voxel), METHODS[name]
    options: dict[str, Any] = {"magnitude": scan.magnitude} if name == "tfi" else {}
    return np.asarray(method(scan.total_field * scan.mask, scan.mask, scan.grid, **options))


@both
@pytest.mark.parametrize(
    ("angle", "voxel"), [(0.0, (3.0, 3.0, 3.0)), (30.0, (3.0, 3.0, 3.0)), (0.0, (2.4, 2.4, 4.5))]
)
def test_truth_is_recovered_on_any_grid(name: str, angle: float, voxel: tuple[float, float, float]) -> None:
    scan = head(angle, voxel)
    chi = mapped(name, angle, voxel)
    bound = METHODS[name][1] * (OBLIQUE if angle else 1)
    assert nrmse(chi, scan.chi, binary_erosion(scan.mask)) < bound
    assert (chi[scan.mask] != 0).mean() > 0.999
    assert not chi[~scan.mask].any()


@both
def test_the_background_makes_little_difference(name: str) -> None:
    """The field of the tissue alone and that of the whole head, fifty times larger, give nearly the same map."""
    scan, (method, _) = head(), METHODS[name]
    options: dict[str, Any] = {"magnitude": scan.magnitude} if name == "tfi" else {}
    alone = method(scan.local_field * scan.mask, scan.mask, scan.grid, **options)
    assert nrmse(mapped(name), alone, scan.mask) < 20


@both
def test_a_purely_external_field_gives_nothing(name: str) -> None:
    """Tissue with a source outside of it, a hundred times its own field: the source alone makes no map beside it."""
    grid, mask, x, y, z = _ball()
    chi, far = _lesion(x, y, z, -0.3), np.sqrt((x - 30) ** 2 + y**2 + z**2)
    external = (400 * (3 * z**2 / far**2 - 1) / far**3).astype(np.float32)
    method = METHODS[name][0]
    field = _field(chi, grid)
    without = method(field * mask, mask, grid)
    both_ = method((field + external) * mask, mask, grid)
    assert np.std(external[mask]) > 3 * np.std(field[mask])
    assert nrmse(both_, without, mask) < 20


@both
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_lesion_keeps_its_sign_and_most_of_its_moment(name: str, sign: int) -> None:
    grid, mask, x, y, z = _ball()
    chi = _lesion(x, y, z, sign * 0.5)
    found = METHODS[name][0](_field(chi, grid) * mask, mask, grid)
    near = np.abs(chi) > 0
    away = mask & (np.sqrt(x**2 + y**2 + z**2) > 12)
    level = found[away].mean()
    assert (found - level)[near].sum() / chi[near].sum() > 0.8
    assert np.std(found[away]) < 0.02


def _ball() -> tuple[Grid, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    grid = Grid.from_voxel_size((40, 40, 40), (1.5, 1.5, 1.5))
    x, y, z = np.meshgrid(*[(np.arange(40) - 19.5) * 1.5] * 3, indexing="ij")
    return grid, x**2 + y**2 + z**2 < 22**2, x, y, z


def _lesion(x: np.ndarray, y: np.ndarray, z: np.ndarray, value: float) -> np.ndarray:
    return np.where((x - 4) ** 2 + y**2 + z**2 < 5**2, value, 0).astype(np.float32)


def _field(chi: np.ndarray, grid: Grid) -> np.ndarray:
    shape = tuple(3 * n for n in chi.shape)
    padded = np.zeros(shape, np.float32)
    padded[: chi.shape[0], : chi.shape[1], : chi.shape[2]] = chi
    spectrum = np.fft.rfftn(padded) * kernels.dipole(shape, grid)
    field = np.fft.irfftn(spectrum, shape, axes=(0, 1, 2))[: chi.shape[0], : chi.shape[1], : chi.shape[2]]
    return np.asarray(field, np.float32)


def test_edges_of_the_magnitude_help() -> None:
    scan = head()
    blind = tfi(scan.total_field * scan.mask, scan.mask, scan.grid)
    inner = binary_erosion(scan.mask)
    assert nrmse(mapped("tfi"), scan.chi, inner) < 0.95 * nrmse(blind, scan.chi, inner)


@both
def test_voxels_that_the_noise_map_distrusts_do_not_streak(name: str) -> None:
    scan, (method, _) = head(), METHODS[name]
    trusted = np.full(scan.grid.shape, 1e-3, np.float32)
    field = (scan.total_field * scan.mask).astype(np.float32)
    centre = [int(c) for c in np.argwhere(scan.mask).mean(axis=0)]
    box, near = (tuple(slice(c - n, c + n + 1) for c in centre) for n in (1, 3))
    bad, known, away = field.copy(), trusted.copy(), scan.mask.copy()
    bad[box] += np.random.default_rng(1).normal(0, 0.5, (3, 3, 3)).astype(np.float32)
    known[box], away[near] = 0.5, False
    clean = method(field, scan.mask, scan.grid, field_std=trusted)
    weighted = method(bad, scan.mask, scan.grid, field_std=known)
    blind = method(bad, scan.mask, scan.grid, field_std=trusted)
    assert nrmse(weighted, clean, away) < 0.4 * nrmse(blind, clean, away)


@both
def test_iterations_are_reported_and_thin_masks_refused(name: str) -> None:
    scan, (method, _), seen = head(), METHODS[name], list[Any]()

    def stop(iteration: int, most: int, change: float) -> None:
        seen.append(iteration)
        assert change > 0
        if iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(scan.total_field, scan.mask, scan.grid, monitor=stop)
    assert seen == [1, 2, 3]
    thin = np.zeros_like(scan.mask)
    thin[20, 20, 10:30] = True
    with pytest.raises(ScanError, match="mask"):
        method(scan.total_field, thin, scan.grid)
