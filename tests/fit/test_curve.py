"""The curve of a fit: it is the model's, its interval covers the true curve, and it keeps to what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mensura.fit import Parameter, SignalModel, Status, curve, fit_voxels
from mensura.fit.curve import sensitivity
from mensura.qmri import equations
from mensura.qmri.estimates import Estimates
from mensura.qmri.t1 import inversion_recovery, variable_flip_angle
from mensura.qmri.t2 import spin_echo_train
from mensura.scan import ScanError

TIMES = np.array([0.05, 0.1, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0])


def recovery(t: Any, a: Any, b: Any, t1: Any) -> Any:
    return a + b * np.exp(-t / t1)


AMPLITUDES = (Parameter("a", "arbitrary", linear=True), Parameter("b", "arbitrary", linear=True))
RECOVERY = SignalModel("recovery", recovery, (*AMPLITUDES, Parameter("t1", "s", 0.02, 8)), "")


def noisy(n: int, noise: float) -> np.ndarray:
    clean = recovery(TIMES, 1000.0, -1900.0, 0.9)
    return clean + noise * np.random.default_rng(3).standard_normal((n, TIMES.size))


def test_slopes_are_the_derivatives_of_the_signal() -> None:
    values = np.array([[900.0, -1700.0, 0.8]])
    slopes = sensitivity(RECOVERY, TIMES, values, {})[0]
    decay = np.exp(-TIMES / 0.8)
    exact = np.stack([np.ones_like(TIMES), decay, -1700 * decay * TIMES / 0.8**2], 1)
    np.testing.assert_allclose(slopes, exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("noise", [None, 20.0], ids=["found", "told"])
def test_the_interval_covers_the_true_curve_as_often_as_it_says(noise: float | None) -> None:
    fit = fit_voxels(RECOVERY, TIMES, noisy(4000, 20.0), noise=noise)
    drawn = curve(fit)
    true = recovery(drawn.points, 1000.0, -1900.0, 0.9)
    covered = ((drawn.low < true) & (true < drawn.high)).mean(axis=0)
    assert np.all((covered > 0.925) & (covered < 0.975))


def test_the_curve_goes_through_data_without_noise_and_keeps_to_their_range() -> None:
    drawn = curve(fit_voxels(RECOVERY, TIMES, noisy(1, 0.0)))
    np.testing.assert_allclose(drawn.signal[0], recovery(drawn.points, 1000.0, -1900.0, 0.9), atol=0.01)
    span = TIMES[-1] - TIMES[0]
    assert 0 < drawn.points[0] < TIMES[0]
    assert TIMES[-1] < drawn.points[-1] < TIMES[-1] + 0.1 * span


def test_a_failed_voxel_has_no_curve_and_leaves_the_others_theirs() -> None:
    data = np.concatenate([np.zeros((1, TIMES.size)), noisy(1, 5.0)])
    drawn = curve(fit_voxels(RECOVERY, TIMES, data))
    assert np.isnan(drawn.signal[0]).all()
    assert np.isfinite(drawn.high[1]).all()


def test_without_freedom_there_is_a_curve_but_no_interval() -> None:
    drawn = curve(fit_voxels(RECOVERY, TIMES[::3], noisy(1, 5.0)[:, ::3]))
    assert np.isfinite(drawn.signal).all()
    assert np.isnan(drawn.low).all()


def fitted(made: Estimates) -> Any:
    assert made.fit is not None
    return made.fit


def test_of_magnitudes_the_data_carry_the_signs_that_were_found_in_the_order_of_time() -> None:
    order = np.random.default_rng(0).permutation(TIMES.size)
    signed = noisy(3, 5.0)
    fit = fitted(inversion_recovery(np.abs(signed)[:, order], TIMES[order]))
    np.testing.assert_allclose(fit.data, signed, rtol=1e-6)
    np.testing.assert_allclose(curve(fit).signal[:, -1], 970, rtol=0.05)


def test_every_voxel_has_the_curve_at_its_own_b1() -> None:
    angles, b1 = np.deg2rad([3.0, 9.0, 20.0]), np.array([0.8, 1.0, 1.2])
    protocol = {"repetition_time": 0.015}
    signals = equations.spoiled_gradient_echo(angles, 1000.0, 1.2, b1=b1[:, None], **protocol)
    drawn = curve(fitted(variable_flip_angle(np.asarray(signals), tuple(angles), b1=b1, **protocol)))
    for row, own in zip(drawn.signal, b1, strict=True):
        true = equations.spoiled_gradient_echo(drawn.points, 1000.0, 1.2, b1=own, **protocol)
        np.testing.assert_allclose(row, true, rtol=1e-4)


def test_a_train_has_its_curve_at_its_echoes_and_where_b1_was_held_too() -> None:
    """The second voxel's refocusing is perfect, so that the fit of B1 ends at its bound and B1 is held at 1."""
    from mensura.qmri import epg

    times = 0.01 * np.arange(1, 11)
    truth = np.array([0.8, 1.0])
    made = [
        epg.trains(*(np.full((1, 1), v) for v in (1000.0, 0.08, b)), (10, 0.01, np.pi, 1.0)) for b in truth
    ]
    signals = np.concatenate([np.reshape(one, (1, 10)) for one in made])
    estimates = spin_echo_train(signals, times)
    assert (estimates.status == Status.OK).all()
    drawn = curve(fitted(estimates))
    np.testing.assert_array_equal(drawn.points, times)
    np.testing.assert_allclose(drawn.signal, signals, rtol=1e-3)
    assert np.isfinite(drawn.high).all()


def test_closed_forms_have_none() -> None:
    fit = fit_voxels(RECOVERY, TIMES, noisy(1, 5.0))
    with pytest.raises(ScanError, match="no curve"):
        curve(replace(fit, design=None))
