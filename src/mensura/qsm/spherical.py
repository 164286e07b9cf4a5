"""A total field seen through spherical means: the data that no source outside the mask can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, pad, rfft
from mensura.methods import Monitor, Tunable
from mensura.qsm import kernels, smv, weights
from mensura.qsm.variational import DataTerm, Prior, minimise
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Radii = Annotated[
    tuple[float, ...],
    Tunable("mm", "radii of the spherical means, each used where it fits in the mask; below them one voxel"),
]
Weight = Annotated[
    float, Tunable("1", "weight of the prior at a field noise of 1 ppb; scales with the noise")
]
Tolerance = Annotated[float, Tunable("1", "relative change that ends the iteration")]
Most = Annotated[int, Tunable("1", "most iterations")]
RADII = (16.0, 8.0, 4.0, 2.0)
SMALLEST = 1e-3
"""mm: shorter than any voxel, so that the smallest ball just spans one."""


MOST_DOUBT = 3.0
"""Largest noise that a voxel is given, relative to the median: echoes disagree most beside strong sources, whose field
the inversion needs. With less weight they come out weak, and late: on two heads with lesions and their own masks ten
times left 37 and 49 % where this leaves 36 and 41."""
DATA_PENALTY = 0.1
"""ρ of the data terms: half that of the local field's, for strong sources to grow in time."""
VOID = 1e-5
"""Squared weight, relative to the median voxel, at or below which a voxel spoils the mean of every ball that holds it:
noise three hundred times the usual, as in a cavity. (At a hundred, balls are lost around haemorrhages: 44 → 55 %.)"""


@dataclass(frozen=True)
class Spherical:
    """A total field seen through spherical means: one data term per radius, on the padded `shape`.

    `filtered` is the field less its mean over the largest ball that fits (ppm), `valued` where one does.
    """

    mask: BoolArray
    grid: Grid
    shape: tuple[int, int, int]
    terms: Sequence[DataTerm]
    filtered: FloatArray
    valued: BoolArray
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
        sizes = smv.available((*radii, SMALLEST), grid)
        shape = smv.padded_shape(grid, sizes)
        balls = smv.balls(shape, grid, sizes)
        trust[trust <= VOID] = 0
        shells = smv.shells(trust > 0, balls, shape)
        valued = np.logical_or.reduce(shells)
        if not valued.any():
            raise ScanError(
                f"no ball of radius {sizes[-1]:.3g} mm fits in the mask; give a mask that is thicker"
            )
        spectrum, dipole = rfft(pad(field, shape)), kernels.dipole(shape, grid)
        filtered = np.zeros(grid.shape, np.float32)
        for ball, shell in zip(balls, shells, strict=True):
            if shell.any():
                filtered[shell] = crop(smv.filtered(spectrum, ball, shape[2]), grid.shape)[shell]
        limited = _limited(field_std, trust)
        weight, noise = weights.with_unresolved(trust * valued, limited, filtered)
        terms = [
            DataTerm(dipole * (1 - ball), filtered, weight * shell / smv.noise_gain(grid, size))
            for size, ball, shell in zip(sizes, balls, shells, strict=True)
            if shell.any()
        ]
        return cls(mask, grid, shape, terms, filtered, valued, noise)

    def invert(
        self, prior: Prior, weight: float, stop: tuple[float, int], monitor: Monitor | None
    ) -> FloatArray:
        """χ (ppm) by ADMM, with `stop` = (relative change, most iterations)."""
        return minimise(
            self.terms,
            self.mask,
            self.grid,
            shape=self.shape,
            weight=weight,
            noise=self.noise,
            tol=stop[0],
            max_iter=stop[1],
            monitor=monitor,
            prior=prior,
            penalty=DATA_PENALTY,
        )


def _limited(field_std: FloatArray | None, trust: FloatArray) -> FloatArray | None:
    """The field's noise (ppm), at most three times that of the median voxel that counts."""
    if field_std is None:
        return None
    return np.minimum(field_std, np.float32(MOST_DOUBT * np.median(field_std[trust > 0])))
