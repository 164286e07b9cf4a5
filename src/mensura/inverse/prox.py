"""Proximal steps, fused with the update of their scaled dual variable (numba, in place).

Each works on the splitting x ↦ (a copy of a linear map of x, its dual): given the map's value v = A x and the
dual u, the copy becomes prox(v + u), the dual v + u − copy; what the next linear step needs, copy − dual, is
written over v.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]


@njit(cache=True, parallel=True)
def shrink_gradient(g: Array, dual: Array, threshold: np.float32) -> None:
    """Isotropic soft threshold of a gradient field: prox of `threshold`·‖·‖₂ summed over voxels."""
    nx, ny, nz = g.shape[1:]
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                a = g[0, i, j, k] + dual[0, i, j, k]
                b = g[1, i, j, k] + dual[1, i, j, k]
                c = g[2, i, j, k] + dual[2, i, j, k]
                size = np.sqrt(a * a + b * b + c * c)
                keep = np.float32(1.0) if size <= threshold else threshold / size
                # the dual is the projection onto the ball of that radius, the copy what is left of it
                dual[0, i, j, k] = a * keep
                dual[1, i, j, k] = b * keep
                dual[2, i, j, k] = c * keep
                left = np.float32(1.0) - np.float32(2.0) * keep
                g[0, i, j, k] = a * left
                g[1, i, j, k] = b * left
                g[2, i, j, k] = c * left


@njit(cache=True, parallel=True)
def fit_data(v: Array, dual: Array, data: Array, weight: Array) -> None:
    """prox of ½ w (v − data)² / μ with w/μ given as `weight` (≥ 0; infinite pins the copy to the data)."""
    nx, ny, nz = v.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                w = weight[i, j, k]
                a = v[i, j, k] + dual[i, j, k]
                pinned = w > np.float32(1e30)
                copy = data[i, j, k] if pinned else (a + w * data[i, j, k]) / (np.float32(1.0) + w)
                dual[i, j, k] = a - copy
                v[i, j, k] = np.float32(2.0) * copy - a
