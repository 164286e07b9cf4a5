"""R2* under a gradient of the field: the decay of spins spread over a box is undone, or said not to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mensura.fit import Status
from mensura.methods import call
from mensura.phantom.head import simulate_head
from mensura.qmri.estimators import arlo, loglinear, noise_floor
from mensura.qmri.gradients import LEAST, dephasing
from mensura.qmri.models import R2STAR
from mensura.scan import Grid, Volume

TIMES = tuple(0.004 * n for n in range(1, 9))
SHAPE = (12, 11, 10)
GRID = Grid.from_voxel_size(SHAPE, (1.0, 1.5, 2.0))
RISE = (9.0, -6.0, 4.0)
"""Hz from voxel to voxel along each axis."""
RATE = 25.0
every_method = pytest.mark.parametrize("method", [noise_floor, arlo, loglinear])


def tilted(rise: Sequence[float] = RISE) -> np.ndarray:
    """A field (Hz) that is a plane."""
    field: np.ndarray = np.einsum("a,a...->...", np.asarray(rise), np.indices(SHAPE)).astype(np.float32)
    return field


def spins(rise: Sequence[float] = RISE, rate: float = RATE) -> np.ndarray:
    """Signals of 128³ spins in each voxel, each at its own frequency: a sum, not the formula."""
    inside = (np.arange(128) + 0.5) / 128 - 0.5
    times = np.asarray(TIMES)
    sums = [np.exp(2j * np.pi * r * inside[:, None] * times).mean(0) for r in rise]
    signal: np.ndarray = 1000 * np.exp(-rate * times) * np.abs(np.prod(sums, axis=0))
    return np.broadcast_to(signal.astype(np.float32), (*SHAPE, len(TIMES))).copy()


def mapped(method: Callable[..., Any], magnitude: np.ndarray, field: np.ndarray, **more: Any) -> Any:
    mask = np.ones(SHAPE, bool)
    told = {"total_field": field / np.float32(127.7), "hz_per_ppm": 127.7}
    return method(magnitude, mask, GRID, echo_times=TIMES, **told, **more)


@every_method
def test_what_a_plane_takes_from_a_box_is_given_back(method: Callable[..., Any]) -> None:
    rate, error, status = mapped(method, spins(), tilted(), noise=1.0)
    expected = (4.4e-6 if method is arlo else 0) * RATE  # Simpson's rule: (R2* dTE)^4/180 of the rate
    np.testing.assert_allclose(rate, RATE, atol=0.05 + expected)
    assert (status == Status.OK).all()
    plain, plain_error, _ = mapped(method, spins(), tilted(), noise=1.0, gradient="ignored")
    assert plain.mean() > 1.2 * RATE
    assert (error < 2 * plain_error).all()


def test_the_masks_edge_needs_no_field_beyond_it() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:9, 3:8, 3:8] = True
    mask[2, 3, 3] = mask[3, 3, 3] = mask[2, 4, 3] = False
    field = np.where(mask, tilted(), np.float32(1e5))
    left = dephasing(field, mask, TIMES)
    expected = np.prod([np.sinc(r * np.asarray(TIMES)) for r in RISE], axis=0)
    np.testing.assert_allclose(left, np.broadcast_to(expected, left.shape), rtol=1e-5)
    lonely = np.zeros(SHAPE, bool)
    lonely[5, 5, 5] = True
    assert (dephasing(field, lonely, TIMES) == 1).all()


def test_a_voxel_without_field_has_no_rate() -> None:
    field = tilted()
    field[4, 4, 4] = np.nan
    rate, _, status = mapped(noise_floor, spins(), field)
    assert status[4, 4, 4] == Status.NOT_IDENTIFIABLE
    assert np.isnan(rate[4, 4, 4])
    assert np.isfinite(rate).sum() == rate.size - 1
    np.testing.assert_allclose(rate[np.isfinite(rate)], RATE, atol=0.05)


@every_method
def test_echoes_that_dephased_do_not_count(method: Callable[..., Any]) -> None:
    """Along one axis the signal is gone at the sixth echo and comes back, turned, at the seventh."""
    rise = (0.0, 1 / TIMES[5], 0.0)
    left = dephasing(tilted(rise), np.ones(SHAPE, bool), TIMES)
    assert (left[:, :3] >= LEAST).all()
    assert (left[:, 4:] == 0).all()
    magnitude = spins(rise)
    magnitude[..., 5:] = 500
    rate, error, status = mapped(method, magnitude, tilted(rise), noise=1.0)
    np.testing.assert_allclose(rate, RATE, atol=0.2)
    assert (status == Status.OK).all()
    assert (error > 2 * mapped(method, spins(), tilted(), noise=1.0)[1]).all()


@every_method
def test_too_few_echoes_left_are_no_wild_number(method: Callable[..., Any]) -> None:
    rise = (0.0, 0.0, 0.75 / TIMES[1])
    rate, error, status = mapped(method, spins(rise), tilted(rise))
    assert (status == Status.NOT_IDENTIFIABLE).all()
    assert np.isnan(rate).all()
    assert np.isnan(error).all()


@every_method
def test_errors_are_those_of_repeated_scans(method: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    clean = spins()
    noise = 10 * rng.standard_normal((2, *clean.shape))
    rate, error, _ = mapped(method, np.hypot(clean + noise[0], noise[1]).astype(np.float32), tilted())
    assert rate.std() == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.1)
    assert abs(rate.mean() - RATE) < 0.15 * rate.std()


def test_in_a_head_most_of_the_bias_goes_by_default() -> None:
    head = simulate_head((40, 46, 40), (4.5, 4.5, 4.5), snr=np.inf, echo_times=TIMES, repetition_time=0.05)
    pure = head.mask & (head.truth["purity"].data > 0.99)
    artifacts = {
        "magnitude": Volume(head.magnitude, head.grid, "arbitrary"),
        "mask": Volume(head.mask, head.grid, "1"),
        "total_field": Volume(np.where(head.mask, head.total_field, 0), head.grid, "ppm"),
        "echo_times": TIMES,
        "hz_per_ppm": head.acquisition.hz_per_ppm,
    }
    bias = {}
    for choice in ("corrected", "ignored"):
        made = call(
            R2STAR, "noise_floor", artifacts, {"gradient": choice, "noise": head.magnitude.max() / 1e3}
        )
        bias[choice] = np.nanmean(made["r2star"].data[pure] / head.r2star[pure] - 1)
    assert bias["ignored"] > 0.05
    assert abs(bias["corrected"]) < 0.4 * bias["ignored"]
