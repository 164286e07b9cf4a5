"""Local field → susceptibility with the magnitude's edges as prior knowledge (MEDI)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mensura.inverse.fft import crop, fast_shape, pad
from mensura.inverse.operators import Operator, fourier_multiplier, gradient, negative_divergence
from mensura.inverse.solvers import conjugate_gradient, dot, relative_change
from mensura.methods import Monitor, Tunable
from mensura.qsm import kernels, weights
from mensura.qsm.box import on_box
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

PADDING = 0.25
PHASE_OF_TYPICAL_FIELD = 0.1
"""rad: the field is scaled so that its robust standard deviation turns the phase by this much, an echo time of
about 20 ms at 3 T; only fields thirty times larger feel that the data term is periodic."""
OUTLIER = 6.0
SMOOTHING = 1e-2
"""Share of the typical gradient below which |∇χ| is rounded off."""


@dataclass(frozen=True)
class _Problem:
    data: FloatArray
    weight: FloatArray
    flat: FloatArray
    mask: FloatArray
    dipole: Operator
    inverse_size: FloatArray
    strength: float


@on_box
def medi(
    local_field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    field_std: FloatArray | None = None,
    weight: Annotated[
        float, Tunable("1", "weight of the morphology prior at a field noise of 1 ppb; scales with the noise")
    ] = 1.5e-4,
    edges: Annotated[
        float, Tunable("1", "share of the mask's voxels that count as edges of the magnitude")
    ] = 0.3,
    merit: Annotated[bool, Tunable("", "weigh voxels down that the model cannot explain")] = True,
    tol: Annotated[float, Tunable("1", "relative change that ends the outer iteration")] = 3e-2,
    max_iter: Annotated[int, Tunable("1", "most outer (Gauss–Newton) iterations")] = 10,
    inner: Annotated[int, Tunable("1", "most conjugate gradient steps in each")] = 10,
    monitor: Monitor | None = None,
) -> FloatArray:
    """Local field, its standard deviation (ppm) and the magnitude → χ (ppm), zero outside the mask.

    Minimises ½‖W (exp(i d∗χ) − exp(i f))‖² + λ ‖G ∇χ‖₁, field in radians, W the inverse noise, G zero where the
    magnitude has an edge in that direction; λ = `weight` × noise / 1 ppb. Gauss–Newton with lagged |G∇χ|.
    Without a magnitude there are no edges. ScanError for a share of edges outside 0…1.

    Liu et al. 2012, doi:10.1016/j.neuroimage.2011.08.082; nonlinear data term and MERIT: Liu et al. 2013,
    doi:10.1002/mrm.24272. Differs from the papers in the units of λ and in that χ is confined to the mask.
    """
    if not 0 <= edges < 1:
        raise ScanError(f"the share of edge voxels must lie in 0…1, not {edges:g}")
    problem, scale = _problem(local_field, mask, grid, (field_std, magnitude, weight, edges))
    x = np.zeros(problem.data.shape, np.float32)
    for iteration in range(max_iter):
        step = _gauss_newton_step(problem, x, inner)
        x = x + step
        change = relative_change(x, x - step)
        if monitor is not None:
            monitor(iteration + 1, max_iter, change)
        if change <= tol:
            break
        if merit:
            problem = _without_outliers(problem, x)
    return crop(x, mask.shape) / np.float32(scale) * mask


def _problem(
    field: FloatArray,
    mask: BoolArray,
    grid: Grid,
    known: tuple[FloatArray | None, FloatArray | None, float, float],
) -> tuple[_Problem, float]:
    """Everything padded, and radians per ppm."""
    field_std, magnitude, weight, edges = known
    trust = weights.squared(field_std, mask)
    field = weights.finite(np.where(mask, field, np.float32(0)), trust)
    noise = weights.noise(field_std, mask, field)
    size = weights.noise(None, mask, field) / weights.MODEL_ERROR
    scale = PHASE_OF_TYPICAL_FIELD / size if size > 0 else 1.0
    shape = fast_shape(grid.shape, [int(np.ceil(n * PADDING)) for n in grid.shape])
    inverse_size = (1 / np.asarray(grid.voxel_size)).astype(np.float32)
    problem = _Problem(
        data=pad((field * np.float32(scale)).astype(np.float32), shape),
        weight=pad(trust, shape),
        flat=_flat(magnitude, mask, edges, shape, inverse_size),
        mask=pad(mask.astype(np.float32), shape),
        dipole=fourier_multiplier(kernels.dipole(shape, grid), shape[2]),
        inverse_size=inverse_size,
        strength=weight * noise / weights.NOISE_UNIT * scale,
    )
    return problem, scale


def _flat(
    magnitude: FloatArray | None,
    mask: BoolArray,
    edges: float,
    shape: tuple[int, int, int],
    inverse_size: FloatArray,
) -> FloatArray:
    """1 where the magnitude has no edge along an axis, 0 where it has one; (3, x, y, z)."""
    flat = np.ones((3, *shape), np.float32)
    if magnitude is None or edges == 0:
        return flat
    combined = magnitude if magnitude.ndim == 3 else np.sqrt(np.sum(np.square(magnitude), axis=3))
    inside = pad(mask.astype(np.float32), shape) > 0
    shown: FloatArray = np.where(mask, combined, np.float32(0))
    slope = np.abs(gradient(pad(np.ascontiguousarray(shown), shape), inverse_size))
    flat[(slope > np.quantile(slope[:, inside], 1 - edges)) & inside] = 0
    return flat


def _gauss_newton_step(p: _Problem, x: FloatArray, inner: int) -> FloatArray:
    """The step that the linearised problem asks for, by conjugate gradients."""
    slope = p.flat * gradient(x, p.inverse_size)
    typical = np.sqrt(dot(slope[0], slope[0]) + dot(slope[1], slope[1]) + dot(slope[2], slope[2]))
    rounding = np.float32(SMOOTHING * max(typical / np.sqrt(p.mask.sum()), 1e-6))
    size = np.sqrt(slope * slope + rounding * rounding)
    lagged: FloatArray = np.asarray(np.float32(p.strength) * p.flat / size, np.float32)

    def prior(v: FloatArray) -> FloatArray:
        return negative_divergence(lagged * gradient(v, p.inverse_size), p.inverse_size)

    def normal(v: FloatArray) -> FloatArray:
        return p.mask * (p.dipole.adjoint(p.weight * p.dipole.forward(v)) + prior(v))

    misfit = p.weight * np.sin(p.data - p.dipole.forward(x))
    right = p.mask * (p.dipole.adjoint(misfit) - prior(x))
    return conjugate_gradient(normal, right, tol=1e-2, max_iter=inner).x


def _without_outliers(p: _Problem, x: FloatArray) -> _Problem:
    """MERIT: weights of voxels whose residual exceeds six times the typical one fall with its square."""
    residual = np.sqrt(p.weight) * 2 * np.abs(np.sin((p.data - p.dipole.forward(x)) / 2))
    trusted = p.weight > 0
    spread = float(np.sqrt(np.mean(np.square(residual[trusted], dtype=np.float64))))
    excess = np.maximum(residual / (OUTLIER * max(spread, 1e-12)), 1)
    changed = p.weight / excess**4
    return _Problem(p.data, changed.astype(np.float32), p.flat, p.mask, p.dipole, p.inverse_size, p.strength)
