"""A local field as the variational inversions see it: without gaps, with its weights and its effective noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.methods import Monitor
from mensura.qsm import weights
from mensura.qsm.dipole.direct import padded
from mensura.qsm.variational import DataTerm, Loss, Prior, Task, minimise
from mensura.scan import BoolArray, FloatArray, Grid

LARGEST_TURN = np.pi / 2
"""rad: phase that the largest field gets in a periodic misfit, so that no field is taken for another."""


@dataclass(frozen=True)
class Local:
    """Field (ppm), squared weights (1 in the median voxel, 0 where nothing is known) and effective noise (ppm)."""

    field: FloatArray
    weight: FloatArray
    noise: float
    mask: BoolArray
    grid: Grid

    @classmethod
    def measured(
        cls, local_field: FloatArray, mask: BoolArray, grid: Grid, field_std: FloatArray | None
    ) -> Local:
        """Weights and noise from `weights.with_unresolved`. Raises ScanError if no voxel has a standard deviation."""
        trust = weights.squared(field_std, mask)
        field = weights.finite(np.where(mask, local_field, np.float32(0)), trust)
        return cls(field, *weights.with_unresolved(trust, field_std, field), mask, grid)

    def invert(
        self,
        prior: Prior,
        weight: float,
        stop: tuple[float, int],
        monitor: Monitor | None,
        *,
        loss: Loss = "gaussian",
        harmonic: float | None = None,
    ) -> FloatArray:
        """χ (ppm) for a prior, its weight, and (tolerance, most iterations)."""
        shape, dipole = padded(self.grid)
        largest = float(np.abs(self.field[self.weight > 0]).max(initial=0))
        turn = LARGEST_TURN / largest if largest > 0 else 1.0
        task = Task(self.mask, self.grid, shape, prior, weight, self.noise, stop, monitor)
        return minimise([DataTerm(dipole, self.field, self.weight, loss, turn)], task, harmonic)

    def misfit(self, chi: FloatArray) -> FloatArray:
        """The field of χ minus the data, where there are data."""
        shape, dipole = padded(self.grid)
        made = crop(irfft(rfft(pad(chi, shape)) * dipole, shape[2]), self.grid.shape)
        return (made - self.field) * (self.weight > 0)


def counted(monitor: Monitor | None, done: int, most: int) -> Monitor | None:
    """A stage's monitor that goes on counting after `done` iterations, of `most` in all."""
    if monitor is None:
        return None
    return lambda iteration, _, change: monitor(done + iteration, most, change)
