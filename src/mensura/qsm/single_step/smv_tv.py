"""From the total field to susceptibility in one step: spherical means inside the data term, any prior on χ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, pad, rfft
from mensura.methods import Monitor, Tunable
from mensura.qsm import edges, kernels, smv, weights
from mensura.qsm.box import on_box
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


VOID = 1e-4
"""Squared weight, relative to the median voxel, at or below which a voxel spoils the mean of every ball that holds it:
noise a hundred times the usual, as in a cavity. (At thirty times, balls are lost around veins and haemorrhages.)"""


@on_box
def smv_tv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 5e-3,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field and its standard deviation (ppm) → χ (ppm), zero outside the mask, its mean left free.

    Minimises ½ Σᵣ ‖Mᵣ W (Sᵣ∗d∗χ − Sᵣ∗f)‖² + λ ‖∇χ‖₁ over χ supported in the mask. Sᵣ = δ − (mean over a ball of
    radius r) annihilates the field of every source outside the ball (it is harmonic there), Mᵣ selects the voxels
    whose ball of radius r lies in the mask while no larger one does, d is the unit dipole, W the inverse noise
    of the filtered field. The smallest ball spans one voxel, so only the outermost voxels are without data of their
    own. Nothing is deconvolved and every voxel keeps a value. Raises ScanError if no voxel has a ball in the mask.

    Chatnuntawech et al. 2017, doi:10.1002/nbm.3570. Differs from the paper in the noise weights, the support
    constraint, total variation without magnitude priors, and λ, which is `weight` × the field's noise / 1 ppb.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    return data.invert(Prior(), weight, (tol, max_iter), monitor)


@on_box
def smv_tgv(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 1.5e-4,
    tol: Tolerance = 5e-3,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field and its standard deviation (ppm) → χ (ppm), zero outside the mask: as `smv_tv`, with slopes for free.

    The prior is total generalised variation of second order: min over v of Σ|∇χ − v| + 2 voxels·|E v|, E the
    symmetric gradient. Bredies et al. 2010, doi:10.1137/090769521.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    return data.invert(Prior(order=2), weight, (tol, max_iter), monitor)


@on_box
def smv_medi(
    total_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    field_std: FloatArray | None = None,
    magnitude: FloatArray | None = None,
    radii: Radii = RADII,
    weight: Weight = 3e-4,
    tol: Tolerance = 5e-3,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Total field, its standard deviation (ppm), magnitude → χ (ppm), zero outside the mask: as `smv_tv`, with edges.

    A step of χ costs the less the more the magnitude changes there (see `mensura.qsm.edges.graded`), so that the
    weight may be twice as large. Without a magnitude this is `smv_tv` with its weight.
    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082. Differs from that method in graded edges, and in one step.
    """
    data = Spherical.means(total_field, mask, grid, field_std, radii)
    if magnitude is None:
        return data.invert(Prior(), weight / 2, (tol, max_iter), monitor)
    prior = Prior(edges=edges.graded(magnitude, mask, grid))
    return data.invert(prior, weight, (tol, max_iter), monitor)


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
        shells = smv.shells(mask & (trust > VOID), balls, shape)
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
        weight, noise = weights.with_unresolved(trust * valued, field_std, filtered)
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
        )
