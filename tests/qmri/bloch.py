"""Bloch equations for a row of isochromats: rotations and relaxation, nothing else.

The independent witness of the signal equations; it shares no code with the package. Positions are spread over
one unit length, so that a gradient of a whole number of turns dephases completely.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Spins:
    """Magnetization (3, isochromats) of equilibrium size 1, with T1 and T2 in s."""

    def __init__(self, t1: float, t2: float = 0.08, isochromats: int = 1) -> None:
        self.t1, self.t2 = t1, t2
        self.position = np.arange(isochromats) / isochromats
        self.m = np.zeros((3, isochromats))
        self.m[2] = 1

    def pulse(self, angle: float, phase: float = 0.0) -> None:
        """Turn by `angle` (rad) about the axis at `phase` (rad) in the transverse plane (Rodrigues)."""
        x, y = np.cos(phase), np.sin(phase)
        cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
        self.m = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) @ self.m

    def wait(self, duration: float, turns: float = 0.0, frequency: float = 0.0) -> None:
        """Relax for `duration` (s), precess at `frequency` (Hz) and under a gradient of `turns` over the row."""
        phase = 2 * np.pi * (turns * self.position + frequency * duration)
        plane = (self.m[0] + 1j * self.m[1]) * np.exp(1j * phase - duration / self.t2)
        left = np.exp(-duration / self.t1)
        self.m = np.stack((plane.real, plane.imag, 1 + (self.m[2] - 1) * left))

    def spoil(self) -> None:
        """Destroy the transverse magnetization."""
        self.m[:2] = 0

    def saturate(self, fraction: float) -> None:
        """Remove this fraction of the longitudinal magnetization, as exchange with saturated protons does."""
        self.m[2] *= 1 - fraction

    def signal(self, phase: float = 0.0) -> complex:
        """Transverse magnetization of the whole row seen by a receiver at `phase` (rad)."""
        return complex(np.mean(self.m[0] + 1j * self.m[1]) * np.exp(-1j * phase))

    def read(self, angle: float) -> float:
        """A pulse about the x axis, the signal right after it along −y, and ideal spoiling."""
        self.pulse(angle)
        signal = -self.signal().imag
        self.spoil()
        return signal

    def invert(self, efficiency: float) -> None:
        """A spoiled pulse that leaves −efficiency of the longitudinal magnetization."""
        self.pulse(np.arccos(-efficiency))
        self.spoil()


def steady(cycle: Callable[[], list[float]], cycles: int) -> NDArray[np.float64]:
    """Signals of the last of so many cycles."""
    for _ in range(cycles - 1):
        cycle()
    return np.array(cycle())


def spoiled_train(spins: Spins, angle: float, interval: float, increment: float, pulses: int) -> complex:
    """Last signal of a gradient echo with one turn of gradient per TR and RF spoiling at `increment` (rad)."""
    signal = 0j
    for n in range(pulses):
        phase = increment * n * (n + 1) / 2
        spins.pulse(angle, phase)
        signal = spins.signal(phase)
        spins.wait(interval, turns=1)
    return signal


def echo_train(
    spins: Spins, excitation: float, refocusing: float | list[float], spacing: float, echoes: int
) -> NDArray[np.complex128]:
    """CPMG: excitation about y, refocusing about x, one turn of gradient in each half of the echo spacing."""
    angles = np.broadcast_to(refocusing, (echoes,))
    spins.pulse(excitation, np.pi / 2)
    signals = []
    for angle in angles:
        spins.wait(spacing / 2, turns=1)
        spins.pulse(angle)
        spins.wait(spacing / 2, turns=1)
        signals.append(spins.signal())
    return np.array(signals)
