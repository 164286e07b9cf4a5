"""Signal equations against Bloch simulations, closed forms and limits."""

import numpy as np
import pytest
from bloch import Spins, spoiled_train, steady

from mensura.qmri import equations
from mensura.scan import ScanError

EXACT = 1e-10
"""Relative to m0: what rounding leaves of two ways to the same number."""
TISSUES = ((0.8, 0.07), (1.5, 0.09))
DEGREE = np.pi / 180


@pytest.mark.parametrize("t1", [0.3, 1.5])
@pytest.mark.parametrize("angle", [4 * DEGREE, 35 * DEGREE, 120 * DEGREE])
@pytest.mark.parametrize("b1", [0.7, 1.15])
def test_spoiled_gradient_echo_is_the_steady_state_of_ideally_spoiled_pulses(
    t1: float, angle: float, b1: float
) -> None:
    spins, tr = Spins(t1), 0.05

    def cycle() -> list[float]:
        signal = spins.read(b1 * angle)
        spins.wait(tr)
        return [signal]

    expected = steady(cycle, int(25 * t1 / tr))
    assert equations.spoiled_gradient_echo(angle, 1.0, t1, repetition_time=tr, b1=b1) == pytest.approx(
        expected[0], abs=EXACT
    )


@pytest.mark.parametrize("tissue", TISSUES)
@pytest.mark.parametrize(
    ("increment", "degrees", "tolerance"),
    [(117, 5, 0.003), (117, 15, 0.01), (117, 30, 0.02), (50, 5, 0.002), (50, 15, 0.011)],
)
def test_rf_and_gradient_spoiling_come_close_to_ideal_spoiling(
    tissue: tuple[float, float], increment: float, degrees: float, tolerance: float
) -> None:
    """At a TR of 20 ms, within 2 % up to 30° with increments of 117°, within 1.1 % up to 15° with 50°."""
    t1, tr = tissue[0], 0.02
    spins = Spins(*tissue, isochromats=200)
    signal = spoiled_train(spins, degrees * DEGREE, tr, increment * DEGREE, int(6 * t1 / tr))
    ideal = equations.spoiled_gradient_echo(degrees * DEGREE, 1.0, t1, repetition_time=tr)
    assert abs(signal) == pytest.approx(ideal, rel=tolerance)


def test_without_rf_spoiling_the_equation_does_not_hold() -> None:
    """The limit of the model: gradients alone leave a steady state half as large again at 30°."""
    signal = spoiled_train(Spins(0.8, 0.07, 200), 30 * DEGREE, 0.02, 0.0, 240)
    ideal = equations.spoiled_gradient_echo(30 * DEGREE, 1.0, 0.8, repetition_time=0.02)
    assert abs(signal) > 1.5 * ideal


@pytest.mark.parametrize("b1", [0.7, 1.0, 1.2])
@pytest.mark.parametrize("delta", [0.005, 0.03])
def test_mt_gradient_echo_is_the_steady_state_with_a_saturation_each_tr(b1: float, delta: float) -> None:
    spins, tr, angle = Spins(1.1), 0.028, 6 * DEGREE
    removed = delta * b1**2 * (1 - 0.4 * b1) / 0.6

    def cycle() -> list[float]:
        spins.wait(tr)
        spins.saturate(removed)
        return [spins.read(b1 * angle)]

    signal = equations.mt_spoiled_gradient_echo(angle, 1.0, 1.1, delta, repetition_time=tr, b1=b1)
    assert signal == pytest.approx(steady(cycle, 900)[0], abs=EXACT)


@pytest.mark.parametrize("b1", [0.6, 0.8, 1.0, 1.2])
@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 0.03), (0.1, 0.003)])
def test_usual_estimate_from_nominal_angles_finds_the_saturation(
    b1: float, scale: float, tolerance: float
) -> None:
    """Helms' closed form from three weightings and Weiskopf's factor: δ but for what both neglect.

    That is 3 % of δ at a TR of 25 ms, and a tenth of it where TR/T1, squared angles and δ are a tenth.
    """
    t1, delta, tr = 0.9, 0.015 * scale, 0.025 * scale
    low, high = (angle * DEGREE * np.sqrt(scale) for angle in (5, 16))
    pd, t1w = (equations.spoiled_gradient_echo(a, 1e3, t1, repetition_time=tr, b1=b1) for a in (low, high))
    mt = equations.mt_spoiled_gradient_echo(low, 1e3, t1, delta, repetition_time=tr, b1=b1)
    r1 = (t1w * high - pd * low) / (2 * tr) / (pd / low - t1w / high)
    size = pd * t1w * (high / low - low / high) / (t1w * high - pd * low)
    apparent = (size * low / mt - 1) * r1 * tr - low**2 / 2
    assert apparent * (1 - 0.4) / (1 - 0.4 * b1) == pytest.approx(delta, rel=tolerance)


def test_no_mt_pulse_is_the_plain_gradient_echo() -> None:
    plain = equations.spoiled_gradient_echo(0.3, 2.0, 1.2, repetition_time=0.02, b1=0.9)
    without = equations.mt_spoiled_gradient_echo(0.3, 2.0, 1.2, 0.0, repetition_time=0.02, b1=0.9)
    assert plain == without
    assert equations.mt_spoiled_gradient_echo(0.3, 2.0, 1.2, 1.0, repetition_time=0.02) == 0


@pytest.mark.parametrize("efficiency", [1.0, 0.93])
@pytest.mark.parametrize("tr", [1.8, 6.0])
def test_inversion_recovery_is_the_steady_state_of_inversions_and_readouts(
    efficiency: float, tr: float
) -> None:
    times, t1 = np.array([0.03, 0.4, 1.1]), 1.2

    def bloch(ti: float) -> float:
        spins = Spins(t1)

        def cycle() -> list[float]:
            spins.invert(efficiency)
            spins.wait(ti)
            signal = spins.read(np.pi / 2)
            spins.wait(tr - ti)
            return [signal]

        return float(steady(cycle, 3)[0])

    signal = equations.inversion_recovery(times, 1.0, t1, efficiency=efficiency, repetition_time=tr)
    np.testing.assert_allclose(signal, [bloch(ti) for ti in times], atol=EXACT)


def test_saturation_recovery_starts_from_what_the_saturation_leaves() -> None:
    times, efficiency = np.array([0.01, 0.5, 3.0]), 0.9

    def bloch(t: float) -> float:
        spins = Spins(0.9)
        spins.saturate(efficiency)
        spins.wait(t)
        return spins.read(np.pi / 2)

    signal = equations.saturation_recovery(times, 1.0, 0.9, efficiency=efficiency)
    np.testing.assert_allclose(signal, [bloch(t) for t in times], atol=EXACT)


@pytest.mark.parametrize("b1", [0.8, 1.1])
def test_look_locker_is_the_steady_state_of_its_cycles(b1: float) -> None:
    times, cycle_time, angle = [0.05, 0.2, 0.35, 1.0, 1.6], 2.2, 9 * DEGREE
    spins = Spins(1.4)

    def cycle() -> list[float]:
        signals, before = [], 0.0
        spins.invert(0.95)
        for now in times:
            spins.wait(now - before)
            signals.append(spins.read(b1 * angle))
            before = now
        spins.wait(cycle_time - before)
        return signals

    signal = equations.look_locker(
        1.0, 1.4, flip_angle=angle, readout_times=times, cycle_time=cycle_time, efficiency=0.95, b1=b1
    )
    np.testing.assert_allclose(signal, steady(cycle, 25), atol=EXACT)


def test_look_locker_with_small_angles_is_inversion_recovery() -> None:
    times = np.linspace(0.1, 4.0, 9)
    signal = equations.look_locker(1.0, 1.0, flip_angle=1e-5, readout_times=times, cycle_time=60.0)
    recovery = equations.inversion_recovery(times, 1.0, 1.0)
    np.testing.assert_allclose(signal / 1e-5, recovery, atol=1e-8)


def test_look_locker_approaches_the_rate_and_level_of_deichmann() -> None:
    """Many pulses after the inversion: 1/T1* = 1/T1 − ln(cos a)/τ, towards m0 (1 − E1)/(1 − E1 cos a)."""
    t1, angle, gap = 1.3, 7 * DEGREE, 0.02
    times = gap * np.arange(1, 1001)
    signal = equations.look_locker(1.0, t1, flip_angle=angle, readout_times=times, cycle_time=20.02)
    level = equations.spoiled_gradient_echo(angle, 1.0, t1, repetition_time=gap)
    rate = 1 / t1 - np.log(np.cos(angle)) / gap
    assert signal[-1] == pytest.approx(level, rel=1e-8)
    np.testing.assert_allclose(
        (signal[:200] - level) / (signal[0] - level), np.exp(-rate * (times[:200] - gap)), rtol=1e-6
    )


PROTOCOLS = [
    {
        "flip_angles": (4 * DEGREE, 5 * DEGREE),
        "inversion_times": (0.8, 2.7),
        "excitation_interval": 0.0072,
        "excitations": (80, 96),
        "cycle_time": 5.0,
    },
    {
        "flip_angles": (7 * DEGREE, 5 * DEGREE),
        "inversion_times": (0.7, 2.5),
        "excitation_interval": 0.0066,
        "excitations": (40, 80),
        "cycle_time": 4.2,
    },
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("t1", [0.8, 1.9])
@pytest.mark.parametrize("b1", [0.7, 1.2])
def test_mp2rage_is_the_steady_state_of_its_cycles(protocol: dict, t1: float, b1: float) -> None:
    (before, after), interval = protocol["excitations"], protocol["excitation_interval"]
    spins = Spins(t1)

    def cycle() -> list[float]:
        clock, centres = 0.0, []
        spins.invert(0.96)
        for angle, ti in zip(protocol["flip_angles"], protocol["inversion_times"], strict=True):
            for n in range(-before, after):
                spins.wait(ti + n * interval - clock)
                clock = ti + n * interval
                signal = spins.read(b1 * angle)
                if n == 0:
                    centres.append(signal)
        spins.wait(protocol["cycle_time"] - clock)
        return centres

    expected = steady(cycle, 8)
    np.testing.assert_allclose(equations.mp2rage(1.0, t1, b1=b1, **protocol), expected, atol=EXACT)


def test_uniform_image_is_free_of_gain_and_bounded() -> None:
    t1 = np.linspace(0.3, 4.0, 200)
    first, second = np.moveaxis(equations.mp2rage(1.0, t1, **PROTOCOLS[0]), -1, 0)
    uniform = equations.mp2rage_uniform(first, second)
    assert (np.diff(uniform) < 0).all()
    assert np.abs(uniform).max() <= 0.5
    gain = 3.7 * np.exp(0.8j)
    np.testing.assert_allclose(equations.mp2rage_uniform(gain * first, gain * second), uniform, atol=1e-14)
    assert equations.mp2rage_uniform(2.0, 2.0) == 0.5
    assert equations.mp2rage_uniform(-2.0, 2.0) == -0.5
    assert equations.mp2rage_uniform(0.0, 0.0) == 0


@pytest.mark.parametrize("b1", [0.6, 1.0, 1.3])
@pytest.mark.parametrize("t1", [0.5, 1.8])
def test_actual_flip_angle_is_the_steady_state_of_two_alternating_intervals(b1: float, t1: float) -> None:
    spins, times, angle = Spins(t1), (0.02, 0.1), 60 * DEGREE

    def cycle() -> list[float]:
        signals = []
        for tr in times:
            signals.append(spins.read(b1 * angle))
            spins.wait(tr)
        return signals

    expected = steady(cycle, int(25 * t1 / 0.12))
    signal = equations.actual_flip_angle(1.0, t1, flip_angle=angle, repetition_times=times, b1=b1)
    np.testing.assert_allclose(signal, expected, atol=EXACT)


def test_actual_flip_angle_ratio_gives_the_angle_at_short_intervals() -> None:
    """cos a = (r n − 1)/(n − r) for TR1, TR2 ≪ T1."""
    first, second = equations.actual_flip_angle(1.0, 500.0, flip_angle=1.0, repetition_times=(0.02, 0.1))
    ratio = second / first
    assert np.arccos((ratio * 5 - 1) / (5 - ratio)) == pytest.approx(1.0, abs=1e-3)


def test_actual_flip_angle_at_equal_intervals_is_the_gradient_echo() -> None:
    first, second = equations.actual_flip_angle(1.0, 1.2, flip_angle=0.7, repetition_times=(0.05, 0.05))
    plain = equations.spoiled_gradient_echo(0.7, 1.0, 1.2, repetition_time=0.05)
    assert first == pytest.approx(plain)
    assert second == pytest.approx(plain)


@pytest.mark.parametrize("b1", [0.6, 1.0, 1.4])
def test_spin_and_stimulated_echo_of_three_pulses(b1: float) -> None:
    """α–2α–α with crushers that let only the two echoes through; no time passes but the mixing time."""
    spins, angle, mixing, t1 = Spins(1.1, 1e9, 64), 60 * DEGREE, 0.03, 1.1
    spins.pulse(b1 * angle, np.pi / 2)
    spins.wait(0.0, turns=1)
    spins.pulse(2 * b1 * angle)
    spins.wait(0.0, turns=1)
    echo = spins.signal()
    spins.wait(mixing, turns=7)
    spins.pulse(b1 * angle)
    spins.wait(0.0, turns=1)
    stimulated = spins.signal()
    spin, stored = equations.spin_and_stimulated_echo(angle, 1.0, t1, mixing_time=mixing, b1=b1)
    assert abs(echo) == pytest.approx(abs(spin), abs=EXACT)
    assert abs(stimulated) == pytest.approx(abs(stored), abs=EXACT)
    assert (stimulated / echo).real == pytest.approx(stored / spin, abs=EXACT)


def test_double_angle_gives_the_angle_back() -> None:
    single, double = equations.double_angle(np.array([0.9, 1.8]), 5.0, b1=0.8)
    assert np.arccos(double / single / 2) == pytest.approx(0.9 * 0.8)
    spins = Spins(1.0)
    assert single == pytest.approx(5 * spins.read(0.9 * 0.8))


def test_published_anchors() -> None:
    """Variable flip angles at T1 1.5 s and TR 3.5 ms; inversion recovery at T1 0.8 s."""
    flips = np.array([2, 10, 18]) * DEGREE
    signal = equations.spoiled_gradient_echo(flips, 1000, 1.5, repetition_time=0.0035)
    np.testing.assert_allclose(
        signal, [27.68110434892929, 23.142692111604916, 14.077378652726502], rtol=1e-10
    )
    times = np.array([0.05, 0.3, 0.8, 1, 2, 4])
    recovery = np.abs(equations.inversion_recovery(times, 1000, 0.8))
    np.testing.assert_allclose(recovery, [878.826, 374.579, 264.241, 426.990, 835.830, 986.524], atol=5e-4)


def test_ernst_angle_gives_the_largest_signal() -> None:
    t1, tr = 1.1, 0.03
    ernst = np.arccos(np.exp(-tr / t1))
    below, at, above = equations.spoiled_gradient_echo(
        ernst + np.array([-1e-3, 0, 1e-3]), 1.0, t1, repetition_time=tr
    )
    assert at > max(below, above)
    assert at == pytest.approx(np.tanh(tr / t1 / 2) ** 0.5)


def test_limits_of_long_and_short_times() -> None:
    angle = 0.4
    full = equations.spoiled_gradient_echo(angle, 3.0, 1.0, repetition_time=np.inf)
    assert full == pytest.approx(3 * np.sin(angle))
    assert equations.spoiled_gradient_echo(0.0, 3.0, 1.0, repetition_time=0.02) == 0
    small = equations.spoiled_gradient_echo(1e-7, 3.0, 1.0, repetition_time=0.02)
    assert small == pytest.approx(3e-7, rel=1e-6)
    assert equations.inversion_recovery(0.0, 3.0, 1.0, efficiency=0.9) == pytest.approx(-2.7)
    assert equations.inversion_recovery(np.log(2), 3.0, 1.0) == pytest.approx(0, abs=1e-15)
    assert equations.inversion_recovery(1e3, 3.0, 1.0, repetition_time=2e3) == pytest.approx(3)
    assert equations.saturation_recovery(0.0, 3.0, 1.0) == 0
    assert equations.exponential_decay(np.log(2) / 20, 3.0, 20.0) == pytest.approx(1.5)
    echoes = equations.spin_and_stimulated_echo(np.pi / 3, 1.0, 1.0, mixing_time=0.0)
    assert echoes[1] / echoes[0] == pytest.approx(0.5)


def test_fat_has_its_main_peak_below_water() -> None:
    """434 Hz at 3 T: in phase again after 2.3 ms; the whole spectrum is 1 at echo time 0."""
    assert equations.fat_modulation(0.0, 3.0) == pytest.approx(1.0)
    times = np.arange(4096) * 1e-4
    spectrum = np.abs(np.fft.fft(equations.fat_modulation(times, 3.0)))
    peak = np.fft.fftfreq(times.size, 1e-4)[spectrum.argmax()]
    assert peak == pytest.approx(-42.577478518 * 3 * 3.4, abs=1.3)
    assert peak == pytest.approx(-434, abs=2)
    np.testing.assert_allclose(equations.fat_modulation(times, 1.5), equations.fat_modulation(times / 2, 3.0))


def test_phase_rises_with_the_field() -> None:
    times = np.array([0.004, 0.012, 0.02])
    signal = equations.gradient_echo(times, 2.0, 25.0, frequency=10.0, phase_offset=0.3)
    np.testing.assert_allclose(np.angle(signal), 0.3 + 2 * np.pi * 10 * times)
    np.testing.assert_allclose(np.abs(signal), 2 * np.exp(-25 * times))
    spins = Spins(1.0, 1 / 25)
    spins.pulse(np.pi / 2, np.pi / 2)
    spins.wait(0.012, frequency=10.0)
    unshifted = equations.gradient_echo(0.012, 1.0, 25.0, frequency=10.0)
    assert spins.signal() == pytest.approx(complex(unshifted), abs=EXACT)


def test_fat_and_water_add_up() -> None:
    times = np.array([0.0012, 0.0023, 0.0034])
    water = equations.fat_water(times, 1.0, 0.0, 30.0, frequency=-40.0, field_strength=3.0)
    np.testing.assert_allclose(water, equations.gradient_echo(times, 1.0, 30.0, frequency=-40.0))
    fat = equations.fat_water(times, 0.0, 1.0, 30.0, frequency=-40.0, field_strength=3.0)
    both = equations.fat_water(times, 0.7, 0.3, 30.0, frequency=-40.0, field_strength=3.0)
    np.testing.assert_allclose(both, 0.7 * water + 0.3 * fat)
    np.testing.assert_allclose(fat / water, equations.fat_modulation(times, 3.0))


def test_single_precision_and_shapes_are_kept() -> None:
    t1 = np.full((4, 1), 1.3, np.float32)
    b1 = np.full((1, 5), 0.9, np.float32)
    tr = {"repetition_time": np.float64(0.02)}
    images = [
        equations.spoiled_gradient_echo(np.deg2rad(17.0), 1.0, t1, b1=b1, **tr),
        equations.mt_spoiled_gradient_echo(0.3, 1.0, t1, 0.01, b1=b1, **tr),
        equations.exponential_decay(0.01, 1.0, t1),
        equations.inversion_recovery(0.5, 1.0, t1, repetition_time=3.0),
        equations.saturation_recovery(0.5, 1.0, t1),
        equations.look_locker(1.0, t1, flip_angle=0.1, readout_times=(0.1, 0.2), cycle_time=2.0, b1=b1),
        equations.mp2rage(1.0, t1, b1=b1, **PROTOCOLS[0]),
        equations.double_angle(0.8, t1, b1=b1),
        equations.actual_flip_angle(1.0, t1, flip_angle=1.0, repetition_times=(0.02, 0.1), b1=b1),
        equations.spin_and_stimulated_echo(1.0, 1.0, t1, mixing_time=0.02, b1=b1),
    ]
    assert {image.dtype for image in images} == {np.dtype(np.float32)}
    assert [image.shape for image in images[:1] + images[5:7]] == [(4, 5), (4, 5, 2), (4, 5, 2)]
    wave = equations.fat_water(0.01, t1, 0.1, 20.0, frequency=b1, field_strength=3.0)
    assert wave.dtype == np.complex64
    assert equations.exponential_decay([0.01, 0.02], 1, 20).dtype == np.float64


def test_single_precision_keeps_its_digits() -> None:
    """Short TR, where 1 − E1 loses them if written that way."""
    t1 = np.array([0.5, 1.5, 4.0])
    for b1 in (0.6, 1.2):
        double = equations.spoiled_gradient_echo(0.2, 1.0, t1, repetition_time=0.003, b1=b1)
        single = equations.spoiled_gradient_echo(0.2, 1.0, t1.astype("f4"), repetition_time=0.003, b1=b1)
        np.testing.assert_allclose(single, double, rtol=1e-6)
        double = equations.mp2rage(1.0, t1, b1=b1, **PROTOCOLS[0])
        single = equations.mp2rage(1.0, t1.astype("f4"), b1=b1, **PROTOCOLS[0])
        np.testing.assert_allclose(single, double, atol=1e-6)


def test_trains_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ScanError, match="do not fit"):
        equations.mp2rage(1.0, 1.0, **{**PROTOCOLS[0], "excitations": (120, 96)})
    with pytest.raises(ScanError, match="rise"):
        equations.look_locker(1.0, 1.0, flip_angle=0.1, readout_times=(0.2, 0.1), cycle_time=2.0)
    with pytest.raises(ScanError, match="rise"):
        equations.look_locker(1.0, 1.0, flip_angle=0.1, readout_times=(0.2, 3.0), cycle_time=2.0)


@pytest.mark.parametrize(
    ("t1", "b1", "inversion_time", "excitations", "cycle_time", "efficiency"),
    [
        (1.0, 0.8, 0.45, (0, 64), 0.0, 1.0),
        (1.5, 1.2, 0.7, (32, 64), 2.5, 0.95),
        (0.4, 1.0, 0.35, (16, 100), 1.8, 0.9),
    ],
)
def test_trains_after_an_inversion_are_those_of_isochromats(
    t1: float,
    b1: float,
    inversion_time: float,
    excitations: tuple[int, int],
    cycle_time: float,
    efficiency: float,
) -> None:
    spins, angle, interval = Spins(t1), np.deg2rad(8), 0.008

    def cycle() -> list[float]:
        spins.invert(efficiency)
        spins.wait(inversion_time - excitations[0] * interval)
        signals = []
        for _ in range(sum(excitations)):
            signals.append(spins.read(b1 * angle))
            spins.wait(interval)
        if cycle_time:
            spins.wait(cycle_time - inversion_time - excitations[1] * interval)
        return [signals[excitations[0]]]

    made = equations.inversion_prepared_gradient_echo(
        angle, 3.0, t1, inversion_time=inversion_time, repetition_time=interval, excitations=excitations,
        cycle_time=cycle_time, efficiency=efficiency, b1=b1,
    )  # fmt: skip
    assert made == pytest.approx(3 * steady(cycle, 20)[0], rel=1e-6)
