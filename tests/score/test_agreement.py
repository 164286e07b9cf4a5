"""Scores against values worked out by hand."""

import numpy as np
import pytest

from mensura.scan import ScanError
from mensura.score import coverage, nrmse

MASK = np.array([True, True, True, True, False])


def test_nrmse_by_hand():
    truth = np.array([1.0, -1.0, 1.0, -1.0, 50.0])
    estimate = np.array([2.0, -1.0, 1.0, -2.0, np.nan])
    # demeaned both: error (1, 0, 0, −1), norm √2; truth norm 2
    assert nrmse(estimate, truth, MASK) == pytest.approx(100 * np.sqrt(2) / 2)


def test_perfect_and_empty_maps_and_offsets():
    truth = np.array([0.3, 0.1, -0.2, 0.5, 9.0])
    assert nrmse(truth, truth, MASK) == 0
    assert nrmse(truth + 7, truth, MASK) == pytest.approx(0, abs=1e-12)
    assert nrmse(0 * truth, truth, MASK) == pytest.approx(100)
    assert nrmse(-truth, truth, MASK) == pytest.approx(200)


def test_float32_maps_with_a_large_offset_lose_nothing():
    random = np.random.default_rng(0)
    truth = random.standard_normal(10**5).astype(np.float32)
    mask = np.ones(truth.size, bool)
    assert nrmse(truth + np.float32(100), truth, mask) < 0.01


def test_coverage_by_hand():
    assert coverage(np.array([1, 1, 0, 1, 1]), MASK) == pytest.approx(75)
    assert coverage(MASK, MASK) == 100


@pytest.mark.parametrize(
    ("estimate", "truth", "mask", "message"),
    [
        (np.zeros(5), np.arange(4.0), np.ones(4), "cannot be compared"),
        (np.zeros(4), np.arange(4.0), np.zeros(4), "mask is empty"),
        (np.arange(4.0), np.ones(4), np.ones(4), "truth is constant"),
        (np.array([0, np.nan, 1, 2]), np.arange(4.0), np.ones(4), "no value"),
    ],
)
def test_what_has_no_score_is_refused(estimate, truth, mask, message):
    with pytest.raises(ScanError, match=message):
        nrmse(estimate, truth, mask)


def test_coverage_refuses_masks_that_do_not_fit():
    with pytest.raises(ScanError, match="cannot be compared"):
        coverage(np.ones(3), np.ones(4))
    with pytest.raises(ScanError, match="empty"):
        coverage(np.ones(3), np.zeros(3))
