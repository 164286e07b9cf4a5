"""Signals of a voxel: the spins of its fine voxels, looked up in the sequence's table and summed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mensura.scan import FloatArray

Signals = NDArray[np.complex64]
TEXTURE_NODES = np.linspace(-3.5, 3.5, 8)
"""Where signals are tabulated along the tissue's variation within itself (standard deviations)."""
B1_NODES = np.linspace(0.2, 1.8, 161)
"""Where signals are tabulated along the relative transmit field."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What one kind of proton, water or fat, sends back from every tissue.

    `table` (volume, label, texture, B1): complex signal without the field's phase. `displacement` (volume):
    chemical-shift displacement along the first axis, in fine voxels.
    """

    table: Signals
    displacement: NDArray[np.int64]


def sum_spins(
    pool: Pool,
    labels: NDArray[np.uint8],
    field: FloatArray,
    texture: FloatArray,
    b1: FloatArray,
    radians_per_ppm: NDArray[np.float64],
) -> Signals:
    """Labels and field (ppm) on the fine grid, texture and relative B1 per voxel → signals (x, y, z, volume).

    S_v = ⟨A_v(label, texture, B1)·exp(i·c_v·δ)·Π_a sinc(c_v·∂_aδ/2)⟩ over the fine voxels of a voxel, where c_v
    is `radians_per_ppm` (2π·γ̄·B0·TE_v). The sincs are the dephasing inside a fine voxel for the smaller of its
    one-sided differences (a jump of the field at a surface is no gradient). A is interpolated linearly between
    the nodes of texture and B1.
    """
    out = np.zeros((*texture.shape, len(radians_per_ppm)), np.complex64)
    volumes, kinds = pool.table.shape[:2]
    lit = np.any(pool.table.reshape(volumes, kinds, -1) != 0, axis=(0, 2))
    table = np.ascontiguousarray(np.moveaxis(pool.table, 0, -1))
    at_texture = _place(texture, TEXTURE_NODES) if table.shape[1] > 1 else np.zeros_like(texture)
    _sum(out, table, lit, labels, field, at_texture, _place(b1, B1_NODES), radians_per_ppm, pool.displacement)
    return out


def _place(x: FloatArray, nodes: NDArray[np.float64]) -> FloatArray:
    """Values → their (fractional) place among evenly spaced nodes, held inside them."""
    step = nodes[1] - nodes[0]
    place: FloatArray = np.clip((x - np.float32(nodes[0])) / np.float32(step), 0, len(nodes) - 1)
    return place.astype(np.float32)


@numba.njit(parallel=True, cache=True)
def _sum(out, table, lit, labels, field, at_texture, at_b1, turns, displacement):  # type: ignore[no-untyped-def]
    nx, ny, nz, volumes = out.shape
    factor = labels.shape[0] // nx
    share = 1.0 / factor**3
    for i in numba.prange(nx):
        held = np.empty(volumes, np.complex128)
        known = np.empty(volumes, np.int64)
        total = np.empty(volumes, np.complex128)
        for j in range(ny):
            for k in range(nz):
                total[:] = 0
                known[:] = -1
                for a in range(i * factor, (i + 1) * factor):
                    for b in range(j * factor, (j + 1) * factor):
                        for c in range(k * factor, (k + 1) * factor):
                            for v in range(volumes):
                                source = min(max(a - displacement[v], 0), labels.shape[0] - 1)
                                label = labels[source, b, c]
                                if not lit[label]:
                                    continue
                                if known[v] != label:
                                    held[v] = _look_up(table, label, at_texture[i, j, k], at_b1[i, j, k], v)
                                    known[v] = label
                                if turns[v] == 0:
                                    total[v] += held[v]
                                else:
                                    total[v] += held[v] * _turned(field, source, b, c, turns[v])
                for v in range(volumes):
                    out[i, j, k, v] = total[v] * share


@numba.njit(cache=True)
def _look_up(table, label, at_texture, at_b1, v):  # type: ignore[no-untyped-def]
    """Bilinear interpolation between the nodes."""
    p = min(int(at_texture), max(table.shape[1] - 2, 0))
    q = min(int(at_b1), table.shape[2] - 2)
    s, t = at_texture - p, at_b1 - q
    low = (1 - t) * table[label, p, q, v] + t * table[label, p, q + 1, v]
    if s == 0:
        return low
    return (1 - s) * low + s * ((1 - t) * table[label, p + 1, q, v] + t * table[label, p + 1, q + 1, v])


@numba.njit(cache=True)
def _turned(field, a, b, c, turns):  # type: ignore[no-untyped-def]
    """exp(i·turns·δ) and the dephasing by the gradient of δ inside the fine voxel."""
    here = field[a, b, c]
    gradient_a = _smaller(field[max(a - 1, 0), b, c], here, field[min(a + 1, field.shape[0] - 1), b, c])
    gradient_b = _smaller(field[a, max(b - 1, 0), c], here, field[a, min(b + 1, field.shape[1] - 1), c])
    gradient_c = _smaller(field[a, b, max(c - 1, 0)], here, field[a, b, min(c + 1, field.shape[2] - 1)])
    half = 0.5 * turns
    left = _sinc(half * gradient_a) * _sinc(half * gradient_b) * _sinc(half * gradient_c)
    angle = turns * here
    return complex(left * math.cos(angle), left * math.sin(angle))


@numba.njit(cache=True)
def _smaller(before, here, after):  # type: ignore[no-untyped-def]
    """The one-sided difference of smaller size; none where their signs differ."""
    left, right = here - before, after - here
    if left * right <= 0:
        return 0.0
    return left if abs(left) < abs(right) else right


@numba.njit(cache=True)
def _sinc(x):  # type: ignore[no-untyped-def]
    if abs(x) < 0.2:
        return 1 - x * x / 6
    return math.sin(x) / x
