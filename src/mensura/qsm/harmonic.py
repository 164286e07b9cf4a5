"""The 7-point Laplacian inside a mask, for fields that satisfy Laplace's equation there."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy.ndimage import binary_erosion

from mensura.scan import BoolArray, FloatArray


def interior(mask: BoolArray) -> BoolArray:
    """The voxels whose six neighbours all lie in the mask."""
    return binary_erosion(mask)  # type: ignore[no-any-return]


@njit(cache=True, parallel=True)
def neighbour_sum(x: FloatArray, couplings: FloatArray) -> FloatArray:
    """Σ over the six neighbours of coupling·value (couplings 1/h² per axis); neighbours off the grid count as 0."""
    out = np.zeros_like(x)
    nx, ny, nz = x.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                s = np.float32(0)
                if i > 0:
                    s += couplings[0] * x[i - 1, j, k]
                if i + 1 < nx:
                    s += couplings[0] * x[i + 1, j, k]
                if j > 0:
                    s += couplings[1] * x[i, j - 1, k]
                if j + 1 < ny:
                    s += couplings[1] * x[i, j + 1, k]
                if k > 0:
                    s += couplings[2] * x[i, j, k - 1]
                if k + 1 < nz:
                    s += couplings[2] * x[i, j, k + 1]
                out[i, j, k] = s
    return out


@njit(cache=True, parallel=True)
def negative_laplacian(x: FloatArray, inside: BoolArray, couplings: FloatArray) -> FloatArray:
    """−∇²x on the voxels `inside` (zero elsewhere), for an x that is zero outside them; off the grid counts as 0."""
    out = np.zeros_like(x)
    nx, ny, nz = x.shape
    total = np.float32(2) * (couplings[0] + couplings[1] + couplings[2])
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                if inside[i, j, k]:
                    # the interior of a mask never touches the edge of the grid
                    s = couplings[0] * (x[i - 1, j, k] + x[i + 1, j, k])
                    s += couplings[1] * (x[i, j - 1, k] + x[i, j + 1, k])
                    s += couplings[2] * (x[i, j, k - 1] + x[i, j, k + 1])
                    out[i, j, k] = total * x[i, j, k] - s
    return out
