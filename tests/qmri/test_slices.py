"""Echo trains of a slice against isochromats in shaped pulses and gradients, and the T2 that is right for them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mensura.qmri import t2
from mensura.qmri.slices import Pulses, sliced_trains, spinors, tabulated

Doubles = NDArray[np.float64]
T1, SPACING, ECHOES = 0.9, 0.012, 12
TIMES = tuple(SPACING * np.arange(1, ECHOES + 1))


class Slice:
    """Isochromats (3, positions, phases of the crushers) under pulses in a gradient: vectors turned about the field."""

    def __init__(self, t2: float, b1: float) -> None:
        self.t2, self.b1 = t2, b1
        self.z = np.linspace(-2, 2, 97)[:, None]
        self.m = np.zeros((3, 97, 32))
        self.m[2] = 1

    def pulse(self, angle: float, time_bandwidth: float, width: float, along: int) -> None:
        """A Hann-windowed sinc about x (0) or y (1), `width` thick, in 64 turns by Rodrigues' formula."""
        tau = (np.arange(64) + 0.5) / 64 - 0.5
        shape = np.sinc(time_bandwidth * tau) * 0.5 * (1 + np.cos(2 * np.pi * tau))
        for turn in self.b1 * angle * shape / shape.sum():
            field = np.zeros((3, *self.z.shape))
            field[along], field[2] = turn, 2 * np.pi * time_bandwidth * self.z / width / 64
            size = np.linalg.norm(field, axis=0)
            n, m = field / np.maximum(size, 1e-300), self.m
            self.m = m * np.cos(size) + np.cross(n, m, axis=0) * np.sin(size)
            self.m += n * np.sum(n * m, axis=0) * (1 - np.cos(size))

    def wait(self, duration: float, phase: Doubles) -> None:
        plane = (self.m[0] + 1j * self.m[1]) * np.exp(1j * phase - duration / self.t2)
        self.m = np.stack((plane.real, plane.imag, 1 + (self.m[2] - 1) * np.exp(-duration / T1)))

    @property
    def signal(self) -> complex:
        return complex(np.mean(self.m[0] + 1j * self.m[1], axis=1).sum() * (self.z[1, 0] - self.z[0, 0]))


def rephasing(time_bandwidth: float) -> float:
    """Turns over a thickness that leave the most signal of an excitation at B1 = 1."""
    made = Slice(1.0, 1.0)
    made.pulse(np.pi / 2, time_bandwidth, 1.0, 1)
    plane = made.m[0, :, 0] + 1j * made.m[1, :, 0]
    tried = np.linspace(0.45, 0.6, 301) * time_bandwidth
    return float(
        tried[np.argmax([abs(np.sum(plane * np.exp(-2j * np.pi * t * made.z[:, 0]))) for t in tried])]
    )


def bloch(short: float, b1: float, pulses: Pulses) -> Doubles:
    """The echoes of a slice; crushers turn the isochromats of a position by all angles about every refocusing."""
    spins, crusher = Slice(short, b1), 2 * np.pi * np.arange(32)[None] / 32
    spins.pulse(np.pi / 2, pulses.time_bandwidth[0], 1.0, 1)
    spins.wait(0.0, -2 * np.pi * rephasing(pulses.time_bandwidth[0]) * spins.z)
    echoes = []
    for _ in range(ECHOES):
        spins.wait(SPACING / 2, crusher)
        spins.pulse(pulses.refocusing_angle, pulses.time_bandwidth[1], pulses.width, 0)
        spins.wait(SPACING / 2, crusher)
        echoes.append(spins.signal)
    assert np.max(np.abs(np.imag(echoes))) < 1e-12
    return np.real(echoes)


CASES = [
    (Pulses((3.0, 3.0), 1.0), 1.0),
    (Pulses((3.0, 3.0), 1.0), 0.75),
    (Pulses((2.0, 1.5), 1.2, np.deg2rad(160)), 0.9),
    (Pulses((6.0, 4.0), 1.3), 1.2),
]


@pytest.mark.parametrize(("pulses", "b1"), CASES)
def test_t2_is_right_where_one_angle_for_the_slice_makes_it_wrong(pulses: Pulses, b1: float) -> None:
    echoes = bloch(0.08, b1, pulses)
    made = sliced_trains(np.array([0.08]), np.array([b1]), pulses, (ECHOES, SPACING, T1))[0]
    np.testing.assert_allclose(made, echoes, atol=0.004 * echoes[0])
    how = {"refocusing_angle": pulses.refocusing_angle, "t1": T1}
    shape = {
        "time_bandwidth": pulses.time_bandwidth,
        "refocusing_width": pulses.width,
        "slice_profile": "sinc",
    }
    signals, known = 1000 * echoes[None], np.array([b1])
    found = t2.spin_echo_train(signals, TIMES, b1=known if b1 > 1 else None, **how, **shape)
    uniform = t2.spin_echo_train(signals, TIMES, slice_profile="none", **how)
    plain = t2.spin_echo(signals, TIMES)
    assert found.maps["T2map"][0] == pytest.approx(0.08, rel=0.004)
    assert uniform.maps["T2map"][0][0] > 1.03 * 0.08
    assert plain.maps["T2map"][0][0] > 1.12 * 0.08
    if b1 <= 1:
        assert found.maps["TB1map"][0] == pytest.approx(b1, abs=0.01)


def test_pulses_have_their_angle_in_the_middle_and_turn() -> None:
    b1 = np.array([0.5, 1.0, 1.3])
    alpha, beta = spinors(np.pi, 3.0, np.linspace(0, 1, 9), b1)
    np.testing.assert_allclose(np.abs(alpha) ** 2 + np.abs(beta) ** 2, 1, rtol=1e-12)
    np.testing.assert_allclose(np.abs(beta[:, 0]), np.sin(b1 * np.pi / 2), atol=1e-12)


def test_small_angles_excite_the_fourier_transform_of_the_pulse() -> None:
    positions, angle = np.linspace(0, 1.2, 25), 1e-3
    alpha, beta = spinors(angle, 4.0, positions, np.ones(1))
    tau = (np.arange(4000) + 0.5) / 4000 - 0.5
    shape = np.sinc(4 * tau) * np.cos(np.pi * tau) ** 2
    spectrum = np.cos(2 * np.pi * 4 * positions[:, None] * tau) @ shape / shape.sum()
    np.testing.assert_allclose(2 * np.abs(alpha * beta)[0], angle * np.abs(spectrum), atol=2e-3 * angle)


def test_the_table_is_as_good_as_what_it_holds() -> None:
    pulses, protocol, rng = Pulses((3.0, 2.0), 1.2), (32, 0.01, 1.0), np.random.default_rng(0)
    short, relative = np.exp(rng.uniform(np.log(0.01), np.log(1), 100)), rng.uniform(0.5, 1.2, 100)
    table = tabulated(pulses, protocol, (0.002, 4.0), (0.5, 1.2))
    exact = sliced_trains(short, relative, pulses, protocol)
    np.testing.assert_allclose(table(short[:, None], relative[:, None]), exact, atol=5e-5)
