"""The little linear algebra of every voxel: normal equations of a few unknowns, solved by Cholesky's factors.

All run in one thread without the interpreter's lock, so that chunks of voxels can go side by side.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

SMALLEST = 1e-13
"""Pivot, relative to its diagonal, at which two columns count as the same."""


@njit(cache=True, nogil=True)
def _factor(a: Doubles, linear: int, damping: float) -> bool:
    """Cholesky's lower factor in place; False where the matrix is not positive definite to working precision.

    Damping lengthens what is left of the later columns once the first `linear` ones are projected out.
    """
    n = a.shape[0]
    for i in range(n):
        own = a[i, i]
        for j in range(i):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            a[i, j] = s / a[j, j]
        s = own
        for k in range(min(i, linear)):
            s -= a[i, k] * a[i, k]
        s += damping * s * (i >= linear)
        for k in range(linear, i):
            s -= a[i, k] * a[i, k]
        if not s > SMALLEST * own:
            return False
        a[i, i] = np.sqrt(s)
    return True


@njit(cache=True, nogil=True)
def _substitute(a: Doubles, b: Doubles) -> None:
    """b ← A⁻¹b from the factor of A."""
    n = a.shape[0]
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= a[i, k] * b[k]
        b[i] = s / a[i, i]
    for i in range(n - 1, -1, -1):
        s = b[i]
        for k in range(i + 1, n):
            s -= a[k, i] * b[k]
        b[i] = s / a[i, i]


@njit(cache=True, nogil=True)
def _normal(columns: Doubles, weight: Doubles, a: Doubles) -> None:
    """a = Cᵀ W C of one voxel, its lower half."""
    m, p = columns.shape
    a[:] = 0
    for e in range(m):
        for i in range(p):
            left = weight[e] * columns[e, i]
            for j in range(i + 1):
                a[i, j] += left * columns[e, j]


@njit(cache=True, nogil=True)
def project(basis: Doubles, data: Doubles, weight: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Best amplitudes (n, k), residuals (n, m) and ½ Σ w r² (n) of data (n, m) on a basis (n, m, k).

    Where the basis is not one (its signals are alike), the amplitudes are 0.
    """
    n, m, k = basis.shape
    amplitudes, residual, cost = np.zeros((n, k)), np.empty((n, m)), np.empty(n)
    a, b = np.empty((k, k)), np.empty(k)
    for v in range(n):
        _normal(basis[v], weight[v], a)
        b[:] = 0
        for e in range(m):
            for i in range(k):
                b[i] += weight[v, e] * basis[v, e, i] * data[v, e]
        if _factor(a, k, 0.0):
            _substitute(a, b)
            amplitudes[v] = b
        total = 0.0
        for e in range(m):
            r = data[v, e]
            for i in range(k):
                r -= amplitudes[v, i] * basis[v, e, i]
            residual[v, e] = r
            total += 0.5 * weight[v, e] * r * r
        cost[v] = total
    return amplitudes, residual, cost


@njit(cache=True, nogil=True)
def steps(
    columns: Doubles, residual: Doubles, weight: Doubles, linear: int, damping: Doubles
) -> tuple[Doubles, Doubles]:
    """(CᵀWC + damping) step = CᵀW r of every voxel → steps (n, p), and what each lowers ½ Σ w r² by (n)."""
    n, m, p = columns.shape
    found, gain = np.zeros((n, p)), np.zeros(n)
    a, b = np.empty((p, p)), np.empty(p)
    for v in range(n):
        _normal(columns[v], weight[v], a)
        b[:] = 0
        for e in range(m):
            for i in range(p):
                b[i] += weight[v, e] * columns[v, e, i] * residual[v, e]
        right = b.copy()
        if _factor(a, linear, damping[v]):
            _substitute(a, b)
            found[v] = b
            for i in range(p):
                gain[v] += 0.5 * right[i] * b[i]
    return found, gain


@njit(cache=True, nogil=True)
def inverses(columns: Doubles, weight: Doubles) -> Doubles:
    """(CᵀWC)⁻¹ of every voxel (n, p, p); NaN where it has none."""
    n, _, p = columns.shape
    found = np.full((n, p, p), np.nan)
    a, b = np.empty((p, p)), np.empty(p)
    for v in range(n):
        _normal(columns[v], weight[v], a)
        if not _factor(a, p, 0.0):
            continue
        for i in range(p):
            b[:] = 0
            b[i] = 1
            _substitute(a, b)
            found[v, i] = b
    return found
