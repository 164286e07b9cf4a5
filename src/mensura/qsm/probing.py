"""Noise fields carried to χ: how they are drawn, how total variation passes them on, and how they are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit, prange
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from mensura.inverse.fft import crop, fast_shape, pad
from mensura.inverse.operators import fourier_multiplier, gradient, negative_divergence
from mensura.inverse.solvers import conjugate_gradient
from mensura.methods import Monitor
from mensura.qsm import kernels, weights
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

MARGIN = 10.0
"""mm of zeros around the box: noise in χ is correlated over a few mm, so that what comes round the edge is nothing."""
LARGEST = 0.999
"""Quantile of the field's noise that none exceeds: in a signal void it may be anything, and is not told by weights."""
TOLERANCE = 1e-3
STEPS = 15
"""Of the conjugate gradients; after 15 steps the noise is within 2 % of that after 60."""

LEAST_SIGMA = 1.25
"""voxels: fewer would leave the estimate to a handful of random numbers."""

Carry = Callable[[FloatArray], FloatArray]


def level(field_std: FloatArray, mask: BoolArray) -> FloatArray:
    """Standard deviation of the field (ppm) → the same, unknown voxels as the noisiest, 0 outside the mask.

    ScanError if no voxel has a finite standard deviation.
    """
    known = mask & np.isfinite(field_std)
    if not known.any():
        raise ScanError(
            "the field's standard deviation is nowhere finite in the mask; leave it out or mend it"
        )
    most = np.quantile(field_std[known], LARGEST)
    return np.where(known, np.minimum(field_std, most), np.where(mask, most, np.float32(0)))


def white_noise(grid: Grid, seed: int, draw: int) -> FloatArray:
    """Standard normal noise, one value a voxel, drawn in anatomical order: the same however the axes are stored."""
    across = grid.affine[:3, :3] / np.asarray(grid.voxel_size)
    order = linear_sum_assignment(-np.abs(across))[1]
    rng = np.random.Generator(np.random.Philox([seed, draw]))
    noise = rng.standard_normal([grid.shape[axis] for axis in order], np.float32)
    backwards = [world for world, axis in enumerate(order) if across[world, axis] < 0]
    return np.ascontiguousarray(np.transpose(np.flip(noise, tuple(backwards)), np.argsort(order)))


def local_std(maps: Sequence[FloatArray], mask: BoolArray, grid: Grid, width: float) -> FloatArray:
    """Noise maps → their standard deviation around each voxel, by a Gaussian of full `width` (mm) at half its height.

    √(π/2) times the mean size, which is the mean standard deviation of normal noise: a few loud voxels of a
    neighbourhood (edges) do not speak for the others, as they would in a mean square. The Gaussian's own
    standard deviation is at least 1.25 voxels, and it does not look beyond the mask.
    """
    if width < 0:
        raise ScanError(f"the width of the average must not be negative, but is {width:g} mm")
    sigma = [max(width / 2.355 / h, LEAST_SIGMA) for h in grid.voxel_size]
    size = np.mean([np.abs(one) for one in maps], axis=0, dtype=np.float64).astype(np.float32)
    inside = gaussian_filter(mask.astype(np.float32), sigma, truncate=3)
    mean = gaussian_filter(size * mask, sigma, truncate=3) / np.maximum(inside, np.float32(1e-6))
    spread: FloatArray = np.float32(np.sqrt(np.pi / 2)) * mean * mask
    return spread


def total_variation(
    chi: FloatArray,
    field_std: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    weight: float,
    edges: FloatArray | None = None,
    monitor: Monitor | None = None,
) -> Carry:
    """A map made with total variation (ppm) → the function that carries a small field (ppm) to its change of χ (ppm).

    The change δ of argmin ½‖W(d∗χ − f)‖² + λ Σ√(|G∇χ|² + ε²) with the field, to first order: it solves
    (dᵀW²d + λ ∇ᵀGHG∇) δ = dᵀW² δf, H = (1 − ggᵀ/(|g|² + ε²))/√(|g|² + ε²), g = G∇χ, so that a slope may
    grow freely along itself and turns only against λ/|g|. G is 1 or what a slope costs (`edges`, see `variational`),
    λ = `weight` × noise / 1 ppb, and ε that noise per mm (from a third of it to three times as much, the noise of χ
    stays within 3 %).
    """
    shape = fast_shape(grid.shape, [int(np.ceil(MARGIN / h)) for h in grid.voxel_size])
    dipole = fourier_multiplier(kernels.dipole(shape, grid), shape[2])
    inverse_size = (1 / np.asarray(grid.voxel_size)).astype(np.float32)
    source = pad(np.where(mask & np.isfinite(chi), chi, np.float32(0)), shape)
    explained = crop(dipole.forward(source), grid.shape) * mask
    weight_of, noise = weights.with_unresolved(weights.squared(field_std, mask), field_std, explained)
    strength, rounding = np.float32(weight * noise / weights.NOISE_UNIT), np.float32(noise)
    trust, inside = pad(weight_of, shape), pad(mask.astype(np.float32), shape)
    cost = _costs(edges, shape)
    slope = cost * gradient(source, inverse_size)

    def normal(x: FloatArray) -> FloatArray:
        bent = cost * gradient(x, inverse_size)
        _bend(bent, slope, strength, rounding)
        pull = negative_divergence(cost * bent, inverse_size)
        return inside * (dipole.adjoint(trust * dipole.forward(x)) + pull)

    def carry(field: FloatArray) -> FloatArray:
        right = inside * dipole.adjoint(trust * pad(field, shape))
        found = conjugate_gradient(normal, right, tol=TOLERANCE, max_iter=STEPS, monitor=monitor).x
        return centred(crop(found, grid.shape), mask)

    return carry


def _costs(edges: FloatArray | None, shape: tuple[int, int, int]) -> FloatArray:
    """What a slope costs, on the padded shape and along each axis; 1 where nothing is told."""
    if edges is None:
        return np.ones((1, 1, 1, 1), np.float32)
    costs = np.ones((3, *shape), np.float32)
    costs[:, : edges.shape[-3], : edges.shape[-2], : edges.shape[-1]] = edges
    return costs


def centred(change: FloatArray, mask: BoolArray) -> FloatArray:
    """A change of χ without its mean over the mask, which the reference takes away; 0 where it is not finite."""
    known = np.where(mask & np.isfinite(change), change, np.float32(0))
    return (known - np.mean(known[mask], dtype=np.float64).astype(np.float32)) * mask


@njit(cache=True, parallel=True)
def _bend(g: FloatArray, slope: FloatArray, strength: np.float32, rounding: np.float32) -> None:
    """g ← λ H g with the second derivative H of √(|slope|² + rounding²), in place."""
    nx, ny, nz = g.shape[1:]
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                x, y, z = slope[0, i, j, k], slope[1, i, j, k], slope[2, i, j, k]
                a, b, c = g[0, i, j, k], g[1, i, j, k], g[2, i, j, k]
                squared = x * x + y * y + z * z + rounding * rounding
                stiffness, along = strength / np.sqrt(squared), (a * x + b * y + c * z) / squared
                g[0, i, j, k] = stiffness * (a - along * x)
                g[1, i, j, k] = stiffness * (b - along * y)
                g[2, i, j, k] = stiffness * (c - along * z)
