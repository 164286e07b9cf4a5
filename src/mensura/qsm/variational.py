"""The one engine of the total-variation methods: weighted data terms on filtered dipole fields, χ inside the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mensura.inverse.fft import crop, pad
from mensura.inverse.prox import fit_data, shrink_gradient
from mensura.inverse.solvers import Split, admm
from mensura.methods import Monitor
from mensura.qsm.weights import NOISE_UNIT
from mensura.scan import BoolArray, FloatArray, Grid

DATA_PENALTY = 0.2
SUPPORT_PENALTY = 4e-4
GRADIENT_PENALTY = 100.0
"""ρ of the augmented Lagrangian, for data weights around 1; the last one times the regularisation weight. They set
the speed only: chosen so that 30 iterations come within 1 % of the minimum."""


@dataclass(frozen=True)
class DataTerm:
    """½ ‖√weight · (kernel ∗ χ − data)‖²: kernel as a half spectrum, data and weight on the unpadded grid."""

    kernel: FloatArray
    data: FloatArray
    weight: FloatArray


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
) -> FloatArray:
    """argmin over χ that is 0 outside the mask: Σ data terms + λ·Σ|∇χ|, by ADMM on the padded `shape`.

    λ = `weight` × `noise` (ppm) / 1 ppb. Gradients are per mm, so that the weight means the same at any voxel
    size; they run over the whole padded volume.
    """
    threshold = np.float32(noise / NOISE_UNIT / GRADIENT_PENALTY)
    inside = pad(mask.astype(np.float32), shape)
    pinned = np.where(inside > 0, np.float32(0), np.float32(np.inf))
    splits = [_data_split(term, shape) for term in terms]
    splits.append(Split("gradient", GRADIENT_PENALTY * weight, partial(shrink_gradient, threshold=threshold)))
    splits.append(
        Split("identity", SUPPORT_PENALTY, partial(fit_data, data=np.zeros_like(pinned), weight=pinned))
    )
    solution = admm(splits, shape, grid.voxel_size, tol=tol, max_iter=max_iter, monitor=monitor)
    return crop(solution.x, mask.shape) * mask


def _data_split(term: DataTerm, shape: tuple[int, int, int]) -> Split:
    data, weight = pad(term.data, shape), pad(term.weight / np.float32(DATA_PENALTY), shape)
    return Split(term.kernel, DATA_PENALTY, partial(fit_data, data=data, weight=weight))
