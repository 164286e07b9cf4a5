"""The gradient of the field through a voxel → what it leaves of the signal at every echo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.scan import BoolArray, FloatArray

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
    times = np.asarray(echo_times, np.float64)
    known = np.where(mask, field, np.float32(np.nan))
    rises = np.stack([_rise(known, axis)[mask] for axis in range(3)], axis=1)
    rises[np.isnan(known[mask])] = np.nan
    left = np.zeros((len(rises), times.size), np.float32)
    _dephase(rises, times, left)
    return left


@njit(cache=True, parallel=True)
def _dephase(rises: FloatArray, times: NDArray[np.float64], left: FloatArray) -> None:
    """What rises (Hz, n × 3) leave at every time, written into `left` until it is less than `LEAST`."""
    for v in prange(len(rises)):
        for e in range(times.size):
            share = 1.0
            for axis in range(3):
                x = np.pi * rises[v, axis] * times[e]
                share *= 1 - x * x / 6 if abs(x) < 1e-3 else np.sin(x) / x
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
