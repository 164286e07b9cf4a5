"""How smooth the phase is around each voxel: near 1 in tissue, near 0 in noise."""

from __future__ import annotations

from typing import Annotated

import numba
import numpy as np
from scipy import ndimage

from mensura.mask.morphology import fill_holes, largest_component, opening
from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


def phase_quality(
    magnitude: FloatArray | None,
    phase: FloatArray,
    grid: Grid,
    *,
    quality: Annotated[
        float, Tunable("1", "least coherence of the phase: 0 keeps noise, 1 keeps nothing")
    ] = 0.5,
    radius: Annotated[float, Tunable("mm", "parts thinner than a ball of this radius are removed")] = 2.0,
) -> BoolArray:
    """Phase (rad), magnitude (any unit, or None) → mask of the largest part where the phase is coherent.

    The coherence of `coherence` is thresholded, opened with a ball, the largest part kept and its holes
    filled. Raises ScanError where no voxel is coherent enough.
    """
    mask = largest_component(opening(coherence(phase, magnitude) >= quality, grid, radius))
    if np.count_nonzero(mask) < 1e-3 * mask.size:
        raise ScanError(
            f"the phase is nowhere coherent enough for a mask (quality ≥ {quality:g}); lower the quality,"
            " check that the phase is in radians, or give a mask of your own"
        )
    return fill_holes(mask)


def coherence(phase: FloatArray, magnitude: FloatArray | None = None) -> FloatArray:
    """Phase (rad; echoes on the fourth axis), magnitude → coherence per voxel, 0 (noise) to 1 (smooth).

    q = 1 − 2⟨|γ(φ₊ − 2φ + φ₋)|⟩/π, the mean being over the three axes, the echoes and the 26 neighbours;
    γ wraps into ±π. Each term is weighted with the square of the smallest of its three magnitudes, so that
    echoes without signal and neighbours in air have no say. A gradient of the field, however steep, costs
    nothing; uniform noise gives 0 on average. Where the phase does not change at all (painted background)
    the coherence is 0.

    Dymerska 2021, 10.1002/mrm.28563 (the phase coherence of ROMEO). Differs from the paper in using second
    differences instead of first ones, and one value per voxel instead of one per edge.
    """
    phase = phase if phase.ndim == 4 else phase[..., None]
    weight = np.ones((1, 1, 1, 1), dtype=np.float32) if magnitude is None else magnitude
    weight = weight if weight.ndim == 4 else weight[..., None]
    top = max(float(np.nanmax(weight)), 1e-30)
    total, norm = _smoothness(phase, weight, np.float32(1 / top))
    total = ndimage.uniform_filter(total, 3, mode="nearest")
    norm = ndimage.uniform_filter(norm, 3, mode="nearest")
    return np.clip(total / np.maximum(norm, 1e-12), 0, 1)  # type: ignore[no-any-return]


@numba.njit(cache=True, parallel=True)
def _smoothness(phase: FloatArray, weight: FloatArray, unit: np.float32) -> tuple[FloatArray, FloatArray]:
    """Per voxel the sum over axes and echoes of w·(1 − 2|γ(second difference)|/π), and the sum of w.

    `unit` is what the weights are multiplied by, so that their squares neither overflow nor vanish.
    """
    nx, ny, nz, echoes = phase.shape
    turn, per_turn, scale = np.float32(2 * np.pi), np.float32(0.5 / np.pi), np.float32(2 / np.pi)
    weighted = weight.size > 1
    total, norm = np.zeros((nx, ny, nz), np.float32), np.zeros((nx, ny, nz), np.float32)
    painted = np.ones((nx, ny, nz), np.bool_)
    for plane in numba.prange(nx):
        i = np.int64(plane)
        for axis in range(3):
            if phase.shape[axis] < 3:
                continue
            di, dj, dk = np.int64(axis == 0), np.int64(axis == 1), np.int64(axis == 2)
            a = min(max(i, di), nx - 1 - di)
            for j in range(ny):
                b = min(max(j, dj), ny - 1 - dj)
                for k in range(nz):
                    c = min(max(k, dk), nz - 1 - dk)
                    for e in range(echoes):
                        w = np.float32(1)
                        if weighted:
                            w = unit * min(
                                weight[a - di, b - dj, c - dk, e],
                                weight[a, b, c, e],
                                weight[a + di, b + dj, c + dk, e],
                            )
                        before, here = phase[a - di, b - dj, c - dk, e], phase[a, b, c, e]
                        after = phase[a + di, b + dj, c + dk, e]
                        d = before - 2 * here + after
                        bend = abs(d - turn * np.rint(d * per_turn))
                        if w > 0 and bend >= 0:
                            norm[i, j, k] += w * w
                            total[i, j, k] += w * w * (1 - scale * bend)
                            painted[i, j, k] &= before == here and here == after
        for j in range(ny):
            for k in range(nz):
                if painted[i, j, k]:
                    total[i, j, k] = 0
    return total, norm
