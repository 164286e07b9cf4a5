"""Coarser grids: what is smooth looks the same there, and iterations that start from one arrive sooner."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.inverse.admm import Filtered, Support, Variation, admm
from mensura.inverse.fft import fast_shape, irfft, rfft
from mensura.inverse.grids import double, halved, halvings, low_frequencies, steps
from mensura.inverse.operators import difference_spectrum
from mensura.inverse.prox import Misfit

SHAPE = (16, 24, 20)


def wave(shape: tuple[int, int, int]) -> np.ndarray:
    """Two waves round each axis, at the centres of the voxels of a unit cube."""
    x, y, z = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")
    return (np.cos(4 * np.pi * x) + np.sin(2 * np.pi * (y + z))).astype(np.float32)


def doubled(coarse: np.ndarray) -> np.ndarray:
    fine = np.empty([2 * n for n in coarse.shape], np.float32)
    double(coarse, fine)
    return fine


def test_a_wave_is_the_same_wave_on_either_grid() -> None:
    fine, coarse = wave(SHAPE), wave((8, 12, 10))
    assert np.abs(halved(fine) - coarse).max() < 0.2
    assert np.abs(doubled(coarse) - fine).max() < 0.35
    assert np.abs(doubled(wave((32, 48, 40))) - wave((64, 96, 80))).max() < 0.03


def test_axes_with_long_voxels_are_left_as_they_are() -> None:
    assert steps((0.7, 0.7, 2.0)) == (2, 2, 1)
    assert steps((1.0, 1.0, 1.4)) == (2, 2, 2)
    fine, coarse = wave((32, 48, 20)), wave((16, 24, 20))
    assert np.abs(halved(fine, (2, 2, 1)) - coarse).max() < 0.1
    back = np.empty_like(fine)
    double(coarse, back)
    assert np.abs(back - fine).max() < 0.1
    blur = (1 / (1 + difference_spectrum(SHAPE, (0.7, 0.7, 2.0)))).astype(np.float32)
    small = low_frequencies(blur, SHAPE, (2, 2, 1))
    assert small.shape == (8, 12, 11)
    np.testing.assert_array_equal(small[0, 0], blur[0, 0])
    np.testing.assert_array_equal(small[[3, -3], [-5, 5]], blur[[3, -3], [-5, 5]])


def test_odd_ends_are_filled_up() -> None:
    ones = np.ones((2, 5, 4, 3), np.float32)
    assert halved(ones).shape == (2, 3, 2, 2)
    assert halved(ones)[0, 2, 0, 1] == 0.25
    assert halved(ones, outside=1).min() == 1


def test_a_filter_does_the_same_to_what_is_smooth() -> None:
    size, twice = (1.0, 1.2, 0.9), (2.0, 2.4, 1.8)
    blur = (1 / (1 + difference_spectrum(SHAPE, size))).astype(np.float32)
    small = low_frequencies(blur, SHAPE)
    assert small.shape == (8, 12, 6)
    smooth = irfft(rfft(wave((8, 12, 10))) * small, 10)
    assert np.abs(halved(irfft(rfft(wave(SHAPE)) * blur, 20)) - smooth).max() < 0.1
    expected = 1 / (1 + difference_spectrum((8, 12, 10), twice))
    assert small[1, 0, 0] == pytest.approx(expected[1, 0, 0], rel=0.05)


def test_infinite_weights_still_forbid_and_weights_count() -> None:
    data, weight = np.zeros((2, 2, 2), np.float32), np.zeros((2, 2, 2), np.float32)
    data[0, 0, 0], weight[0, 0, 0] = 3, 0.8
    coarse = Misfit(data, weight).coarser((2, 2, 2))
    assert (coarse.data.item(), coarse.weight.item()) == (pytest.approx(3), pytest.approx(0.1))
    weight[1, 1, 1] = np.inf
    assert np.isinf(Misfit(data, weight).coarser((2, 2, 2)).weight.item())


def test_sizes_are_fast_and_can_be_halved() -> None:
    for twice in range(4):
        shape = fast_shape((37, 61, 90), (3, 0, 5), twice)
        assert all(n % 2**twice == 0 and n >= least for n, least in zip(shape, (40, 61, 95), strict=True))
    assert [halvings((n, 20, 20)) for n in (31, 32, 63, 64, 200)] == [0, 1, 1, 2, 3]


def test_a_start_from_coarser_grids_arrives_sooner_at_the_same_map() -> None:
    shape, size = (48, 48, 48), (1.0, 1.0, 1.0)
    truth = np.zeros(shape, np.float32)
    truth[8:40, 10:36, 12:38] = 1
    blur = (1 / (1 + 30 * difference_spectrum(shape, size))).astype(np.float32)
    noise = 0.01 * np.random.default_rng(0).standard_normal(shape)
    data = (irfft(rfft(truth) * blur, 48) + noise).astype(np.float32)
    term = Filtered(blur, 0.1, Misfit(data, np.full(shape, 10.0, np.float32)))

    def found(iterations: int, twice: int) -> np.ndarray:
        where = Support(np.ones(shape, bool), 1e-3)
        return admm(
            [term], Variation(0.01, 0.05), where, shape, size, tol=0, max_iter=iterations, halvings=twice
        ).x

    rest = found(400, 0)
    off = [np.linalg.norm(found(n, twice) - rest) for n, twice in ((4, 0), (4, 2), (400, 2))]
    assert off[1] < 0.7 * off[0]
    assert off[2] < 0.02 * np.linalg.norm(rest)
