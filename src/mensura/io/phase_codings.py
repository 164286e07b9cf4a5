"""The ways in which scanners and converters are known to store phase."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Coding:
    """A known way of storing phase: the interval of values that is one full circle."""

    name: str
    low: float
    high: float
    for_fractions: bool = False

    @property
    def scale(self) -> float:
        """Radians per stored unit."""
        return 2 * math.pi / (self.high - self.low)

    @property
    def offset(self) -> float:
        """Radians to add: the middle of the interval is phase zero."""
        return -self.scale * (self.low + self.high) / 2

    def holds(self, low: float, high: float) -> bool:
        margin = 1e-3 * (self.high - self.low)
        return low >= self.low - margin and high <= self.high + margin

    def fill(self, low: float, high: float) -> float:
        """The part of the interval that the values reach at its less reached end, 0…1."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return max(0.0, min(middle - low, high - middle) / half)


MILLIRADIANS = Coding("milliradians", -1000 * math.pi, 1000 * math.pi, for_fractions=True)
UNSIGNED_12 = Coding("0…4095", 0, 4096)
SIGNED_13 = Coding("−4096…4094", -4096, 4096, for_fractions=True)
DEGREES = Coding("degrees", -180, 180, for_fractions=True)
POWERS = tuple(
    coding
    for bits in range(8, 17)
    for coding in (
        Coding(f"0…{2**bits - 1}", 0, 2**bits),
        Coding(f"−{2 ** (bits - 1)}…{2 ** (bits - 1) - 1}", -(2 ** (bits - 1)), 2 ** (bits - 1)),
    )
)

VENDORS: dict[str, tuple[Coding, ...]] = {
    "siemens": (UNSIGNED_12, SIGNED_13),
    "philips": (MILLIRADIANS, UNSIGNED_12),
    "ge": (MILLIRADIANS,),
}
"""How each vendor stores phase in whole numbers, the narrowest first."""

FILLED: tuple[Coding, ...] = (MILLIRADIANS, SIGNED_13, DEGREES, UNSIGNED_12, *POWERS)
"""Codings tried last; one counts only if the values reach nearly all of it, as noise does."""

TOLD_UNITS = {"deg": math.pi / 180, "degree": math.pi / 180, "degrees": math.pi / 180, "°": math.pi / 180}
TOLD_UNITS |= {"mrad": 1e-3, "millirad": 1e-3, "milliradian": 1e-3, "milliradians": 1e-3}
RADIANS = ("rad", "rads", "radian", "radians")
