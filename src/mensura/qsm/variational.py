"""The one engine of the variational methods: data terms on filtered dipole fields, a prior on χ, χ inside the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np

from mensura.inverse.admm import Filtered, Support, Variation, admm
from mensura.inverse.fft import crop
from mensura.inverse.grids import halvings
from mensura.inverse.operators import difference_spectrum
from mensura.inverse.prox import ABSOLUTE, PERIODIC, SQUARED, Misfit
from mensura.methods import Monitor, Tunable
from mensura.qsm.harmonic import interior
from mensura.qsm.weights import NOISE_UNIT
from mensura.scan import BoolArray, FloatArray, Grid

ABSOLUTE_PENALTY = 0.01
"""ρ of absolute deviations, which pull no harder on a strong source than on noise: small, for it to grow in time."""
HARMONIC_PENALTY = 0.5
"""ρ of the unknown field's Laplacian, over the weight of that term."""
SOURCES = 1000.0
"""How many times less a source of the unknown field costs outside the mask than inside; without a cost there (as in
the literature) it swallows the rim of the local field: 44 % error where a thousandth has 27 and no such field 24."""
BENDING = 2.0
"""Length of second-order variation in voxels: weight of |E v| over that of |∇χ − v|."""


Weight = Annotated[
    float, Tunable("1", "weight of the prior at a field noise of 1 ppb; scales with the noise")
]
Tolerance = Annotated[float, Tunable("1", "relative change that ends the iteration")]
Most = Annotated[int, Tunable("1", "most iterations")]

Loss: TypeAlias = Literal["gaussian", "l1", "phase"]


@dataclass(frozen=True)
class DataTerm:
    """The misfit of kernel ∗ χ to data: kernel as a half spectrum, data and weight on the unpadded grid.

    With r the misfit and w the weight, `loss` is "gaussian": ½ Σ w r²; "l1": noise·Σ √w |r|, which rises as fast as
    the former where r is one noise; "phase": Σ w (1 − cos(s r))/s², s = `turn` rad per ppm, blind to whole turns.
    """

    kernel: FloatArray
    data: FloatArray
    weight: FloatArray
    loss: Loss = "gaussian"
    turn: float = 1.0


@dataclass(frozen=True)
class Prior:
    """What χ is believed to be: piecewise constant (order 1, TV) or piecewise linear (order 2, TGV).

    `edges` in 0…1, one volume or one per axis (3, x, y, z), say how much a slope costs there.
    """

    order: int = 1
    edges: FloatArray | None = None


@dataclass(frozen=True)
class Pace:
    """How the minimum is approached, not where it is: ρ of the data (for weights around 1), of the variation over its
    weight, of the support, over-relaxation, and how much closer each coarser grid comes to the minimum.

    Chosen on five heads. With 0.2 and 100 strong lesions take a hundred iterations more to grow, with 0.02 for the data
    the map swings about the minimum.
    """

    data: float = 0.1
    variation: float = 20.0
    support: float = 2e-3
    relax: float = 1.6
    settle: float = 1.0


@dataclass(frozen=True)
class Task:
    """Where χ is looked for, on which padded `shape`; how strong the prior is, at which noise (ppm); when to stop."""

    mask: BoolArray
    grid: Grid
    shape: tuple[int, int, int]
    prior: Prior
    weight: float
    noise: float
    stop: tuple[float, int]
    monitor: Monitor | None = None
    pace: Pace = Pace()

    def solve(self, filters: Sequence[Filtered]) -> FloatArray:
        """argmin over χ that is 0 outside the mask: Σ terms + λ·R(χ), by ADMM; χ on the unpadded grid.

        R is Σ|∇χ| or, of second order, min over v of Σ|∇χ − v| + 2 voxels·|E v|. λ = `weight` × `noise` / 1 ppb.
        Gradients are per mm, so that the weight means the same at any voxel size; they run over the whole volume.
        """
        edges = self.prior.edges
        variation = Variation(
            strength=self.weight * self.noise / NOISE_UNIT,
            penalty=self.pace.variation * self.weight,
            length=BENDING * float(np.mean(self.grid.voxel_size)) if self.prior.order == 2 else 0.0,
            edges=None if edges is None else np.broadcast_to(edges, (3, *self.mask.shape)),
        )
        tol, max_iter = self.stop
        solution = admm(
            filters,
            variation,
            Support(self.mask, self.pace.support),
            self.shape,
            self.grid.voxel_size,
            tol=tol,
            max_iter=max_iter,
            relax=self.pace.relax,
            halvings=halvings(self.mask.shape, self.shape),
            settle=self.pace.settle,
            monitor=self.monitor,
        )
        return crop(solution.x, self.mask.shape) * self.mask


def minimise(terms: Sequence[DataTerm], task: Task, harmonic: float | None = None) -> FloatArray:
    """argmin over χ of Σ data terms + λ·R(χ), see `Task.solve`.

    With `harmonic` (β in mm⁴) every data term also sees an unknown field h, which costs ½ β Σ|∇²h|² in the mask and
    a thousandth of that elsewhere.
    """
    filters = [_filtered(term, task, harmonic is not None) for term in terms]
    return task.solve(filters if harmonic is None else [*filters, _harmonic(task, harmonic)])


def _filtered(term: DataTerm, task: Task, with_other: bool) -> Filtered:
    kind = {"gaussian": SQUARED, "l1": ABSOLUTE, "phase": PERIODIC}[term.loss]
    weight = np.sqrt(term.weight) * np.float32(task.noise) if kind == ABSOLUTE else term.weight
    penalty = ABSOLUTE_PENALTY if kind == ABSOLUTE else task.pace.data
    weight = weight / np.float32(penalty)
    step = Misfit(term.data, weight, kind, term.turn)
    return Filtered(term.kernel, penalty, step, np.ones_like(term.kernel) if with_other else None)


def _harmonic(task: Task, strength: float) -> Filtered:
    """½ strength·|∇²h|² inside the mask, a thousandth of it elsewhere: sources there are to be small and few."""
    weight = np.full(task.shape, 1 / HARMONIC_PENALTY / SOURCES, np.float32)
    crop(weight, task.mask.shape)[interior(task.mask)] = 1 / HARMONIC_PENALTY
    step = Misfit(np.zeros(task.shape, np.float32), weight)
    laplacian = difference_spectrum(task.shape, task.grid.voxel_size)
    return Filtered(None, HARMONIC_PENALTY * strength, step, laplacian)
