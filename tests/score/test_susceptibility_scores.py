"""All scores of a susceptibility map: perfect ones, what costs nothing, what is missing, and regions."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from smooth_maps import smooth_map

from mensura.scan import ScanError
from mensura.score import Score, Segmentation, linearity, susceptibility

CHI, MASK = smooth_map()
PERFECT = {"xsim": 1, "correlation": 1}
ERRORS = {"nrmse", "nrmse_detrended", "rmse", "bias", "offset", "hfen", "gradient_error"}
LABELS = np.zeros(CHI.shape, int)
LABELS[6:9, 8:16, 8:14], LABELS[10:13, 8:16, 8:14], LABELS[15:18, 8:16, 8:14] = 1, 2, 3
NUCLEI = Segmentation(LABELS, {"deep-grey": (1, 2), "tissue": (3,)})


def by_name(scores: list[Score], region: str = "mask") -> dict[str, float]:
    return {s.name: s.value for s in scores if s.region == region}


def test_a_perfect_map_is_perfect_everywhere():
    scores = susceptibility(CHI, CHI, MASK, segmentation=NUCLEI)
    assert {s.name for s in scores} == ERRORS | set(PERFECT) | {"linearity_error"}
    assert {s.region for s in scores} == {"mask", "interior", "rim", "deep-grey", "tissue"}
    for score in scores:
        assert score.value == pytest.approx(PERFECT.get(score.name, 0), abs=1e-12), score
        assert score.coverage == 100


def test_an_offset_is_stated_and_costs_nothing_else():
    found = by_name(susceptibility(CHI + 0.3, CHI, MASK))
    assert found.pop("offset") == pytest.approx(0.3)
    for name, value in found.items():
        assert value == pytest.approx(PERFECT.get(name, 0), abs=1e-9), name


def test_scale_costs_all_but_what_is_detrended():
    found = by_name(susceptibility(0.7 * CHI, CHI, MASK))
    assert [found["nrmse"], found["hfen"]] == pytest.approx([30, 30])
    assert found["gradient_error"] == pytest.approx(30)
    assert found["nrmse_detrended"] == pytest.approx(0, abs=1e-9)
    assert found["correlation"] == pytest.approx(1)
    assert found["xsim"] < 1


@pytest.mark.parametrize("worse", [gaussian_filter(CHI, 0.8), np.roll(CHI, 1, axis=2)])
def test_blur_and_shift_cost_in_every_score(worse):
    found = by_name(susceptibility(worse, CHI, MASK))
    assert all(found[name] > 5 for name in ("nrmse", "nrmse_detrended", "hfen", "gradient_error"))
    assert max(found["xsim"], found["correlation"]) < 0.98


def test_voxels_without_a_value_are_left_out_and_counted():
    holes = CHI.copy()
    half = MASK & (np.indices(CHI.shape)[0] < 13)
    holes[half & (LABELS == 0)], holes[half & (LABELS > 0)] = np.nan, np.inf
    whole = next(s for s in susceptibility(holes, CHI, MASK) if s.name == "nrmse")
    assert whole.value == 0
    assert whole.voxels == np.count_nonzero(MASK & ~half)
    assert whole.coverage == pytest.approx(100 * whole.voxels / np.count_nonzero(MASK))


def test_or_enter_as_zero_if_told_so():
    holes, filled = np.where(LABELS == 1, np.nan, CHI + 0.1), np.where(LABELS == 1, 0, CHI + 0.1)
    asked = susceptibility(holes, CHI, MASK, missing="zero", segmentation=NUCLEI)
    expected = susceptibility(filled, CHI, MASK, segmentation=NUCLEI)
    assert [(s.name, s.value, s.voxels) for s in asked] == [(s.name, s.value, s.voxels) for s in expected]
    assert asked[0].coverage == pytest.approx(100 * (1 - np.sum(MASK & (LABELS == 1)) / MASK.sum()))


def test_a_mask_of_values_says_the_same_as_nan():
    valued = LABELS != 1
    assert susceptibility(CHI, CHI, MASK, valued=valued) == susceptibility(
        np.where(valued, CHI, np.nan), CHI, MASK
    )


def test_a_region_without_any_value_has_no_score_but_is_listed():
    lost = susceptibility(np.where(LABELS == 3, np.nan, CHI), CHI, MASK, segmentation=NUCLEI)
    row = [s for s in lost if s.region == "tissue"]
    assert len(row) == 5
    assert all(np.isnan(s.value) and s.coverage == s.voxels == 0 for s in row)


def test_a_region_is_scored_by_itself_and_its_bias_against_the_whole():
    step = np.where(LABELS == 3, CHI + 0.04, CHI)
    scores = susceptibility(step, CHI, MASK, segmentation=NUCLEI)
    there = by_name(scores, "tissue")
    assert there["nrmse"] == pytest.approx(0, abs=1e-9)
    share = np.sum(LABELS == 3) / MASK.sum()
    assert [there["bias"], there["rmse"]] == pytest.approx(2 * [0.04 * (1 - share)])
    assert by_name(scores, "deep-grey")["bias"] == pytest.approx(-0.04 * share)


def test_errors_of_the_rim_are_told_from_those_inside():
    coarse = np.where(MASK, CHI, 0)
    wrong = CHI + 0.5 * (gaussian_filter(coarse, 1) - CHI) * (gaussian_filter(MASK.astype(float), 1) < 0.9)
    scores = susceptibility(wrong, CHI, MASK, rim=2.0)
    assert by_name(scores, "rim")["rmse"] > 5 * by_name(scores, "interior")["rmse"]
    counts = {s.region: s.voxels for s in scores if s.name == "nrmse"}
    assert counts["rim"] + counts["interior"] == counts["mask"]


def test_linearity_by_hand():
    labels = np.array([1, 1, 2, 3, 4]).reshape(5, 1, 1)
    truth = np.array([0.0, 0.2, 0.2, 0.3, 9]).reshape(5, 1, 1)
    estimate = np.array([0.3, 0.3, 0.3, 0.4, -9]).reshape(5, 1, 1)
    # means 0.1, 0.2, 0.3 → 0.3, 0.3, 0.4: slope (0.1·0.1)/(2·0.1²) = 0.5
    assert linearity(estimate, truth, labels, labels > 0, nuclei=(1, 2, 3)) == pytest.approx(0.5)
    assert linearity(0.8 * truth + 1, truth, labels, labels > 0, nuclei=(1, 2, 3)) == pytest.approx(0.2)
    with pytest.raises(ScanError, match="two nuclei"):
        linearity(estimate, truth, labels, labels == 1, nuclei=(1, 2, 3))


def test_a_calcification_is_scored_where_the_mask_holds_one():
    labels = LABELS.copy()
    labels[12, 12, 11] = 9
    truth = np.where(labels == 9, -2.0, CHI)
    segmentation = Segmentation(labels, {"calcification": (9,)})
    found = by_name(susceptibility(truth, truth, MASK, segmentation=segmentation), "calcification")
    assert found["moment_error"] == found["moment_error_relative"] == found["streaks"] == 0
    weak = np.where(labels == 9, -1.0, CHI)
    found = by_name(susceptibility(weak, truth, MASK, (1, 1, 3), segmentation=segmentation), "calcification")
    assert found["moment_error"] == pytest.approx(3, rel=0.01)
    assert found["moment_error_relative"] == pytest.approx(50, rel=0.02)
    nowhere = susceptibility(truth, truth, MASK & (labels != 9), segmentation=segmentation)
    assert not [s for s in nowhere if s.region == "calcification"]


def test_a_standard_deviation_is_judged_without_the_offset():
    noise = 0.01 * np.random.default_rng(3).standard_normal(CHI.shape)
    found = by_name(susceptibility(CHI + noise + 1, CHI, MASK, std=np.full(CHI.shape, 0.01)))
    count = MASK.sum()
    assert found["interval_coverage"] == pytest.approx(95, abs=4 * 100 * np.sqrt(0.95 * 0.05 / count))
    assert found["calibration_ratio"] == pytest.approx(1, abs=4 / np.sqrt(2 * count))
    assert found["z_mean"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimate": CHI[1:]}, "cannot be compared"),
        ({"mask": MASK[1:]}, "cannot be compared"),
        ({"mask": 0 * MASK}, "truth has no value"),
        ({"estimate": np.nan * CHI}, "estimate has no value"),
        ({"segmentation": Segmentation(LABELS[1:], {"a": (1,)})}, "does not fit"),
        ({"std": np.zeros(CHI.shape)}, "positive standard deviation"),
    ],
)
def test_what_cannot_be_scored_is_refused(changes, message):
    with pytest.raises(ScanError, match=message):
        susceptibility(**{"estimate": CHI, "truth": CHI, "mask": MASK} | changes)
