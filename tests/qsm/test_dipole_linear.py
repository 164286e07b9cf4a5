"""Closed forms, least squares and two-step inversions: what each of them promises of a known source."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from heads import head
from scipy.ndimage import binary_erosion

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.inverse.solvers import dot
from mensura.qsm import kernels
from mensura.qsm.dipole import direct
from mensura.qsm.dipole.direct import padded, tikhonov, tkd, tsvd
from mensura.qsm.dipole.ilsqr import ilsqr
from mensura.qsm.dipole.least_squares import Problem, least_squares
from mensura.qsm.dipole.ndi import ndi
from mensura.qsm.dipole.rts import rts
from mensura.qsm.dipole.star import star
from mensura.qsm.uncertainty import explained_field
from mensura.scan import Grid, ScanError
from mensura.score import nrmse
from mensura.score.calcification import calcification

SHAPE = (48, 45, 40)
METHODS = {"ndi": ndi, "ilsqr": ilsqr, "rts": rts, "star": star}
CLOSED = {
    "tkd": tkd,
    "tsvd": tsvd,
    "identity": tikhonov,
    "gradient": lambda f, m, g: tikhonov(f, m, g, penalty="gradient"),
}


def radius(centre: tuple[float, float, float], grid: Grid) -> np.ndarray:
    axes = [
        (np.arange(n) - (n - 1) / 2) * h - c
        for n, h, c in zip(grid.shape, grid.voxel_size, centre, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2)


def ball(grid: Grid, size: float, centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    return np.clip((size - radius(centre, grid)) / grid.voxel_size[0] + 0.5, 0, 1).astype(np.float32)


def slope(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    e, t = estimate[mask] - estimate[mask].mean(), truth[mask] - truth[mask].mean()
    return float(e @ t / (t @ t))


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(
    ("voxel", "direction"),
    [((1, 1, 1), (0, 0, 1)), ((1.2, 1.2, 1.6), (0.4, -0.3, 0.9)), ((2, 2, 2), (1, 0, 0.3))],
)
def test_a_resolved_ball_keeps_its_size(
    name: str, voxel: tuple[float, float, float], direction: tuple[float, float, float]
) -> None:
    """Whatever the division leaves out: the slope of a ball on any grid is 1 within 7 %."""
    grid = Grid.from_voxel_size(SHAPE, voxel, direction)
    truth, mask = ball(grid, 6), np.ones(SHAPE, bool)
    field = explained_field(truth, mask, grid)
    assert slope(CLOSED[name](field, mask, grid), truth, mask) == pytest.approx(1, abs=0.07)


def test_gains_have_their_closed_forms() -> None:
    """Of |D| = |1/3 − u²| with u uniform in 0…1, below a threshold t lies u between √(1/3 − t) and √(1/3 + t)."""
    t = 0.1
    low, high = np.sqrt(1 / 3 - t), np.sqrt(1 / 3 + t)
    kept = 1 - (high - low)

    def cut(dipole: np.ndarray, _: object) -> np.ndarray:
        return np.where(np.abs(dipole) > t, 1 / dipole, 0)

    assert direct.gain(cut) == pytest.approx(kept, abs=1e-3)
    assert direct.gain(lambda dipole, _: 1 / dipole) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", [tkd, tsvd])
def test_sources_that_the_division_sees_come_back_exactly(method: Callable[..., np.ndarray]) -> None:
    """A source with frequencies only where |D| > threshold, on a mask without rim: exact, up to the gain."""
    grid = Grid.from_voxel_size((30, 32, 36), (1, 1, 1))
    shape, dipole = padded(grid)
    noise = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    spectrum = rfft(noise) * (np.abs(dipole) > 0.16)
    truth, field = (irfft(s, shape[2]) for s in (spectrum, spectrum * dipole))
    whole = Grid.from_voxel_size(shape, (1, 1, 1))
    before, direct.PADDING = direct.PADDING, 0.0
    try:
        made = method(field, np.ones(shape, bool), whole)
    finally:
        direct.PADDING = before
    factor = float(made.ravel() @ truth.ravel() / (truth.ravel() @ truth.ravel()))
    assert np.allclose(made, factor * truth, atol=1e-4 * np.abs(truth).max())
    assert 1 < factor < 1.25


def test_closed_forms_are_linear_and_self_adjoint() -> None:
    """⟨χ(f), g⟩ = ⟨f, χ(g)⟩ inside the mask, as for every real kernel between two masks."""
    grid = Grid.from_voxel_size((21, 24, 19), (1, 1.3, 2), (0.3, -0.2, 0.9))
    mask = radius((0, 0, 0), grid) < 11
    f, g = np.random.default_rng(2).standard_normal((2, *mask.shape)).astype(np.float32) * mask
    for method in CLOSED.values():
        one, two = dot(method(f, mask, grid), g), dot(f, method(g, mask, grid))
        assert one == pytest.approx(two, rel=1e-4)
        both = method(f + 2 * g, mask, grid)
        assert np.allclose(both, method(f, mask, grid) + 2 * method(g, mask, grid), atol=1e-4)


@pytest.mark.parametrize("shape", [(12, 15, 14), (13, 10, 9), (8, 8, 8)])
def test_the_kernel_is_the_mean_over_its_aliases(shape: tuple[int, int, int]) -> None:
    """Written out in double precision, every frequency for itself: Σₘ sinc²·D(k + m/h), normalised."""
    grid = Grid.from_voxel_size(shape, (1, 1.2, 2.5), (0.4, -0.3, 0.85))
    b, size = np.array(grid.b0_direction), np.array(grid.voxel_size)
    axes = [np.fft.fftfreq(n, h) for n, h in zip(shape[:2], size[:2], strict=True)]
    k = np.stack(np.meshgrid(*axes, np.fft.rfftfreq(shape[2], size[2]), indexing="ij"), -1)
    total, weights = np.zeros(k.shape[:3]), np.zeros(k.shape[:3])
    for m in np.ndindex(3, 3, 3):
        q = k + (np.array(m) - 1) / size
        weight = np.prod(np.sinc(q * size) ** 2, axis=-1)
        squared = np.maximum((q**2).sum(-1), 1e-30)
        total += weight * (1 / 3 - (q @ b) ** 2 / squared)
        weights += weight
    expected = total / weights
    expected[0, 0, 0] = 0
    assert np.allclose(kernels.dipole(shape, grid), expected, atol=1e-6)


def weighted_problem() -> Problem:
    scan = head()
    std = np.where(scan.mask, 1e-3 + 1e-2 * (scan.labels % 3 == 0), 0).astype(np.float32)
    return Problem.posed(scan.local_field, scan.mask, scan.grid, std)


def test_the_field_of_a_problem_is_its_own_adjoint_and_vanishes_never_outside() -> None:
    problem = weighted_problem()
    a, b = np.random.default_rng(3).standard_normal((2, *problem.data.shape)).astype(np.float32)
    assert dot(problem.field(a), b) == pytest.approx(dot(a, problem.field(b)), rel=1e-4)
    assert not problem.trust[problem.inside == 0].any()


def test_least_squares_lowers_the_misfit_with_every_step_and_stops_when_told() -> None:
    problem, misfits = weighted_problem(), []
    for steps in (1, 3, 6, 12):
        chi = least_squares(problem, tol=1e-9, max_iter=steps)
        assert not chi[problem.inside == 0].any()
        r = problem.field(chi) - problem.data
        misfits.append(dot(problem.trust * r, r))
    assert all(later < before for before, later in pairwise(misfits))
    seen: list[float] = []
    least_squares(problem, tol=0.02, max_iter=50, monitor=lambda i, most, left: seen.append(left))
    assert seen[-1] <= 0.02 < min(seen[:-1], default=1)


@cache
def scene() -> tuple[Grid, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid, mask, χ, field and its noise: nuclei, and a calcification of −2 ppm without signal, at 2 mm, tilted."""
    grid = Grid.from_voxel_size((64, 60, 56), (2, 2, 2), (0.2, -0.3, 0.93))
    mask = radius((0, 0, 0), grid) < 50
    chi = 0.1 * ball(grid, 9, (20, 8, -5)) - 0.05 * ball(grid, 12, (-22, -10, 10))
    chi = chi - 2.0 * ball(grid, 6, (0, 20, 6)) + 0.15 * ball(grid, 5, (4, -20, -14))
    std = np.where(ball(grid, 6, (0, 20, 6)) > 0.5, 2e-2, 1e-3).astype(np.float32) * mask
    field = explained_field(chi, mask, grid)
    field = field + std * np.random.default_rng(4).standard_normal(grid.shape).astype(np.float32)
    return grid, mask, chi, field * mask, std


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_a_calcification_keeps_its_sign_and_its_moment(name: str, weighted: bool) -> None:
    """−2 ppm turns the phase by many turns at any echo time; at least four fifths of the moment stay."""
    grid, mask, chi, field, std = scene()
    made = METHODS[name](field, mask, grid, field_std=std if weighted else None)
    found = calcification(made, chi, chi < -1, grid.voxel_size)
    assert found.moment < 0
    assert found.moment / found.true_moment == pytest.approx(1, abs=0.2)


def test_two_levels_leave_fewer_streaks_around_strong_sources() -> None:
    scan = head()
    inside = binary_erosion(scan.mask, iterations=12)
    centre = tuple(np.argwhere(inside).mean(axis=0).round().astype(int))
    lesion = np.zeros(scan.mask.shape, np.float32)
    lesion[tuple(slice(c - 2, c + 2) for c in centre)] = -2
    chi = scan.chi + lesion
    # a source that does not follow the voxels: its field is that of the lesion half a voxel aside
    aside = (lesion + np.roll(lesion, 1, axis=0)) / 2
    field = scan.local_field + explained_field(aside, scan.mask, scan.grid)
    away = scan.mask & (np.abs(explained_field(lesion, scan.mask, scan.grid)) < 0.05) & (lesion == 0)
    plain = star(field, scan.mask, scan.grid, strong=1e6)
    two = star(field, scan.mask, scan.grid)
    assert nrmse(two, chi, away) < 1.02 * nrmse(plain, chi, away)
    assert found_moment(two, chi, lesion) == pytest.approx(1, abs=0.2)


def found_moment(made: np.ndarray, chi: np.ndarray, lesion: np.ndarray) -> float:
    box = np.abs(lesion) > 0
    return float((made[box].sum()) / chi[box].sum())


@pytest.mark.parametrize("name", METHODS)
def test_noisy_voxels_count_less(name: str) -> None:
    """A box of field that is wrong by 0.5 ppm hardly shows elsewhere when its standard deviation says so."""
    grid, mask, _, field, std = scene()
    bad, known = field.copy(), std.copy()
    bad[30:34, 10:14, 20:24] += 0.5
    known[30:34, 10:14, 20:24] = 0.5
    far = mask.copy()
    far[26:38, 6:18, 16:28] = False
    method = METHODS[name]
    clean = method(field, mask, grid, field_std=std)
    told = method(bad, mask, grid, field_std=known)
    blind = method(bad, mask, grid, field_std=std)
    assert nrmse(told, clean, far) < 0.5 * nrmse(blind, clean, far)


@pytest.mark.parametrize("name", METHODS)
def test_values_that_are_not_numbers_do_not_spread(name: str) -> None:
    grid, mask, _, field, std = scene()
    holes = field.copy()
    holes[20:22, 30, 30] = np.nan
    made = METHODS[name](holes, mask, grid, field_std=std)
    assert np.isfinite(made).all()
    assert nrmse(made, METHODS[name](field, mask, grid, field_std=std), mask) < 10


@pytest.mark.parametrize("name", METHODS)
def test_iterations_end_by_themselves_and_are_told(name: str) -> None:
    scan, seen = head(), []
    field, mask, grid = scan.local_field * scan.mask, scan.mask, scan.grid
    METHODS[name](field, mask, grid, monitor=lambda *step: seen.append(step))
    assert [i for i, *_ in seen] == list(range(1, len(seen) + 1))
    assert 0 < len(seen) < 40
    assert not METHODS[name](np.zeros_like(field), mask, grid).any()


def test_more_weight_of_ndi_only_shrinks() -> None:
    """λ takes size away, never adds any."""
    grid, mask, _, field, std = scene()
    sizes = [
        float(np.std(ndi(field, mask, grid, field_std=std, weight=w, tol=1e-3, max_iter=80)[mask]))
        for w in (0.01, 1.0, 100.0)
    ]
    assert sizes[0] > sizes[1] > 3 * sizes[2]


def test_rts_fills_the_cone_better_than_its_first_step() -> None:
    scan = head()
    inside = binary_erosion(scan.mask)
    problem = Problem.posed(scan.local_field, scan.mask, scan.grid, None)
    first = crop(least_squares(problem, tol=1e-2, max_iter=8), scan.mask.shape)
    made = rts(scan.local_field * scan.mask, scan.mask, scan.grid)
    assert nrmse(made, scan.chi, inside) < 0.85 * nrmse(first, scan.chi, inside)


def test_ilsqr_takes_off_streaks_and_nothing_else() -> None:
    """Outside the cone the passes change no frequency."""
    scan = head()
    args = (scan.local_field * scan.mask, scan.mask, scan.grid)
    before, after = (ilsqr(*args, passes=n) for n in (0, 2))
    inside = binary_erosion(scan.mask)
    assert nrmse(after, scan.chi, inside) < 0.9 * nrmse(before, scan.chi, inside)
    shape, dipole = padded(scan.grid)
    change = np.abs(rfft(pad(np.ascontiguousarray(after - before), shape)))
    assert (change[np.abs(dipole) < 0.25] ** 2).sum() > 0.9 * (change**2).sum()


def test_what_cannot_be_is_refused() -> None:
    grid, mask, _, field, std = scene()
    for method, value in ((tkd, 0.0), (tkd, 0.5), (tsvd, -0.1)):
        with pytest.raises(ScanError, match="threshold"):
            method(field, mask, grid, threshold=value)
    with pytest.raises(ScanError, match="weight"):
        tikhonov(field, mask, grid, weight=0.0)
    with pytest.raises(ScanError, match="cone"):
        ilsqr(field, mask, grid, cone=0.9)
    with pytest.raises(ScanError, match="strong"):
        star(field, mask, grid, strong=0)
    for method in METHODS.values():
        with pytest.raises(ScanError, match="standard deviation"):
            method(field, mask, grid, field_std=np.zeros_like(std))
