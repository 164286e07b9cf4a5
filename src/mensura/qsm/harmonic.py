"""Fields that satisfy Laplace's equation: the 7-point Laplacian inside a mask, and solid harmonics of low order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from mensura.scan import BoolArray, FloatArray, Grid, ScanError

FITTED_VOXELS = 100_000
"""About so many voxels are enough to fit a handful of smooth functions."""
HUBER = 1.345
"""Residuals beyond so many standard deviations lose weight (95 % efficient for normal errors)."""


def interior(mask: BoolArray) -> BoolArray:
    """The voxels whose six neighbours all lie in the mask."""
    return binary_erosion(mask)  # type: ignore[no-any-return]


@njit(cache=True, parallel=True)
def neighbour_sum(x: FloatArray, couplings: FloatArray) -> FloatArray:
    """Σ over the six neighbours of coupling·value (couplings 1/h² per axis); neighbours off the grid count as 0."""
    out = np.zeros_like(x)
    nx, ny, nz = x.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                s = np.float32(0)
                if i > 0:
                    s += couplings[0] * x[i - 1, j, k]
                if i + 1 < nx:
                    s += couplings[0] * x[i + 1, j, k]
                if j > 0:
                    s += couplings[1] * x[i, j - 1, k]
                if j + 1 < ny:
                    s += couplings[1] * x[i, j + 1, k]
                if k > 0:
                    s += couplings[2] * x[i, j, k - 1]
                if k + 1 < nz:
                    s += couplings[2] * x[i, j, k + 1]
                out[i, j, k] = s
    return out


def without_low_orders(field: FloatArray, mask: BoolArray, grid: Grid, order: int) -> FloatArray:
    """A field (ppm) → the field less its best solid harmonics up to `order` about the mask's centre, 0 outside.

    What a background removal leaves of distant sources is smooth and harmonic. The fit is robust (Huber's weights,
    5 rounds on a regular subset of the voxels), so that veins and lesions do not count. Order 0 is the constant;
    with a negative order nothing is done. ScanError for an order above 6, at which tissue is fitted away.
    """
    if order > 6:
        raise ScanError(f"harmonics of order {order} would take tissue with them; give at most 6")
    if order < 0:
        return field
    voxels = np.argwhere(mask)
    centre, extent = voxels.mean(0), np.ptp(voxels, 0).max() / 2 + 1
    mm = (voxels - centre) * (np.array(grid.voxel_size) / (extent * max(grid.voxel_size)))
    values, some = field[mask].astype(np.float64), slice(None, None, max(1, len(voxels) // FITTED_VOXELS))
    basis = np.stack(list(solid_harmonics(mm[some], order)), -1)
    amplitudes = _robust_fit(basis, values[some])
    for amplitude, function in zip(amplitudes, solid_harmonics(mm, order), strict=True):
        values -= amplitude * function
    out = np.zeros_like(field)
    out[mask] = values
    return out


def solid_harmonics(points: NDArray[np.float64], order: int) -> Iterator[NDArray[np.float64]]:
    """Points (n, 3) → the (order + 1)² regular solid harmonics there, not normalised: rⁿPₙᵐ cos mφ and sin mφ.

    (n − m + 1) Rₙ₊₁ᵐ = (2n + 1) z Rₙᵐ − (n + m) r² Rₙ₋₁ᵐ, from Rₘᵐ ∝ (x + iy)ᵐ.
    """
    x, y, z = points.T
    squared, sector = x * x + y * y + z * z, np.ones(len(x), complex)
    for m in range(order + 1):
        before, now = np.zeros_like(sector), sector
        for n in range(m, order + 1):
            yield now.real
            if m > 0:
                yield now.imag
            before, now = now, ((2 * n + 1) * z * now - (n + m) * squared * before) / (n - m + 1)
        sector = sector * (x + 1j * y)


def _robust_fit(basis: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The amplitudes of the columns of `basis` that add up to `values`, outliers down-weighted (Huber 1964)."""
    weight: NDArray[np.float64] = np.ones(len(values))
    amplitudes: NDArray[np.float64] = np.zeros(basis.shape[1])
    for _ in range(5):
        weighted = basis * weight[:, None]
        found = np.linalg.lstsq(weighted.T @ basis, weighted.T @ values, rcond=None)
        amplitudes = np.asarray(found[0], np.float64)
        residual = np.abs(values - basis @ amplitudes)
        scale = 1.4826 * HUBER * float(np.median(residual))
        if scale > 0:
            weight = np.reciprocal(np.maximum(1, residual / scale))
    return amplitudes
