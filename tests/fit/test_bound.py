"""Cramér and Rao's bound: closed forms, what noise and magnitudes do to it, and what signals do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from mensura.fit import Parameter, SignalModel, fit_voxels
from mensura.fit.bound import cramer_rao

TIMES = 0.012 * np.arange(1, 9)


def decay(values: np.ndarray) -> np.ndarray:
    made: np.ndarray = values[:, :1] * np.exp(-TIMES / values[:, 1:2])
    return made


def test_of_a_mean_it_is_the_noise_over_the_root_of_the_count() -> None:
    found = cramer_rao(lambda v: np.repeat(v, 9, axis=1), np.array([[5.0], [0.0], [-2.0]]), [0.3, 0.3, 0.6])
    np.testing.assert_allclose(found[:, 0], [0.1, 0.1, 0.2], rtol=1e-8)


def test_of_a_line_it_is_the_textbook_s() -> None:
    x = np.array([0.0, 1, 2, 5])
    found = cramer_rao(lambda v: v[:, :1] + v[:, 1:] * x, np.array([[3.0, 0.0]]), 0.2)
    spread = np.sum((x - x.mean()) ** 2)
    expected = [0.2 * np.sqrt(1 / 4 + x.mean() ** 2 / spread), 0.2 / np.sqrt(spread)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-8)


def test_it_is_what_the_fitter_says_of_data_without_noise() -> None:
    """By other derivatives, another factorisation, and the logarithm of T2."""
    model = SignalModel(
        "decay",
        lambda t, m0, t2: m0 * np.exp(-t / t2),
        (Parameter("m0", "arbitrary", linear=True), Parameter("t2", "s", 2e-3, 3)),
        "",
    )
    values = np.stack([np.full(50, 700.0), np.geomspace(0.01, 0.5, 50)], 1)
    fit = fit_voxels(model, TIMES, decay(values), noise=7.0)
    good = fit.status == 0
    assert good.sum() > 40
    np.testing.assert_allclose(cramer_rao(decay, values, 7.0)[good], fit.errors[good], rtol=1e-4)


def test_it_does_not_care_how_the_unknowns_are_written() -> None:
    values = np.array([[1.0, 0.05]])
    by_rate = cramer_rao(lambda v: v[:, :1] * np.exp(-TIMES * v[:, 1:]), np.array([[1.0, 20.0]]), 0.01)
    np.testing.assert_allclose(by_rate[0, 1] / 20, cramer_rao(decay, values, 0.01)[0, 1] / 0.05, rtol=1e-6)


def test_what_is_not_told_is_infinite_and_the_rest_stays_finite() -> None:
    """The sum of two is told, neither of them; a third beside them is; a fourth does nothing."""
    x = np.linspace(0, 1, 6)
    found = cramer_rao(lambda v: v[:, :1] + v[:, 1:2] + v[:, 2:3] * x + 0 * v[:, 3:], np.ones((1, 4)), 1.0)
    assert np.isinf(found[0]).tolist() == [True, True, False, True]
    assert found[0, 2] == pytest.approx(1 / np.sqrt(np.sum((x - x.mean()) ** 2)), rel=1e-6)


def test_fewer_points_than_unknowns_tell_nothing() -> None:
    assert np.isinf(cramer_rao(lambda v: v[:, :1] + v[:, 1:] * np.array([1.0]), np.ones((1, 2)), 1.0)).all()


def test_magnitudes_near_the_noise_tell_less_and_loud_ones_as_much() -> None:
    quiet, loud = np.array([[3.0, 0.02]]), np.array([[1000.0, 0.2]])
    plain, rician = (cramer_rao(decay, quiet, 1.0, likelihood) for likelihood in ("gaussian", "rician"))
    assert (rician > 1.2 * plain).all()
    np.testing.assert_allclose(
        cramer_rao(decay, loud, 1.0, "rician"), cramer_rao(decay, loud, 1.0), rtol=1e-4
    )
