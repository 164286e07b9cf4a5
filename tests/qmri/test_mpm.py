"""Multi-parameter maps: what the signals were made of comes back exactly, with errors that repeats confirm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from mensura.fit import Status
from mensura.qmri import equations, mt
from mensura.qmri.estatics import estatics
from mensura.qmri.estimates import Estimates
from mensura.qmri.mpm import multi_parameter, two_angles
from mensura.qmri.spoiling import Spoiling, spoiling_factor
from mensura.scan import ScanError

N = 2000
TIMES = (0.0023, 0.0046, 0.0069, 0.0092, 0.0115, 0.0138)
ANGLES = {"mt": np.deg2rad(6.0), "pd": np.deg2rad(6.0), "t1": np.deg2rad(21.0)}
REPEATS = {"mt": 0.028, "pd": 0.025, "t1": 0.018}
ORDER = ("t1", "mt", "pd")


def tissue(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    t1 = rng.uniform(0.5, 4.0, N)
    return {
        "T1map": t1,
        "R1map": 1 / t1,
        "R2starmap": rng.uniform(5, 60, N),
        "MTsat": rng.uniform(0.5, 2.0, N),
        "M0map": rng.uniform(800, 1200, N),
        "b1": rng.uniform(0.7, 1.3, N),
    }


def signals(truth: dict[str, np.ndarray], kinds: tuple[str, ...] = ORDER) -> np.ndarray:
    """Every contrast with all its echoes, contrast by contrast."""
    made = []
    for kind in kinds:
        share = truth["MTsat"] / 100 if kind == "mt" else 0.0 * truth["MTsat"]
        still = equations.mt_spoiled_gradient_echo(
            ANGLES[kind],
            truth["M0map"],
            truth["T1map"],
            share,
            repetition_time=REPEATS[kind],
            b1=truth["b1"],
        )
        made += [still * np.exp(-truth["R2starmap"] * t) for t in TIMES]
    return np.stack(made, axis=1)


def protocol(kinds: tuple[str, ...] = ORDER) -> dict[str, Any]:
    every = [kind for kind in kinds for _ in TIMES]
    return {
        "flip_angles": tuple(ANGLES[k] for k in every),
        "repetition_times": tuple(REPEATS[k] for k in every),
        "mt_states": tuple(int(k == "mt") for k in every),
    }


def mapped(data: np.ndarray, kinds: tuple[str, ...] = ORDER, **more: Any) -> Estimates:
    return multi_parameter(data, TIMES * len(kinds), **protocol(kinds), **more)


def test_without_noise_everything_comes_back_whatever_b1_and_the_repetition_times() -> None:
    truth = tissue()
    found = mapped(signals(truth), b1=truth["b1"])
    assert (found.status == Status.OK).all()
    for name, (values, _) in found.maps.items():
        np.testing.assert_allclose(values, truth[name], rtol=2e-4, err_msg=name)


def test_errors_hold_the_truth_as_often_as_they_say() -> None:
    truth = tissue(1)
    clean = signals(truth)
    noise = np.median(clean.max(axis=1)) / 200 * np.random.default_rng(2).standard_normal(clean.shape)
    found = mapped(clean + noise, b1=truth["b1"])
    assert found.fit is not None
    assert found.fit.freedom is not None
    limit = student.ppf(0.975, found.fit.freedom[0])
    for name, (values, errors) in found.maps.items():
        good = np.isfinite(errors)
        off = (values - truth[name])[good] / errors[good]
        assert good.mean() > 0.99
        assert 0.925 < np.mean(np.abs(off) < limit) < 0.975, name
        assert abs(np.median(off)) < 0.12, name


def test_b1_that_is_left_out_makes_t1_wrong_by_its_square_and_mtsat_by_little() -> None:
    truth = {**tissue(), "b1": np.full(N, 1.1)}
    found = mapped(signals(truth))
    np.testing.assert_allclose(found.maps["T1map"][0] / truth["T1map"], 1.1**2, rtol=0.04)
    left = (1 - 0.4 * 1.1) / 0.6
    np.testing.assert_allclose(found.maps["MTsat"][0] / truth["MTsat"], left, rtol=0.04)


def test_the_other_estimate_of_mtsat_agrees_where_b1_is_not_nominal() -> None:
    truth = tissue(3)
    short = signals({**truth, "R2starmap": np.zeros(N)})[:, [6, 12, 0]]
    kinds = ("mt", "pd", "t1")
    found = mt.magnetization_transfer_saturation(
        short,
        [ANGLES[k] for k in kinds],
        repetition_times=tuple(REPEATS[k] for k in kinds),
        b1=truth["b1"],
    )
    assert np.max(np.abs(found.maps["MTsat"][0] / truth["MTsat"] - 1)) < 0.06


def test_one_rate_for_three_contrasts_is_known_better_than_one_of_each() -> None:
    truth = {name: np.full(N, values[0]) for name, values in tissue(4).items()}
    clean = signals(truth)
    data = clean + 2.0 * np.random.default_rng(5).standard_normal(clean.shape)
    groups = [0] * 6 + [1] * 6 + [2] * 6
    joint = estatics(data, TIMES * 3, groups, noise=2.0)
    alone = [
        estatics(data[:, s], TIMES, [0] * 6, noise=2.0) for s in (slice(0, 6), slice(6, 12), slice(12, 18))
    ]
    expected = 1 / np.sqrt(sum(1 / np.nanmedian(a.errors[:, -1]) ** 2 for a in alone))
    assert joint.values[:, -1].std() == pytest.approx(expected, rel=0.06)
    assert np.median(joint.errors[:, -1]) == pytest.approx(expected, rel=0.03)


def test_fluid_that_hardly_decays_is_no_hole() -> None:
    """At short echo times the noise makes many of its rates negative; T1 and M0 do not care."""
    truth = tissue(6) | {"R2starmap": np.full(N, 0.6), "T1map": np.full(N, 4.0), "MTsat": np.full(N, 0.0)}
    clean = signals(truth)
    found = mapped(clean + 3.0 * np.random.default_rng(7).standard_normal(clean.shape), b1=truth["b1"])
    rates = found.maps["R2starmap"][0]
    assert (found.status == Status.OK).mean() > 0.99
    assert np.mean(rates < 0) > 0.2
    assert np.nanmean(rates) == pytest.approx(0.6, abs=4 * np.nanstd(rates) / np.sqrt(N))


def test_a_spoiled_echo_is_thrown_out_by_a_robust_loss() -> None:
    truth = tissue(8)
    clean = signals(truth)
    data = clean + 0.5 * np.random.default_rng(9).standard_normal(clean.shape)
    data[:, 8] *= 0.7
    off = {}
    for loss in ("none", "tukey"):
        values = mapped(data, b1=truth["b1"], loss=loss).maps["MTsat"][0]
        off[loss] = np.nanmedian(np.abs(values / truth["MTsat"] - 1))
    assert off["tukey"] < 0.25 * off["none"]


def test_voxels_without_a_value_say_why() -> None:
    truth = tissue(10)
    data, b1 = signals(truth), truth["b1"].copy()
    data[0] = 0
    data[1, :6] *= 5  # brighter at the large angle than any T1 makes it
    b1[2] = np.nan
    found = mapped(data, b1=b1)
    assert found.status[:4].tolist() == [
        Status.NO_SIGNAL,
        Status.OUT_OF_BOUNDS,
        Status.NO_SIGNAL,
        Status.OK,
    ]
    for values, errors in found.maps.values():
        assert np.isnan(values[:3]).all()
        assert np.isnan(errors[:3]).all()
        assert np.isfinite(values[3:]).all()


def test_without_mt_pulse_there_is_no_mtsat() -> None:
    truth, kinds = tissue(11), ("pd", "t1")
    found = mapped(signals(truth, kinds), kinds, b1=truth["b1"])
    assert "MTsat" not in found.maps
    np.testing.assert_allclose(found.maps["T1map"][0], truth["T1map"], rtol=2e-4)


def test_two_angles_are_solved_far_from_small() -> None:
    t1 = np.geomspace(0.01, 9, 200)
    angles, times = (0.3, 1.4), (0.5, 0.9)
    pair = [
        equations.spoiled_gradient_echo(a, 7.0, t1, repetition_time=tr)
        for a, tr in zip(angles, times, strict=True)
    ]
    found, m0 = two_angles((pair[0], pair[1]), angles, times)
    told = t1 > 0.13  # below, where TR is four times T1 and more, another T1 makes the same ratio
    np.testing.assert_allclose(found[told], t1[told], rtol=1e-5)
    np.testing.assert_allclose(m0[told], 7.0, rtol=1e-5)


def test_protocols_that_cannot_be_used() -> None:
    data = np.ones((3, 12))
    with pytest.raises(ScanError, match="two flip angles without MT pulse"):
        mapped(data, ("pd", "mt"))
    with pytest.raises(ScanError, match="of every image"):
        multi_parameter(data, TIMES * 2, flip_angles=(0.1, 0.3), repetition_times=(0.02,), mt_states=(0, 0))
    with pytest.raises(ScanError, match="two echo times of the same contrast"):
        estatics(np.ones((3, 3)), (0.002, 0.002, 0.002), (0, 1, 2))


def test_errors_hold_the_truth_where_spoiling_is_corrected() -> None:
    truth, spoiling = tissue(12), Spoiling(np.deg2rad(50))
    clean = signals(truth)
    for k, kind in enumerate(ORDER):
        clean[:, 6 * k : 6 * k + 6] *= spoiling_factor(
            ANGLES[kind], truth["T1map"], repetition_time=REPEATS[kind], spoiling=spoiling, b1=truth["b1"]
        )[:, None]
    exact = mapped(clean, b1=truth["b1"], spoiling_increment=np.deg2rad(50))
    for name, (values, _) in exact.maps.items():
        np.testing.assert_allclose(values, truth[name], rtol=3e-4, err_msg=name)
    noise = np.median(clean.max(axis=1)) / 200 * np.random.default_rng(13).standard_normal(clean.shape)
    found = mapped(clean + noise, b1=truth["b1"], spoiling_increment=np.deg2rad(50))
    assert found.fit is not None
    assert found.fit.freedom is not None
    limit = student.ppf(0.975, found.fit.freedom[0])
    for name in ("T1map", "MTsat", "M0map"):
        values, errors = found.maps[name]
        off = (values - truth[name])[np.isfinite(errors)] / errors[np.isfinite(errors)]
        assert 0.925 < np.mean(np.abs(off) < limit) < 0.975, name
