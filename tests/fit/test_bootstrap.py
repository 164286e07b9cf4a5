"""Errors by the wild bootstrap: as large as the analytic ones for even noise, right where those are wrong."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from mensura.fit import Bootstrap, Fit, Parameter, SignalModel, bootstrap, descent, fit_voxels
from mensura.qmri import t1, t2
from mensura.scan import ScanError

N = 1000
TIMES = np.linspace(0.05, 4, 20)
EVEN = np.full(20, 15.0)
GROWING = 2 + 40 * TIMES / 4
MODEL = SignalModel(
    "recovery",
    lambda t, a, b, t1: a + b * np.exp(-t / t1),
    (
        Parameter("a", "arbitrary", linear=True),
        Parameter("b", "arbitrary", linear=True),
        Parameter("t1", "s", 0.02, 8),
    ),
    "",
)


def data(spread: np.ndarray, n: int = N) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((n, 20))
    made: np.ndarray = 1000 * (1 - 1.9 * np.exp(-TIMES / 0.9)) + spread * noise
    return made


def squared(errors: np.ndarray) -> np.ndarray:
    """The root of the mean square: of few residuals a variance is right on average, its median is too small."""
    found: np.ndarray = np.sqrt(np.nanmean(np.square(errors, dtype=float), axis=0))
    return found


def ratios(fit: Fit) -> np.ndarray:
    """Errors over the scatter of the values, of every parameter."""
    told: np.ndarray = squared(fit.errors) / np.std(fit.values.astype(float), axis=0)
    return told


def test_for_even_noise_it_says_what_cramer_and_rao_say() -> None:
    plain, wild = (fit_voxels(MODEL, TIMES, data(EVEN), bootstrap=b) for b in (None, Bootstrap()))
    np.testing.assert_array_equal(plain.values, wild.values)
    np.testing.assert_allclose(ratios(wild) / ratios(plain), 1, atol=0.1)
    np.testing.assert_allclose(ratios(wild), 1, atol=0.1)


def test_for_noise_that_grows_it_is_right_where_the_analytic_errors_are_wrong() -> None:
    """But for b, which hangs on a few quiet points: noise of the others leaks into their residuals."""
    plain, wild = (fit_voxels(MODEL, TIMES, data(GROWING), bootstrap=b) for b in (None, Bootstrap()))
    assert (np.abs(ratios(plain) - 1) > [0.15, 0.5, 0.15]).all()
    np.testing.assert_allclose(ratios(wild)[[0, 2]], 1, atol=0.1)
    assert (np.abs(ratios(wild) - 1) < np.abs(ratios(plain) - 1) / 3).all()
    away = np.abs(wild.values[:, 0] - 1000)
    inside, before = (np.mean(away < 1.96 * fit.errors[:, 0]) for fit in (wild, plain))
    assert abs(inside - 0.95) < abs(before - 0.95) / 2


def test_correlations_come_from_the_refits_as_well() -> None:
    """Amplitudes of even noise: those of the normal equations."""
    plain, wild = (fit_voxels(MODEL, TIMES, data(EVEN, 200), bootstrap=b) for b in (None, Bootstrap(400)))
    assert plain.correlation is not None
    assert wild.correlation is not None
    np.testing.assert_allclose(wild.correlation.mean(0), plain.correlation.mean(0), atol=0.1)


def test_the_seed_decides_and_neither_threads_nor_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def errors(seed: int) -> np.ndarray:
        found: np.ndarray = fit_voxels(MODEL, TIMES, data(EVEN, 300), bootstrap=Bootstrap(30, seed)).errors
        return found

    one = errors(0)
    assert np.max(np.abs(errors(1) / one - 1)) > 0.01
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(errors(0), one)
    finally:
        numba.set_num_threads(before)
    monkeypatch.setattr(bootstrap, "CHUNK", 700)
    monkeypatch.setattr(descent, "CHUNK", 90)
    np.testing.assert_allclose(errors(0), one, rtol=1e-6)


def test_points_that_a_loss_rejects_do_not_count() -> None:
    spoilt = data(EVEN, 300)
    spoilt[:, 7] += 900
    clean = fit_voxels(MODEL, TIMES, data(EVEN, 300), weights=np.arange(20) != 7, bootstrap=Bootstrap(100))
    fit = fit_voxels(MODEL, TIMES, spoilt, loss="tukey", bootstrap=Bootstrap(100))
    np.testing.assert_allclose(squared(fit.errors), squared(clean.errors), rtol=0.1)


def test_voxels_without_freedom_have_a_value_and_no_error() -> None:
    holed = data(EVEN, 4)
    holed[1, 3:] = np.nan
    holed[2, :] = 0
    fit = fit_voxels(MODEL, TIMES, holed, bootstrap=Bootstrap(30))
    assert np.isfinite(fit.errors[[0, 3]]).all()
    assert np.isnan(fit.errors[[1, 2]]).all()
    assert np.isfinite(fit.values[[0, 1, 3]]).all()
    assert np.isnan(fit_voxels(MODEL, TIMES, 0 * holed[[0, 2]], bootstrap=Bootstrap(30)).errors).all()


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"bootstrap": Bootstrap(), "likelihood": "rician", "noise": 1.0}, "gaussian"),
        ({"bootstrap": Bootstrap(5)}, "20 or more"),
        ({"bootstrap": Bootstrap(seed=-1)}, "seed"),
    ],
)
def test_what_it_does_not_go_with_is_refused(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ScanError, match=says):
        fit_voxels(MODEL, TIMES, data(EVEN, 3), **keywords)


def test_as_many_points_as_parameters_are_refused() -> None:
    with pytest.raises(ScanError, match="more points than the 3 parameters"):
        fit_voxels(MODEL, TIMES[:3], data(EVEN, 3)[:, :3], bootstrap=Bootstrap())


TI = tuple(TIMES.tolist())
ECHOES = tuple((0.01 * np.arange(1, 17)).tolist())
ANGLES = tuple(np.deg2rad([2, 4, 7, 10, 15, 20, 30]).tolist())
DECAY = 1000 * np.exp(-np.asarray(ECHOES) / 0.06)
STEADY = np.sin(ANGLES) * (1 - np.exp(-0.02)) / (1 - np.exp(-0.02) * np.cos(ANGLES))


@pytest.mark.parametrize(
    ("fitted", "clean", "least"),
    [
        (lambda s, **k: t1.inversion_recovery(np.abs(s), TI, **k), data(0 * EVEN, 1)[0], ("T1map", "M0map", "IEmap")),
        (lambda s, **k: t1.saturation_recovery(s, TI, **k), 1000 - 900 * np.exp(-TIMES), ("T1map", "M0map")),
        (lambda s, **k: t1.look_locker(s, TI, **k), data(0 * EVEN, 1)[0], ("T1map", "T1starmap")),
        (lambda s, **k: t1.variable_flip_angle(s, ANGLES, repetition_time=0.02, **k), 9e3 * STEADY, ("T1map",)),
        (lambda s, **k: t2.spin_echo(s, ECHOES, **k), DECAY, ("T2map", "M0map")),
        (lambda s, **k: t2.spin_echo_train(s, ECHOES, b1=np.ones(len(s)), **k), DECAY, ("T2map", "M0map")),
    ],
    ids=["inversion", "saturation", "look_locker", "angles", "decay", "train"],
)  # fmt: skip
def test_every_model_of_fits_tells_errors_by_bootstrap(
    fitted: Any, clean: np.ndarray, least: tuple[str, ...]
) -> None:
    noisy = clean + 8 * np.random.default_rng(1).standard_normal((400, len(clean)))
    seen: list[tuple[int, int, float]] = []
    plain = fitted(noisy)
    wild = fitted(noisy, errors="bootstrap", bootstraps=60, seed=3, monitor=lambda *a: seen.append(a))
    for name in least:
        ratio = squared(wild.maps[name][1]) / squared(plain.maps[name][1])
        assert ratio == pytest.approx(1, abs=0.1), name
    assert seen[-1] == (60, 60, 0.0)
    with pytest.raises(ScanError, match="no errors jackknife"):
        fitted(noisy, errors="jackknife")
