"""Moment and streaks of a calcification, worked out by hand."""

import numpy as np
import pytest

from mensura.scan import ScanError
from mensura.score import calcification

SHAPE, MIDDLE = (29, 27, 25), (14, 13, 12)
MARK = np.zeros(SHAPE, bool)
MARK[MIDDLE] = True
NEXT = (15, 13, 12)
RIM, SHELL, BEYOND = (20, 13, 12), (24, 13, 12), (27, 13, 12)
"""Six, ten and thirteen voxels from the calcification: the boxes end at three, seven and eleven."""


def truth_map() -> np.ndarray:
    truth = np.zeros(SHAPE)
    truth[MIDDLE] = -1.0
    return truth


def test_the_moment_is_the_sum_below_everything_around():
    estimate = truth_map()
    estimate[MIDDLE], estimate[NEXT], estimate[SHELL], estimate[BEYOND] = -0.7, -0.2, -0.1, -5
    found = calcification(estimate, truth_map(), MARK, (1, 1, 2))
    assert found.moment == pytest.approx(2 * -0.9)
    assert found.true_moment == pytest.approx(2 * -1.0)


def test_voxels_that_a_streak_reaches_do_not_count():
    estimate = truth_map()
    estimate[MIDDLE], estimate[NEXT], estimate[SHELL] = -0.7, -0.2, -0.2
    assert calcification(estimate, truth_map(), MARK).moment == pytest.approx(-0.7)


def test_streaks_are_the_spread_of_the_rim_over_the_mean_of_what_was_found():
    estimate = truth_map()
    estimate[MIDDLE], estimate[RIM] = -0.5, 0.3
    voxels = 15**3 - 7**3
    spread = 0.3 * np.sqrt((1 - 1 / voxels) / (voxels - 1))  # of one voxel of 0.3 among zeros, n − 1
    assert calcification(estimate, truth_map(), MARK).streaks == pytest.approx(spread / 0.5)


def test_contrast_that_is_there_in_truth_is_no_streak():
    truth = truth_map() + 0.05 * np.random.default_rng(0).random(SHAPE) * ~MARK
    estimate = 0.6 * truth + 0.001
    found = calcification(estimate, truth, MARK)
    assert found.streaks == pytest.approx(0, abs=1e-12)
    assert found.moment == pytest.approx(0.6 * found.true_moment, rel=0.01)


def test_a_perfect_map_has_its_moment_and_no_streaks():
    truth = truth_map() + 0.02 * np.random.default_rng(0).standard_normal(SHAPE)
    found = calcification(truth, truth, MARK)
    assert found.moment == found.true_moment
    assert found.streaks == 0


def test_a_calcification_that_is_not_there_has_no_moment_and_infinite_streaks():
    found = calcification(np.zeros(SHAPE), truth_map(), MARK)
    assert (found.moment, found.streaks) == (0, np.inf)


def test_voxels_without_a_value_do_not_enter():
    estimate = truth_map()
    estimate[NEXT], estimate[SHELL] = np.nan, -9
    scored = np.ones(SHAPE, bool)
    scored[SHELL] = False
    assert calcification(estimate, truth_map(), MARK, scored=scored).moment == -1


def test_an_empty_label_and_a_tight_mask_are_refused():
    with pytest.raises(ScanError, match="empty"):
        calcification(truth_map(), truth_map(), ~MARK & False)
    with pytest.raises(ScanError, match="larger mask"):
        calcification(truth_map(), truth_map(), MARK, scored=MARK)
