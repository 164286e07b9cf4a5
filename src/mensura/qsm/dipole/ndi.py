"""Nonlinear dipole inversion: no prior but that χ is small, periodic data term, descent that stops early."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop
from mensura.inverse.solvers import dot
from mensura.methods import Monitor, Tunable
from mensura.qsm.box import on_box
from mensura.qsm.dipole.least_squares import Problem
from mensura.scan import BoolArray, FloatArray, Grid

LARGEST_PHASE = np.pi / 2
"""rad: what the largest field turns the phase by. Below it no field wraps, and the descent starts where sin rises."""


@on_box
def ndi(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    weight: Annotated[
        float, Tunable("1", "weight of ‖χ‖² where the field is its noise; scales with (noise/field)²")
    ] = 0.03,
    tol: Annotated[float, Tunable("1", "size of the gradient, relative to the first, that ends it")] = 1e-2,
    max_iter: Annotated[int, Tunable("1", "most iterations")] = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask, by nonlinear dipole inversion.

    Descends ½‖W (exp(i s d∗χ) − exp(i s f))‖²/s² + ½ λ‖χ‖² over χ in the mask from χ = 0, W the inverse noise
    (median 1), λ = `weight` × (noise / typical field)². Conjugate directions (Polak–Ribière), each step the minimum
    along them of the parabola that lies above the sine's potential, so that it never climbs. It ends when the gradient
    has fallen to `tol` of the first: what is left is in the cone where the dipole is blind, and mostly noise.
    Polak et al. 2020, doi:10.1002/nbm.4271. Differs from the paper in that s (rad/ppm) does not come from an echo
    time: the largest field turns the phase by 90°, so that neither a calcification wraps nor the unit matters; and in
    the conjugate directions, which need fewer iterations.
    """
    p = Problem.posed(local_field, mask, grid, field_std)
    scale = np.float32(LARGEST_PHASE / max(float(np.abs(p.data).max()), 1e-12))
    shrink = np.float32(weight * p.relative_noise**2)

    x, slope, direction = (np.zeros(p.data.shape, np.float32) for _ in range(3))
    made, steepness, first = np.zeros_like(x), 1.0, 0.0
    for iteration in range(max_iter):
        before, squared = slope, steepness
        slope = p.inside * (p.field(p.trust * np.sin(scale * (made - p.data)) / scale) + shrink * x)
        steepness = dot(slope, slope)
        first = first or steepness
        if steepness <= tol**2 * first:
            break
        direction *= np.float32(max(0.0, (steepness - dot(slope, before)) / squared))
        direction -= slope
        image = p.field(direction)
        curvature = dot(image, p.trust * image) + float(shrink) * dot(direction, direction)
        step = np.float32(-dot(slope, direction) / curvature)
        x += step * direction
        made += step * image
        if monitor is not None:
            monitor(iteration + 1, max_iter, float(np.sqrt(steepness / first)))
    return crop(x, mask.shape) * mask
