"""The fitter: exact without noise, as sure as it says with noise, deaf to corrupted points, frank about failures."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from mensura.fit import Fit, Parameter, SignalModel, Status, fit_voxels, table
from mensura.fit.robust import LOSSES
from mensura.scan import ScanError

TIMES = np.array([0.03, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0])
ECHOES = 0.012 * np.arange(1, 9)


def recovery(t: Any, a: Any, b: Any, t1: Any) -> Any:
    return a + b * np.exp(-t / t1)


def decay(t: Any, m0: Any, t2: Any, scale: Any = 1.0) -> Any:
    return m0 * scale * np.exp(-t / t2)


AMPLITUDES = (Parameter("a", "arbitrary", linear=True), Parameter("b", "arbitrary", linear=True))
RECOVERY = SignalModel("recovery", recovery, (*AMPLITUDES, Parameter("t1", "s", 0.02, 8)), "")
DECAY = SignalModel(
    "decay", decay, (Parameter("m0", "arbitrary", linear=True), Parameter("t2", "s", 2e-3, 3)), ""
)
CURVED = SignalModel(
    "curved", decay, (Parameter("m0", "arbitrary", 1, 1e5), Parameter("t2", "s", 2e-3, 3)), ""
)


def recovered(n: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """T1 (n) and signals (n, 8) of size 1000."""
    rng = np.random.default_rng(seed)
    t1 = rng.uniform(0.15, 3, n)
    clean = 1000 * (1 - 1.9 * np.exp(-TIMES / t1[:, None]))
    return t1, clean + noise * rng.standard_normal(clean.shape)


def decayed(n: int, noise: float = 0.0, magnitude: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    t2 = rng.uniform(0.03, 0.15, n)
    clean = 1000 * np.exp(-ECHOES / t2[:, None])
    real, imaginary = noise * rng.standard_normal((2, *clean.shape))
    return t2, np.hypot(clean + real, imaginary) if magnitude else clean + real


@pytest.mark.parametrize("model", [DECAY, CURVED], ids=lambda m: m.name)
def test_without_noise_the_parameters_come_back(model: SignalModel) -> None:
    t2, data = decayed(500)
    fit = fit_voxels(model, ECHOES, data)
    assert (fit.status == Status.OK).all()
    np.testing.assert_allclose(fit.values, np.stack([np.full(500, 1000), t2], 1), rtol=1e-6)
    t1, data = recovered(500)
    np.testing.assert_allclose(fit_voxels(RECOVERY, TIMES, data).values[:, 2], t1, rtol=1e-6)


@pytest.mark.parametrize("snr", [20, 50, 200])
def test_errors_are_what_repeats_scatter_by_and_intervals_cover(snr: float) -> None:
    """Noise known; errors scatter no more than Cramér and Rao allow, and no less."""
    n, sigma = 20_000, 1000 / snr
    t2 = np.full(n, 0.07)
    data = 1000 * np.exp(-ECHOES / 0.07) + sigma * np.random.default_rng(2).standard_normal((n, 8))
    fit = fit_voxels(DECAY, ECHOES, data, noise=sigma)
    z = (fit.values[:, 1] - t2) / fit.errors[:, 1]
    assert np.mean(np.abs(z) < 1.96) == pytest.approx(0.95, abs=0.01)
    columns = np.stack([np.exp(-ECHOES / 0.07), 1000 * ECHOES / 0.07**2 * np.exp(-ECHOES / 0.07)], 1)
    bound = np.sqrt(np.linalg.inv(columns.T @ columns)[1, 1]) * sigma
    assert np.median(fit.errors[:, 1]) == pytest.approx(bound, rel=0.03)
    assert np.std(fit.values[:, 1]) == pytest.approx(bound, rel=0.05)
    assert fit.chi_squared is not None
    assert np.mean(fit.chi_squared) == pytest.approx(6, rel=0.03)


def test_without_known_noise_the_residuals_tell_it() -> None:
    t1, data = recovered(20_000, 20)
    fit = fit_voxels(RECOVERY, TIMES, data)
    z = (fit.values[:, 2] - t1) / fit.errors[:, 2]
    assert np.mean(np.abs(z) < 2.571) == pytest.approx(0.95, abs=0.01)  # Student's t, 5 degrees of freedom
    assert fit.freedom is not None
    assert (fit.freedom == 5).all()


@pytest.mark.parametrize("likelihood", ["rician", "noise_floor"])
def test_magnitudes_in_the_noise_are_not_taken_for_slow_decay(likelihood: str) -> None:
    n, sigma = 10_000, 60.0
    rng = np.random.default_rng(3)
    clean = 1000 * np.exp(-ECHOES / 0.02)
    data = np.hypot(clean + sigma * rng.standard_normal((n, 8)), sigma * rng.standard_normal((n, 8)))
    plain = fit_voxels(DECAY, ECHOES, data)
    fit = fit_voxels(DECAY, ECHOES, data, noise=sigma, likelihood=likelihood)
    assert np.nanmedian(plain.values[:, 1]) > 0.022
    assert np.nanmedian(fit.values[:, 1]) == pytest.approx(0.02, rel=0.02)
    z = (fit.values[:, 1] - 0.02) / fit.errors[:, 1]
    assert np.mean(np.abs(z[fit.status == Status.OK]) < 1.96) == pytest.approx(0.95, abs=0.03)


def corrupted(kind: str, n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T1, signals at SNR 50, and which points are corrupted."""
    t1, data = recovered(n, 20)
    rng = np.random.default_rng(4)
    bad = np.zeros(data.shape, bool)
    if kind == "one volume scaled":
        data[:, 5] *= 0.6
        bad[:, 5] = np.abs(data[:, 5]) > 6 * 20 * 0.6 / 0.4  # moved by six times the noise
    else:
        bad[np.arange(n), rng.integers(0, 8, n)] = True
        data[bad] += 400 * rng.choice([-1, 1], n)
    return t1, data, bad


@pytest.mark.parametrize("loss", ["tukey", "geman_mcclure"])
@pytest.mark.parametrize("kind", ["one volume scaled", "spikes"])
def test_corrupted_points_are_found_and_do_not_count(kind: str, loss: str) -> None:
    t1, data, bad = corrupted(kind)
    clean = fit_voxels(RECOVERY, TIMES, recovered(3000, 20)[1])
    plain = fit_voxels(RECOVERY, TIMES, data)
    fit = fit_voxels(RECOVERY, TIMES, data, loss=loss)

    def error(f: Fit) -> float:
        return float(np.nanmedian(np.abs(f.values[:, 2] / t1 - 1)))

    assert fit.weights is not None
    rejected = fit.weights == 0
    assert error(plain) > error(clean) + 0.03
    assert error(fit) < 1.05 * error(
        fit_voxels(RECOVERY, TIMES, data, weights=~bad)
    )  # as if it had been told
    assert np.mean((bad | ((np.arange(8) == 5) & (kind == "one volume scaled")))[rejected]) > 0.9
    assert np.mean(rejected[bad]) > 0.9


@pytest.mark.parametrize("loss", LOSSES)
def test_without_noise_a_loss_rejects_nothing(loss: str) -> None:
    t1, data = recovered(200)
    fit = fit_voxels(RECOVERY, TIMES, data, loss=loss)
    np.testing.assert_allclose(fit.values[:, 2], t1, rtol=1e-5)
    assert fit.weights is not None
    assert (fit.weights > 0.99).all()


def test_a_loss_costs_little_where_nothing_is_corrupted() -> None:
    t1, data = recovered(10_000, 20)
    plain, fit = fit_voxels(RECOVERY, TIMES, data), fit_voxels(RECOVERY, TIMES, data, loss="tukey")

    def spread(f: Fit) -> float:
        return float(np.median(np.abs(f.values[:, 2] / t1 - 1)))

    assert spread(fit) < 1.1 * spread(plain)
    z = (fit.values[:, 2] - t1) / fit.errors[:, 2]
    assert np.mean(np.abs(z) < 2.571) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_keep_95_percent_of_the_information(name: str) -> None:
    r = np.linspace(-12, 12, 240_001)
    density = np.exp(-(r**2) / 2) / np.sqrt(2 * np.pi) * (r[1] - r[0])
    loss = LOSSES[name]
    psi = loss.weight(r) * r
    efficiency = (density @ loss.slope(r)) ** 2 / (density @ psi**2)
    assert efficiency == pytest.approx(0.95, abs=0.005)
    np.testing.assert_allclose(
        np.gradient(psi, r)[::97], loss.slope(r)[::97], atol=2e-3 if name != "huber" else 1
    )


def test_many_points_are_freed_of_many_corrupted_ones() -> None:
    times = 0.005 * np.arange(1, 31)
    rng = np.random.default_rng(5)
    t2 = rng.uniform(0.03, 0.1, 1000)
    data = 1000 * np.exp(-times / t2[:, None]) + 20 * rng.standard_normal((1000, 30))
    data[:, [2, 11, 19]] *= 2
    fit = fit_voxels(DECAY, times, data, loss="tukey")
    assert np.median(np.abs(fit.values[:, 1] / t2 - 1)) < 0.02
    assert np.median(np.abs(fit_voxels(DECAY, times, data).values[:, 1] / t2 - 1)) > 0.03


def test_failures_say_why_and_leave_no_number() -> None:
    data = np.array([
        np.zeros(8),
        np.full(8, np.nan),
        np.linspace(2, 1, 8),
        np.linspace(100, 140, 8),
        100 * np.exp(-ECHOES / 0.05),
    ])  # fmt: skip
    fit = fit_voxels(DECAY, ECHOES, data, noise=1.0)
    expected = [Status.NO_SIGNAL, Status.NO_SIGNAL, Status.BELOW_NOISE, Status.OUT_OF_BOUNDS, Status.OK]
    assert fit.status.tolist() == expected
    assert np.isnan(fit.values[:4]).all()
    assert np.isnan(fit.errors[:4]).all()
    assert np.isfinite(fit.values[4]).all()


@pytest.mark.parametrize("worth", [8, 0], ids=["by splines", "by the equation"])
@pytest.mark.parametrize(("true", "bounds"), [(0.003, (0.005, 1)), (0.3, (0.005, 0.1))])
def test_at_either_bound_there_is_no_value(
    true: float, bounds: tuple[float, float], worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp(ln 0.005) is not 0.005."""
    monkeypatch.setattr(table, "WORTH", worth)
    model = SignalModel("decay", decay, (DECAY.parameters[0], Parameter("t2", "s", *bounds)), "")
    times = 0.001 * np.arange(1, 9) if true < 0.01 else ECHOES
    data = 1000 * np.exp(-times / true) + np.random.default_rng(0).standard_normal((300, 8))
    assert (fit_voxels(model, times, data).status == Status.OUT_OF_BOUNDS).all()


def test_what_a_protocol_cannot_tell_is_said() -> None:
    late = np.array([8.0, 9, 10, 11])
    data = recovery(late, 1000.0, -1900.0, np.array([[0.5], [1.0]]))
    noisy = data + np.random.default_rng(0).standard_normal(data.shape)
    assert Status.OK not in fit_voxels(RECOVERY, late, noisy, noise=1.0).status


def test_missing_points_are_as_if_they_had_not_been_measured() -> None:
    _, data = recovered(200, 20)
    holed = data.copy()
    holed[:, 3] = np.nan
    fit, short = (
        fit_voxels(RECOVERY, TIMES, holed),
        fit_voxels(RECOVERY, np.delete(TIMES, 3), np.delete(data, 3, 1)),
    )
    np.testing.assert_allclose(fit.values, short.values, rtol=2e-3)
    np.testing.assert_allclose(fit.errors, short.errors, rtol=2e-2)


def test_every_voxel_may_have_its_own() -> None:
    t2, data = decayed(300)
    own = np.linspace(0.7, 1.3, 300)
    fit = fit_voxels(DECAY, ECHOES, data * own[:, None], known={"scale": own})
    np.testing.assert_allclose(fit.values, np.stack([np.full(300, 1000), t2], 1), rtol=1e-5)


def test_weights_weigh() -> None:
    """Points of weight 0 do not matter, and with the right weights the scatter is the least."""
    t2, data = decayed(4000)
    rng = np.random.default_rng(6)
    loud = np.where(np.arange(8) < 3, 60.0, 6.0)
    data = data + loud * rng.standard_normal(data.shape)
    plain, right = (fit_voxels(DECAY, ECHOES, data, weights=w) for w in (None, 1 / loud**2))
    assert np.nanstd(right.values[:, 1] / t2) < 0.8 * np.nanstd(plain.values[:, 1] / t2)
    spoilt = data.copy()
    spoilt[:, 0] = 1e6
    out = np.r_[0.0, np.ones(7)]
    same = [fit_voxels(DECAY, ECHOES, d, weights=out).values for d in (data, spoilt)]
    np.testing.assert_allclose(*same, rtol=2e-3)


def test_threads_do_not_change_a_bit() -> None:
    _, data = recovered(10_000, 20)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = fit_voxels(RECOVERY, TIMES, data)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(one.values, fit_voxels(RECOVERY, TIMES, data).values)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"likelihood": "poisson"}, "no likelihood"),
        ({"likelihood": "rician"}, "needs the standard deviation"),
        ({"loss": "cauchy"}, "no loss"),
        ({"loss": "tukey", "likelihood": "rician", "noise": 1.0}, "gaussian"),
        ({"known": {"scale": np.ones(3)}}, "one per voxel"),
    ],
)
def test_wrong_choices_are_refused(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ScanError, match=says):
        fit_voxels(DECAY, ECHOES, decayed(5)[1], **keywords)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ScanError, match="measure more"):
        fit_voxels(RECOVERY, TIMES[:2], np.ones((4, 2)))
    with pytest.raises(ScanError, match="check both"):
        fit_voxels(RECOVERY, TIMES[:4], np.ones((4, 5)))


@pytest.mark.parametrize("loss", ["none", "tukey"])
def test_the_monitor_hears_of_every_chunk_or_round_up_to_the_last(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mensura.fit.descent.CHUNK", 100)
    heard: list[tuple[int, int, float]] = []
    _, data = recovered(350, 20)
    fit_voxels(RECOVERY, TIMES, data, loss=loss, monitor=lambda *told: heard.append(told))
    if loss == "none":
        assert heard == [(i, 4, 0.0) for i in (1, 2, 3, 4)]
    assert heard[-1][0] == heard[-1][1]
