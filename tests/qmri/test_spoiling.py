"""Imperfectly spoiled gradient echoes against isochromats, and T1 that is right in spite of them."""

import numpy as np
import pytest
from bloch import Spins, spoiled_train

from mensura.qmri import equations, t1
from mensura.qmri.despot1 import despot1
from mensura.qmri.mpm import multi_parameter
from mensura.qmri.mt import magnetization_transfer_saturation
from mensura.qmri.spoiling import Spoiling, spoiling_factor, tabulated
from mensura.scan import GAMMA_BAR, ScanError

TR = 0.02
ANGLES = np.deg2rad([4.0, 10, 18, 30])


def train(angle: float, increment: float, t1: float, t2: float) -> float:
    """The steady signal of isochromats, twelve T1 after the start."""
    spins = Spins(t1, t2, isochromats=128)
    return abs(spoiled_train(spins, angle, TR, np.deg2rad(increment), int(12 * t1 / TR)))


@pytest.mark.parametrize("increment", [50, 117, 150, 0.5])
@pytest.mark.parametrize(("t1", "t2"), [(0.8, 0.07), (0.3, 0.04), (0.05, 0.05)])
def test_the_steady_state_is_that_of_isochromats(increment: float, t1: float, t2: float) -> None:
    ideal = equations.spoiled_gradient_echo(ANGLES, 1.0, t1, repetition_time=TR)
    factor = spoiling_factor(ANGLES, t1, repetition_time=TR, spoiling=Spoiling(np.deg2rad(increment), t2))
    made = [train(angle, increment, t1, t2) for angle in ANGLES]
    np.testing.assert_allclose(ideal * factor, made, rtol=1e-4)


@pytest.mark.parametrize("increment", [50, 117, 150])
def test_t1_is_right_where_ideal_spoiling_makes_it_wrong(increment: float) -> None:
    true, relative = np.array([0.4, 0.8, 1.3]), np.array([1.2, 1.0, 0.85])
    signal = np.array([
        [train(angle * b, increment, t, 0.07) for angle in ANGLES] for t, b in zip(true, relative, strict=True)
    ])  # fmt: skip
    ideal = t1.variable_flip_angle(signal, ANGLES, repetition_time=TR, b1=relative).maps["T1map"][0]
    found = t1.variable_flip_angle(
        signal, ANGLES, repetition_time=TR, b1=relative, spoiling_increment=np.deg2rad(increment)
    )
    assert np.max(np.abs(ideal / true - 1)) > 0.025
    np.testing.assert_allclose(found.maps["T1map"][0], true, rtol=1e-3)
    np.testing.assert_allclose(found.maps["M0map"][0], 1, rtol=1e-3)


def weighted(angle: float, tr: float, tissue: tuple[float, float, float], share: float = 0.0) -> float:
    """The same with an MT pulse that takes a share before each excitation; tissue: T1, T2, increment (degrees)."""
    spins, signal = Spins(tissue[0], tissue[1], isochromats=64), 0j
    for n in range(int(10 * tissue[0] / tr)):
        phase = np.deg2rad(tissue[2]) * n * (n + 1) / 2
        spins.saturate(share)
        spins.pulse(angle, phase)
        signal = spins.signal(phase)
        spins.wait(tr, turns=1)
    return abs(signal)


SCANS = {"pd": (6.0, 0.025), "t1": (21.0, 0.0187), "mt": (6.0, 0.025)}
LONG, B1S, SHARE = np.array([0.6, 1.0, 1.8]), np.array([1.15, 1.0, 0.85]), 0.015


def contrasts(increment: float) -> dict[str, np.ndarray]:
    """Isochromats of three tissues in the weightings of a multi-parameter protocol."""
    return {
        kind: np.array([
            weighted(np.deg2rad(angle) * b, tr, (t, 0.07, increment), SHARE if kind == "mt" else 0.0)
            for t, b in zip(LONG, B1S, strict=True)
        ])
        for kind, (angle, tr) in SCANS.items()
    }  # fmt: skip


@pytest.mark.parametrize("increment", [50, 137])
def test_multi_parameter_maps_are_right_where_ideal_spoiling_makes_them_wrong(increment: float) -> None:
    signals, times = contrasts(increment), (0.002, 0.006, 0.010)
    data = np.stack([s * np.exp(-20 * te) for s in signals.values() for te in times], axis=1)
    every = [scan for scan in SCANS.values() for _ in times]
    protocol = {
        "flip_angles": tuple(np.deg2rad(angle) for angle, _ in every),
        "repetition_times": tuple(tr for _, tr in every),
        "mt_states": (0,) * 6 + (1,) * 3,
        "b1": B1S,
        "b1_dependence": 0.0,
    }
    ideal = multi_parameter(data, times * 3, **protocol).maps
    made = multi_parameter(data, times * 3, **protocol, spoiling_increment=np.deg2rad(increment)).maps
    assert np.max(np.abs(ideal["T1map"][0] / LONG - 1)) > 0.02
    np.testing.assert_allclose(made["T1map"][0], LONG, rtol=1e-3)
    np.testing.assert_allclose(made["M0map"][0], 1, rtol=1e-3)
    true = 100 * SHARE / B1S**2
    np.testing.assert_allclose(made["MTsat"][0], true, rtol=3e-3)
    assert np.max(np.abs(ideal["MTsat"][0] / true - 1)) > 2 * np.max(np.abs(made["MTsat"][0] / true - 1))


def test_lines_and_mtsat_are_freed_as_well() -> None:
    """The line is exact for ideal spoiling; MTsat's T1 keeps the error of its approximation alone."""
    how = {"spoiling_increment": np.deg2rad(50), "b1": B1S}
    plain = np.array(
        [[train(angle * b, 50, t, 0.07) for angle in ANGLES] for t, b in zip(LONG, B1S, strict=True)]
    )
    line = despot1(plain, ANGLES, repetition_time=TR, **how).maps["T1map"][0]
    np.testing.assert_allclose(line, LONG, rtol=2e-3)
    ideal = {
        k: equations.mt_spoiled_gradient_echo(
            np.deg2rad(angle) * B1S, 1.0, LONG, SHARE if k == "mt" else 0.0, repetition_time=tr
        )
        for k, (angle, tr) in SCANS.items()
    }
    made = {}
    for kind, images, told in (("ideal", ideal, 0.0), ("spoiled", contrasts(50), np.deg2rad(50))):
        order = ("mt", "pd", "t1")
        made[kind] = magnetization_transfer_saturation(
            np.stack([images[k] for k in order], axis=1), [np.deg2rad(SCANS[k][0]) for k in order],
            repetition_times=tuple(SCANS[k][1] for k in order), b1=B1S, spoiling_increment=told,
        ).maps  # fmt: skip
    for name, off in (("T1map", 2e-3), ("MTsat", 0.03)):
        np.testing.assert_allclose(made["spoiled"][name][0], made["ideal"][name][0], rtol=off)


def test_the_assumed_t2_is_what_it_hangs_on() -> None:
    """With a T2 of 0.1 s for one of 0.07 s, half or more of the error is still undone at 50°."""
    signal = np.array([[train(angle, 50, 0.8, 0.07) for angle in ANGLES]])
    how = {"repetition_time": TR, "spoiling_increment": np.deg2rad(50)}
    ideal = t1.variable_flip_angle(signal, ANGLES, repetition_time=TR).maps["T1map"][0]
    wrong = t1.variable_flip_angle(signal, ANGLES, **how, spoiling_t2=0.1).maps["T1map"][0]
    assert 0.002 < abs(wrong[0] / 0.8 - 1) < 0.5 * abs(ideal[0] / 0.8 - 1)


def diffusing(angle: float, increment: float, moment: float, diffusivity: float) -> float:
    """Bloch and Torrey: T1 0.5 s and T2 0.07 s on a row of a whole number of turns, diffusion between any two turns."""
    turns, spins = 8, Spins(0.5, 0.07, isochromats=1024)
    wave = 2 * np.pi * GAMMA_BAR * moment / turns * np.fft.fftfreq(1024, 1 / 1024)
    damped = np.exp(-diffusivity * wave**2 * TR / turns / 2)

    def spread() -> None:
        spins.m = np.fft.ifft(np.fft.fft(spins.m, axis=1) * damped, axis=1).real

    for pulse in range(250):
        phase = increment * pulse * (pulse + 1) / 2
        spins.pulse(angle, phase)
        signal = abs(spins.signal())
        for _ in range(turns):
            spread()
            spins.wait(TR / turns, turns=1)
            spread()
    return signal


def test_diffusion_damps_as_it_does_in_space() -> None:
    moment, diffusivity, angle, increment = 120e-6, 2e-9, np.deg2rad(35), np.deg2rad(50)
    how = {"repetition_time": TR}
    damped = spoiling_factor(angle, 0.5, spoiling=Spoiling(increment, 0.07, moment, diffusivity), **how)
    without = spoiling_factor(angle, 0.5, spoiling=Spoiling(increment, 0.07), **how)
    ideal = equations.spoiled_gradient_echo(angle, 1.0, 0.5, repetition_time=TR)
    assert abs(damped / without - 1) > 0.005
    assert ideal * damped == pytest.approx(diffusing(angle, increment, moment, diffusivity), rel=2e-4)


def test_short_t2_is_ideal_spoiling() -> None:
    factor = spoiling_factor(ANGLES, 1.0, repetition_time=TR, spoiling=Spoiling(0.9, 0.001))
    np.testing.assert_allclose(factor, 1, atol=1e-8)


@pytest.mark.parametrize("repetition_time", [0.004, 0.03])
def test_the_table_is_as_good_as_what_it_holds(repetition_time: float) -> None:
    rng = np.random.default_rng(0)
    long, relative = np.exp(rng.uniform(np.log(0.1), np.log(5), 500)), rng.uniform(0.6, 1.4, 500)
    for increment in np.deg2rad([50, 117, 150]):
        table = tabulated(ANGLES, repetition_time, Spoiling(increment), relative)
        exact = spoiling_factor(
            ANGLES, long[:, None], repetition_time=repetition_time, spoiling=Spoiling(increment),
            b1=relative[:, None],
        )  # fmt: skip
        np.testing.assert_allclose(table(long[:, None], relative[:, None]), exact, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"spoiling_t2": 70.0}, {"spoiling_moment": 30.0}, {"diffusivity": 0.8}])
def test_other_units_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ScanError, match="cannot be meant"):
        t1.variable_flip_angle(np.ones((2, 4)), ANGLES, repetition_time=TR, spoiling_increment=0.9, **wrong)
