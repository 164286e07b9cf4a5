"""Susceptibility and an unknown background at once: both are volumes of one minimisation, exact in Fourier space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mensura.inverse.admm import Filtered, Support, Variation, admm
from mensura.inverse.fft import crop, fast_shape
from mensura.inverse.grids import halvings
from mensura.inverse.prox import Misfit
from mensura.methods import Monitor
from mensura.qsm import harmonic, kernels, weights
from mensura.qsm.background.multigrid import harmonic_inside
from mensura.qsm.spherical import RADII, Balls
from mensura.qsm.variational import BENDING, Prior
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

MARGIN = 16.0
"""mm of room around the mask's box, where sources of the background may lie."""
DATA_PENALTY = 0.02
GRADIENT_PENALTY = 15.0
SUPPORT_PENALTY = 4e-4
"""ρ of the data, of the variation over its weight, and of the support: smaller than with a local field, since the
background is to grow too. With 0.2 and 100, 40 iterations leave 48 to 65 % where these leave 34 to 37; with 2e-3,
37 to 42 (three heads of 2 mm)."""
RELAX = 1.8
"""Over-relaxation. NRMSE after 40 iterations 40.6, 39.3, 39.1 % for 1, 1.6, 1.8 on a head at 2 mm, 38.5 at the end."""


@dataclass(frozen=True)
class Unknown:
    """The background y as the method sees it: its field is `kernel` ∗ y, what it costs is a `cost` of its own."""

    kernel: FloatArray
    cost: Filtered


@dataclass(frozen=True)
class Scene:
    """A total field, less a field that is harmonic inside the mask: a start, which the unknown background absorbs."""

    field: FloatArray
    trust: FloatArray
    mask: BoolArray
    interior: BoolArray
    grid: Grid
    shape: tuple[int, int, int]
    dipole: FloatArray
    noise: float

    @classmethod
    def of(cls, total_field: FloatArray, mask: BoolArray, grid: Grid, field_std: FloatArray | None) -> Scene:
        trust = weights.squared(field_std, mask)
        field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
        interior = harmonic.interior(mask)
        if not interior.any():
            raise ScanError("the mask is too thin: no voxel has all its neighbours in it; give a larger mask")
        start = harmonic_inside(field, interior, grid.voxel_size) * mask
        trust, noise = weights.with_unresolved(trust, field_std, Balls.fit(field, mask, grid, RADII).filtered)
        margin = [int(np.ceil(MARGIN / h)) for h in grid.voxel_size]
        shape = fast_shape(grid.shape, margin, halvings(grid.shape))
        return cls(field - start, trust, mask, interior, grid, shape, kernels.dipole(shape, grid), noise)

    def invert(
        self,
        background: Unknown,
        prior: Prior,
        weight: float,
        stop: tuple[float, int],
        monitor: Monitor | None,
    ) -> FloatArray:
        """argmin over χ in the mask and y: ½‖W(d∗χ + kernel∗y − f)‖² + cost(y) + λ·prior(χ), by ADMM.

        λ = `weight` × noise / 1 ppb; `stop` = (relative change, most iterations).
        """
        second_order = BENDING * float(np.mean(self.grid.voxel_size)) if prior.order == 2 else 0.0
        variation = Variation(
            strength=weight * self.noise / weights.NOISE_UNIT,
            penalty=GRADIENT_PENALTY * weight,
            length=second_order,
            edges=None if prior.edges is None else np.broadcast_to(prior.edges, (3, *self.mask.shape)),
        )
        tol, max_iter = stop
        solution = admm(
            [self._misfit(background.kernel), background.cost],
            variation,
            Support(self.mask, SUPPORT_PENALTY),
            self.shape,
            self.grid.voxel_size,
            tol=tol,
            max_iter=max_iter,
            relax=RELAX,
            halvings=halvings(self.mask.shape),
            monitor=monitor,
        )
        return crop(solution.x, self.mask.shape) * self.mask

    def _misfit(self, kernel: FloatArray) -> Filtered:
        step = Misfit(self.field, self.trust / np.float32(DATA_PENALTY))
        return Filtered(self.dipole, DATA_PENALTY, step, kernel)


def small(map_: FloatArray | None, penalty: float, weight: FloatArray) -> Filtered:
    """½ Σ weight·(map∗y)², ρ = `penalty`; an infinite weight forbids the voxel."""
    step = Misfit(np.zeros(weight.shape, np.float32), weight / np.float32(penalty))
    return Filtered(None, penalty, step, map_)
