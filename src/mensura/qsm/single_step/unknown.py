"""Susceptibility and an unknown background at once: both are volumes of one minimisation, exact in Fourier space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mensura.inverse.admm import Filtered
from mensura.inverse.fft import fast_shape
from mensura.inverse.grids import halvings
from mensura.inverse.prox import Misfit
from mensura.methods import Monitor
from mensura.qsm import harmonic, kernels, weights
from mensura.qsm.background.multigrid import harmonic_inside
from mensura.qsm.spherical import RADII, Balls
from mensura.qsm.variational import Pace, Prior, Task
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

MARGIN = 16.0
"""mm of room around the mask's box, where sources of the background may lie."""
RIM = 0.03
"""Squared weight of voxels at the mask's surface, times what their noise would give them: air and bone share them.
Own masks, eight heads: 62, 51, 50 % for a weight of 1, this, 0 where it matters most (4 mm), 28, 30, 30 where least
(2 mm, lesions); with the true field and mask 42, 41, 43 % (3 mm, oblique): there they tell something."""
PACE = Pace(data=0.02, variation=15.0, support=4e-4, relax=1.8)
"""Smaller penalties than with a local field, since the background is to grow too. With 0.2 and 100 for the first two,
40 iterations leave 48 to 65 % where these leave 34 to 37; with 2e-3 for the support, 37 to 42 (three heads of 2 mm)."""


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
        balls = Balls.fit(field, mask, grid, RADII)
        rim = np.where(balls.valued, 0, RIM * trust).astype(np.float32)
        trust, noise = weights.with_unresolved(trust * balls.valued, field_std, balls.filtered)
        margin = [int(np.ceil(MARGIN / h)) for h in grid.voxel_size]
        shape = fast_shape(grid.shape, margin, halvings(grid.shape))
        return cls(
            field - start, trust + rim, mask, interior, grid, shape, kernels.dipole(shape, grid), noise
        )

    def invert(
        self,
        background: Unknown,
        prior: Prior,
        weight: float,
        stop: tuple[float, int],
        monitor: Monitor | None,
        *,
        settle: float = 1.0,
    ) -> FloatArray:
        """argmin over χ in the mask and y: ½‖W(d∗χ + kernel∗y − f)‖² + cost(y) + λ·prior(χ), by ADMM.

        λ = `weight` × noise / 1 ppb; `stop` = (relative change, most iterations); `settle` as in `Pace`.
        """
        pace = replace(PACE, settle=settle)
        task = Task(self.mask, self.grid, self.shape, prior, weight, self.noise, stop, monitor, pace)
        return task.solve([self._misfit(background.kernel), background.cost])

    def _misfit(self, kernel: FloatArray) -> Filtered:
        step = Misfit(self.field, self.trust / np.float32(PACE.data))
        return Filtered(self.dipole, PACE.data, step, kernel)


def small(map_: FloatArray | None, penalty: float, weight: FloatArray) -> Filtered:
    """½ Σ weight·(map∗y)², ρ = `penalty`; an infinite weight forbids the voxel."""
    step = Misfit(np.zeros(weight.shape, np.float32), weight / np.float32(penalty))
    return Filtered(None, penalty, step, map_)
