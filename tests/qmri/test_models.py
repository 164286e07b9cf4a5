"""Every fitted model gives back what its signals were made of, and errors that repeats confirm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mensura.fit import Fit, Status, curve
from mensura.qmri import b1, equations, mt, t1, t2
from mensura.qmri.despot1 import despot1
from mensura.qmri.epg import spin_echo_train
from mensura.qmri.estimates import Estimates
from mensura.qmri.hifi import despot1_hifi
from mensura.qmri.mp2rage import mp2rage, sa2rage
from mensura.qmri.slices import Pulses, sliced_trains
from mensura.qmri.spoiling import Spoiling, spoiling_factor
from mensura.scan import ScanError

N = 3000
TI = (0.03, 0.1, 0.25, 0.5, 0.9, 1.5, 2.5, 4.0)
ANGLES = tuple(np.deg2rad([2, 5, 10, 15, 20, 30]))
ECHOES = tuple(0.012 * np.arange(1, 13))
TRAIN = tuple(0.01 * np.arange(1, 33))
Made = tuple[np.ndarray, dict[str, np.ndarray], Callable[[np.ndarray], Estimates]]


def spread(low: float, high: float, seed: int) -> np.ndarray:
    made: np.ndarray = np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), N))
    return made


def recovery() -> Made:
    long = spread(0.15, 3, 0)
    efficiency = np.random.default_rng(1).uniform(0.85, 1, N)
    signal = equations.inversion_recovery(
        np.asarray(TI), 1000.0, long[:, None], efficiency=efficiency[:, None], repetition_time=6.0
    )
    truth = {"T1map": long, "M0map": np.full(N, 1000.0), "IEmap": efficiency}
    return signal, truth, lambda s: t1.inversion_recovery(s, TI, repetition_time=6.0)


def magnitude_recovery() -> Made:
    signal, truth, _ = recovery()
    return np.abs(signal), truth, lambda s: t1.inversion_recovery(s, TI, repetition_time=6.0)


def complex_recovery() -> Made:
    signal, truth, _ = recovery()
    turn = np.exp(1j * np.random.default_rng(2).uniform(-np.pi, np.pi, N))
    return signal * turn[:, None], truth, lambda s: t1.inversion_recovery(s, TI, repetition_time=6.0)


def saturation() -> Made:
    long = spread(0.15, 3, 2)
    signal = equations.saturation_recovery(np.asarray(TI), 1000.0, long[:, None], efficiency=0.95)
    return signal, {"T1map": long, "M0map": np.full(N, 1000.0)}, lambda s: t1.saturation_recovery(s, TI)


def variable_angles() -> Made:
    long, relative = spread(0.2, 4, 3), np.random.default_rng(4).uniform(0.7, 1.3, N)
    signal = equations.spoiled_gradient_echo(
        np.asarray(ANGLES), 1000.0, long[:, None], repetition_time=0.02, b1=relative[:, None]
    )
    truth = {"T1map": long, "M0map": np.full(N, 1000.0)}
    return signal, truth, lambda s: t1.variable_flip_angle(s, ANGLES, repetition_time=0.02, b1=relative)


def angles_of_rf_spoiling() -> Made:
    signal, truth, _ = variable_angles()
    relative, increment = np.random.default_rng(4).uniform(0.7, 1.3, N), np.deg2rad(50)
    signal = signal * spoiling_factor(
        ANGLES,
        truth["T1map"][:, None],
        repetition_time=0.02,
        spoiling=Spoiling(increment),
        b1=relative[:, None],
    )
    how = {"repetition_time": 0.02, "spoiling_increment": increment, "b1": relative}
    return signal, truth, lambda s: t1.variable_flip_angle(s, ANGLES, **how)


HIFI_ANGLES, HIFI_TIMES = np.deg2rad([3, 6, 12, 20, 6, 6]), (0, 0, 0, 0, 0.3, 0.7)
HIFI = {"repetition_time": 0.008, "excitations": (16, 64), "cycle_time": 1.6}


def inversion_and_angles(hard: bool = False) -> Made:
    """Two of the images after an inversion, of the angle π·B1 or adiabatic."""
    long, relative = spread(0.3, 3, 16), np.random.default_rng(17).uniform(0.7, 1.3, N)
    plain = equations.spoiled_gradient_echo(
        HIFI_ANGLES[:4], 1000.0, long[:, None], repetition_time=0.008, b1=relative[:, None]
    )
    efficiency = -np.cos(np.pi * relative) if hard else 1.0
    prepared = [
        equations.inversion_prepared_gradient_echo(
            HIFI_ANGLES[4], 1000.0, long, inversion_time=t, b1=relative, efficiency=efficiency, **HIFI
        )
        for t in HIFI_TIMES[4:]
    ]
    signal = np.concatenate([plain, np.stack(prepared, 1)], 1)
    truth = {"T1map": long, "M0map": np.full(N, 1000.0), "TB1map": relative}
    how = {"inversion_times": HIFI_TIMES, "inversion": "hard" if hard else "adiabatic", **HIFI}
    return signal, truth, lambda s: despot1_hifi(s, HIFI_ANGLES, **how)


def linear_angles() -> Made:
    signal, truth, _ = variable_angles()
    relative = np.random.default_rng(4).uniform(0.7, 1.3, N)
    return signal, truth, lambda s: despot1(s, ANGLES, repetition_time=0.02, b1=relative)


def decay() -> Made:
    short = spread(0.015, 0.2, 5)
    signal = equations.exponential_decay(np.asarray(ECHOES), 1000.0, 1 / short[:, None])
    return signal, {"T2map": short, "M0map": np.full(N, 1000.0)}, lambda s: t2.spin_echo(s, ECHOES)


def raised_decay() -> Made:
    signal, truth, _ = decay()
    truth = {**truth, "offsetmap": np.full(N, 100.0)}
    return signal + 100, truth, lambda s: t2.spin_echo(s, ECHOES, offset="fitted")


def train() -> Made:
    short, relative = spread(0.02, 0.2, 6), np.random.default_rng(7).uniform(0.5, 0.9, N)
    signal = 1000 * spin_echo_train(1.0, short, t1=1.0, echo_spacing=0.01, echoes=32, b1=relative)
    truth = {"T2map": short, "TB1map": relative, "M0map": np.full(N, 1000.0)}
    return signal, truth, lambda s: t2.spin_echo_train(s, TRAIN)


def train_with_b1() -> Made:
    short, relative = spread(0.02, 0.2, 6), np.random.default_rng(7).uniform(0.6, 1.2, N)
    signal = 1000 * spin_echo_train(1.0, short, t1=1.0, echo_spacing=0.01, echoes=32, b1=relative)
    return signal, {"T2map": short}, lambda s: t2.spin_echo_train(s, TRAIN, b1=relative)


def train_of_a_slice() -> Made:
    short, relative = spread(0.02, 0.2, 6), np.random.default_rng(7).choice(np.linspace(0.5, 0.9, 41), N)
    how = {"time_bandwidth": (3.0, 2.0), "refocusing_width": 1.2}
    signal = 1000 * sliced_trains(short, relative, Pulses(*how.values()), (32, 0.01, 1.0))
    truth = {"T2map": short, "TB1map": relative, "M0map": np.full(N, 1000.0)}
    return signal, truth, lambda s: t2.spin_echo_train(s, TRAIN, slice_profile="sinc", **how)


def pair_of_angles() -> Made:
    relative = np.random.default_rng(8).uniform(0.4, 1.4, N)
    angles = (np.pi / 3, 2 * np.pi / 3)
    signal = equations.double_angle(np.asarray(angles), 1000.0, b1=relative[:, None])
    return signal, {"TB1map": relative}, lambda s: b1.double_angle(s, angles, noise=10.0)


def stimulated() -> Made:
    relative = np.random.default_rng(9).uniform(0.5, 1.4, N)
    signal = equations.spin_and_stimulated_echo(np.pi / 3, 1000.0, 1.0, mixing_time=0.03, b1=relative)
    angles = (np.pi / 3, np.pi / 3)
    return (
        signal,
        {"TB1map": relative},
        lambda s: b1.spin_and_stimulated_echo(s, angles, mixing_time=0.03, noise=10.0),
    )


def stimulated_at_five_angles() -> Made:
    """Some beyond 90°, which magnitudes do not show."""
    relative = np.random.default_rng(9).uniform(0.5, 1.5, N)
    angles = np.deg2rad([40.0, 50, 60, 70, 80])
    pairs = [
        equations.spin_and_stimulated_echo(a, 1000.0, 1.0, mixing_time=0.03, b1=relative) for a in angles
    ]
    signal = np.abs(np.concatenate(pairs, axis=1))
    told = tuple(np.repeat(angles, 2))
    return (
        signal,
        {"TB1map": relative},
        lambda s: b1.spin_and_stimulated_echo(np.abs(s), told, mixing_time=0.03),
    )


SA2RAGE = {
    "inversion_times": (0.1, 1.8),
    "flip_angles": (np.deg2rad(4.0), np.deg2rad(10.0)),
    "excitation_interval": 0.00275,
    "excitations": (22, 28),
    "cycle_time": 2.4,
}


def saturated() -> Made:
    relative = np.random.default_rng(16).uniform(0.4, 1.6, N)
    made = equations.mp2rage(1e5, 1.5, efficiency=-np.cos(relative * np.pi / 2), b1=relative, **SA2RAGE)
    return made, {"TB1map": relative}, lambda s: sa2rage(s, noise=10.0, **SA2RAGE)


MODELS = [
    *(recovery, magnitude_recovery, complex_recovery, saturation, variable_angles, linear_angles, decay),
    *(raised_decay, train, train_with_b1, train_of_a_slice, pair_of_angles, stimulated),
    *(stimulated_at_five_angles, angles_of_rf_spoiling, inversion_and_angles),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_without_noise_everything_comes_back(model: Callable[[], Made]) -> None:
    signal, truth, fitted = model()
    found = fitted(signal)
    assert (found.status == Status.OK).all()
    for name, true in truth.items():
        assert np.max(np.abs(found.maps[name][0] / true - 1)) < 1e-3, name
    if found.fit is not None:
        assert_the_curve_goes_through_the_data(found.fit.part(np.arange(9)))


def assert_the_curve_goes_through_the_data(fit: Fit) -> None:
    """Where it is drawn between the points, as near as straight lines come."""
    drawn, data = curve(fit), fit.data
    assert fit.design is not None
    assert data is not None
    size = np.abs(data).max()
    if drawn.points.shape == fit.design.points.shape:
        np.testing.assert_allclose(drawn.signal, data, atol=1e-3 * size)
    else:
        between = [np.interp(fit.design.points, drawn.points, row) for row in drawn.signal]
        np.testing.assert_allclose(between, data, atol=2e-2 * size)


@pytest.mark.parametrize("snr", [50, 200])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_errors_hold_the_truth_as_often_as_they_say(model: Callable[[], Made], snr: float) -> None:
    """Unknown noise but for two images: the interval is Student's, with as many degrees of freedom."""
    signal, truth, fitted = model()
    if model in (pair_of_angles, stimulated):
        snr = 100  # they were told so
    largest = 1000 if model in (pair_of_angles, stimulated) else np.median(np.abs(signal).max(axis=1))
    noise = largest / snr * noise_like(signal)
    found = fitted(np.abs(recovery()[0] + noise)) if model is magnitude_recovery else fitted(signal + noise)
    for name, true in truth.items():
        if model in (train, train_of_a_slice) and name == "M0map":
            continue  # 1/sin(B1·90°) bends too much for a first-order error
        value, error = found.maps[name]
        good = np.isfinite(error) & (found.status == Status.OK)
        bias = np.median((value - true)[good] / error[good])
        freedom = np.inf if signal.shape[1] == 2 else float(found.fit.freedom[0]) if found.fit else 4.0
        inside = np.abs(value - true)[good] < students(freedom) * error[good]
        assert good.mean() > 0.75, name
        assert abs(bias) < (0.2 if model is linear_angles else 0.12), (
            name
        )  # lines through transformed noise lean
        assert 0.925 < inside.mean() < 0.975, name


def noise_like(signal: np.ndarray) -> np.ndarray:
    """Normal, of unit standard deviation in every channel."""
    rng = np.random.default_rng(10)
    real: np.ndarray = rng.standard_normal(signal.shape)
    return real + 1j * rng.standard_normal(signal.shape) if np.iscomplexobj(signal) else real


def students(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom)) if np.isfinite(freedom) else 1.96


def test_complex_signals_tell_t1_where_magnitudes_lean() -> None:
    """Points about the null, at a signal of five times the noise: magnitudes make T1 too short."""
    times, true = (0.05, 0.2, 0.4, 0.65, 0.75, 1.2, 2.0, 3.5), np.full(20_000, 1.0)
    clean = equations.inversion_recovery(np.asarray(times), 1000.0, true[:, None], efficiency=0.95) * 1j
    noisy = clean + 200 * noise_like(clean)
    leaning, found = (
        t1.inversion_recovery(noisy, times, polarity=polarity, noise=200.0).maps["T1map"][0]
        for polarity in ("magnitude", "complex")
    )
    assert np.nanmedian(leaning) < 0.96
    assert np.nanmedian(found) == pytest.approx(1, abs=0.012)


@pytest.mark.parametrize("likelihood", ["rician", "noise_floor"])
def test_the_likelihood_of_magnitudes_takes_out_what_noise_makes_of_the_null(likelihood: str) -> None:
    """And the intervals hold, which those of plain magnitudes do not."""
    times, true = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8]), np.full(20_000, 0.3)
    clean = equations.inversion_recovery(times, 1000.0, true[:, None], efficiency=0.95, repetition_time=1.0)
    noisy = np.abs(clean + 40 * noise_like(clean + 0j))
    plain, found = (
        t1.inversion_recovery(noisy, tuple(times), noise=40.0, likelihood=one).maps["T1map"]
        for one in ("gaussian", likelihood)
    )
    for (value, error), (low, high) in ((plain, (0.0, 0.91)), (found, (0.925, 0.975))):
        assert low < np.mean(np.abs(value - 0.3)[error > 0] < 1.96 * error[error > 0]) < high
    assert np.nanmedian(plain[0]) < 0.98 * 0.3
    assert np.nanmedian(found[0]) == pytest.approx(0.3, rel=0.01)


def test_phase_at_all_times_is_that_of_the_signs() -> None:
    """Turned by any phase, a signed recovery gives what it gave before; with phase left out, what magnitudes give."""
    signed = recovery()[0][:200] + 5 * np.random.default_rng(3).standard_normal((200, len(TI)))
    turned = signed * np.exp(2.1j)
    for model in (t1.inversion_recovery, t1.look_locker):
        by_sign, by_phase = model(signed, TI), model(turned, TI)
        for name, (values, _) in by_sign.maps.items():
            np.testing.assert_allclose(by_phase.maps[name][0], values, rtol=1e-4)
    without = t1.inversion_recovery(turned, TI, polarity="magnitude").maps["T1map"][0]
    np.testing.assert_allclose(without, t1.inversion_recovery(np.abs(signed), TI).maps["T1map"][0], rtol=1e-5)


def test_a_complex_point_that_is_missing_is_missing_in_both_parts() -> None:
    signal, truth, fitted = complex_recovery()
    signal[:, 1] = np.nan
    np.testing.assert_allclose(fitted(signal).maps["T1map"][0], truth["T1map"], rtol=1e-3)


def test_three_inversion_times_suffice_with_phase() -> None:
    signal, truth, _ = complex_recovery()
    found = t1.inversion_recovery(signal[:, [0, 3, 6]], [TI[i] for i in (0, 3, 6)], repetition_time=6.0)
    np.testing.assert_allclose(found.maps["T1map"][0], truth["T1map"], rtol=1e-3)
    assert (found.fit.freedom == 1).all()


@pytest.mark.parametrize("hard", [False, True])
def test_signs_of_magnitudes_after_an_inversion_are_found(hard: bool) -> None:
    signal, truth, fitted = inversion_and_angles(hard)
    assert 0.2 < (signal[:, 4] < 0).mean() < 0.9
    found = fitted(np.abs(signal))
    assert (found.status == Status.OK).all()
    for name, true in truth.items():
        np.testing.assert_allclose(found.maps[name][0], true, rtol=1e-3)


def test_magnitudes_after_an_inversion_may_be_rician() -> None:
    signal, truth, _ = inversion_and_angles()
    noisy = np.hypot(signal + noise_like(signal), np.random.default_rng(18).standard_normal(signal.shape))
    how = {"inversion_times": HIFI_TIMES, **HIFI}
    found = despot1_hifi(noisy, HIFI_ANGLES, **how, noise=1.0, likelihood="rician").maps["T1map"]
    assert abs(np.nanmedian((found[0] - truth["T1map"]) / found[1])) < 0.12


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"inversion_times": (0, 0.3)}, "one for each image"),
        ({"inversion_times": (0.0,) * 6}, "an image with one"),
        ({"inversion_times": (0, 0, 0, 0, 300, 700)}, "give seconds"),
        ({"inversion_times": (0, 0.3, 0.3, 0.3, 0.3, 0.3)}, "two different flip angles"),
        ({"excitations": (64, 64)}, "does not fit"),
        ({"cycle_time": 1.0}, "does not fit"),
    ],
)
def test_trains_that_cannot_be_are_refused(changed: dict[str, Any], says: str) -> None:
    how = {"inversion_times": HIFI_TIMES, **HIFI, **changed}
    with pytest.raises(ScanError, match=says):
        despot1_hifi(np.ones((4, 6)), HIFI_ANGLES, **how)


def test_what_b1_costs_is_undone() -> None:
    """A B1 of 0.9 makes T1 a fifth too short, and the correction mends it."""
    signal = equations.spoiled_gradient_echo(
        np.asarray(ANGLES), 1000.0, np.full((5, 1), 1.0), repetition_time=0.02, b1=0.9
    )
    plain = t1.variable_flip_angle(signal, ANGLES, repetition_time=0.02)
    assert np.allclose(plain.maps["T1map"][0], 0.81, atol=0.03)


def test_look_locker_undoes_the_readouts() -> None:
    times = np.arange(0.1, 4, 0.1)
    true = np.array([0.3, 0.8, 1.5])
    angle = np.deg2rad(5)
    signal = equations.look_locker(1000.0, true, flip_angle=angle, readout_times=times, cycle_time=60.0)
    found = t1.look_locker(signal, tuple(times))
    assert np.allclose(found.maps["T1map"][0], true, rtol=0.01)
    assert (found.maps["T1starmap"][0] < true).all()


def test_look_locker_knows_of_incomplete_recovery_and_inversion() -> None:
    """Inversions every 5 s of 96 %: without either told T1 of 1.2 s is 7 % too short, of 4 s half."""
    times, true = tuple(0.03 + 0.2 * np.arange(16)), np.array([0.3, 0.8, 1.2, 2.5, 4.0])
    how = {"flip_angle": np.deg2rad(6), "readout_times": times, "cycle_time": 5.0, "efficiency": 0.96}
    signal = equations.look_locker(1000.0, true, **how)
    plain = t1.look_locker(signal, times, noise=1.0).maps["T1map"][0]
    told = t1.look_locker(signal, times, repetition_time=5.0, efficiency=0.96, noise=1.0).maps["T1map"][0]
    assert plain[2] / true[2] < 0.94
    np.testing.assert_allclose(told, true, rtol=0.01)
    many = np.repeat(signal[2:3], N, axis=0) + 2.0 * np.random.default_rng(0).standard_normal((N, 16))
    values, errors = t1.look_locker(many, times, repetition_time=5.0, efficiency=0.96).maps["T1map"]
    assert values.std() == pytest.approx(np.median(errors), rel=0.06)
    with pytest.raises(ScanError, match="ends after the last readout"):
        t1.look_locker(signal, times, repetition_time=3.0)


MP2RAGE = {
    "inversion_times": (0.7, 2.5),
    "flip_angles": (np.deg2rad(4.0), np.deg2rad(5.0)),
    "excitation_interval": 0.007,
    "excitations": (80, 80),
    "cycle_time": 5.0,
}


def test_the_uniform_image_is_read_backwards_at_each_b1() -> None:
    rng = np.random.default_rng(14)
    true, relative = rng.uniform(0.5, 3, N), rng.uniform(0.8, 1.2, N)
    signal = 1000 * equations.mp2rage(1.0, true, efficiency=0.96, b1=relative, **MP2RAGE)
    found = mp2rage(signal, b1=relative, **MP2RAGE)
    assert (found.status == Status.OK).mean() > 0.95
    assert np.nanmax(np.abs(found.maps["T1map"][0] / true - 1)) < 2e-3
    uniform = equations.mp2rage_uniform(signal[:, 0], signal[:, 1])[:, None]
    np.testing.assert_array_equal(
        mp2rage(uniform, b1=relative, **MP2RAGE).maps["T1map"][0], found.maps["T1map"][0]
    )
    with pytest.raises(ScanError, match="scale it"):
        mp2rage(4000 * uniform, **MP2RAGE)


def test_errors_of_the_uniform_image_are_what_repeats_scatter_by() -> None:
    signal = 1000 * equations.mp2rage(1.0, np.full(20_000, 1.2), efficiency=0.96, **MP2RAGE)
    noisy = signal + 0.5 * np.random.default_rng(15).standard_normal(signal.shape)
    values, errors = mp2rage(noisy, noise=0.5, **MP2RAGE).maps["T1map"]
    assert np.std(values) == pytest.approx(np.median(errors), rel=0.05)


def test_actual_flip_angle_within_its_approximation() -> None:
    relative = np.linspace(0.5, 1.3, 50)
    times = (0.02, 0.1)
    signal = equations.actual_flip_angle(
        1000.0, 1.2, flip_angle=np.deg2rad(60), repetition_times=times, b1=relative
    )
    found = b1.actual_flip_angle(signal, times, flip_angle=np.deg2rad(60))
    assert np.max(np.abs(found.maps["TB1map"][0] / relative - 1)) < 0.02
    with pytest.raises(ScanError, match="swap"):
        b1.actual_flip_angle(signal, times[::-1], flip_angle=1.0)


def test_bloch_siegert_over_a_turn() -> None:
    relative = np.linspace(0.3, 1.4, 40)
    shift = 1.2 * relative**2
    phases = np.angle(np.exp(1j * np.stack([0.4 + shift, 0.4 - shift], 1)))
    found = b1.bloch_siegert(phases, constant=1.2, noise=0.01)
    assert np.allclose(found.maps["TB1map"][0], relative, rtol=1e-5)
    with pytest.raises(ScanError, match="in rad"):
        b1.bloch_siegert(1000 * phases, constant=1.2)


def off_resonant(offset: float, field: float) -> float:
    """Bloch's equation in steps of 2 µs: the phase that an 8 ms Fermi pulse of 60 Hz leaves, seen at the spins' own
    frequency."""
    duration, steps = 0.008, 4000
    at = (np.arange(steps) + 0.5) * duration / steps
    size = 60 / (1 + np.exp((np.abs(at - duration / 2) - 0.35 * duration) / (0.02 * duration)))
    turned = np.eye(2, dtype=complex)
    for one, angle in zip(size, 2 * np.pi * offset * at, strict=True):
        x, y, z = 2 * np.pi * duration / steps * np.array([one * np.cos(angle), one * np.sin(angle), field])
        whole = np.sqrt(x * x + y * y + z * z)
        pauli = np.array([[z, x - 1j * y], [x + 1j * y, -z]])
        turned = (np.cos(whole / 2) * np.eye(2) - 1j * np.sin(whole / 2) / max(whole, 1e-30) * pauli) @ turned
    density = turned @ np.array([[0, 0.5], [0.5, 0]]) @ turned.conj().T
    return float(np.angle(density[1, 0] * np.exp(-2j * np.pi * field * duration)))


def test_bloch_siegert_off_resonance() -> None:
    """At 400 Hz of 2 kHz B1 is 2 % too high; the field map leaves a tenth of that."""
    at_zero, at_field = ([off_resonant(sign * 2000.0, f) for sign in (-1, 1)] for f in (0.0, 400.0))
    phases = np.array([at_zero, at_field])
    half = np.mod(phases[0, 0] - phases[0, 1], 2 * np.pi) / 2
    plain = b1.bloch_siegert(phases, constant=half).maps["TB1map"][0]
    told = {"b0": np.array([0.0, 400.0]), "pulse_offset": 2000.0}
    freed = b1.bloch_siegert(phases, constant=half, **told)
    assert plain[1] - 1 == pytest.approx(0.02, rel=0.1)
    np.testing.assert_allclose(freed.maps["TB1map"][0], 1, atol=1e-3)
    assert (
        b1.bloch_siegert(phases, constant=half, b0=np.array([0.0, 1500.0]), pulse_offset=2000.0).status[1] > 0
    )
    with pytest.raises(ScanError, match="--pulse-offset"):
        b1.bloch_siegert(phases, constant=half, b0=np.zeros(2))


def test_saturation_by_magnetization_transfer() -> None:
    """Signals made with δ = 1.5 % give δ and T1 back to the few per cent of the rational approximation."""
    angles, times = np.deg2rad([6.0, 6.0, 20.0]), (0.025, 0.025, 0.018)
    true = np.array([0.8, 1.0, 1.4])
    signal = np.stack(
        [
            equations.mt_spoiled_gradient_echo(
                angle, 1000.0, true, 0.015 if i == 0 else 0.0, repetition_time=times[i]
            )
            for i, angle in enumerate(angles)
        ],
        1,
    )
    found = mt.magnetization_transfer_saturation(signal, angles, repetition_times=times, noise=1.0)
    assert np.allclose(found.maps["MTsat"][0], 1.5, rtol=0.05)
    assert np.allclose(found.maps["T1map"][0], true, rtol=0.03)
    ratio = mt.magnetization_transfer_ratio(signal[:, [1, 0]], noise=1.0)
    assert np.allclose(ratio.maps["MTRmap"][0], 100 * (1 - signal[:, 0] / signal[:, 1]), rtol=1e-5)


def test_errors_of_transfer_are_what_repeats_scatter_by() -> None:
    angles, times = np.deg2rad([6.0, 6.0, 20.0]), (0.025, 0.025, 0.018)
    clean = np.array([
        equations.mt_spoiled_gradient_echo(a, 1000.0, 1.0, d, repetition_time=tr)
        for a, d, tr in zip(angles, (0.015, 0, 0), times, strict=True)
    ])  # fmt: skip
    signal = clean + 0.3 * np.random.default_rng(11).standard_normal((20_000, 3))
    found = mt.magnetization_transfer_saturation(signal, angles, repetition_times=times, noise=0.3)
    for values, errors in found.maps.values():
        assert np.std(values) == pytest.approx(np.median(errors), rel=0.05)


def test_myelin_water_is_seen() -> None:
    relative = np.random.default_rng(12).uniform(0.7, 1, 200)
    parts = [
        spin_echo_train(1.0, np.full(200, s), t1=1.0, echo_spacing=0.01, echoes=32, b1=relative)
        for s in (0.015, 0.08)
    ]
    for share in (0.0, 0.1, 0.2):
        clean = 1000 * (share * parts[0] + (1 - share) * parts[1])
        noisy = clean + np.random.default_rng(13).standard_normal(clean.shape)
        found = t2.spectrum(noisy, TRAIN)
        assert np.median(found.maps["MWFmap"][0]) == pytest.approx(100 * share, abs=2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: t1.inversion_recovery(s, [1e3 * t for t in TI]), "milliseconds"),
        (lambda s: t1.inversion_recovery(s, TI[:5]), "one for each"),
        (lambda s: t1.inversion_recovery(s, [-0.1, *TI[1:]]), "negative"),
        (lambda s: t1.inversion_recovery(s, TI, polarity="complex"), "real and cannot be taken as complex"),
        (
            lambda s: t1.inversion_recovery(1j * s, TI, polarity="signed"),
            "complex and cannot be taken as signed",
        ),
        (lambda s: t1.inversion_recovery(1j * s, TI, likelihood="rician", noise=1.0), "signals are complex"),
        (lambda s: t1.inversion_recovery(-s, TI, likelihood="rician", noise=1.0), "signals are signed"),
        (lambda s: t1.variable_flip_angle(s, np.full(8, 0.1), repetition_time=0.02), "two different"),
        (lambda s: t1.variable_flip_angle(s, np.arange(2, 10), repetition_time=0.02), "between 0 and π"),
        (lambda s: t1.variable_flip_angle(s, np.linspace(0.1, 1, 8), repetition_time=900.0), "milliseconds"),
        (lambda s: t2.spin_echo(s, 10.0 * np.arange(1, 9)), "milliseconds"),
        (lambda s: t2.spin_echo(s, ECHOES[8::-1][:8]), "sort"),
        (lambda s: t2.spin_echo_train(s, np.geomspace(0.01, 0.1, 8)), "equally spaced"),
        (lambda s: t2.spin_echo_train(s, TRAIN[:8], slice_profile="sinc", time_bandwidth=(3, 90)), "1 to 20"),
        (
            lambda s: t2.spin_echo_train(s, TRAIN[:8], slice_profile="sinc", first_pulse="halfway"),
            "equal refocusing pulses",
        ),
        (lambda s: b1.double_angle(s[:, :2], (1.0, 1.5)), "α and 2α"),
    ],
)
def test_wrong_protocols_are_refused(call: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(ScanError, match=says):
        call(np.ones((4, 8)))


def test_repetition_times_may_differ() -> None:
    """Long repetition times for late inversion times only, as scanners choose them by themselves."""
    true, times, repetition = (
        spread(0.2, 2.0, 5),
        np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8]),
        (1, 1, 1, 1.26, 1.86, 2.46),
    )
    signal = equations.inversion_recovery(
        times, 1000.0, true[:, None], efficiency=0.95, repetition_time=repetition
    )
    told = t1.inversion_recovery(np.abs(signal), tuple(times), repetition_time=repetition)
    assert np.allclose(told.maps["T1map"][0], true, rtol=1e-3)
    assert np.allclose(told.maps["IEmap"][0], 0.95, rtol=1e-3)
    blind = t1.inversion_recovery(np.abs(signal), tuple(times), repetition_time=1.0)
    assert np.nanmedian(np.abs(blind.maps["T1map"][0] / true - 1)) > 0.03


def test_times_beyond_the_null_do_not_turn_the_first_point() -> None:
    """T1 of 25 ms and times from 50 ms on: turned, the first point fits as well, with a hundredfold inversion."""
    times = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
    signal = np.abs(equations.inversion_recovery(times, 1000.0, np.full((200, 1), 0.025)))
    noisy = signal + 2 * np.random.default_rng(3).standard_normal(signal.shape)
    found = t1.inversion_recovery(noisy, tuple(times), polarity="magnitude").maps["T1map"][0]
    assert np.nanmedian(found) == pytest.approx(0.025, rel=0.1)


def test_sa2rage_gives_back_b1_with_errors_that_hold_whatever_the_tissue() -> None:
    signal, truth, fitted = saturated()
    found = fitted(signal)
    assert (found.status == Status.OK).all()
    np.testing.assert_allclose(found.maps["TB1map"][0], truth["TB1map"], rtol=1e-3)
    noisy = fitted(signal + 10 * np.random.default_rng(17).standard_normal(signal.shape))
    value, error = noisy.maps["TB1map"]
    z = (value - truth["TB1map"]) / error
    assert 0.925 < np.mean(np.abs(z[noisy.status == Status.OK]) < 1.96) < 0.975
    for long in (1.0, 2.5):
        other = equations.mp2rage(
            1e5, long, efficiency=-np.cos(truth["TB1map"] * np.pi / 2), b1=truth["TB1map"], **SA2RAGE
        )
        assert np.median(np.abs(fitted(other).maps["TB1map"][0] / truth["TB1map"] - 1)) < 0.03


@pytest.mark.parametrize(
    ("angles", "mixing", "words"),
    [
        ((1.0, 1.2), 0.03, "pairs of one angle"),
        ((1.0, 1.0, 1.2), 0.03, "pairs"),
        ((1.0, 1.0), 33.8, "milliseconds"),
    ],
)
def test_echoes_that_are_no_pairs_are_refused(angles: tuple[float, ...], mixing: float, words: str) -> None:
    with pytest.raises(ScanError, match=words):
        b1.spin_and_stimulated_echo(np.ones((3, len(angles))), angles, mixing_time=mixing)


@pytest.mark.parametrize("sliced", [True, False])
def test_the_slice_profile_is_as_the_echoes_say(sliced: bool) -> None:
    times, long, relative = tuple(0.01 * np.arange(1, 17)), spread(0.04, 0.15, 20), spread(0.75, 0.95, 21)
    if sliced:
        echoes = 1000 * sliced_trains(long, relative, Pulses((2.0, 4.0), 2.0), (16, 0.01, 1.0))
    else:
        echoes = spin_echo_train(1000.0, long, t1=1.0, echo_spacing=0.01, echoes=16, b1=relative)
    noisy = echoes + 3 * np.random.default_rng(22).standard_normal(echoes.shape)
    found = t2.spin_echo_train(noisy, times)
    assert found.notes[0].startswith(f"slice profile: {'sinc' if sliced else 'none'}")
    assert np.nanmedian(np.abs(found.maps["T2map"][0] / long - 1)) < 0.02


@pytest.mark.parametrize("angle", [120.0, 140.0])
def test_a_larger_first_pulse_is_found_by_its_echoes(angle: float) -> None:
    """It makes the echoes of low angles look like those of 180°, with T2 too long: by residuals they differ."""
    times, long, relative = tuple(0.01 * np.arange(1, 11)), spread(0.03, 0.15, 24), spread(0.92, 1.08, 25)
    angles = np.deg2rad([90 + angle / 2, angle])
    echoes = spin_echo_train(
        1000.0, long, t1=1.0, echo_spacing=0.01, echoes=10, b1=relative, first_angle=angles[0],
        refocusing_angle=angles[1],
    )  # fmt: skip
    noisy = echoes + 5 * np.random.default_rng(26).standard_normal(echoes.shape)
    found = t2.spin_echo_train(noisy, times)
    told = t2.spin_echo_train(noisy, times, first_pulse="halfway", refocusing_angle=angles[1])
    same = t2.spin_echo_train(noisy, times, first_pulse="same")
    assert f"{90 + angle / 2:g}° and {angle:g}°" in found.notes[0].split(";")[0]
    assert np.nanmedian(same.maps["T2map"][0] / long - 1) > 0.04
    for one in (found, told):
        assert abs(np.nanmedian(one.maps["T2map"][0] / long - 1)) < 0.015
    assert np.nanmedian(np.abs(told.maps["TB1map"][0] - relative)) < 0.03


def test_trains_take_the_t1_of_each_voxel() -> None:
    """Where T1 is near T2, as in phantoms, T1 of tissue makes T2 too short."""
    times, short = tuple(0.01 * np.arange(1, 17)), spread(0.03, 0.1, 23)
    long = 1.25 * short
    echoes = spin_echo_train(1000.0, short, t1=long, echo_spacing=0.01, echoes=16, b1=0.8)
    known, blind = t2.spin_echo_train(echoes, times, t1_map=long), t2.spin_echo_train(echoes, times)
    assert np.nanmedian(np.abs(known.maps["T2map"][0] / short - 1)) < 0.005
    assert np.nanmedian(blind.maps["T2map"][0] / short - 1) < -0.01
