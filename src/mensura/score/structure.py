"""Two maps and a mask → errors of their structure: high frequencies, local similarity, gradients (3D only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mensura.scan import BoolArray, ScanError, bounding_box
from mensura.score.agreement import Values, inside, norm

SIGMA = 1.5
"""Voxels: of the Gaussians in HFEN and XSIM."""
LOG_RADIUS, WINDOW_RADIUS = 7, 3
"""Voxels: half-widths of the LoG filter (15³) and of XSIM's window (7³)."""
C1, C2 = 0.01**2, 0.001**2
"""(K·L)² of XSIM with K₁ = 0.01, K₂ = 0.001 and L = 1 ppm."""


def hfen(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two maps and a mask → high-frequency error norm in %; 0 for a perfect map, 100 for a constant one.

    100·‖LoG(e) − LoG(t)‖₂ / ‖LoG(t)‖₂ over the mask, with the Laplacian of a Gaussian of 1.5 voxels cut to
    15³ (DOI 10.1109/TMI.2010.2090538; normalised as in 10.1002/mrm.26830). Both maps are zero outside the
    mask before they are filtered, less their means, so that an offset makes no edge there.
    """
    e, t, box = _masked(estimate, truth, mask, demean=True)
    if np.ptp(np.asarray(truth)[np.asarray(mask, bool)]) == 0:
        raise ScanError("the truth is constant over the mask, so that it has no high frequencies")
    return 100 * norm(_log(e - t)[box]) / norm(_log(t)[box])


def xsim(estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Two susceptibility maps (ppm) and a mask → their structural similarity; 1 for a perfect map.

    Mean over the mask of (2μₑμₜ + C₁)(2σₑₜ + C₂) / ((μₑ² + μₜ² + C₁)(σₑ² + σₜ² + C₂)) with Gaussian windows
    of 1.5 voxels cut to 7³, C₁ = 0.01² and C₂ = 0.001² ppm² (DOI 10.1002/mrm.30271, 10.1109/TIP.2003.819861).
    Both maps are zero outside the mask. An offset costs something: take the means off before. A map of the
    wrong sign does not score below 0, for where χ is far from zero both factors turn negative.
    """
    e, t, box = _masked(estimate, truth, mask, demean=False)
    mean_e, mean_t = _window(e), _window(t)
    var_e, var_t = _window(e * e) - mean_e * mean_e, _window(t * t) - mean_t * mean_t
    shared = _window(e * t) - mean_e * mean_t
    likeness = (2 * mean_e * mean_t + C1) * (2 * shared + C2)
    likeness /= (mean_e * mean_e + mean_t * mean_t + C1) * (var_e + var_t + C2)
    return float(likeness[box].mean())


def gradient_error(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike, voxel_size: Sequence[float] = (1.0, 1.0, 1.0)
) -> float:
    """Two maps, a mask, voxel size (mm) → error of the gradient in %: 100·‖∇e − ∇t‖₂ / ‖∇t‖₂.

    Forward differences per mm, over all pairs of neighbours that both lie in the mask: offsets cost nothing
    and the mask's rim is no edge.
    """
    e, t, box = _masked(estimate, truth, mask, demean=False)
    wrong = true = 0.0
    for axis, size in enumerate(voxel_size):
        pairs = _upper(box, axis) & _lower(box, axis)
        wrong += float(np.sum((np.diff(e - t, axis=axis)[pairs] / size) ** 2))
        true += float(np.sum((np.diff(t, axis=axis)[pairs] / size) ** 2))
    if true == 0:
        raise ScanError("the truth has no gradient inside the mask, so that no relative error can be given")
    return 100 * float(np.sqrt(wrong / true))


def _masked(
    estimate: ArrayLike, truth: ArrayLike, mask: ArrayLike, *, demean: bool
) -> tuple[Values, Values, BoolArray]:
    """Both maps on the mask's box, zero outside the mask, and the mask there."""
    e_values, t_values = inside(estimate, truth, mask)
    chosen = np.asarray(mask, bool)
    if chosen.ndim != 3:
        raise ScanError(f"maps of {chosen.ndim} dimensions have no structure in space; give 3D maps")
    box = chosen[bounding_box(chosen)]
    return _placed(e_values, box, demean), _placed(t_values, box, demean), box


def _placed(values: Values, box: BoolArray, demean: bool) -> Values:
    placed = np.zeros(box.shape)
    placed[box] = values - values.mean() if demean else values
    return placed


def _log(volume: Values) -> Values:
    filtered: Values = ndimage.gaussian_laplace(volume, SIGMA, mode="constant", radius=LOG_RADIUS)
    return filtered


def _window(volume: Values) -> Values:
    smooth: Values = ndimage.gaussian_filter(volume, SIGMA, mode="constant", radius=WINDOW_RADIUS)
    return smooth


def _lower(volume: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    return np.delete(volume, -1, axis)


def _upper(volume: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    return np.delete(volume, 0, axis)
