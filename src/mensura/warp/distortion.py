"""Where the voxels of an undistorted image lie in the distorted one, and how their brightness changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.scan import FloatArray, Grid
from mensura.warp.harmonics import FIELDS, Doubles, Harmonics, Terms, evaluate, room

STEPS = 2
"""Of Newton's method, which finds where a slice has been excited: from 4 voxels off to less than 0.001."""


@dataclass(frozen=True, eq=False)
class Distortion:
    """`shift` (x, y, z, 3): from a voxel to where its content lies in the distorted image, in voxels. `determinant`:
    volume there over volume here, by which a signal per volume must be multiplied; 0 or less where the image folds."""

    shift: FloatArray
    determinant: FloatArray

    def length(self, grid: Grid) -> float:
        """The largest shift, mm."""
        squares = sum((self.shift @ row.astype(np.float32)) ** 2 for row in np.asarray(grid.affine)[:3, :3])
        return float(np.sqrt(np.max(squares)))


def distortion(
    harmonics: Harmonics, grid: Grid, frame: NDArray[np.float64], *, planar: bool = False
) -> Distortion:
    """A coil's harmonics, the image's grid and `coil_frame` → the distortion of its voxels.

    Spins at r are encoded as if they were at r + d(r), for every axis along which gradients encode or select. So
    the image at r + d(r) shows r, and has det(1 + ∂d/∂r)⁻¹ times its signal, d and ∂d/∂r by the harmonics exactly.
    With `planar`, slices (the third axis) stay as bent as they were excited: for a voxel of a slice the point on its
    normal is found that was encoded in this slice, and only its shift within the slice is told.
    """
    to_coil = np.asarray(frame) @ grid.affine
    shift = np.empty((*grid.shape, 3), np.float32)
    determinant = np.empty(grid.shape, np.float32)
    scaled = np.asarray(to_coil / harmonics.radius, np.float64)
    back = np.asarray(np.linalg.inv(scaled[:3, :3]), np.float64)
    _fill(scaled, back, harmonics.terms, STEPS if planar else 0, shift, determinant)
    return Distortion(shift, determinant)


@njit(cache=True, parallel=True)
def _fill(
    to_coil: Doubles, to_voxels: Doubles, terms: Terms, steps: int, shift: FloatArray, determinant: FloatArray
) -> None:
    """All voxels; `to_coil` leads to units of the radius, `to_voxels` back."""
    nx, ny, nz = determinant.shape
    for i in prange(nx):
        table, found, moved = room(terms), np.empty(FIELDS), np.empty(3)
        for j in range(ny):
            for k in range(nz):
                at = float(k)
                for step in range(steps + 1):
                    x = to_coil[0, 0] * i + to_coil[0, 1] * j + to_coil[0, 2] * at + to_coil[0, 3]
                    y = to_coil[1, 0] * i + to_coil[1, 1] * j + to_coil[1, 2] * at + to_coil[1, 3]
                    z = to_coil[2, 0] * i + to_coil[2, 1] * j + to_coil[2, 2] * at + to_coil[2, 3]
                    evaluate(x, y, z, terms, table, found)
                    for axis in range(3):
                        moved[axis] = (to_voxels[axis, 0] * found[0] + to_voxels[axis, 1] * found[1]
                                       + to_voxels[axis, 2] * found[2])  # fmt: skip
                    if step < steps:
                        at -= (at + moved[2] - k) / _slope(found, to_coil, to_voxels)
                shift[i, j, k, 0], shift[i, j, k, 1] = moved[0], moved[1]
                shift[i, j, k, 2] = moved[2] if steps == 0 else 0.0
                determinant[i, j, k] = _determinant(found)


@njit(cache=True, nogil=True)
def _slope(found: Doubles, to_coil: Doubles, to_voxels: Doubles) -> float:
    """How fast the place that is encoded moves along the slice axis with the place itself."""
    total = 1.0
    for axis in range(3):
        for along in range(3):
            total += to_voxels[2, axis] * found[3 + 3 * axis + along] * to_coil[along, 2]
    return total


@njit(cache=True, nogil=True)
def _determinant(found: Doubles) -> float:
    """det(1 + ∂d/∂r)."""
    a, b, c = 1 + found[3], found[4], found[5]
    d, e, f = found[6], 1 + found[7], found[8]
    g, h, i = found[9], found[10], 1 + found[11]
    return float(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
