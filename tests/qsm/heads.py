"""A small digital head for the tests of the inversions, simulated once."""

from __future__ import annotations

from functools import cache

from mensura.phantom.head import simulate_head
from mensura.phantom.simulation import Simulation

ECHO_TIMES = (0.004, 0.012, 0.020, 0.028)


@cache
def head(angle: float = 0.0, voxel: tuple[float, float, float] = (3.0, 3.0, 3.0)) -> Simulation:
    """A head at 3 T and SNR 50 on a grid of about 190 mm."""
    shape = tuple(int(192 // h) | 1 for h in voxel)
    return simulate_head(shape, voxel, echo_times=ECHO_TIMES, snr=50, seed=3, b0_angle=angle)
