"""Gradient echoes whose transverse magnetization lives on to the next pulse: what RF spoiling leaves of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from mensura.methods import Tunable
from mensura.qmri.broadcast import doubles
from mensura.qmri.lookup import Axis, Lookup
from mensura.scan import GAMMA_BAR, ScanError

Doubles = NDArray[np.float64]

FORGOTTEN = 1e-9
"""Share of the transverse magnetization below which older pulses are left out."""
STEPS = (0.06, 0.02)
"""Spacing of the table, in ln(T1) and in B1."""
ROUNDS, RESTING = 12, 1e-6
"""In which a closed form is brought to the spoiling there was, and the relative change of T1 at which it is."""
RELATIVE = (0.1, 2.5)
"""B1 that the table holds at most; beyond, its last value counts."""

Increment = Annotated[
    float, Tunable("rad", "by which the phase step of the RF pulses grows each time; 0: spoiling is ideal")
]
SpoilingT2 = Annotated[float, Tunable("s", "T2 that is assumed where spoiling is not ideal")]
Moment = Annotated[
    float, Tunable("mT s/m", "gradient moment of a repetition, for the damping by diffusion; 0: none")
]
Diffusivity = Annotated[float, Tunable("mm²/s", "of water, where a gradient moment is given")]


@dataclass(frozen=True)
class Spoiling:
    """What spoils transverse magnetization: phase increment (rad), its T2 (s), moment (T s/m), diffusivity (m²/s).

    The phase of pulse n is increment·n(n + 1)/2. The moment is that of all gradients of a repetition, taken as
    constant over it; it matters for the damping by diffusion alone, since its dephasing of a voxel is complete.
    """

    increment: float
    t2: float = 0.07
    moment: float = 0.0
    diffusivity: float = 0.0

    def __post_init__(self) -> None:
        if not 0.001 <= self.t2 <= 10:
            raise ScanError(f"a T2 of {self.t2:g} s cannot be meant; give that of the tissue, in s")
        if min(self.moment, self.diffusivity) < 0 or self.moment > 0.01 or self.diffusivity > 1e-7:
            raise ScanError(
                f"a spoiler of {self.moment:g} T s/m and a diffusivity of {self.diffusivity:g} m²/s cannot be meant; "
                "give mT s/m and mm²/s"
            )

    @classmethod
    def told(cls, increment: float, t2: float, moment: float, diffusivity: float) -> Spoiling | None:
        """Increment (rad), T2 (s), moment (mT s/m) and diffusivity (mm²/s), as people give them; None: ideal."""
        return cls(increment, t2, 1e-3 * moment, 1e-6 * diffusivity) if increment else None

    def damping(self, repetition_time: float) -> float:
        """Exponent by which diffusion damps the first order in a repetition, D(γ moment)² TR."""
        return self.diffusivity * (2 * np.pi * GAMMA_BAR * self.moment) ** 2 * repetition_time


@njit(cache=True, nogil=True)
def _left(angle: float, left1: float, left2: float, increment: float, damping: float) -> float:
    """Angle (rad), E1 and E2 of one TR, phase increment (rad), damping → signal relative to Ernst's."""
    sine, cosine = np.sin(angle), np.cos(angle)
    most = left2 * left2
    orders = 1 if most < FORGOTTEN else int(np.ceil(np.log(FORGOTTEN) / np.log(most))) + 1
    response = 0j
    for k in range(orders, 0, -1):
        turn = np.exp(1j * increment * k)
        stored = left1 * np.exp(-damping * k * k) * turn
        mixed = 0.5 * sine * sine * stored / (1 - stored * cosine)
        turned, kept = 0.5 * (1 - cosine) + mixed, 0.5 * (1 + cosine) - mixed
        back = most * np.exp(-2 * damping * (k * k + k + 1 / 3) + 1j * increment * (2 * k + 1)) * response
        response = turned + kept * kept * back / (1 - turned * back)
    back = most * np.exp(-2 * damping / 3 + 1j * increment) * response
    beside = back.imag / (1 - back.real)
    feedback = (back.real - back.imag * beside) * (cosine - left1) / (1 - left1 * cosine)
    return float(np.sqrt(1 + beside * beside) / (1 + feedback))


@njit(cache=True, nogil=True)
def _fill(
    angles: Doubles, t1: Doubles, protocol: tuple[float, float, float, float], signals: Doubles
) -> None:
    repetition_time, t2, increment, damping = protocol
    for v in range(angles.size):
        left1 = np.exp(-repetition_time / t1[v])
        left2 = np.exp(-repetition_time / min(t2, t1[v]))
        signals[v] = _left(angles[v], left1, left2, increment, damping)


def spoiling_factor(
    flip_angle: ArrayLike, t1: ArrayLike, *, repetition_time: float, spoiling: Spoiling, b1: ArrayLike = 1.0
) -> Doubles:
    """Flip angle (rad), T1 (s), B1 → steady signal of an RF-spoiled gradient echo over that of ideal spoiling.

    The extended phase graph with a gradient that dephases completely and a quadratic phase of the pulses. Seen at the
    precession angle of the coming interval, the magnetization after a pulse repeats itself, up to a phase e^{ikψ} of
    order k; order by order from the oldest pulse that counts, a fraction R + T²A/(1 − RA) of what a pulse sends up
    comes back, which makes the steady state a continued fraction and needs no train of pulses. R and T are what a
    pulse turns back and lets pass, the stored magnetization of the order eliminated; A is E2² and phases. T2 is taken
    as T1 where it would be longer. The signal is the magnitude right after the pulse.
    Zur et al. 1991, doi:10.1002/mrm.1910210210; diffusion: Weigel 2015, doi:10.1002/jmri.24619. Differs from the
    former in the algorithm.
    """
    shape, _, (angle, relative, long) = doubles(flip_angle, b1, t1)
    made = np.empty(angle.size)
    damping = spoiling.damping(repetition_time)
    _fill(relative * angle, long, (repetition_time, spoiling.t2, spoiling.increment, damping), made)
    return made.reshape(shape)


def tabulated(
    flip_angles: Doubles, repetition_time: float, spoiling: Spoiling, b1: Doubles | None = None
) -> Lookup:
    """Flip angles (rad), TR (s), B1 that there is → the factor of each angle, to be looked up by T1 (s) and B1."""

    def factor(t1: Doubles, relative: Doubles) -> Doubles:
        return spoiling_factor(
            flip_angles, t1[:, None], repetition_time=repetition_time, spoiling=spoiling, b1=relative[:, None]
        )

    there = np.ones(1) if b1 is None else b1[np.isfinite(b1)]
    least, most = np.clip([there.min(initial=1), there.max(initial=1)], *RELATIVE)
    shortest, longest = np.log([0.005, 10.0])
    return Lookup.of(factor, Axis.over(shortest, longest, STEPS[0]), Axis.over(least, most, STEPS[1]))


def tabulated_each(
    flip_angles: Sequence[float],
    repetition_times: Sequence[float],
    spoiling: Spoiling | None,
    b1: Doubles,
) -> list[Lookup]:
    """Flip angle (rad) and TR (s) of every image, B1 that there is → a table for each; none where spoiling is ideal."""
    if spoiling is None:
        return []
    pairs = zip(flip_angles, repetition_times, strict=True)
    return [tabulated(np.array([angle]), time, spoiling, b1) for angle, time in pairs]


def ideally(
    signals: Doubles, solve: Callable[[Doubles], Doubles], tables: Sequence[Lookup], b1: Doubles
) -> Doubles:
    """Signals (n, m), what finds T1 (s) of ideal ones, the factors of all images, B1 → signals under ideal spoiling.

    T1 and signal/factor(T1) in turn, until T1 rests: the factor hardly depends on it, each round leaves a tenth of
    the error. Where there is no T1 the signals are not a number.
    """
    ideal = signals
    before = np.full(len(signals), np.nan)
    for _ in range(ROUNDS if tables else 0):
        t1 = solve(ideal)
        there = (t1 > 0) & np.isfinite(t1)
        at = np.where(there, t1, 1)[:, None]
        factor = np.concatenate([table(at, b1[:, None]) for table in tables], axis=1)
        ideal = np.where(there[:, None], signals / factor, np.nan)
        if np.all(np.abs(t1 - before)[there] < RESTING * t1[there]):
            break
        before = t1
    return ideal
