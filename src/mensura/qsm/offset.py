"""The receive coils' phase offset φ₀(r), which no echo time changes: estimated from the echoes and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Annotated

import numpy as np
from numba import njit, prange
from numpy.polynomial.polynomial import polygrid3d
from numpy.typing import NDArray

from mensura.inverse.fft import crop, fast_shape, frequencies, irfft, pad, rfft
from mensura.methods import Tunable
from mensura.qsm.box import on_box
from mensura.qsm.unwrap import unwrap_spatial
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Smooth = Callable[[FloatArray], FloatArray]
MOST_SAMPLES = 40_000


@on_box
def mcpc3ds(
    phase: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    magnitude: FloatArray | None = None,
    echo_times: Sequence[float],
    smoothing: Annotated[
        float, Tunable("mm", "standard deviation of the Gaussian that the offset is smoothed with")
    ] = 5.0,
    order: Annotated[int, Tunable("1", "order of the polynomial that carries the offset's coarse shape")] = 4,
) -> FloatArray:
    """Wrapped phase of two or more echoes (rad) → wrapped phase proportional to the echo time (rad).

    φ₀ = φ₁ − TE₁/(TE₂−TE₁)·unwrap(φ₂−φ₁), smoothed as a complex number inside the mask, is taken off every
    echo; what the intercept of a weighted straight line through all echoes then still shows, smoothed with
    its precision and without voxels whose echoes disagree, is taken off too. Zero outside the mask.

    Raises ScanError for fewer than two echoes. Eckstein et al. 2018, doi:10.1002/mrm.26963, eq. (5). Differs from
    the paper in that a polynomial carries the coarse shape (a Gaussian alone is biased at the mask's rim, where
    its neighbours lie on one side: the field there was wrong by ten times its noise), and in the second pass.
    """
    times = np.array(echo_times, np.float64)
    if phase.ndim != 4 or phase.shape[3] != times.size or times.size < 2:
        raise ScanError(
            "the coils' phase offset needs two or more echoes, each with its echo time; choose offset none"
        )
    stack = np.ascontiguousarray(phase, np.float32)
    weight = np.ones_like(stack) if magnitude is None else np.square(magnitude, dtype=np.float32)
    smooth = _smoother(grid, smoothing)
    difference = unwrap_spatial(
        np.ascontiguousarray(_wrap(stack[..., 1] - stack[..., 0])), mask, magnitude=_root(weight)
    )
    rate = (difference / (times[1] - times[0])).astype(np.float32)
    raw = stack[..., 0] - np.float32(times[0]) * rate
    trust = np.sqrt(weight[..., 0] * weight[..., 1]) * mask
    offset = _coarse(raw, trust, grid, smooth, order)
    offset += np.angle(_smooth_phasor(raw - offset, trust, smooth))
    if times.size > 2:
        offset += _second_pass(stack, weight, mask, (offset, rate, times), smooth)
    return (_wrap(stack - offset[..., None]) * mask[..., None]).astype(np.float32, copy=False)


def none(phase: FloatArray, mask: BoolArray, grid: Grid) -> FloatArray:
    """Wrapped phase (rad) → the same phase: for data whose coils were combined without an offset."""
    return phase * (mask if phase.ndim == 3 else mask[..., None])


def _coarse(raw: FloatArray, trust: FloatArray, grid: Grid, smooth: Smooth, order: int) -> FloatArray:
    """The polynomial through the smoothed offset, twice: the second time with the first one's shape taken off."""
    coarse = np.zeros_like(raw)
    for first in (True, False):
        phasor = _smooth_phasor(raw - coarse, trust, smooth)
        coarse += _polynomial(np.angle(phasor), trust, grid, order, first)
    return coarse


def _second_pass(
    stack: FloatArray,
    weight: FloatArray,
    mask: BoolArray,
    known: tuple[FloatArray, FloatArray, NDArray[np.float64]],
    smooth: Smooth,
) -> FloatArray:
    """What is left of the offset: the intercepts of all echoes, smoothed, and what that left, smoothed again."""
    intercept, precision, misfit = _intercepts(stack, weight, mask, *known)
    usable = mask & (precision > 0)
    precision *= usable & (misfit < 6 * np.median(misfit[usable])) & (np.abs(intercept) < 1)
    total = np.maximum(smooth(precision), np.float32(1e-12) * precision.max())
    left = smooth(precision * intercept) / total
    return left + smooth(precision * (intercept - left)) / total  # type: ignore[no-any-return]


def _smoother(grid: Grid, sigma: float) -> Smooth:
    """Convolution with a Gaussian of `sigma` mm, zero beyond the volume."""
    shape = fast_shape(grid.shape, [int(np.ceil(3 * sigma / h)) for h in grid.voxel_size])
    kx, ky, kz = frequencies(shape, grid.voxel_size)
    damping = np.exp(np.float32(-2 * (np.pi * sigma) ** 2) * (kx * kx + ky * ky + kz * kz))

    def smooth(x: FloatArray) -> FloatArray:
        return crop(irfft(rfft(pad(x, shape)) * damping, shape[2]), grid.shape)

    return smooth


def _smooth_phasor(angle: FloatArray, trust: FloatArray, smooth: Smooth) -> NDArray[np.complex64]:
    real, imaginary = smooth(trust * np.cos(angle)), smooth(trust * np.sin(angle))
    return real + np.complex64(1j) * imaginary


def _polynomial(angle: FloatArray, trust: FloatArray, grid: Grid, order: int, wrapped: bool) -> FloatArray:
    """Least-squares polynomial through smooth phase on a thinned grid (first unwrapped if `wrapped`), everywhere."""
    step = max(1, int(np.cbrt(np.count_nonzero(trust) / MOST_SAMPLES)))
    thin = (slice(None, None, step),) * 3
    inside, values = trust[thin] > 0, np.ascontiguousarray(angle[thin])
    if wrapped:
        values = unwrap_spatial(values, np.ascontiguousarray(inside))
    powers = [p for p in product(range(order + 1), repeat=3) if sum(p) <= order]
    extent = np.array(grid.voxel_size) * grid.shape / 2
    axes = [
        (np.arange(n) * h - e) / extent.max()
        for n, h, e in zip(grid.shape, grid.voxel_size, extent, strict=True)
    ]
    where = [a[::step][i] for a, i in zip(axes, np.nonzero(inside), strict=True)]
    design = np.stack([where[0] ** a * where[1] ** b * where[2] ** c for a, b, c in powers], axis=1)
    root = np.sqrt(trust[thin][inside].astype(np.float64))
    solution = np.linalg.lstsq(design * root[:, None], values[inside] * root, rcond=None)[0]
    coefficients = np.zeros((order + 1,) * 3)
    for power, value in zip(powers, solution, strict=True):
        coefficients[power] = value
    x, y, z = axes
    return np.asarray(polygrid3d(x, y, z, coefficients), np.float32)


def _root(weight: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.sqrt(weight[..., 0] * weight[..., 1])))


def _wrap(angle: FloatArray) -> FloatArray:
    """Angles → the same angles in ±π."""
    turns = np.rint(angle * np.float32(1 / (2 * np.pi)))
    return np.asarray(angle - np.float32(2 * np.pi) * turns, np.float32)


@njit(cache=True, parallel=True)
def _intercepts(
    stack: FloatArray,
    weight: FloatArray,
    mask: BoolArray,
    offset: FloatArray,
    rate: FloatArray,
    times: NDArray[np.float64],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Straight line through all echoes, unwrapped in time from `rate` (rad/s) → intercept, precision, misfit."""
    shape = mask.shape
    intercept, precision, misfit = (
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    turn = 2 * np.pi
    for i in prange(shape[0]):
        line = np.empty(times.size)
        for j in range(shape[1]):
            for k in range(shape[2]):
                if not mask[i, j, k]:
                    continue
                slope = np.float64(rate[i, j, k])
                total, mean_time, mean_phase = 0.0, 0.0, 0.0
                for e in range(times.size):
                    value = np.float64(stack[i, j, k, e]) - offset[i, j, k]
                    line[e] = value + turn * np.rint((slope * times[e] - value) / turn)
                    slope = line[e] / times[e]
                    total += weight[i, j, k, e]
                    mean_time += weight[i, j, k, e] * times[e]
                    mean_phase += weight[i, j, k, e] * line[e]
                if total <= 0:
                    continue
                mean_time /= total
                mean_phase /= total
                above, below = 0.0, 0.0
                for e in range(times.size):
                    t = times[e] - mean_time
                    above += weight[i, j, k, e] * t * (line[e] - mean_phase)
                    below += weight[i, j, k, e] * t * t
                if below <= 0:
                    continue
                start = mean_phase - above / below * mean_time
                square = 0.0
                for e in range(times.size):
                    square += weight[i, j, k, e] * (line[e] - start - above / below * times[e]) ** 2
                intercept[i, j, k] = start
                precision[i, j, k] = 1 / (1 / total + mean_time * mean_time / below)
                misfit[i, j, k] = square
    return intercept, precision, misfit
