"""The gradient of the field through a voxel → what it leaves of the signal at every echo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.fit import Status
from mensura.qmri.resampled import axes, carried
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Doubles = NDArray[np.float64]

LEAST = 0.4
"""Share of the signal below which an echo does not count: the field inside the voxel is no longer a plane to it."""


def dephasing(
    field: FloatArray, mask: BoolArray, echo_times: Sequence[float] | NDArray[np.float64]
) -> FloatArray:
    """Total field (Hz, unwrapped), mask, echo times (s) → share of the signal left (voxels of the mask, echoes).

    Π sinc(Δ_a f·TE) over the three axes, sinc(x) = sin(πx)/(πx): spins of a box across which the field rises by Δf
    spread evenly over 2π·Δf·TE. Δf is the mean of the differences to both neighbours in the mask, or that to the
    only one; 0 along an axis without any. 0 from the first echo of which less than `LEAST` is left, and where
    the field itself is not known.

    Fernández-Seara & Wehrli 2000, 10.1002/1522-2594(200009)44:3<358::AID-MRM3>3.0.CO;2-I; a gradient along every
    axis: Hernando et al. 2012, 10.1002/mrm.23306. Differs from the papers in that the gradient is that of a given
    field. Voxels that were interpolated after the acquisition are smaller than those that dephased: too little
    is undone.
    """
    return left(rises(field, mask), echo_times)


def rises(field: FloatArray, mask: BoolArray) -> FloatArray:
    """Field (any unit, unwrapped), mask → by how much it rises across each voxel along the axes: (voxels, 3).

    NaN where the field itself is not known.
    """
    known = np.where(mask, field, np.float32(np.nan))
    found = np.stack([_rise(known, axis)[mask] for axis in range(3)], axis=1)
    found[np.isnan(known[mask])] = np.nan
    return found


def rises_on(field: FloatArray, known: BoolArray, grids: tuple[Grid, Grid]) -> FloatArray:
    """Field where it is known, its grid and another → by how much it rises across the other's voxels: (x, y, z, 3).

    The differences on the field's own grid (`rises`) are brought over, averaged where the other's voxels are the
    larger, and added up along the other's axes. NaN where no field is known within a voxel of its own.
    """
    along = axes(*grids)
    larger = np.sqrt(np.maximum(np.square(along).sum(axis=1) - 1, 0))
    own = np.zeros((*known.shape, 3), np.float32)
    own[known] = rises(field, known)
    there = np.stack([carried(own[..., a], known, grids, larger) for a in range(3)], axis=3)
    return np.asarray(there @ along.astype(np.float32))


def left(rises: FloatArray, echo_times: Sequence[float] | NDArray[np.float64]) -> FloatArray:
    """By how much the field rises across voxels (Hz, n × 3), echo times (s) → share of the signal left (n, echoes).

    0 from the first echo of which less than `LEAST` is left, and where the field is not known.
    """
    times, places = np.unique(np.asarray(echo_times, np.float64), return_inverse=True)
    shares = np.zeros((len(rises), times.size), np.float32)
    _dephase(rises, times, shares)
    return shares if np.array_equal(places, np.arange(times.size)) else shares[:, places]


@dataclass(frozen=True, eq=False)
class Dephasing:
    """By how much the field rises across voxels (Hz, n × 3), from the least to the steepest.

    A fit knows each voxel by its `place` among them, (n): one number by which voxels that dephase alike lie together.
    """

    rises: Doubles
    place: Doubles

    @classmethod
    def of(cls, rises: FloatArray) -> Dephasing:
        """In any order, not a number where the field is not known."""
        known = np.nan_to_num(np.asarray(rises, np.float64))
        order = np.argsort(np.sum(np.square(known), axis=1), kind="stable")
        place = np.empty(len(known))
        place[order] = np.arange(len(known))
        return cls(known[order], place)

    def left(self, place: Any, times: Any) -> Doubles:
        """Places ((n, 1), or a number between two), times (s) → Π sinc of the signal, (n, times)."""
        rises = self.rises[np.rint(np.ravel(place)).astype(np.intp)]
        made = np.empty((len(rises), np.size(times)))
        _shares(rises, np.asarray(times, np.float64), made)
        return made


def counting(signals: Any, rises: FloatArray | None, echo_times: Doubles) -> tuple[Doubles, Dephasing | None]:
    """Signals (n, m), rises (Hz, n × 3), echo times (s) → data without the echoes that do not count (`left`), and what
    dephases the others."""
    data = np.asarray(signals, np.float64)
    if rises is None:
        return data, None
    if np.shape(rises) != (len(data), 3):
        raise ScanError(
            f"there are {np.shape(rises)} rises of the field for {len(data)} voxels; give three of each"
        )
    counts = left(np.asarray(rises, np.float32), echo_times) > 0
    return np.where(counts, data, np.nan), Dephasing.of(rises)


def dephased(status: NDArray[np.uint8], data: Doubles, rises: FloatArray | None) -> NDArray[np.uint8]:
    """How voxels ended; those that the known field left too few echoes of are not identifiable, not without signal."""
    if rises is None:
        return status
    lost = (status == Status.NO_SIGNAL) & np.isnan(data).any(axis=1) & np.isfinite(rises).all(axis=1)
    return np.where(lost, np.uint8(Status.NOT_IDENTIFIABLE), status)


@njit(cache=True, nogil=True)
def _sinc(x: float) -> float:
    """sin(x)/x"""
    return float(1 - x * x / 6 if abs(x) < 1e-3 else np.sin(x) / x)


@njit(cache=True, nogil=True)
def _shares(rises: Doubles, times: Doubles, made: Doubles) -> None:
    for v in range(len(rises)):
        for e in range(times.size):
            made[v, e] = 1.0
            for axis in range(3):
                made[v, e] *= _sinc(np.pi * rises[v, axis] * times[e])


@njit(cache=True, parallel=True)
def _dephase(rises: FloatArray, times: NDArray[np.float64], left: FloatArray) -> None:
    """What rises (Hz, n × 3) leave at every time, written into `left` until it is less than `LEAST`."""
    for v in prange(len(rises)):
        for e in range(times.size):
            share = 1.0
            for axis in range(3):
                share *= _sinc(np.pi * rises[v, axis] * times[e])
            if not share >= LEAST:
                break
            left[v, e] = share


def _rise(field: FloatArray, axis: int) -> FloatArray:
    """By how much the field rises across each voxel along an axis: NaN is no field, and no neighbour."""
    steps = np.diff(field, axis=axis)
    total, count = np.zeros(field.shape, np.float32), np.zeros(field.shape, np.float32)
    for side in (slice(None, -1), slice(1, None)):
        place = (*(slice(None),) * axis, side)
        total[place] += np.nan_to_num(steps)
        count[place] += np.isfinite(steps)
    return np.asarray(total / np.maximum(count, np.float32(1)))
