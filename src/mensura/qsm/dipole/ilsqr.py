"""Least squares, then removal of the streaks: what in the blind cone makes slopes where no edge is (iLSQR)."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop
from mensura.inverse.operators import fourier_multiplier, gradient, negative_divergence
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor, Tunable
from mensura.qsm.box import on_box
from mensura.qsm.dipole.least_squares import Problem, least_squares
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

LEAST, STREAKS = 1.2e-2, 3e-2
"""Relative gradients that end the least squares and each estimate of the streaks."""


@on_box
def ilsqr(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    cone: Annotated[float, Tunable("1", "|D| below which frequencies may hold streaks")] = 0.15,
    flat: Annotated[float, Tunable("1", "share of the slopes in the mask that are no edges")] = 0.5,
    passes: Annotated[int, Tunable("1", "times that the streaks are estimated and taken off")] = 2,
    max_iter: Annotated[int, Tunable("1", "most iterations of each least squares")] = 20,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field and its standard deviation (ppm) → χ (ppm), zero outside the mask: least squares less its streaks.

    χ₁ = argmin ½‖W (d∗χ − f)‖² over χ in the mask, stopped early. Streaks s = argmin Σ G² |∂(χ₁ − s)|² over s that live
    where |D| < `cone`; χ = χ₁ − s, once more with its own edges. G = min(1, (typical slope / slope)²), so that a slope
    costs less the steeper it is. ScanError where the cone or the share lies outside its range.
    Li et al. 2015, doi:10.1016/j.neuroimage.2014.12.043. Differs from the paper in that edges come from the map itself
    and not from a fast estimate (its edges are no better), in G, which is a line between two quantiles there and leaves
    half as many streaks more around a calcification, in the second pass, and in the weights and the start.
    """
    if not 0 < cone < 2 / 3 or not 0 < flat < 1:
        raise ScanError(
            f"the cone must lie in 0…2/3 and the share of flat slopes in 0…1, not {cone:g}, {flat:g}"
        )
    problem = Problem.posed(local_field, mask, grid, field_std)
    chi = least_squares(problem, tol=LEAST, max_iter=max_iter, monitor=monitor)
    for _ in range(passes):
        chi = chi - _streaks(problem, chi, (cone, flat, max_iter))
    return crop(chi, mask.shape) * mask


def _streaks(problem: Problem, chi: FloatArray, how: tuple[float, float, int]) -> FloatArray:
    """The part of χ in the cone whose removal makes the slopes outside the edges smallest."""
    cone, flat, max_iter = how
    size = problem.inverse_size
    blind = (np.abs(problem.dipole) < cone).astype(np.float32)
    blind[0, 0, 0] = 0
    confined = fourier_multiplier(blind, chi.shape[2]).forward
    squared = _edges(gradient(chi, size), problem.inside > 0, flat)

    def roughness(streaks: FloatArray) -> FloatArray:
        return confined(negative_divergence(squared * gradient(streaks, size), size))

    return conjugate_gradient(roughness, roughness(chi), tol=STREAKS, max_iter=max_iter).x


def _edges(slopes: FloatArray, inside: BoolArray, flat: float) -> FloatArray:
    """G² of every slope: 1 up to their quantile `flat`, then falling with the fourth power."""
    size = np.abs(slopes)
    typical = max(float(np.quantile(size[:, inside], flat)), 1e-12)
    return np.minimum(np.float32(1), np.float32(typical) / np.maximum(size, np.float32(typical))) ** 4
