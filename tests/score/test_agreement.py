"""Scores against values worked out by hand."""

import numpy as np
import pytest

from mensura.scan import ScanError
from mensura.score import bias, correlation, coverage, nrmse, nrmse_detrended, rmse

MASK = np.array([True, True, True, True, False])
TRUTH = np.array([1.0, -1.0, 1.0, -1.0, 50.0])
ESTIMATE = np.array([2.0, -1.0, 1.0, -2.0, np.nan])


def test_nrmse_by_hand():
    # demeaned both: error (1, 0, 0, −1), norm √2; truth norm 2
    assert nrmse(ESTIMATE, TRUTH, MASK) == pytest.approx(100 * np.sqrt(2) / 2)


def test_detrended_nrmse_by_hand():
    # slope (2 + 1 + 1 + 2)/4 = 1.5; estimate over it 4/3, −2/3, 2/3, −4/3; error ±1/3, norm 2/3; truth norm 2
    assert nrmse_detrended(ESTIMATE, TRUTH, MASK) == pytest.approx(100 / 3)


def test_detrended_nrmse_is_what_the_correlation_leaves():
    random = np.random.default_rng(0)
    truth = random.standard_normal(1000)
    estimate, everywhere = 0.7 * truth + random.standard_normal(1000), np.ones(1000)
    r = correlation(estimate, truth, everywhere)
    assert nrmse_detrended(estimate, truth, everywhere) == pytest.approx(100 * np.sqrt(1 / r**2 - 1))


def test_rmse_bias_and_correlation_by_hand():
    # errors 1, 0, 0, −1; correlation 6/(2·√10)
    assert rmse(ESTIMATE, TRUTH, MASK) == pytest.approx(np.sqrt(0.5))
    assert bias(ESTIMATE, TRUTH, MASK) == 0
    assert bias(ESTIMATE + 3, TRUTH, MASK) == 3
    assert correlation(ESTIMATE, TRUTH, MASK) == pytest.approx(3 / np.sqrt(10))
    assert correlation(-2 * TRUTH + 1, TRUTH, MASK) == pytest.approx(-1)


def test_perfect_and_empty_maps_and_offsets():
    truth = np.array([0.3, 0.1, -0.2, 0.5, 9.0])
    assert nrmse(truth, truth, MASK) == nrmse_detrended(truth, truth, MASK) == rmse(truth, truth, MASK) == 0
    assert nrmse(truth + 7, truth, MASK) == pytest.approx(0, abs=1e-12)
    assert nrmse(0 * truth, truth, MASK) == pytest.approx(100)
    assert nrmse(-truth, truth, MASK) == pytest.approx(200)


def test_scale_costs_nothing_once_detrended_but_a_turned_sign_does():
    truth = np.array([0.3, 0.1, -0.2, 0.5, 9.0])
    assert nrmse_detrended(0.4 * truth - 7, truth, MASK) == pytest.approx(0, abs=1e-10)
    assert nrmse_detrended(-truth, truth, MASK) == nrmse_detrended(0 * truth, truth, MASK) == np.inf


def test_float32_maps_with_a_large_offset_lose_nothing():
    random = np.random.default_rng(0)
    truth = random.standard_normal(10**5).astype(np.float32)
    mask = np.ones(truth.size, bool)
    assert nrmse(truth + np.float32(100), truth, mask) < 0.01


def test_coverage_by_hand():
    assert coverage(np.array([1, 1, 0, 1, 1]), MASK) == pytest.approx(75)
    assert coverage(MASK, MASK) == 100


@pytest.mark.parametrize("score", [nrmse, nrmse_detrended, correlation])
@pytest.mark.parametrize(
    ("estimate", "truth", "mask", "message"),
    [
        (np.zeros(5), np.arange(4.0), np.ones(4), "cannot be compared"),
        (np.zeros(4), np.arange(4.0), np.zeros(4), "mask is empty"),
        (np.arange(4.0), np.full(4, 0.1), np.ones(4), "truth is constant"),
        (np.array([0, np.nan, 1, 2]), np.arange(4.0), np.ones(4), "no value"),
    ],
)
def test_what_has_no_score_is_refused(score, estimate, truth, mask, message):
    with pytest.raises(ScanError, match=message):
        score(estimate, truth, mask)


def test_a_constant_estimate_has_no_correlation():
    with pytest.raises(ScanError, match="estimate is constant"):
        correlation(np.full(4, 0.1), np.arange(4.0), np.ones(4))


def test_coverage_refuses_masks_that_do_not_fit():
    with pytest.raises(ScanError, match="cannot be compared"):
        coverage(np.ones(3), np.ones(4))
    with pytest.raises(ScanError, match="empty"):
        coverage(np.ones(3), np.zeros(3))
