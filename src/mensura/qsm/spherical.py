"""A total field seen through spherical means: the data that no source outside the mask can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, pad, rfft
from mensura.methods import Monitor, Tunable
from mensura.qsm import kernels, smv, weights
from mensura.qsm.variational import DataTerm, Prior, Task, minimise
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Radii = Annotated[
    tuple[float, ...],
    Tunable("mm", "radii of the spherical means, each used where it fits in the mask; below them one voxel"),
]
RADII = (16.0, 8.0, 4.0, 2.0)
SMALLEST = 1e-3
"""mm: shorter than any voxel, so that the smallest ball just spans one."""


VOID = 1e-5
"""Squared weight, relative to the median voxel, at or below which a voxel spoils the mean of every ball that holds it:
noise three hundred times the usual, as in a cavity. (At a hundred, balls are lost around haemorrhages: 44 → 55 %.)"""


@dataclass(frozen=True)
class Balls:
    """The largest ball that fits around each voxel: sizes (mm), half spectra on the padded `shape`, and whose it is.

    `filtered` is the field less its mean over that ball (ppm), 0 where none fits.
    """

    shape: tuple[int, int, int]
    sizes: Sequence[float]
    means: Sequence[FloatArray]
    shells: Sequence[BoolArray]
    filtered: FloatArray

    @classmethod
    def fit(cls, field: FloatArray, known: BoolArray, grid: Grid, radii: Sequence[float]) -> Balls:
        """The balls in the known voxels; ScanError if there is room for none."""
        sizes = smv.available((*radii, SMALLEST), grid)
        shape = smv.padded_shape(grid, sizes)
        means = smv.balls(shape, grid, sizes)
        shells = smv.shells(known, means, shape)
        if not any(shell.any() for shell in shells):
            raise ScanError(
                f"no ball of radius {sizes[-1]:.3g} mm fits in the mask; give a mask that is thicker"
            )
        spectrum, filtered = rfft(pad(field, shape)), np.zeros(grid.shape, np.float32)
        for mean, shell in zip(means, shells, strict=True):
            if shell.any():
                filtered[shell] = crop(smv.filtered(spectrum, mean, shape[2]), grid.shape)[shell]
        return cls(shape, sizes, means, shells, filtered)

    @property
    def valued(self) -> BoolArray:
        """Where a ball fits."""
        valued: BoolArray = np.logical_or.reduce(self.shells)
        return valued


@dataclass(frozen=True)
class Spherical:
    """A total field seen through spherical means: one data term per radius, on the padded `shape`."""

    mask: BoolArray
    grid: Grid
    shape: tuple[int, int, int]
    terms: Sequence[DataTerm]
    noise: float

    @classmethod
    def means(
        cls,
        total_field: FloatArray,
        mask: BoolArray,
        grid: Grid,
        field_std: FloatArray | None,
        radii: Sequence[float],
    ) -> Spherical:
        trust = weights.squared(field_std, mask)
        field = weights.finite(np.where(mask, total_field, np.float32(0)), trust)
        trust[trust <= VOID] = 0
        balls = Balls.fit(field, trust > 0, grid, radii)
        dipole = kernels.dipole(balls.shape, grid)
        weight, noise = weights.with_unresolved(trust * balls.valued, field_std, balls.filtered)
        terms = [
            DataTerm(dipole * (1 - mean), balls.filtered, weight * shell / smv.noise_gain(grid, size))
            for size, mean, shell in zip(balls.sizes, balls.means, balls.shells, strict=True)
            if shell.any()
        ]
        return cls(mask, grid, balls.shape, terms, noise)

    def invert(
        self, prior: Prior, weight: float, stop: tuple[float, int], monitor: Monitor | None
    ) -> FloatArray:
        """χ (ppm) by ADMM, with `stop` = (relative change, most iterations)."""
        task = Task(self.mask, self.grid, self.shape, prior, weight, self.noise, stop, monitor)
        return minimise(self.terms, task)
