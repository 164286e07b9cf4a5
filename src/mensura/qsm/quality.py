"""How far the phase of neighbouring voxels can be trusted: the edge costs that guide the unwrapping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.scan import BoolArray, FloatArray, ScanError

Costs = NDArray[np.uint8]
TWO_PI = 2 * np.pi
TURN = np.float32(TWO_PI)
PER_TURN = np.float32(1 / TWO_PI)
PER_PI = np.float32(1 / np.pi)
HALF = np.float32(0.5)
ONE = np.float32(1)
UNKNOWN_LINEARITY = np.float32(0.95)
WEIGHTS = "111100"
"""Which of ROMEO's six weights are used unless told otherwise: all but the two of the magnitude's level."""
BRIGHT = 0.5
"""Share of the mask's high magnitude below which it counts as low, above which as high."""
MISSED, SHARED = 0.1, 0.5
"""Misfit of the first echo (rad) and its correlation between neighbours from which an offset is believed in."""


def edge_costs(
    phase: FloatArray,
    mask: BoolArray,
    *,
    magnitude: FloatArray | None = None,
    other: FloatArray | None = None,
    ratio: float = 1.0,
    weights: str = WEIGHTS,
) -> Costs:
    """Wrapped phase (rad, 3D) → cost of the edges to the next voxel along x, y, z: 1 … 255 (worst); 0 = none.

    The quality of an edge is the product of spatial phase coherence, temporal coherence of the phase
    gradient with the `other` echo (`ratio` = TE / TE of `other`), phase linearity, magnitude coherence, and two
    weights against a magnitude that is low or high for the mask, each mapped to 0.1 … 1 (the last two to
    0.5 … 1). `weights` has a 1 for each factor that is used, in this order. Edges join voxels of the mask with
    finite phase only. Raises ScanError for `weights` that are not six of 0 and 1.

    Dymerska et al. 2021, doi:10.1002/mrm.28563. Differs from the paper in that second differences that reach
    outside the mask are given a fixed linearity.
    """
    if len(weights) != 6 or not set(weights) <= {"0", "1"}:
        raise ScanError(f"the weights {weights!r} are not six of 0 and 1; give for example {WEIGHTS}")
    mag = np.ones_like(phase) if magnitude is None else magnitude
    bright = BRIGHT * _high(mag, mask) if "1" in weights[4:] else 1.0
    chosen = np.array([*(int(w) for w in weights), bright], np.float32)
    return _edge_costs(phase, phase if other is None else other, np.float32(ratio), mag, mask, chosen)


def _high(magnitude: FloatArray, mask: BoolArray) -> float:
    """The 95th percentile of the magnitude in the mask."""
    inside = magnitude[mask]
    return float(np.percentile(inside[:: max(1, inside.size // 100_000)], 95)) if inside.size else 1.0


def voxel_quality(
    phase: FloatArray,
    mask: BoolArray,
    *,
    magnitude: FloatArray | None = None,
    echo_times: Sequence[float] | None = None,
) -> FloatArray:
    """Wrapped phase (rad; 3D, or 4D with `echo_times` in s) → quality map, 0 (noise, outside) … 1 (smooth).

    The mean quality of a voxel's six edges, taken at the first echo with the gradient checked by the second.
    """
    first, mag, other, ratio = echo_pair(phase, magnitude, echo_times, 0)
    costs = edge_costs(first, mask, magnitude=mag, other=other, ratio=ratio)
    quality = np.where(costs == 0, 0, (255 - costs.astype(np.float32)) / 254)
    total = quality.sum(axis=-1)
    total[1:] += quality[:-1, :, :, 0]
    total[:, 1:] += quality[:, :-1, :, 1]
    total[:, :, 1:] += quality[:, :, :-1, 2]
    return np.asarray(total / 6, dtype=np.float32)


def echo_pair(
    phase: FloatArray, magnitude: FloatArray | None, echo_times: Sequence[float] | None, echo: int
) -> tuple[FloatArray, FloatArray | None, FloatArray | None, float]:
    """One echo as contiguous volumes: its phase and magnitude, the neighbouring echo's phase, TE / its TE.

    Raises ScanError if the echo times are missing or do not fit the phase.
    """
    if phase.ndim == 3:
        return volume(phase), None if magnitude is None else volume(magnitude), None, 1.0
    mag = None if magnitude is None else volume(magnitude[..., echo])
    if phase.shape[3] == 1:
        return volume(phase[..., 0]), mag, None, 1.0
    if echo_times is None or len(echo_times) != phase.shape[3]:
        given = "none" if echo_times is None else str(len(echo_times))
        raise ScanError(
            f"phase with {phase.shape[3]} echoes needs as many echo times, but {given} were given"
        )
    near = echo - 1 if echo > 0 else 1
    return volume(phase[..., echo]), mag, volume(phase[..., near]), echo_times[echo] / echo_times[near]


def volume(x: NDArray[np.generic]) -> FloatArray:
    """Any array → contiguous float32 (no copy if it is so already)."""
    return np.ascontiguousarray(x, dtype=np.float32)


@njit(cache=True)
def wrap(x: np.float32) -> np.float32:
    """A phase → the same phase in [−π, π)."""
    return x - TURN * np.floor(x * PER_TURN + HALF)  # type: ignore[no-any-return]


@njit(cache=True)
def _bent(before: np.float32, middle: np.float32, after: np.float32) -> np.float32:
    """1 for a linear course of the phase over three voxels, 0 for a second difference of 2 rad or more."""
    second = abs(wrap(before - middle - middle + after)) * HALF
    if second <= ONE:
        return ONE - second
    return UNKNOWN_LINEARITY if np.isnan(second) else np.float32(0)


@njit(cache=True, error_model="numpy")
def _cost(
    step: np.float32,
    other_step: np.float32,
    linearity: np.float32,
    magnitudes: tuple[np.float32, np.float32],
    chosen: FloatArray,
) -> int:
    """Quality factors of an edge → its 8-bit cost; 0 where the phase is not a number."""
    if not np.isfinite(step):
        return 0
    low, offset = np.float32(0.9), np.float32(0.1)
    bright = chosen[6]
    small, large = min(magnitudes), max(magnitudes)
    quality = ONE
    if chosen[0] > 0:
        quality *= offset + low * (ONE - abs(step) * PER_PI)
    if chosen[2] > 0:
        quality *= offset + low * linearity
    if chosen[1] > 0:
        quality *= offset + low * max(ONE - abs(step - other_step), np.float32(0))
    if chosen[3] > 0:
        fraction = small / large if small > 0 else np.float32(0)
        quality *= offset + low * fraction * fraction
    if chosen[4] > 0:
        quality *= HALF + HALF * min(ONE, max(small, np.float32(0)) / bright)
    if chosen[5] > 0 and large > bright:
        quality *= HALF + HALF * bright / large
    return 1 + int(np.float32(254) * (ONE - quality) + HALF)


@njit(cache=True, parallel=True)
def _edge_costs(
    phase: FloatArray,
    other: FloatArray,
    ratio: np.float32,
    magnitude: FloatArray,
    mask: BoolArray,
    chosen: FloatArray,
) -> Costs:
    shape = phase.shape
    costs = np.zeros((shape[0], shape[1], shape[2], 3), np.uint8)
    nan = np.float32(np.nan)
    for i in prange(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                if not mask[i, j, k]:
                    continue
                for axis in range(3):
                    di, dj, dk = int(axis == 0), int(axis == 1), int(axis == 2)
                    i1, j1, k1 = i + di, j + dj, k + dk
                    if i1 >= shape[0] or j1 >= shape[1] or k1 >= shape[2] or not mask[i1, j1, k1]:
                        continue
                    i0, j0, k0, i2, j2, k2 = i - di, j - dj, k - dk, i1 + di, j1 + dj, k1 + dk
                    here, there = phase[i, j, k], phase[i1, j1, k1]
                    before = phase[i0, j0, k0] if min(i0, j0, k0) >= 0 and mask[i0, j0, k0] else nan
                    inside = i2 < shape[0] and j2 < shape[1] and k2 < shape[2]
                    after = phase[i2, j2, k2] if inside and mask[i2, j2, k2] else nan
                    costs[i, j, k, axis] = _cost(
                        wrap(there - here),
                        wrap(other[i1, j1, k1] - other[i, j, k]) * ratio,
                        _bent(before, here, there) * _bent(here, there, after),
                        (magnitude[i, j, k], magnitude[i1, j1, k1]),
                        chosen,
                    )
    return costs


def offset_left(
    unwrapped_phase: FloatArray,
    total_field: FloatArray,
    mask: BoolArray,
    *,
    echo_times: Sequence[float],
    hz_per_ppm: float,
) -> bool:
    """Unwrapped phase of several echoes (rad) and the field (ppm) fitted to it → whether an offset is left in it.

    True if the first echo misses φ = 2π f TE by more than 0.1 rad in half of the voxels, and does so alike in
    neighbouring ones (correlation above 0.5): noise and dephasing are not shared by neighbours, the receive
    coils' phase is. One echo cannot tell: False.
    """
    if unwrapped_phase.ndim == 3 or unwrapped_phase.shape[3] < 2:
        return False
    angle = unwrapped_phase[..., 0] - np.float32(TWO_PI * hz_per_ppm * echo_times[0]) * total_field
    known = mask & np.isfinite(angle)
    missed = np.where(known, np.sin(angle), np.float32(0))
    power, common = 0.0, 0.0
    for axis in range(3):
        a, b = np.moveaxis(missed, axis, 0)[1:], np.moveaxis(missed, axis, 0)[:-1]
        both = np.moveaxis(known, axis, 0)[1:] & np.moveaxis(known, axis, 0)[:-1]
        common += float(np.sum(a * b, dtype=np.float64))
        power += float(np.sum((a * a + b * b) * both, dtype=np.float64)) / 2
    typical = float(np.median(np.abs(missed[known]))) if known.any() else 0.0
    return typical > MISSED and common > SHARED * power
