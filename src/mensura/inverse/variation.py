"""First and second variations of a volume as terms of a sum: Σ|∇x − v| and Σ|E v|, each step one pass (numba).

As in `inverse.prox` a term keeps its state, here (3, x, y, z) and (6, x, y, z); the value (a periodic forward
difference, per mm) and the proximal step are made on the fly. E v is the symmetrised gradient of a vector field, its
mixed components times √2, so that the plain norm of the six is the norm of the tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
ROOT = np.float32(np.sqrt(0.5))
NEWTON_STEPS = 3
PLANES = 16
"""Planes that one task takes: its first neighbour is made anew, so few tasks; the same whatever the threads."""


@njit(inline="always")
def _kept(a: Any, b: Any, c: Any, limit: Any) -> Any:
    """The share of a vector that the proximal step of limit·‖·‖ keeps."""
    size = np.sqrt(a * a + b * b + c * c)
    return ZERO if size <= limit else ONE - limit / size


@njit(inline="always")
def _kept_along(a: Any, b: Any, c: Any, limit: Any, e: Any, f: Any, g: Any) -> Any:
    """The shares along each axis that the proximal step of limit·‖(e a, f b, g c)‖ keeps.

    Nothing where ‖(a/e, b/f, c/g)‖ ≤ limit, as in most voxels. Else each is m/(m + limit·e²), m the norm that is left:
    Newton on the reciprocal root of its equation, which is concave, from below; the start is the answer where all
    weights are the same.
    """
    if e == f and f == g:
        share = _kept(a, b, c, limit * e)
        return share, share, share
    x, y, z, bound = a * f * g, b * e * g, c * e * f, limit * e * f * g
    if x * x + y * y + z * z < bound * bound:
        return ZERO, ZERO, ZERO
    p, q, r = e * e * limit, f * f * limit, g * g * limit
    x, y, z = abs(e * a), abs(f * b), abs(g * c)
    m = max(max(x - p, y - q, z - r), max(np.sqrt(x * x + y * y + z * z) - max(p, q, r), ZERO))
    for _ in range(NEWTON_STEPS):
        sum2, sum3 = ZERO, ZERO
        for t, s in ((x, p), (y, q), (z, r)):
            if s > 0:
                inverse = ONE / (m + s)
                part = t * inverse
                sum2 += part * part
                sum3 += part * part * inverse
        if sum2 <= ONE and m == 0:
            break
        m += (np.sqrt(sum2) - ONE) * sum2 / sum3
    x = m / (m + p) if p > 0 else ONE
    y = m / (m + q) if q > 0 else ONE
    z = m / (m + r) if r > 0 else ONE
    return x, y, z


@njit(inline="always")
def _shares(a: Any, b: Any, c: Any, limit: Any, edges: Any, at: Any) -> Any:
    """The shares of a gradient at a voxel that are kept; edges (3, x, y, z) lie in the low corner, 1 beyond."""
    if edges is not None:
        i, j, k = at
        if i < edges.shape[1] and j < edges.shape[2] and k < edges.shape[3]:
            return _kept_along(a, b, c, limit, edges[0, i, j, k], edges[1, i, j, k], edges[2, i, j, k])
    share = _kept(a, b, c, limit)
    return share, share, share


@njit(inline="always")
def _step_voxel(s: Array, x: Array, v: Any, relax: Any, limit: Any, edges: Any, h: Array, at: Any) -> None:
    i, j, k, i1, j1, k1 = at
    a, b, c = s[0, i, j, k], s[1, i, j, k], s[2, i, j, k]
    here = x[i, j, k]
    p, q, r = (x[i1, j, k] - here) * h[0], (x[i, j1, k] - here) * h[1], (x[i, j, k1] - here) * h[2]
    if v is not None:
        p, q, r = p - v[0, i, j, k], q - v[1, i, j, k], r - v[2, i, j, k]
    e, f, g = _shares(a, b, c, limit, edges, (i, j, k))
    s[0, i, j, k] = a + relax * (p - e * a)
    s[1, i, j, k] = b + relax * (q - f * b)
    s[2, i, j, k] = c + relax * (r - g * c)


@njit(cache=True, parallel=True)
def slope_step(
    state: Array, x: Array, v: Any, relax: np.float32, limit: np.float32, edges: Any, inverse_size: Array
) -> None:
    """The step of limit·ρ·Σ|∇x − v|; without v (None) of the total variation, without edges (None) isotropic."""
    nx, ny, nz = x.shape
    for i in prange(nx):
        i1 = i + 1 if i + 1 < nx else 0
        for j in range(ny):
            j1 = j + 1 if j + 1 < ny else 0
            for k in range(nz - 1):
                _step_voxel(state, x, v, relax, limit, edges, inverse_size, (i, j, k, i1, j1, k + 1))
            _step_voxel(state, x, v, relax, limit, edges, inverse_size, (i, j, nz - 1, i1, j1, 0))


@njit(inline="always")
def _wanted_slope(state: Array, limit: Any, edges: Any, i: int, out: Array) -> None:
    """2·prox(a) − a on one plane."""
    for j in range(out.shape[1]):
        for k in range(out.shape[2]):
            a, b, c = state[0, i, j, k], state[1, i, j, k], state[2, i, j, k]
            e, f, g = _shares(a, b, c, limit, edges, (i, j, k))
            out[0, j, k] = (TWO * e - ONE) * a
            out[1, j, k] = (TWO * f - ONE) * b
            out[2, j, k] = (TWO * g - ONE) * c


@njit(cache=True, parallel=True)
def slope_pull(
    state: Array, limit: np.float32, edges: Any, inverse_size: Array, penalty: np.float32, out: Array, v: Any
) -> None:
    """out = ρ ∇ᵀ(2·prox(a) − a), and into v, unless None, −ρ (2·prox(a) − a)."""
    nx, ny, nz = out.shape
    hx, hy, hz = penalty * inverse_size
    for block in prange((nx + PLANES - 1) // PLANES):
        before, here = np.empty((3, ny, nz), np.float32), np.empty((3, ny, nz), np.float32)
        first = block * PLANES
        _wanted_slope(state, limit, edges, (first - 1) % nx, here)
        for i in range(first, min(first + PLANES, nx)):
            before, here = here, before
            _wanted_slope(state, limit, edges, i, here)
            for j in range(ny):
                j0 = j - 1 if j > 0 else ny - 1
                for k in range(nz):
                    along = (before[0, j, k] - here[0, j, k]) * hx
                    out[i, j, k] = along + (here[1, j0, k] - here[1, j, k]) * hy - here[2, j, k] * hz
                for k in range(1, nz):
                    out[i, j, k] += here[2, j, k - 1] * hz
                out[i, j, 0] += here[2, j, nz - 1] * hz
            if v is not None:
                for c in range(3):
                    for j in range(ny):
                        for k in range(nz):
                            v[c, i, j, k] = -penalty * here[c, j, k]


@njit(inline="always")
def _bend_voxel(s: Array, v: Array, relax: Any, limit: Any, h: Array, at: Any) -> None:
    i, j, k, i1, j1, k1 = at
    x, y, z = v[0, i, j, k], v[1, i, j, k], v[2, i, j, k]
    hx, hy, hz = h
    xx, yy, zz = (v[0, i1, j, k] - x) * hx, (v[1, i, j1, k] - y) * hy, (v[2, i, j, k1] - z) * hz
    xy = ROOT * ((v[1, i1, j, k] - y) * hx + (v[0, i, j1, k] - x) * hy)
    xz = ROOT * ((v[2, i1, j, k] - z) * hx + (v[0, i, j, k1] - x) * hz)
    yz = ROOT * ((v[2, i, j1, k] - z) * hy + (v[1, i, j, k1] - y) * hz)
    keep = _tensor_share(s, limit, i, j, k)
    for c, new in enumerate((xx, yy, zz, xy, xz, yz)):
        s[c, i, j, k] += relax * (new - keep * s[c, i, j, k])


@njit(inline="always")
def _tensor_share(s: Array, limit: Any, i: int, j: int, k: int) -> Any:
    size = ZERO
    for c in range(6):
        size += s[c, i, j, k] * s[c, i, j, k]
    size = np.sqrt(size)
    return ZERO if size <= limit else ONE - limit / size


@njit(cache=True, parallel=True)
def bend_step(state: Array, v: Array, relax: np.float32, limit: np.float32, inverse_size: Array) -> None:
    """The step of limit·ρ·Σ|E v|."""
    _, nx, ny, nz = v.shape
    for i in prange(nx):
        i1 = i + 1 if i + 1 < nx else 0
        for j in range(ny):
            j1 = j + 1 if j + 1 < ny else 0
            for k in range(nz - 1):
                _bend_voxel(state, v, relax, limit, inverse_size, (i, j, k, i1, j1, k + 1))
            _bend_voxel(state, v, relax, limit, inverse_size, (i, j, nz - 1, i1, j1, 0))


@njit(inline="always")
def _wanted_bend(state: Array, limit: Any, i: int, out: Array) -> None:
    for j in range(out.shape[1]):
        for k in range(out.shape[2]):
            factor = TWO * _tensor_share(state, limit, i, j, k) - ONE
            for c in range(6):
                out[c, j, k] = factor * state[c, i, j, k]


@njit(cache=True, parallel=True)
def bend_pull(
    state: Array, limit: np.float32, inverse_size: Array, penalty: np.float32, total: Array
) -> None:
    """total += ρ Eᵀ(2·prox(a) − a)."""
    _, nx, ny, nz = total.shape
    hx, hy, hz = penalty * inverse_size
    gx, gy, gz = ROOT * hx, ROOT * hy, ROOT * hz
    for block in prange((nx + PLANES - 1) // PLANES):
        before, here = np.empty((6, ny, nz), np.float32), np.empty((6, ny, nz), np.float32)
        first = block * PLANES
        _wanted_bend(state, limit, (first - 1) % nx, here)
        for i in range(first, min(first + PLANES, nx)):
            before, here = here, before
            _wanted_bend(state, limit, i, here)
            for j in range(ny):
                j0 = j - 1 if j > 0 else ny - 1
                for k in range(nz):
                    k0 = k - 1 if k > 0 else nz - 1
                    xy, xz, yz = here[3, j, k], here[4, j, k], here[5, j, k]
                    total[0, i, j, k] += (
                        (before[0, j, k] - here[0, j, k]) * hx
                        + (here[3, j0, k] - xy) * gy
                        + (here[4, j, k0] - xz) * gz
                    )
                    total[1, i, j, k] += (
                        (here[1, j0, k] - here[1, j, k]) * hy
                        + (before[3, j, k] - xy) * gx
                        + (here[5, j, k0] - yz) * gz
                    )
                    total[2, i, j, k] += (
                        (here[2, j, k0] - here[2, j, k]) * hz
                        + (before[4, j, k] - xz) * gx
                        + (here[5, j0, k] - yz) * gy
                    )
