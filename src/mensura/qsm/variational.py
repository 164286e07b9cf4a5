"""The one engine of the variational methods: data terms on filtered dipole fields, a prior on χ, χ inside the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mensura.inverse.admm import Filtered, Support, Variation, admm
from mensura.inverse.fft import crop
from mensura.inverse.grids import halvings
from mensura.inverse.operators import difference_spectrum
from mensura.inverse.prox import ABSOLUTE, PERIODIC, SQUARED, Misfit
from mensura.methods import Monitor
from mensura.qsm.harmonic import interior
from mensura.qsm.weights import NOISE_UNIT
from mensura.scan import BoolArray, FloatArray, Grid

DATA_PENALTY = 0.1
ABSOLUTE_PENALTY = 0.01
SUPPORT_PENALTY = 2e-3
GRADIENT_PENALTY = 20.0
HARMONIC_PENALTY = 0.5
"""ρ of the augmented Lagrangian, for data weights around 1; the last two times the weight of their term. They set the
speed only, and were chosen on five heads: with twice and five times as much (0.2, 100) strong lesions take a hundred
iterations more to grow, with less (0.02) the map swings about the minimum. Absolute deviations pull no harder on a
strong source than on noise, so that theirs must be small for it to grow in time."""
SOURCES = 1000.0
"""How many times less a source of the unknown field costs outside the mask than inside; without a cost there (as in
the literature) it swallows the rim of the local field: 44 % error where a thousandth has 27 and no such field 24."""
BENDING = 2.0
"""Length of second-order variation in voxels: weight of |E v| over that of |∇χ − v|."""


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


def minimise(
    terms: Sequence[DataTerm],
    mask: BoolArray,
    grid: Grid,
    *,
    shape: tuple[int, int, int],
    weight: float,
    noise: float,
    tol: float,
    max_iter: int,
    monitor: Monitor | None,
    prior: Prior = Prior(),
    harmonic: float | None = None,
) -> FloatArray:
    """argmin over χ that is 0 outside the mask: Σ data terms + λ·R(χ), by ADMM on the padded `shape`.

    R is Σ|∇χ| or, of second order, min over v of Σ|∇χ − v| + 2 voxels·|E v|. λ = `weight` × `noise` (ppm) / 1 ppb.
    Gradients are per mm, so that the weight means the same at any voxel size; they run over the whole padded volume.
    With `harmonic` (β in mm⁴) every data term also sees an unknown field h, which costs ½ β Σ|∇²h|² in the mask and
    a thousandth of that elsewhere.
    """
    strength = weight * noise / NOISE_UNIT
    variation = Variation(
        strength=strength,
        penalty=GRADIENT_PENALTY * weight,
        length=BENDING * float(np.mean(grid.voxel_size)) if prior.order == 2 else 0.0,
        edges=None if prior.edges is None else np.broadcast_to(prior.edges, (3, *mask.shape)),
    )
    filters = [_filtered(term, noise, harmonic is not None) for term in terms]
    if harmonic is not None:
        filters.append(_harmonic(mask, grid, shape, harmonic))
    solution = admm(
        filters,
        variation,
        Support(mask, SUPPORT_PENALTY),
        shape,
        grid.voxel_size,
        tol=tol,
        max_iter=max_iter,
        halvings=halvings(mask.shape),
        monitor=monitor,
    )
    return crop(solution.x, mask.shape) * mask


def _filtered(term: DataTerm, noise: float, with_other: bool) -> Filtered:
    kind = {"gaussian": SQUARED, "l1": ABSOLUTE, "phase": PERIODIC}[term.loss]
    weight = np.sqrt(term.weight) * np.float32(noise) if kind == ABSOLUTE else term.weight
    penalty = ABSOLUTE_PENALTY if kind == ABSOLUTE else DATA_PENALTY
    weight = weight / np.float32(penalty)
    step = Misfit(term.data, weight, kind, term.turn)
    return Filtered(term.kernel, penalty, step, np.ones_like(term.kernel) if with_other else None)


def _harmonic(mask: BoolArray, grid: Grid, shape: tuple[int, int, int], strength: float) -> Filtered:
    """½ strength·|∇²h|² inside the mask, a thousandth of it elsewhere: sources there are to be small and few."""
    weight = np.full(shape, 1 / HARMONIC_PENALTY / SOURCES, np.float32)
    crop(weight, mask.shape)[interior(mask)] = 1 / HARMONIC_PENALTY
    step = Misfit(np.zeros(shape, np.float32), weight)
    return Filtered(None, HARMONIC_PENALTY * strength, step, difference_spectrum(shape, grid.voxel_size))
