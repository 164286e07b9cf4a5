"""Background removal by spherical means: what harmonic fields do not survive."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.methods import Tunable
from mensura.qsm import smv, weights
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Local = tuple[FloatArray, BoolArray]


@on_box
def vsharp(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radius: Annotated[float, Tunable("mm", "radius of the largest sphere")] = 12.0,
    step: Annotated[float, Tunable("mm", "from one radius to the next; the smallest spans one voxel")] = 1.0,
    threshold: Annotated[float, Tunable("1", "largest kernel value that is not inverted")] = 0.05,
) -> Local:
    """Total field (ppm) → local field (ppm) and the mask of the voxels that have one.

    (δ − Sᵣ)∗f with the largest sphere Sᵣ that lies in the mask around each voxel, then deconvolved with the largest
    kernel where |1 − Ŝ| exceeds `threshold`. Voxels whose smallest sphere sticks out of the mask are lost.
    ScanError if none is left. Li et al. 2011, doi:10.1016/j.neuroimage.2010.11.088; Wu et al. 2012,
    doi:10.1002/mrm.23000.
    """
    sizes = smv.available(np.arange(radius, 0, -step).tolist(), grid)
    shape = smv.padded_shape(grid, sizes)
    balls = smv.balls(shape, grid, sizes)
    shells = smv.shells(mask, balls, shape)
    field = weights.finite(np.where(mask, total_field, np.float32(0)), np.zeros(mask.shape, np.float32))
    spectrum, merged = rfft(pad(field, shape)), np.zeros(shape, np.float32)
    window = merged[: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    for ball, shell in zip(balls, shells, strict=True):
        if shell.any():
            window[shell] = crop(smv.filtered(spectrum, ball, shape[2]), mask.shape)[shell]
    kept = np.logical_or.reduce(shells)
    if not kept.any():
        raise ScanError("no sphere fits in the mask; give a larger mask or a smaller radius")
    largest = next(ball for ball, shell in zip(balls, shells, strict=True) if shell.any())
    kernel = 1 - largest
    inverse = np.divide(1, kernel, out=np.zeros_like(kernel), where=np.abs(kernel) > threshold)
    return crop(irfft(rfft(merged) * inverse, shape[2]), mask.shape) * kept, kept
