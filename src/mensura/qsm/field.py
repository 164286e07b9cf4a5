"""Unwrapped phase of one or more echoes → total field (ppm), its standard deviation and the fit's residual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Slopes = tuple[FloatArray, FloatArray, FloatArray]
Maps = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
Tolerance = Annotated[
    float,
    Tunable(
        "1", "standard deviations of the echoes' misfit that noise explains; beyond, a voxel loses weight"
    ),
]
TOLERANCE = 2.0
DOUBT, SHARED_DOUBT, MOST_DOUBT = 1.0, 0.5, 100.0
"""Variance that a voxel's own unexplained misfit adds, its neighbours' (each at most 100): from 12 simulated heads."""
CONTRAST = 2.0
"""Variance for the field's and the signal's common variation inside a voxel (docs/field.md)."""
MEDIAN_CHI_SQUARE = (np.nan, 0.4549, 0.6931, 0.7887, 0.8392)
"""Median of χ²/n for n = 1, 2, 3, 4 degrees of freedom."""
LOWER_QUARTILE = 0.1015
"""Of χ² with one degree of freedom."""


def weighted(
    unwrapped_phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    echo_times: Sequence[float],
    hz_per_ppm: float,
    tolerance: Tolerance = TOLERANCE,
) -> Maps:
    """Unwrapped phase (rad) → total field, its noise, its whole error (ppm), relative residual (1).

    The phase, free of an offset, is fitted by 2π f TE with weights (magnitude·TE)². The noise σ of the images
    follows from the median misfit over the mask (of one echo from the field's roughness). The noise's variance is
    σ²/(4π² Σ(magnitude²−2σ²)·TE²), more where the echoes disagree beyond `tolerance` times the noise: inversions weigh
    with it. The whole error is calibrated: it adds what neighbours' misfit and the field's variation inside the voxel
    cause (docs/field.md); as a weight it would doubt every voxel beside a strong source. The residual is
    ‖s − |s|·exp(i 2π f TE)‖ / ‖s‖, s the complex signal of all echoes. A voxel without signal is not a number.
    Raises ScanError if the shapes do not fit.
    Wu et al. 2012, doi:10.1016/j.neuroimage.2011.07.019 (weights); QSM consensus 2024, doi:10.1002/mrm.30006
    (residual).
    """
    phase, weight, times = _prepare(unwrapped_phase, magnitude, echo_times)
    fitted = _fit_slope(phase, weight, mask, times, False)
    return _finish(
        fitted, _Given(weight, mask, times, len(times) - 1, tolerance, hz_per_ppm, _bias(magnitude))
    )


def linear(
    unwrapped_phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    echo_times: Sequence[float],
    hz_per_ppm: float,
) -> Maps:
    """Unwrapped phase (rad) → total field, its noise, its whole error (ppm), relative residual (1).

    Ordinary least squares of the phase against echo time, all echoes alike, with a free intercept per voxel
    where there are two echoes or more: the plain method to compare others with. Errors as in `weighted`.
    """
    phase, weight, times = _prepare(unwrapped_phase, None, echo_times)
    several = len(times) > 1
    fitted = _fit_slope(phase, weight, mask, times, several)
    lever = times - times.mean() if several else times
    return _finish(fitted, _Given(weight, mask, lever, max(len(times) - 2, 0), TOLERANCE, hz_per_ppm))


def nonlinear(
    unwrapped_phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    echo_times: Sequence[float],
    hz_per_ppm: float,
    tolerance: Tolerance = TOLERANCE,
    max_iter: Annotated[int, Tunable("1", "Gauss–Newton steps")] = 8,
) -> Maps:
    """Unwrapped phase (rad) → total field, its noise, its whole error (ppm), relative residual (1).

    Minimises Σ |s − |s|·exp(i 2π f TE)|² over the echoes by Gauss–Newton from the weighted linear fit: an echo
    that was unwrapped wrongly by 2π no longer pulls. Otherwise as `weighted`.
    Liu et al. 2013, doi:10.1002/mrm.24272, eq. (3). Differs from the paper in that the offset was removed before.
    """
    phase, weight, times = _prepare(unwrapped_phase, magnitude, echo_times)
    fitted = _fit_slope(phase, weight, mask, times, False)
    _refine_slope(phase, weight, mask, times, *fitted, max_iter)
    return _finish(
        fitted, _Given(weight, mask, times, len(times) - 1, tolerance, hz_per_ppm, _bias(magnitude))
    )


def _bias(magnitude: FloatArray | None) -> float:
    return 0.0 if magnitude is None else 2.0


def _prepare(
    phase: FloatArray, magnitude: FloatArray | None, echo_times: Sequence[float]
) -> tuple[FloatArray, FloatArray, NDArray[np.float64]]:
    """Phase and weights with an echo axis, both C-ordered, and the echo times."""
    stack = np.ascontiguousarray(phase if phase.ndim == 4 else phase[..., None], np.float32)
    times = np.array(echo_times, np.float64)
    if stack.shape[3] != times.size:
        raise ScanError(
            f"there are {stack.shape[3]} echoes of phase but {times.size} echo times; give one for each"
        )
    if magnitude is None:
        return stack, np.ones_like(stack), times
    weight = np.square(magnitude, dtype=np.float32).reshape(stack.shape)
    return stack, np.ascontiguousarray(weight), times


@dataclass(frozen=True)
class _Given:
    """What the errors follow from: squared weights, echo times as seen by the slope (s), degrees of freedom.

    `bias` is what noise adds to a squared weight, in units of its variance: 2 for a magnitude, 0 for none.
    """

    weight: FloatArray
    mask: BoolArray
    lever: NDArray[np.float64]
    freedom: int
    tolerance: float
    hz_per_ppm: float
    bias: float = 0.0


def _finish(fitted: Slopes, given: _Given) -> Maps:
    """Slope (rad/s), squared misfit per degree of freedom, residual → field, noise, whole error (ppm), residual."""
    slope, misfit, residual = fitted
    information = np.einsum("...e,e->...", given.weight, given.lever**2)
    inside = given.mask & (information > 0) & np.isfinite(slope)
    if not inside.any():
        raise ScanError(
            "the magnitude is zero everywhere in the mask; check that mask and magnitude belong together"
        )
    root = np.sqrt(np.where(inside, information, 0)).astype(np.float32)
    noise = max(_noise_variance(slope, misfit, root, given.freedom), 1e-30)
    ratio, lever = misfit / np.float32(noise), given.lever**2
    biased, least = given.bias * noise * lever.sum(), 3 / np.pi**2 * noise * lever[lever > 0].min()
    variance = _noise_of_slope(root, (noise, float(biased), float(least)))
    whole = _whole_error(slope, root, variance, _doubt(ratio, given))
    to_ppm = 1 / (2 * np.pi * given.hz_per_ppm)
    field = np.where(inside, slope * to_ppm, np.where(given.mask, np.nan, 0))
    spreads = [
        np.where(inside, np.sqrt(v) * to_ppm, np.where(given.mask, np.nan, 0)).astype(np.float32)
        for v in (variance * _disagreement(ratio, given), whole)
    ]
    return field.astype(np.float32), spreads[0], spreads[1], np.where(given.mask, residual, np.float32(0))


def _disagreement(ratio: FloatArray, given: _Given) -> FloatArray:
    """Misfit relative to the noise's → factor on the variance, 1 where noise explains it and for a single echo."""
    if given.freedom == 0:
        return np.ones_like(ratio)
    beyond: FloatArray = np.maximum(ratio / np.float32(given.tolerance**2), 1) ** 2
    return beyond


def _doubt(ratio: FloatArray, given: _Given) -> FloatArray:
    """Misfit relative to the noise's → χ² beyond that which noise explains, 0 for a single echo."""
    if given.freedom == 0:
        return np.zeros_like(ratio)
    limit = given.freedom * _quantile(given.freedom, 0.8 * given.tolerance)
    doubt: FloatArray = np.maximum(ratio * np.float32(given.freedom) - np.float32(limit), 0)
    return doubt


def _quantile(freedom: int, score: float) -> float:
    """χ²/n at a normal score (Wilson and Hilferty 1931)."""
    step = 2 / (9 * freedom)
    return float((1 - step + score * np.sqrt(step)) ** 3)


def _noise_variance(slope: FloatArray, misfit: FloatArray, root: FloatArray, freedom: int) -> float:
    """Variance of the images' noise from the median misfit; without freedom, from the slope's roughness."""
    if freedom > 0:
        known = freedom < len(MEDIAN_CHI_SQUARE)
        typical = MEDIAN_CHI_SQUARE[freedom] if known else _quantile(freedom, 0.0)
        return float(np.median(misfit[root > 0])) / typical
    return _roughness(slope, root)


def _roughness(slope: FloatArray, root: FloatArray) -> float:
    """Variance of the noise from what is left of the slope after second differences along all three axes.

    Such a sum over 27 voxels has the variance Σ c²/root² for noise of variance 1. The lower quartile
    of its size is taken, which edges and veins reach least.
    """
    bend, spread, whole = (
        slope.astype(np.float64),
        1 / np.maximum(root, 1e-30).astype(np.float64) ** 2,
        root > 0,
    )
    for axis in (a for a in range(3) if slope.shape[a] > 2):
        low, middle, high = (_part(bend, axis, n) for n in range(3))
        bend = low - 2 * middle + high
        low, middle, high = (_part(spread, axis, n) for n in range(3))
        spread = low + 4 * middle + high
        whole = np.logical_and.reduce([_part(whole, axis, n) for n in range(3)])
    if not whole.any():
        return 0.0
    return float(np.quantile(np.square(bend[whole]) / spread[whole], 0.25)) / LOWER_QUARTILE


def _part(x: NDArray[Any], axis: int, start: int) -> NDArray[Any]:
    """What is left of an array along an axis from `start` on, two shorter than the whole."""
    return x[(slice(None),) * axis + (slice(start, x.shape[axis] - 2 + start),)]


def _noise_of_slope(root: FloatArray, given: tuple[float, float, float]) -> FloatArray:
    """Root of the slope's information; noise, what it adds to the information, its least → variance of the slope."""
    noise, biased, least = given
    information = np.maximum(np.square(root, dtype=np.float64) - biased, least)
    variance: FloatArray = np.where(root > 0, noise / information, 0).astype(np.float32)
    return variance


@njit(cache=True, parallel=True)
def _whole_error(slope: FloatArray, root: FloatArray, variance: FloatArray, doubt: FloatArray) -> FloatArray:
    """Slope, root of its information, its variance by noise, χ² in doubt → variance of its whole error."""
    out = np.zeros_like(slope)
    shape = slope.shape
    for i in prange(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                here = np.float64(root[i, j, k])
                if here == 0:
                    continue
                shared, count, contrast = 0.0, 0, 0.0
                for di, dj, dk in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)):
                    a, b, c = i + di, j + dj, k + dk
                    if min(a, b, c) < 0 or a >= shape[0] or b >= shape[1] or c >= shape[2]:
                        continue
                    if root[a, b, c] > 0:
                        shared += min(np.float64(doubt[a, b, c]), MOST_DOUBT)
                        count += 1
                        step = (slope[a, b, c] - slope[i, j, k]) * (root[a, b, c] - here) / (12 * here)
                        contrast += step * step
                spread = 1 + DOUBT * doubt[i, j, k] + SHARED_DOUBT * shared / max(count, 1)
                out[i, j, k] = variance[i, j, k] * spread + CONTRAST * contrast
    return out


@njit(cache=True, parallel=True)
def _fit_slope(
    phase: FloatArray, weight: FloatArray, mask: BoolArray, times: NDArray[np.float64], intercept: bool
) -> Slopes:
    """Weighted least squares per voxel → slope (rad/s), squared misfit per degree of freedom, relative residual."""
    slope, misfit, residual = (
        np.zeros_like(mask, np.float32),
        np.zeros_like(mask, np.float32),
        np.zeros_like(mask, np.float32),
    )
    echoes = times.size
    freedom = max(echoes - (2 if intercept else 1), 1)
    for i in prange(mask.shape[0]):
        for j in range(mask.shape[1]):
            for k in range(mask.shape[2]):
                if not mask[i, j, k]:
                    continue
                mean_time, mean_phase, total = 0.0, 0.0, 0.0
                for e in range(echoes):
                    w = weight[i, j, k, e]
                    total += w
                    mean_time += w * times[e]
                    mean_phase += w * phase[i, j, k, e]
                if total <= 0:
                    continue
                mean_time, mean_phase = (mean_time / total, mean_phase / total) if intercept else (0.0, 0.0)
                above, below = 0.0, 0.0
                for e in range(echoes):
                    w, t = weight[i, j, k, e], times[e] - mean_time
                    above += w * t * (phase[i, j, k, e] - mean_phase)
                    below += w * t * t
                if below <= 0:
                    continue
                square, chord = 0.0, 0.0
                for e in range(echoes):
                    r = phase[i, j, k, e] - mean_phase - above / below * (times[e] - mean_time)
                    square += weight[i, j, k, e] * r * r
                    chord += weight[i, j, k, e] * (2 - 2 * np.cos(r))
                slope[i, j, k] = above / below
                misfit[i, j, k] = square / freedom
                residual[i, j, k] = np.sqrt(chord / total)
    return slope, misfit, residual


@njit(cache=True, parallel=True)
def _refine_slope(
    phase: FloatArray,
    weight: FloatArray,
    mask: BoolArray,
    times: NDArray[np.float64],
    slope: FloatArray,
    misfit: FloatArray,
    residual: FloatArray,
    steps: int,
) -> None:
    """Gauss–Newton on the complex residual, in place; keeps a step only while the misfit falls."""
    freedom = max(times.size - 1, 1)
    for i in prange(mask.shape[0]):
        for j in range(mask.shape[1]):
            for k in range(mask.shape[2]):
                total = 0.0
                for e in range(times.size):
                    total += weight[i, j, k, e]
                if not mask[i, j, k] or total <= 0:
                    continue
                here = np.float64(slope[i, j, k])
                best, chosen = np.inf, here
                for _ in range(steps):
                    chord, above, below = 0.0, 0.0, 0.0
                    for e in range(times.size):
                        r = phase[i, j, k, e] - here * times[e]
                        chord += weight[i, j, k, e] * (2 - 2 * np.cos(r))
                        above += weight[i, j, k, e] * times[e] * np.sin(r)
                        below += weight[i, j, k, e] * times[e] * times[e]
                    if chord >= best:
                        break
                    best, chosen = chord, here
                    here += above / below
                slope[i, j, k] = chosen
                misfit[i, j, k] = best / freedom
                residual[i, j, k] = np.sqrt(best / total)
