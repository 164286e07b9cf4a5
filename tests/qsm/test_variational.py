"""What the variational inversions promise beyond their truth: robustness, strong sources, leftover backgrounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from heads import head

from mensura.inverse.fft import crop, fast_shape, irfft, pad, rfft
from mensura.qsm import kernels
from mensura.qsm.background.sharp import vsharp
from mensura.qsm.dipole.hd import hd_qsm
from mensura.qsm.dipole.l1 import l1_tv
from mensura.qsm.dipole.nonlinear import nonlinear_tv
from mensura.qsm.dipole.tgv import tgv
from mensura.qsm.dipole.tv import tv
from mensura.qsm.dipole.wh import wh_qsm
from mensura.qsm.variational import DataTerm, Prior, Task, minimise
from mensura.scan import BoolArray, FloatArray, Grid
from mensura.score import nrmse

GRID = Grid.from_voxel_size((40, 42, 39), (1.5, 1.5, 1.5))


def coordinates() -> tuple[FloatArray, ...]:
    return np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 1.5 for n in GRID.shape], indexing="ij")


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> BoolArray:
    return np.sqrt(sum((a - c) ** 2 for a, c in zip(coordinates(), centre, strict=True))) < radius


def field_of(chi: FloatArray) -> FloatArray:
    shape = fast_shape(GRID.shape, [20, 20, 20])
    return crop(irfft(rfft(pad(chi, shape)) * kernels.dipole(shape, GRID), shape[2]), GRID.shape)


@cache
def sources(strongest: float = 0.1) -> tuple[BoolArray, FloatArray, FloatArray]:
    """A mask, three balls of susceptibility in it, and their field with a little noise (ppm)."""
    mask = ball(25)
    chi = 0.05 * ball(5, (8, 4, 0)) - 0.04 * ball(6, (-8, -5, 4)) + strongest * ball(4, (-4, 10, -8))
    noise = 5e-4 * np.random.default_rng(4).standard_normal(GRID.shape)
    return (
        mask,
        chi.astype(np.float32),
        ((field_of(chi.astype(np.float32)) + noise) * mask).astype(np.float32),
    )


def error(chi: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
    return float(nrmse(chi, truth, mask))


@pytest.mark.parametrize("method", [l1_tv, hd_qsm])
def test_absolute_deviations_do_not_heed_how_wrong_a_few_voxels_are(
    method: Callable[..., FloatArray],
) -> None:
    mask, _, field = sources()
    wrong, worse = field.copy(), field.copy()
    at = np.argwhere(ball(18))[np.random.default_rng(1).integers(0, ball(18).sum(), 25)]
    wrong[tuple(at.T)] += 0.3
    worse[tuple(at.T)] += 0.6
    blind = error(tv(wrong, mask, GRID), tv(field, mask, GRID), mask)
    assert error(method(wrong, mask, GRID), method(field, mask, GRID), mask) < 0.6 * blind
    assert error(method(worse, mask, GRID), method(wrong, mask, GRID), mask) < 0.5 * blind


def test_a_leftover_background_is_told_apart_from_susceptibility() -> None:
    mask, truth, field = sources()
    x, y, z = coordinates()
    background = (4e-6 * (2 * z**2 - x**2 - y**2) + 6e-5 * x) * mask
    left = (field + background).astype(np.float32)
    assert error(wh_qsm(left, mask, GRID, harmonic=10.0), truth, mask) < 0.8 * error(
        tv(left, mask, GRID), truth, mask
    )


def test_after_spherical_means_the_leftover_background_matters_most() -> None:
    scan = head()
    local, kept = vsharp(scan.total_field * scan.mask, scan.mask, scan.grid)
    plain, aware = (error(m(local, kept, scan.grid), scan.chi * kept, kept) for m in (tv, wh_qsm))
    assert aware < 0.92 * plain


def test_a_strong_source_keeps_its_sign_and_size_when_the_misfit_is_periodic() -> None:
    mask, _, field = sources(-1.9)
    chi, inner = nonlinear_tv(field, mask, GRID), ball(3, (-4, 10, -8))
    assert chi[inner].mean() - chi[ball(25) & ~ball(12, (-4, 10, -8))].mean() < -1.5


def test_small_phases_make_the_periodic_misfit_a_square() -> None:
    mask, _, field = sources()
    assert error(nonlinear_tv(field, mask, GRID), tv(field, mask, GRID), mask) < 5


def test_whole_turns_of_the_field_do_not_matter_to_the_periodic_misfit() -> None:
    """The field of weak sources, a third of whose voxels are off by whole turns."""
    mask, _, field = sources()
    turn = 20.0
    off = (np.random.default_rng(2).random(GRID.shape) < 0.3) * np.float32(2 * np.pi / turn)
    shape = fast_shape(GRID.shape, [12, 12, 12])
    maps = [
        minimise(
            [DataTerm(kernels.dipole(shape, GRID), data, mask.astype(np.float32), "phase", turn)],
            Task(mask, GRID, shape, Prior(), 1e-4, 5e-4, (1e-2, 30)),
        )
        for data in (field, ((field + off) * mask).astype(np.float32))
    ]  # fmt: skip
    assert error(maps[1], maps[0], mask) < 1


def test_second_order_leaves_a_ramp_straight_where_first_order_makes_stairs() -> None:
    """Denoising: the data term sees χ itself. The slope is kept, and steps between voxels vary less."""
    mask, x = ball(25), coordinates()[0]
    ramp = ((0.004 * x + 0.01 * np.random.default_rng(3).standard_normal(GRID.shape)) * mask).astype(
        np.float32
    )
    shape = fast_shape(GRID.shape, [12, 12, 12])
    unit = np.ones((shape[0], shape[1], shape[2] // 2 + 1), np.float32)
    inner = ball(17)
    rough = []
    for order in (1, 2):
        chi = minimise(
            [DataTerm(unit, ramp, mask.astype(np.float32))],
            Task(mask, GRID, shape, Prior(order=order), 2e-3, 1e-2, (1e-4, 60)),
        )
        steps = np.diff(chi, axis=0)[inner[:-1]]
        rough.append(float(steps.std()))
        if order == 2:
            assert steps.mean() == pytest.approx(0.006, rel=0.05)
    assert rough[1] < 0.5 * rough[0]


def test_an_edge_that_costs_nothing_keeps_its_contrast() -> None:
    mask, truth, field = sources()
    edges = np.ones((3, *GRID.shape), np.float32)
    for axis in range(3):
        step = np.abs(np.diff(truth, axis=axis, append=0)) > 1e-3
        edges[axis][step] = 0
    shape = fast_shape(GRID.shape, [12, 12, 12])
    errors = [
        error(
            minimise(
                [DataTerm(kernels.dipole(shape, GRID), field, mask.astype(np.float32))],
                Task(mask, GRID, shape, Prior(edges=given), 5e-4, 1e-3, (5e-3, 60)),
            ),
            truth,
            mask,
        )
        for given in (None, edges)
    ]  # fmt: skip
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("method", [tv, tgv, nonlinear_tv, l1_tv, hd_qsm])
def test_every_order_and_misfit_finds_plain_sources(method: Callable[..., FloatArray]) -> None:
    mask, truth, field = sources()
    assert error(method(field, mask, GRID), truth, mask) < 45
