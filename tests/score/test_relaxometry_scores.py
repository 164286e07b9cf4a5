"""All scores of a relaxation map, worked out by hand."""

import numpy as np
import pytest

from mensura.score import (
    Score,
    Segmentation,
    limits_of_agreement,
    relative_bias,
    relaxometry,
    within_cv,
    within_sd,
)

TRUTH = np.array([1.0, 2, 4, 5, 0])
ESTIMATE = np.array([1.1, 2.4, 4, 5.5, 0.3])
MASK = np.array([1, 1, 1, 1, 0])


def by_name(scores: list[Score], region: str = "mask") -> dict[str, float]:
    return {s.name: s.value for s in scores if s.region == region}


def test_by_hand():
    # errors 0.1, 0.4, 0, 0.5: mean 0.25, squares from it 0.17; relative 10, 20, 0, 10 %: mean 10, SD √(200/3)
    found = by_name(relaxometry(ESTIMATE, TRUTH, MASK, "s"))
    assert found["bias"] == pytest.approx(0.25)
    assert found["median_error"] == pytest.approx(0.25)
    assert found["bias_relative"] == relative_bias(ESTIMATE, TRUTH, MASK) == pytest.approx(10)
    assert found["wsd"] == within_sd(ESTIMATE, TRUTH, MASK) == pytest.approx(np.sqrt(0.17 / 3))
    assert found["wcv"] == within_cv(ESTIMATE, TRUTH, MASK) == pytest.approx(np.sqrt(200 / 3))
    assert found["rmse"] == pytest.approx(np.sqrt(0.42 / 4))
    half = 1.959964 * np.sqrt(0.17 / 3)
    assert [found["limit_lower"], found["limit_upper"]] == pytest.approx([0.25 - half, 0.25 + half])
    assert limits_of_agreement(ESTIMATE, TRUTH, MASK) == (found["limit_lower"], found["limit_upper"])
    assert found["correlation"] == pytest.approx(np.corrcoef(ESTIMATE[:4], TRUTH[:4])[0, 1])


def test_a_perfect_map_has_no_error():
    found = by_name(relaxometry(TRUTH, TRUTH, MASK))
    assert found.pop("correlation") == pytest.approx(1)
    assert set(found.values()) == {0.0}


def test_units_and_regions():
    segmentation = Segmentation(np.array([1, 1, 2, 2, 2]), {"low": (1,), "high": (2,), "nowhere": (7,)})
    scores = relaxometry(ESTIMATE, TRUTH, MASK, "s", segmentation=segmentation)
    assert {s.region for s in scores} == {"mask", "low", "high"}
    assert {s.name: s.unit for s in scores}["wsd"] == "s"
    assert {s.name: s.unit for s in scores}["wcv"] == "%"
    assert by_name(scores, "high")["bias"] == pytest.approx(0.25)
    assert by_name(scores, "low")["bias_relative"] == pytest.approx(15)


def test_where_the_truth_is_one_number_wcv_is_wsd_over_it():
    truth, estimate = np.full(50, 1.3), 1.3 + np.random.default_rng(0).standard_normal(50)
    found = by_name(relaxometry(estimate, truth, np.ones(50)))
    assert found["wcv"] == pytest.approx(100 * found["wsd"] / 1.3)
    assert np.isnan(found["correlation"])


def test_a_truth_of_zero_enters_the_errors_but_not_the_relative_ones():
    scores = {s.name: s for s in relaxometry(ESTIMATE, TRUTH, np.ones(5))}
    assert (scores["bias"].voxels, scores["bias_relative"].voxels, scores["wcv"].voxels) == (5, 4, 4)
    assert scores["bias"].value == pytest.approx(0.26)
    assert scores["bias_relative"].value == pytest.approx(10)
    assert np.isnan(relative_bias(ESTIMATE, TRUTH, np.ones(5)))


def test_missing_voxels_are_counted_and_unknown_truth_is_not_asked_for():
    estimate, truth = ESTIMATE.copy(), TRUTH.copy()
    estimate[3], truth[4] = np.nan, np.nan
    score = relaxometry(estimate, truth, np.ones(5))[0]
    assert (score.name, score.voxels, score.coverage) == ("bias", 3, 75)
    assert score.value == pytest.approx(0.5 / 3)
    filled = relaxometry(estimate, truth, np.ones(5), missing="zero")[0]
    assert (filled.voxels, filled.coverage) == (4, 75)
    assert filled.value == pytest.approx((0.5 - 5) / 4)


def test_an_honest_standard_deviation_covers_95_percent():
    random, count = np.random.default_rng(5), 20_000
    truth, sigma = random.uniform(0.5, 2, count), random.uniform(0.02, 0.2, count)
    estimate = truth + sigma * random.standard_normal(count)
    sigma[:1000] = np.nan
    segmentation = Segmentation(np.arange(count) < 1000, {"without": (1,)})
    scores = relaxometry(estimate, truth, np.ones(count), std=sigma, segmentation=segmentation)
    found = {s.name: s for s in scores if s.region == "mask"}
    error = 100 * np.sqrt(0.95 * 0.05 / 19_000)
    assert found["interval_coverage"].value == pytest.approx(95, abs=4 * error)
    assert found["interval_coverage"].coverage == 95
    assert found["interval_coverage"].voxels == 19_000
    assert not [s for s in scores if s.region == "without" and s.name == "z_mean"]
