"""Images between their voxels, by B-splines that pass through every voxel; real or complex, in one interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.scan import FloatArray
from mensura.warp.distortion import Distortion

ORDER = 5
"""Of the splines; see docs/decisions/undistorted-once.md for what others cost and lose."""


def undistorted(signal: NDArray[Any], found: Distortion, *, intensity: bool = True) -> NDArray[Any]:
    """A distorted image (x, y, z), real or complex → the undistorted one, on the same grid.

    Each voxel is fetched from where `found` says, by a spline of order `ORDER` through real and imaginary part; with
    `intensity`, it is multiplied by the determinant there. Voxels whose place is outside of the image, or where the
    image folds (determinant 0 or less), are 0; what is not finite counts as 0. A real image without negative values
    gets none beside its edges.
    """
    kind = np.complex64 if np.iscomplexobj(signal) else np.float32
    made = np.empty(signal.shape, kind)
    factor = found.determinant if intensity else np.where(found.determinant > 0, np.float32(1), np.float32(0))
    _sample(_coefficients(signal, kind), found.shift, factor, ORDER, made)
    if kind is np.float32 and not np.any(signal < 0):
        np.maximum(made, 0, out=made)
    return made


def _coefficients(signal: NDArray[Any], kind: type) -> NDArray[Any]:
    """The factors of the splines that pass through every voxel; beyond its edges the image is mirrored."""
    from scipy.ndimage import spline_filter1d

    double = np.complex128 if kind is np.complex64 else np.float64
    made = np.nan_to_num(signal.astype(double), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    for axis in range(3):
        made = spline_filter1d(made, order=ORDER, axis=axis, output=double, mode="mirror")
    return made.astype(kind)


@njit(cache=True, nogil=True)
def _weights(
    at: float, count: int, order: int, weights: NDArray[np.float64], nodes: NDArray[np.int64]
) -> None:
    """The order + 1 splines (odd order) that reach a place, each with its node, mirrored into the image."""
    first = int(np.floor(at))
    t = at - first
    weights[0] = 1.0
    for j in range(1, order + 1):
        carried = 0.0
        for r in range(j):
            share = weights[r] / j
            weights[r] = carried + (r + 1 - t) * share
            carried = (t + j - r - 1) * share
        weights[j] = carried
    period = max(2 * (count - 1), 1)
    for r in range(order + 1):
        node = (first - order // 2 + r) % period
        nodes[r] = node if node < count else period - node


@njit(cache=True, parallel=True)
def _sample(
    coefficients: NDArray[Any], shift: FloatArray, factor: FloatArray, order: int, made: NDArray[Any]
) -> None:
    nx, ny, nz = made.shape
    taps = order + 1
    for i in prange(nx):
        wx, wy, wz = np.empty(taps), np.empty(taps), np.empty(taps)
        px, py, pz = np.empty(taps, np.int64), np.empty(taps, np.int64), np.empty(taps, np.int64)
        for j in range(ny):
            for k in range(nz):
                x, y, z = i + shift[i, j, k, 0], j + shift[i, j, k, 1], k + shift[i, j, k, 2]
                total = 0 * coefficients[0, 0, 0]
                inside = -0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5 and -0.5 <= z <= nz - 0.5
                if inside and factor[i, j, k] > 0:
                    _weights(x, nx, order, wx, px)
                    _weights(y, ny, order, wy, py)
                    _weights(z, nz, order, wz, pz)
                    for a in range(taps):
                        for b in range(taps):
                            row = coefficients[px[a], py[b]]
                            line = 0 * total
                            for c in range(taps):
                                line += np.float32(wz[c]) * row[pz[c]]
                            total += np.float32(wx[a] * wy[b]) * line
                    total *= factor[i, j, k]
                made[i, j, k] = total
