"""Local field → susceptibility with the magnitude's edges as prior knowledge (MEDI, MEDI+0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated

import numpy as np
from numba import njit, prange

from mensura.inverse.admm import Filtered
from mensura.inverse.fft import crop
from mensura.inverse.grids import Steps, halved
from mensura.inverse.prox import Misfit
from mensura.methods import Monitor, Tunable
from mensura.qsm import edges as magnitude_edges
from mensura.qsm import reference, weights
from mensura.qsm.automatic import Data, Rule, choose
from mensura.qsm.box import on_box
from mensura.qsm.dipole.direct import padded
from mensura.qsm.spherical import Spherical
from mensura.qsm.variational import DataTerm, Most, Pace, Prior, Task, Tolerance
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

OUTLIER = 6.0
"""Times the noise (beyond a fifth of the predicted field) a residual makes a voxel an outlier; the paper's factor."""
MODEL_ERROR = np.float32(0.2)
"""Share of the predicted field that may be wrong beside a strong source. At 0.1 calcifications of a head lose their
rim (24.0 → 26.8 %), at 0.3 forty voxels with a wrong field spoil three times more of the map than at 0.2."""
SETTLED = 10
"""Iteration from which residuals are trusted. Before, a strong source that is not yet there looks like an outlier:
outliers then weigh as in a Huber loss, which is convex and lets go of none."""
EVERY = 2
PACE = Pace(variation=100.0)
"""The variation's penalty is larger than elsewhere, so that what corrupted voxels want has not grown before
they are known. With 20, forty of them leave three tenths of the error they make without MERIT, with 100 a tenth."""

WEIGHT = 2e-4
Weight = Annotated[
    float | Rule,
    Tunable(
        "1",
        "weight of the morphology prior at a field noise of 1 ppb, which scales with the noise; or a rule that finds"
        " it: discrepancy, l-curve, frequency",
    ),
]
Edges = Annotated[float, Tunable("1", "share of neighbouring voxels that count as edges of the magnitude")]
Merit = Annotated[bool, Tunable("", "weigh voxels down that the model cannot explain")]
Radii = Annotated[
    tuple[float, ...],
    Tunable("mm", "radii of the spherical means in the data term, each where it fits; none: no filter"),
]


@on_box
def medi(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    field_std: FloatArray | None = None,
    weight: Weight = WEIGHT,
    edges: Edges = 0.3,
    merit: Merit = True,
    radii: Radii = (),
    tol: Tolerance = 1.5e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field, its standard deviation (ppm) and the magnitude → χ (ppm), zero outside the mask.

    Minimises ½ Σᵣ ‖Mᵣ W Sᵣ∗(d∗χ − f)‖² + λ ‖G ∇χ‖₁ over χ supported in the mask: W the inverse noise, G zero where
    the magnitude has an edge and at the mask's surface, λ = `weight` × noise / 1 ppb. Sᵣ is δ without `radii`, else
    δ − (mean over a ball), which is blind to what background removal left behind; Mᵣ the voxels that it serves.
    MERIT: voxels whose residual exceeds six times the noise and a fifth of the predicted field lose weight with the
    excess, from the tenth iteration with its 4th power.

    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082; MERIT: Liu et al. 2013, doi:10.1002/mrm.24272. Differs from
    the papers in the data term, linear in the unwrapped field as in the first (the second fits exp(i f), which
    needs an echo time and turns strong sources past 2π); in MERIT's threshold, which there is of the residuals' own
    spread, and its gentle start; in the support, and the units of λ.
    ScanError for a share of edges outside 0…1.
    """
    problem = _problem(local_field, mask, grid, (field_std, magnitude, edges, radii))
    return problem.solved(weight, merit, tol, max_iter, monitor)


@on_box
def medi0(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    field_std: FloatArray | None = None,
    r2star: FloatArray | None = None,
    weight: Weight = WEIGHT,
    edges: Edges = 0.3,
    merit: Merit = True,
    radii: Radii = (8.0, 4.0, 2.0),
    uniformity: Annotated[float, Tunable("1", "weight of the fluid's uniformity beside the data's")] = 0.1,
    tol: Tolerance = 1.5e-2,
    max_iter: Most = 40,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field, its standard deviation (ppm), magnitude and R2* (1/s) → χ (ppm) with uniform ventricles.

    As `medi`, plus ½ μ ‖M(χ − mean of χ over M)‖², M the ventricles' fluid as `reference.csf` finds it in R2*, μ the
    `uniformity`. Without R2*, or without fluid in it, that term is absent.

    Liu et al. 2018, doi:10.1002/mrm.26946. Differs from the paper as `medi` does, and in the several radii.
    """
    problem = _problem(local_field, mask, grid, (field_std, magnitude, edges, radii))
    fluid = None if r2star is None or uniformity == 0 else _fluid(r2star, mask, grid)
    if fluid is not None:
        problem = replace(problem, extra=[_uniform(fluid, uniformity, problem.data.terms[0].kernel)])
    return problem.solved(weight, merit, tol, max_iter, monitor)


@dataclass(frozen=True)
class _Problem:
    """Data, prior, and terms beside them."""

    data: Data
    prior: Prior
    extra: Sequence[Filtered] = ()

    def solved(
        self, weight: float | Rule, merit: bool, tol: float, max_iter: int, monitor: Monitor | None
    ) -> FloatArray:
        """argmin over χ, on the unpadded grid."""

        def short(weight: float, iterations: int) -> FloatArray:
            return self._at(weight, False, (0.0, iterations, None))

        chosen = choose(weight, WEIGHT, short, self.data)
        return self._at(chosen, merit, (tol, max_iter, monitor))

    def _at(self, weight: float, merit: bool, limits: tuple[float, int, Monitor | None]) -> FloatArray:
        tol, max_iter, monitor = limits
        data = self.data
        terms = [_data(term, data.noise if merit else None) for term in data.terms]
        task = Task(
            data.mask, data.grid, data.shape, self.prior, weight, data.noise, (tol, max_iter), monitor, PACE
        )
        return task.solve([*terms, *self.extra])


def _problem(
    field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    known: tuple[FloatArray | None, FloatArray | None, float, Sequence[float]],
) -> _Problem:
    field_std, magnitude, edges, radii = known
    prior = Prior(edges=magnitude_edges.flat(magnitude, mask, grid, edges))
    if radii:
        seen = Spherical.means(field, mask, grid, field_std, radii)
        return _Problem(Data(seen.terms, mask, grid, seen.shape, seen.noise), prior)
    trust = weights.squared(field_std, mask)
    field = weights.finite(np.where(mask, field, np.float32(0)), trust)
    shape, dipole = padded(grid)
    noise = weights.noise(field_std, mask, field)
    return _Problem(Data([DataTerm(dipole, field, trust)], mask, grid, shape, noise), prior)


class _Doubted(Misfit):
    """A misfit whose outliers lose weight as the map settles: residuals against the `noise` of the median voxel."""

    def __init__(self, data: FloatArray, trust: FloatArray, noise: np.float32) -> None:
        super().__init__(data, trust.copy())
        self.trust, self.noise, self.calls = trust, noise, count()

    def __call__(self, state: FloatArray, value: FloatArray, relax: np.float32) -> None:
        done = next(self.calls)
        if done and done % EVERY == 0:
            _merit(self.weight, self.trust, value, self.data, self.noise, 1 if done < SETTLED else 4)
        super().__call__(state, value, relax)


def _data(term: DataTerm, noise: float | None) -> Filtered:
    """The data term; with a `noise` (ppm, of the median voxel) its outliers lose weight as the map settles."""
    trust = term.weight / np.float32(PACE.data)
    if noise is None:
        return Filtered(term.kernel, PACE.data, Misfit(term.data, trust))
    limit = np.float32(OUTLIER * noise / PACE.data**0.5)
    return Filtered(term.kernel, PACE.data, _Doubted(term.data, trust, limit))


@njit(cache=True, parallel=True)
def _merit(
    weight: FloatArray, trust: FloatArray, value: FloatArray, data: FloatArray, least: np.float32, power: int
) -> None:
    """weight = trust, less by the excess^power of the residual over `least`/√trust + a fifth of the value."""
    nx, ny, nz = data.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                share = np.float32(1)
                if trust[i, j, k] > 0:
                    explained = least / np.sqrt(trust[i, j, k]) + MODEL_ERROR * abs(value[i, j, k])
                    residual = abs(data[i, j, k] - value[i, j, k])
                    if residual > explained:
                        share = (explained / residual) ** power
                weight[i, j, k] = trust[i, j, k] * share


def _fluid(r2star: FloatArray, mask: BoolArray, grid: Grid) -> BoolArray | None:
    """The ventricles' fluid; none if R2* shows none."""
    framed, rates = np.pad(mask, 1), np.pad(r2star, 1)
    try:
        found = reference.csf(np.zeros_like(rates), framed, grid.with_shape(framed.shape), r2star=rates)[1]
    except ScanError:
        return None
    return found[1:-1, 1:-1, 1:-1]


@dataclass(frozen=True)
class _Even:
    """The step of ½ strength ‖χ − its mean‖² over a region; of a deviation from that mean the share `keep` stays."""

    region: BoolArray
    keep: np.float32

    def __call__(self, state: FloatArray, value: FloatArray, relax: np.float32) -> None:
        wanted = self._evened(state)
        state += relax * (value - wanted)
        np.copyto(value, 2 * self._evened(state) - state)

    def _evened(self, volume: FloatArray) -> FloatArray:
        out = volume.copy()
        here = crop(out, self.region.shape)
        middle = np.float32(here[self.region].mean(dtype=np.float64))
        here[self.region] = middle + self.keep * (here[self.region] - middle)
        return out

    def coarser(self, by: Steps) -> _Even:
        return replace(self, region=halved(self.region, by) > 0)


def _uniform(region: BoolArray, strength: float, kernel: FloatArray) -> Filtered:
    """½ strength ‖χ − its mean‖² over a region."""
    step = _Even(region, np.float32(1 / (1 + strength / PACE.support)))
    return Filtered(np.ones_like(kernel), PACE.support, step)
