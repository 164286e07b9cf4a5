"""R2* of magnitudes, freed of a given field's gradient: the truth comes back, with errors that repeats confirm."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.fit import Status
from mensura.qmri.estatics import estatics
from mensura.qmri.gradients import rises_on
from mensura.qmri.t2star import effective_decay
from mensura.scan import Grid, ScanError

TIMES = 0.004 * np.arange(1, 9)
N = 4000


def truth(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rates (1/s), and by how much the field rises across each voxel (Hz)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(5, 60, N), rng.normal(0, 10, (N, 3))


def spins(rates: np.ndarray, rises: np.ndarray) -> np.ndarray:
    """64 spins along each axis of each voxel: sums, not the formula."""
    inside = (np.arange(64) + 0.5) / 64 - 0.5
    sums = [np.exp(2j * np.pi * rises[:, a, None, None] * inside[:, None] * TIMES).mean(1) for a in range(3)]
    made: np.ndarray = 1000 * np.exp(-rates[:, None] * TIMES) * np.abs(np.prod(sums, axis=0))
    return made


def test_what_the_gradient_dephases_is_given_back() -> None:
    rates, rises = truth()
    found = effective_decay(spins(rates, rises), TIMES.tolist(), field_rises=rises)
    assert (found.status == Status.OK).all()
    np.testing.assert_allclose(found.maps["R2starmap"][0], rates, atol=0.05)
    np.testing.assert_allclose(found.maps["T2starmap"][0], 1 / rates, rtol=0.01)
    np.testing.assert_allclose(found.maps["S0map"][0], 1000, rtol=1e-3)
    plain = effective_decay(spins(rates, rises), TIMES.tolist()).maps["R2starmap"][0]
    assert np.median(plain - rates) > 5


def test_errors_hold_the_truth_down_to_the_noise_floor() -> None:
    rates, rises = truth(1)
    noise = 25 * np.random.default_rng(2).standard_normal((2, N, TIMES.size))
    data = np.hypot(spins(rates, rises) + noise[0], noise[1])
    found = effective_decay(data, TIMES.tolist(), field_rises=rises)
    values, errors = found.maps["R2starmap"]
    off = (values - rates)[np.isfinite(values)] / errors[np.isfinite(values)]
    assert off.size > 0.97 * N
    assert 0.925 < np.mean(np.abs(off) < 1.96) < 0.975
    assert abs(np.median(off)) < 0.12
    order = np.random.default_rng(3).permutation(TIMES.size)
    mixed = effective_decay(data[:, order], TIMES[order].tolist(), field_rises=rises)
    np.testing.assert_allclose(mixed.maps["R2starmap"][0], values, rtol=1e-3)


def test_without_a_field_it_is_known_or_not_that_is_told() -> None:
    rates, rises = truth()
    data, field = spins(rates, rises), rises.copy()
    field[0] = np.nan
    field[1] = 0, 0, 1.1 / TIMES[1]
    data[2] = 0
    status = effective_decay(data, TIMES.tolist(), field_rises=field).status[:4].tolist()
    assert status == [Status.NO_SIGNAL, Status.NOT_IDENTIFIABLE, Status.NO_SIGNAL, Status.OK]


def test_two_echoes_do_and_one_does_not() -> None:
    rates, _ = truth()
    data = spins(rates, np.zeros((N, 3)))[:, :2]
    np.testing.assert_allclose(
        effective_decay(data, TIMES[:2].tolist()).maps["R2starmap"][0], rates, rtol=1e-3
    )
    with pytest.raises(ScanError, match="two echo times"):
        effective_decay(data[:, :1], [0.004])
    with pytest.raises(ScanError, match="give seconds"):
        effective_decay(data, [4.0, 8.0])


def test_one_rate_of_several_contrasts_is_freed_too() -> None:
    rates, rises = truth(3)
    data = np.concatenate([spins(rates, rises), 0.4 * spins(rates, rises)], axis=1)
    times, groups = (*TIMES, *TIMES), [0] * 8 + [1] * 8
    fit = estatics(data, times, groups, field_rises=rises)
    np.testing.assert_allclose(fit.values[:, -1], rates, atol=0.05)
    np.testing.assert_allclose(fit.values[:, 1], 400, rtol=1e-3)
    assert np.median(estatics(data, times, groups).values[:, -1] - rates) > 5


@pytest.mark.parametrize("size", [(3.0, 3.0, 3.0), (0.6, 0.5, 0.7)])
def test_a_slope_is_the_same_on_any_grid(size: tuple[float, float, float]) -> None:
    """A plane in space (Hz/mm) on a turned grid, finer or coarser than the images'; unknown in a corner."""
    cosine, sine = np.cos(0.4), np.sin(0.4)
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) * size
    shape = tuple(int(60 / s) for s in size)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned, -turned @ (np.array(shape) / 2)
    source, slope = Grid((shape[0], shape[1], shape[2]), affine), np.array([2.0, -3.0, 1.0])
    places = np.einsum("ij,j...->i...", turned, np.indices(shape)) + affine[:3, 3, None, None, None]
    field = np.einsum("i,i...->...", slope, places).astype(np.float32)
    target = np.diag([1.0, 1.5, 2.0, 1.0])
    target[:3, 3] = -8, -8, -8
    known = places[2] < 4
    found = rises_on(field, known, (source, Grid((12, 10, 9), target)))
    there = np.isfinite(found).all(axis=3)
    np.testing.assert_allclose(
        found[there], np.broadcast_to(slope * [1, 1.5, 2], found[there].shape), atol=0.02
    )
    assert there[..., :5].all()
    assert not there[..., 8].any()
