"""Echo trains of a slice: what its pulses do across it, and the sum of the extended phase graphs of its positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.qmri.epg import one_train
from mensura.qmri.lookup import Axis, Lookup
from mensura.scan import ScanError

Doubles = NDArray[np.float64]
Complexes = NDArray[np.complex128]

STEPS = 128
"""Short pulses that a shaped one is made of."""
POSITIONS = 2
"""Of half a slice for each echo, at the nodes of Gauss and Legendre; the other half is its mirror image."""
REACH = 2.5
"""How far beyond the nominal edge there is signal, in units of thickness over time-bandwidth product."""
SPACING = (0.08, 0.02)
"""Of the table, in ln(T2) and in B1."""


@dataclass(frozen=True)
class Pulses:
    """Sinc pulses under Hann's window: time-bandwidth products of the excitation, of 90°, and of the refocusing.

    `width` is the thickness that is refocused relative to the one that is excited, the angle (rad) that at its middle.
    """

    time_bandwidth: tuple[float, float]
    width: float
    refocusing_angle: float = np.pi

    def __post_init__(self) -> None:
        if not (all(1 <= b <= 20 for b in self.time_bandwidth) and 0.5 <= self.width <= 5):
            raise ScanError(
                f"time-bandwidth products of {self.time_bandwidth} and a refocused slice {self.width:g} times as thick "
                "as the excited one cannot be meant; give products of 1 to 20 and a width of 0.5 to 5"
            )


def spinors(
    angle: float, time_bandwidth: float, positions: Doubles, b1: Doubles
) -> tuple[Complexes, Complexes]:
    """Flip angle (rad), product, positions (p, in thicknesses), B1 (b) → Cayley and Klein's α and β, (b, p).

    Rotations about the field of each step: the pulse sinc(BT τ)·cos²(πτ), τ = −½ … ½, along x, and the slice gradient.
    Pauly et al. 1991, doi:10.1109/42.75611.
    """
    tau = (np.arange(STEPS) + 0.5) / STEPS - 0.5
    shape = np.sinc(time_bandwidth * tau) * np.cos(np.pi * tau) ** 2
    turns = angle * shape / shape.sum()
    off = 2 * np.pi * time_bandwidth * positions[None] / STEPS
    alpha = np.ones((b1.size, positions.size), np.complex128)
    beta = np.zeros_like(alpha)
    for turn in turns:
        nutation = turn * b1[:, None]
        size = np.sqrt(nutation**2 + off**2)
        sine = np.sinc(size / (2 * np.pi)) / 2
        a, b = np.cos(size / 2) - 1j * off * sine, -1j * nutation * sine
        alpha, beta = a * alpha - np.conj(b) * beta, b * alpha + np.conj(a) * beta
    return alpha, beta


def profile(pulses: Pulses, b1: Doubles, count: int) -> tuple[Doubles, Doubles, Doubles]:
    """Pulses, B1 (b), how many positions → weights (p), and excited part and refocusing angle (rad) there, (b, p).

    Excited is what is in phase with the refocusing pulses, after a gradient that rephases the slice as well as can be
    at B1 = 1; what is out of phase is odd across the slice and cancels. The refocusing pulse turns about an axis out of
    the plane, which is to turn by its angle in the plane, and about z before and after, which the echoes undo.
    """
    excitation, refocusing = pulses.time_bandwidth
    nodes, weights = np.polynomial.legendre.leggauss(2 * count)
    half = 0.5 + REACH / excitation
    positions, weights = half * nodes[count:], 2 * half * weights[count:]
    excited = _transverse(positions, excitation, b1) * _rephased(positions, excitation)
    _, beta = spinors(pulses.refocusing_angle, refocusing, positions / pulses.width, b1)
    return weights, excited.real, 2 * np.arcsin(np.minimum(np.abs(beta), 1.0))


def _transverse(positions: Doubles, time_bandwidth: float, b1: Doubles) -> Complexes:
    """Transverse magnetization after the excitation, real in the middle."""
    alpha, beta = spinors(np.pi / 2, time_bandwidth, positions, b1)
    return np.asarray(2j * np.conj(alpha) * beta)


def _rephased(positions: Doubles, time_bandwidth: float) -> Complexes:
    """The phase that the gradient after the excitation undoes: of all straight lines, that which leaves most signal."""
    there = np.linspace(0, 0.5 + REACH / time_bandwidth, 256)
    made = _transverse(there, time_bandwidth, np.ones(1))[0]
    slopes = 2 * np.pi * time_bandwidth * np.linspace(0.45, 0.6, 151)[:, None]
    best = slopes[np.argmax(np.sum(np.real(made * np.exp(-1j * slopes * there)), axis=1)), 0]
    return np.asarray(np.exp(-1j * best * positions))


def sliced_trains(t2: Doubles, b1: Doubles, pulses: Pulses, protocol: tuple[int, float, float]) -> Doubles:
    """T2 (s), B1, both (n) → echoes (n, m) of a slice of thickness 1; protocol: echoes, spacing (s), T1 (s).

    Σ over positions of (excited magnetization)·(extended phase graph at the refocusing angle there).
    Lebel & Wilman 2010, doi:10.1002/mrm.22487.
    """
    levels, place = np.unique(b1, return_inverse=True)
    count, spacing, t1 = protocol
    weights, excited, angles = profile(pulses, levels, POSITIONS * count)
    echoes = np.zeros((t2.size, count))
    left1, left2 = float(np.exp(-spacing / t1)), np.exp(-spacing / t2)
    _sum(np.ascontiguousarray(excited * weights), angles, place.astype(np.int64), left2, left1, echoes)
    return echoes


@njit(cache=True, parallel=True)
def _sum(
    starts: Doubles, angles: Doubles, place: NDArray[np.int64], left2: Doubles, left1: float, echoes: Doubles
) -> None:
    for v in prange(place.size):
        train = np.empty(echoes.shape[1])
        for p in range(starts.shape[1]):
            both = (angles[place[v], p], angles[place[v], p])
            one_train(starts[place[v], p], both, left1, left2[v], train)
            for e in range(train.size):
                echoes[v, e] += train[e]


def tabulated(
    pulses: Pulses, protocol: tuple[int, float, float], t2: tuple[float, float], b1: tuple[float, float]
) -> Lookup:
    """Pulses, protocol as of `sliced_trains`, ranges of T2 (s) and B1 → the echoes, to be looked up by both."""
    shortest, longest = np.log(t2)
    return Lookup.of(
        lambda short, relative: sliced_trains(short, relative, pulses, protocol),
        Axis.over(shortest, longest, SPACING[0]),
        Axis.over(*b1, SPACING[1]),
    )
