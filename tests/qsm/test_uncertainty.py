"""The noise of χ is what repeated noise in the field makes of it; the explained field is that of the sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from heads import ECHO_TIMES, head
from scipy.ndimage import binary_erosion

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.phantom.labels import Label
from mensura.qsm import kernels
from mensura.qsm.dipole.direct import tikhonov
from mensura.qsm.dipole.tv import tv
from mensura.qsm.probing import white_noise
from mensura.qsm.single_step.smv import smv_tv
from mensura.qsm.uncertainty import Inversion, closed_form, explained_field, probed, resampled
from mensura.scan import Grid, ScanError

SHAPE = (28, 31, 24)
RUNS = 12
Invert = Callable[..., Any]
INVERSIONS: dict[str, Invert] = {"tv": tv, "smv_tv": smv_tv, "tikhonov": tikhonov}
TISSUES = {
    "cortex": (Label.CORTEX,),
    "white matter": (Label.WHITE_MATTER, Label.CORPUS_CALLOSUM),
    "deep grey": tuple(range(Label.CAUDATE, Label.BRAINSTEM)),
    "cerebellum": (Label.CEREBELLAR_CORTEX, Label.CEREBELLAR_WHITE),
    "fluid": (Label.CSF,),
}


def grid() -> Grid:
    return Grid.from_voxel_size(SHAPE, (1.0, 1.2, 1.5), (0.3, -0.2, 0.9))


def ellipsoid() -> np.ndarray:
    axes = [np.linspace(-1, 1, n) for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside: np.ndarray = x**2 + y**2 + z**2 < 0.8**2
    return inside


@cache
def blocks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """χ of blocks in an ellipsoid on an oblique, anisotropic grid, its field, and noise that doubles across it."""
    mask, chi = ellipsoid(), np.zeros(SHAPE, np.float32)
    chi[8:14, 9:16, 8:15], chi[16:21, 14:22, 10:17] = 0.08, -0.05
    side = np.linspace(0.7, 1.4, SHAPE[0])[:, None, None]
    std = np.where(mask, 1e-3 * side, 0).astype(np.float32)
    return chi * mask, explained_field(chi, mask, grid()), std


def seen_std(invert: Invert, field: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Standard deviation over maps of the field with noise, each without its mean."""
    rng, maps, mask = np.random.default_rng(7), [], std > 0
    for _ in range(RUNS):
        chi = invert((field + std * rng.standard_normal(std.shape)).astype(np.float32))
        maps.append((chi - chi[mask].mean()) * mask)
    seen: np.ndarray = np.std(maps, axis=0, ddof=1)
    return seen


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.parametrize(("method", "stage"), [("smv_tv", "background+dipole"), ("tv", "dipole")])
def test_foretold_noise_is_that_of_repeated_scans_in_every_tissue(method: str, stage: str) -> None:
    """On a head: predicted over seen standard deviation 0.8–1.25 in every tissue, and as the median of the map."""
    scan = head()
    lever = np.sqrt(((scan.magnitude * np.array(ECHO_TIMES)) ** 2).sum(axis=-1))
    std = scan.sigma / (2 * np.pi * scan.acquisition.hz_per_ppm * np.maximum(lever, lever.max() / 100))
    std = np.where(scan.mask, std, 0).astype(np.float32)
    field = scan.local_field if method == "tv" else scan.total_field
    invert = INVERSIONS[method]

    def mapped(noisy: np.ndarray) -> Any:
        return invert(noisy, scan.mask, scan.grid, field_std=std)

    seen, rng = seen_std(mapped, field, std), np.random.default_rng(8)
    noisy, how = (field + std * rng.standard_normal(std.shape)).astype(np.float32), Inversion(stage, method)
    chi = mapped(noisy)
    made = probed(std, scan.mask, scan.grid, chi=chi, inversion=how, local_field=noisy, total_field=noisy)
    inner = binary_erosion(scan.mask, iterations=2)
    assert np.median(made[inner]) / np.median(seen[inner]) == pytest.approx(1, abs=0.2)
    for tissue, labels in TISSUES.items():
        here = inner & np.isin(scan.labels, labels)
        assert 0.8 < rms(made[here]) / rms(seen[here]) < 1.25, tissue


@pytest.mark.parametrize("way", ["probed", "resampled"])
@pytest.mark.parametrize("name", ["tv", "tikhonov"])
def test_noise_on_an_oblique_grid_and_through_any_method(way: str, name: str) -> None:
    """Noise that doubles across the object: right in each half, by running the method once more, or several times."""
    chi, field, std = blocks()
    mask, inversion = ellipsoid(), Inversion("dipole", name)
    invert = INVERSIONS[name]
    extra = {"field_std": std} if name == "tv" else {}
    seen = seen_std(lambda noisy: invert(noisy, mask, grid(), **extra), field, std)
    if way == "probed":
        chi = invert(field, mask, grid(), **extra)
        made = probed(std, mask, grid(), chi=chi, local_field=field, inversion=inversion)
    else:
        made = resampled(std, mask, grid(), local_field=field, inversion=inversion)
    for half in (slice(0, 14), slice(14, 28)):
        assert 0.8 < made[half][mask[half]].mean() / seen[half][mask[half]].mean() < 1.25


def test_everything_twice_as_large_is_twice_as_uncertain() -> None:
    chi, _, std = blocks()
    one = probed(std, ellipsoid(), grid(), chi=chi)
    np.testing.assert_allclose(probed(2 * std, ellipsoid(), grid(), chi=2 * chi), 2 * one, rtol=1e-3)


def test_the_seed_decides_and_matters_little() -> None:
    chi, _, std = blocks()
    mask = ellipsoid()
    one, same, other = (probed(std, mask, grid(), chi=chi, seed=seed) for seed in (3, 3, 4))
    assert one.tobytes() == same.tobytes()
    assert 0 < rms(one[mask] - other[mask]) < 0.25 * rms(one[mask])


def test_random_noise_does_not_ask_how_the_axes_are_stored() -> None:
    """The same point in space gets the same number, whatever the order and direction of the axes."""
    affine = np.array([[0.1, -2, 0, 0], [0, 0.2, 3, 0], [1, 0.1, 0, 0], [0, 0, 0, 1.0]])
    stored = white_noise(Grid((20, 30, 40), affine), 1, 0)
    usual = white_noise(Grid((30, 40, 20), np.diag([2.0, 3.0, 1.0, 1.0])), 1, 0)
    np.testing.assert_array_equal(stored, np.transpose(usual[::-1], (2, 0, 1)))
    assert abs(stored.mean()) < 0.03
    assert stored.std() == pytest.approx(1, abs=0.02)
    assert (
        abs(np.corrcoef(stored.ravel(), white_noise(Grid((20, 30, 40), affine), 1, 1).ravel())[0, 1]) < 0.03
    )


def test_noise_through_the_closed_form_is_as_predicted() -> None:
    """Repeated noise, stronger on one side, through the very inverse: the same standard deviation to 3 %."""
    mask, rng = ellipsoid(), np.random.default_rng(1)
    std = np.where(mask, 1e-3 * np.linspace(0.5, 1.5, SHAPE[0])[:, None, None], 0).astype(np.float32)
    noise = (std * rng.standard_normal((60, *SHAPE))).astype(np.float32)
    dipole = kernels.dipole((48, 48, 40), grid())
    inverse = dipole / (dipole**2 + np.float32(0.05))
    chi = np.stack([crop(irfft(rfft(pad(one, (48, 48, 40))) * inverse, 40), SHAPE) for one in noise])
    predicted = closed_form(std, mask, grid(), weight=0.05)
    for half in (slice(0, 14), slice(14, 28)):
        part = mask[half]
        assert rms(predicted[half][part]) == pytest.approx(rms(chi[:, half][:, part]), rel=0.03)


def test_voxels_of_unknown_noise_count_as_the_noisiest() -> None:
    mask = ellipsoid()
    std = np.where(mask, np.float32(1e-3), np.float32(0))
    std[10, 15, 12] = np.nan
    made = closed_form(std, mask, grid())
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made, closed_form(np.nan_to_num(std, nan=1e-3), mask, grid()), rtol=1e-5)


def test_what_cannot_be_done_is_refused() -> None:
    chi, field, std = blocks()
    mask = ellipsoid()
    with pytest.raises(ScanError, match="nowhere finite"):
        closed_form(np.full(SHAPE, np.nan, np.float32), mask, grid())
    with pytest.raises(ScanError, match="nowhere finite"):
        probed(np.full(SHAPE, np.nan, np.float32), mask, grid(), chi=chi)
    with pytest.raises(ScanError, match="from the local field; provide it"):
        probed(std, mask, grid(), chi=chi, inversion=Inversion("dipole", "tikhonov"))
    with pytest.raises(ScanError, match="at least 2 runs, not 1"):
        resampled(std, mask, grid(), local_field=field, inversion=Inversion("dipole", "tikhonov"), runs=1)
    with pytest.raises(ScanError, match="must not be negative"):
        probed(std, mask, grid(), chi=chi, width=-1.0)


def test_the_explained_field_of_a_ball_is_a_dipole_outside_and_nothing_inside() -> None:
    """f = χ/3·(R/r)³·(3cos²θ − 1) outside the ball and 0 inside (the Lorentz sphere subtracted)."""
    size = Grid.from_voxel_size((48, 48, 48), (1, 1, 1), (0, 0, 1))
    x, y, z = np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    chi = (r < 8).astype(np.float32)
    field = explained_field(chi, np.ones(chi.shape, bool), size)
    outside = (r > 10) & (r < 18)
    ball = 3 * chi.sum() / (4 * np.pi)
    expected = ball / r**3 * (3 * (z / r) ** 2 - 1) / 3
    assert np.abs(field - expected)[outside].max() < 0.02
    assert abs(field[r < 6].mean()) < 0.02
