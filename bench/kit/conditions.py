"""The heads that the methods are tried on: each factor alone against a common base, at two sizes, and some together.

No default of any method was chosen while looking at the heads of these seeds; keep it so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mensura.phantom.head import simulate_head
from mensura.phantom.lesions import LESIONS
from mensura.phantom.simulation import Simulation

PROTOCOLS: Mapping[float, tuple[tuple[float, ...], float]] = {
    1.5: ((0.006, 0.018, 0.030, 0.042), 0.050),
    3.0: ((0.004, 0.012, 0.020, 0.028), 0.035),
    7.0: ((0.004, 0.009, 0.014, 0.019), 0.025),
}
"""Field strength (T) → echo times and repetition time (s), as such scans are made."""
SEED, OTHER_SEED = 2026, 31
ALL = tuple(LESIONS)


@dataclass(frozen=True)
class Condition:
    """One head in one scanner: sizes in voxels and mm, field in T, tilt of the slices against B0 in degrees."""

    name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    field_strength: float = 3.0
    snr: float = 50.0
    b0_angle: float = 0.0
    lesions: tuple[str, ...] = ()
    seed: int = SEED
    base: str = "template"
    supersampling: int = 2

    @property
    def echo_times(self) -> tuple[float, ...]:
        return PROTOCOLS[self.field_strength][0]

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    def scan(self) -> Simulation:
        """The simulated scan and its truth."""
        times, repetition_time = PROTOCOLS[self.field_strength]
        return simulate_head(
            self.shape,
            self.voxel_size,
            field_strength=self.field_strength,
            echo_times=times,
            repetition_time=repetition_time,
            snr=self.snr,
            seed=self.seed,
            b0_angle=self.b0_angle,
            lesions=self.lesions,
            supersampling=self.supersampling,
            base=self.base,
        )


MM2, SMALL = (2.0, 2.0, 2.0), (80, 96, 80)
MM1, LARGE = (1.0, 1.0, 1.0), (164, 205, 205)
FLAT2, SMALL_FLAT = (1.5, 1.5, 3.0), (108, 128, 54)
FLAT1, LARGE_FLAT = (0.7, 0.7, 2.0), (228, 270, 100)

FULL = (
    Condition("2mm", SMALL, MM2),
    Condition("2mm 1.5T", SMALL, MM2, field_strength=1.5),
    Condition("2mm 7T", SMALL, MM2, field_strength=7.0),
    Condition("2mm SNR20", SMALL, MM2, snr=20.0),
    Condition("2mm oblique", SMALL, MM2, b0_angle=30.0),
    Condition("2mm anisotropic", SMALL_FLAT, FLAT2),
    Condition("2mm lesions", SMALL, MM2, lesions=ALL),
    Condition("2mm other head", SMALL, MM2, seed=OTHER_SEED),
    Condition("2mm drawn head", SMALL, MM2, base="analytic"),
    Condition("2mm hard", SMALL_FLAT, FLAT2, 7.0, 20.0, 30.0, ALL),
    Condition("1mm", LARGE, MM1),
    Condition("1mm 1.5T SNR20", LARGE, MM1, field_strength=1.5, snr=20.0),
    Condition("1mm 7T lesions", LARGE, MM1, field_strength=7.0, lesions=ALL),
    Condition("1mm anisotropic", LARGE_FLAT, FLAT1),
    Condition("1mm oblique other head", LARGE, MM1, b0_angle=30.0, seed=OTHER_SEED),
)
SMOKE = (
    Condition("3mm", (54, 64, 54), (3.0, 3.0, 3.0)),
    Condition("3mm hard", (72, 86, 36), (2.25, 2.25, 4.5), 7.0, 20.0, 30.0, ALL),
)
TINY = Condition("4mm", (40, 48, 40), (4.0, 4.0, 4.0), supersampling=1)
"""What every method is called on before it is timed."""
