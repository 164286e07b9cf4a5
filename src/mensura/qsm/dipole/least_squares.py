"""The weighted least squares that linear inversions begin with: χ inside the mask, from the closed form onwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mensura.inverse.fft import irfft, pad, rfft
from mensura.inverse.operators import fourier_multiplier, scale
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor
from mensura.qsm import weights
from mensura.qsm.dipole.direct import padded
from mensura.qsm.dipole.local import Local
from mensura.scan import BoolArray, FloatArray, Grid

START = 0.1
"""Threshold of the division that the iteration starts from."""
DOUBT = 2e-3
"""Squared weight at which the start believes half of the field: a noise of 22 times the median voxel's. The void of a
lesion, whose field is needed, lies above it; voxels that somebody has given up lie below, and would streak."""


@dataclass(frozen=True)
class Problem:
    """A local field on the padded volume: data (ppm), its trust (median 1), mask, the dipole, the noise (ppm, and as a
    share of the field's typical size, never below `weights.MODEL_ERROR`)."""

    data: FloatArray
    trust: FloatArray
    inside: FloatArray
    dipole: FloatArray
    noise: float
    relative_noise: float
    voxel_size: tuple[float, float, float]

    @property
    def inverse_size(self) -> FloatArray:
        return (1 / np.asarray(self.voxel_size)).astype(np.float32)

    def field(self, chi: FloatArray) -> FloatArray:
        """d ∗ χ; its own adjoint."""
        return fourier_multiplier(self.dipole, self.data.shape[2]).forward(chi)

    @classmethod
    def posed(
        cls, local_field: FloatArray, mask: BoolArray, grid: Grid, field_std: FloatArray | None
    ) -> Problem:
        """Field and its standard deviation (ppm) → the problem, with the weights and noise of `Local`."""
        local = Local.measured(local_field, mask, grid, field_std)
        shape, dipole = padded(grid)
        size = weights.noise(None, mask, local.field) / weights.MODEL_ERROR
        return cls(
            data=pad(local.field, shape),
            trust=pad(local.weight, shape),
            inside=pad(mask.astype(np.float32), shape),
            dipole=dipole,
            noise=local.noise,
            relative_noise=max(local.noise / size, weights.MODEL_ERROR) if size > 0 else 1.0,
            voxel_size=grid.voxel_size,
        )


def least_squares(
    problem: Problem, *, tol: float, max_iter: int, monitor: Monitor | None = None
) -> FloatArray:
    """argmin ½‖W (d∗χ − f)‖² over χ in the mask → χ (ppm) on the padded volume, by conjugate gradients stopped early.

    They begin with the thresholded division of the field, which saves half of the iterations, and end when the
    gradient has fallen to `tol` of ‖d∗W²f‖: what the dipole sees well is then found, the cone has hardly moved.
    """
    p = problem

    def normal(chi: FloatArray) -> FloatArray:
        return p.inside * p.field(p.trust * p.field(chi))

    spectrum = rfft(p.data * (p.trust / (p.trust + np.float32(DOUBT))))
    scale(spectrum, np.copysign(1 / np.maximum(np.abs(p.dipole), np.float32(START)), p.dipole))
    start = irfft(spectrum, p.data.shape[2]) * p.inside
    right = p.inside * p.field(p.trust * p.data)
    return conjugate_gradient(normal, right, start=start, tol=tol, max_iter=max_iter, monitor=monitor).x
