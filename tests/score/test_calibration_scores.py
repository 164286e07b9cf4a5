"""A reported standard deviation, honest or not, against errors drawn from a known one."""

import numpy as np
import pytest
from scipy.special import ndtr

from mensura.scan import ScanError
from mensura.score import calibration

COUNT = 40_000
EVERYWHERE = np.ones(COUNT, bool)


def drawn(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, truth and the standard deviation reported, when the actual one is `scale` times that."""
    random = np.random.default_rng(7)
    truth, sigma = random.uniform(0.5, 2, COUNT), random.uniform(0.01, 0.1, COUNT)
    return truth + scale * sigma * random.standard_normal(COUNT), truth, sigma


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_coverage_and_ratio_tell_the_scale_within_sampling_error(scale):
    found = calibration(*drawn(scale), EVERYWHERE)
    share = 2 * ndtr(1.959964 / scale) - 1
    assert found.interval == pytest.approx(100 * share, abs=4 * 100 * np.sqrt(share * (1 - share) / COUNT))
    assert found.ratio == pytest.approx(scale, rel=4 / np.sqrt(COUNT))
    assert found.spread == pytest.approx(scale, rel=4 * 1.17 / np.sqrt(COUNT))
    assert found.mean == pytest.approx(0, abs=4 * scale / np.sqrt(COUNT))


def test_the_histogram_is_the_normal_one_within_sampling_error():
    found = calibration(*drawn(), EVERYWHERE)
    assert found.shares.sum() == pytest.approx(100)
    assert found.expected.sum() == pytest.approx(100)
    error = 100 * np.sqrt(found.expected / 100 / COUNT)
    assert np.all(np.abs(found.shares - found.expected) < 4.5 * error)


def test_by_hand():
    # z = 1, −1, 3, 0; median 0.5, deviations from it 0.5, 1.5, 2.5, 0.5: median 1
    found = calibration(
        np.array([2.0, 1, 7, 4]), np.array([1.0, 2, 1, 4]), np.array([1.0, 1, 2, 5]), np.ones(4)
    )
    assert (found.voxels, found.mean, found.interval) == (4, 0.75, 75)
    assert found.spread == pytest.approx(1.4826, rel=1e-4)
    assert found.ratio == pytest.approx(np.sqrt(38 / 31))


def test_errors_beyond_the_histogram_are_in_its_last_bins():
    found = calibration(np.array([99.0, -99, 0.1]), np.zeros(3), np.ones(3), np.ones(3))
    assert found.shares[[0, -1]] == pytest.approx([100 / 3, 100 / 3])


def test_voxels_without_a_standard_deviation_do_not_enter():
    estimate, sigma = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, np.nan, -1])
    assert calibration(estimate, np.zeros(4), sigma, np.ones(4)).voxels == 1
    with pytest.raises(ScanError, match="no voxel"):
        calibration(estimate, np.zeros(4), 0 * sigma, np.ones(4))
    with pytest.raises(ScanError, match="cannot be compared"):
        calibration(estimate, np.zeros(4), sigma[:3], np.ones(4))
