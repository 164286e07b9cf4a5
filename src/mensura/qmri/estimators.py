"""Magnitude of several echoes → relaxation rate R2*, its standard deviation, and how each voxel's fit ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from mensura.fit import Fit, Status
from mensura.fit.likelihood import information_table
from mensura.methods import Tunable
from mensura.qmri import decay
from mensura.qmri.gradients import dephasing
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Maps = tuple[FloatArray, FloatArray, NDArray[np.uint8]]

HOPELESS = 1e6
"""1/s: a standard deviation above this says that nothing is known of the rate."""

Noise = Annotated[
    float, Tunable("magnitude", "standard deviation of the noise per channel; 0 estimates it from the data")
]

Gradient = Annotated[
    Literal["corrected", "ignored"],
    Tunable("", "what to do about the dephasing by the total field's gradient, where that field is known"),
]


def noise_floor(
    magnitude: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    echo_times: Sequence[float],
    total_field: FloatArray | None = None,
    hz_per_ppm: float | None = None,
    noise: Noise = 0.0,
    gradient: Gradient = "corrected",
) -> Maps:
    """Magnitude (any unit), mask, echo times (s) → R2*, its standard deviation (1/s), status; noise floor included.

    The likelihood of S0·exp(−R2*·t) given magnitudes with Rician noise is maximised in every voxel, so that
    echoes that have decayed into the noise neither flatten the decay nor must be cut off. The standard
    deviation is the Cramér–Rao bound of the Rician signal at the estimate. Two echoes suffice. Slightly negative
    rates, noise about zero, are kept; a fit that fails is NaN with a code of `mensura.fit.Status`. Where the total
    field (ppm) is known, the signal is S0·exp(−R2*·t) times what the field's gradient leaves of it (`gradients`).

    Raises ScanError for fewer than two echoes, or echo times that do not fit the magnitude. Assumes the noise of
    one channel, or of channels combined adaptively; a root sum of squares over many coils has a higher floor.

    Bonny et al. 1996, 10.1002/mrm.1910360216. Differs from the paper in that the noise is estimated from the
    echoes (`noise_level`) unless it is given, and in the iteration (damped Fisher scoring).
    """
    del grid
    times, signals = _checked(magnitude, mask, echo_times)
    left = _left(mask, times, total_field if gradient == "corrected" else None, hz_per_ppm)
    sigma = _noise(noise, magnitude, mask, (times, left))
    values, errors, status, residual = decay.fit_rician(
        signals, left, (times, sigma, information_table()), _bounds(times)
    )
    return _fit(values, errors, status, np.sqrt(residual / times.size)).maps(mask, 1)


def arlo(
    magnitude: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    echo_times: Sequence[float],
    total_field: FloatArray | None = None,
    hz_per_ppm: float | None = None,
    noise: Noise = 0.0,
    gradient: Gradient = "corrected",
) -> Maps:
    """Magnitude (any unit), mask, echo times (s) → R2*, its standard deviation (1/s), status; by ARLO.

    The integral of an exponential over an interval is its decrease there divided by R2*: over each triple of
    echoes the integral is Simpson's, and R2* solves all triples at once without iteration. Simpson's rule
    costs (R2*·ΔTE)⁴/180 of the rate (with unequal spacing, a like term of third order). The signal is first
    divided by what the total field's gradient leaves of it (`gradients`). The standard deviation is the noise
    propagated to first order. No account of the noise floor: rates are too low where late echoes
    have decayed into it.

    Raises ScanError for fewer than three echoes, or echo times that do not fit the magnitude.

    Pei et al. 2015, 10.1002/mrm.25137. Differs from the paper in allowing unequal spacing (the
    integral of the parabola through three echoes).
    """
    del grid
    times, signals = _checked(magnitude, mask, echo_times)
    left = _left(mask, times, total_field if gradient == "corrected" else None, hz_per_ppm)
    if times.size < 3:
        raise ScanError("ARLO needs at least three echoes; take the R2* method noise_floor or loglinear")
    values, errors, status = decay.autoregress(signals, left, _simpson(times), _bounds(times))
    errors *= _noise(noise, magnitude, mask, (times, left))
    return _fit(values[:, None], errors, status, np.full_like(values, np.nan)).maps(mask, 0)


def loglinear(
    magnitude: FloatArray,
    mask: BoolArray,
    grid: Grid,
    *,
    echo_times: Sequence[float],
    total_field: FloatArray | None = None,
    hz_per_ppm: float | None = None,
    noise: Noise = 0.0,
    gradient: Gradient = "corrected",
) -> Maps:
    """Magnitude (any unit), mask, echo times (s) → R2*, its standard deviation (1/s), status; by a straight line.

    A line through the logarithm of the signal over what the total field's gradient leaves of it (`gradients`),
    weighted with the squared signal and once more with that of the fit; with two echoes ln(m₁/m₂)/(t₂ − t₁). The
    standard deviation is the Cramér–Rao bound at the estimate for Gaussian noise. No account of the noise floor:
    rates are too low where late echoes have decayed into it.

    Raises ScanError for fewer than two echoes, or echo times that do not fit the magnitude.

    Salvador et al. 2005, 10.1002/hbm.20076 (the weights).
    """
    del grid
    times, signals = _checked(magnitude, mask, echo_times)
    left = _left(mask, times, total_field if gradient == "corrected" else None, hz_per_ppm)
    values, errors, status, residual = decay.fit_lines(signals, left, times, _bounds(times))
    errors *= _noise(noise, magnitude, mask, (times, left))
    return _fit(values, errors, status, np.sqrt(residual / times.size)).maps(mask, 1)


Echoes = tuple[NDArray[np.float64], FloatArray]
"""Echo times, and what of the signal of every voxel gradients leave at each."""


def _left(
    mask: BoolArray, times: NDArray[np.float64], total_field: FloatArray | None, hz_per_ppm: float | None
) -> FloatArray:
    """What the gradient of the field, if that is known, leaves of the signals of the mask's voxels."""
    if total_field is None or hz_per_ppm is None:
        return np.ones((np.count_nonzero(mask), times.size), np.float32)
    return dephasing(total_field * np.float32(hz_per_ppm), mask, times)


def _noise(given: float, magnitude: FloatArray, mask: BoolArray, echoes: Echoes) -> float:
    if given < 0:
        raise ScanError(
            f"a noise standard deviation of {given:g} cannot be meant; give it, or 0 to estimate it"
        )
    return given or noise_level(magnitude, mask, echoes[0].tolist(), echoes[1])


def noise_level(
    magnitude: FloatArray, mask: BoolArray, echo_times: Sequence[float], left: FloatArray | None = None
) -> float:
    """Magnitude, mask, echo times (s) → standard deviation of the noise per channel, in the magnitude's unit.

    With three echoes or more, the median over the mask of the squared residuals of a weighted log-linear fit, over
    the median of χ² for as many degrees of freedom. With two, the median of the mixed differences
    m(x,y) − m(x+1,y) − m(x,y+1) + m(x+1,y+1) inside the mask, of which anatomy leaves little. Never less than
    1e-6 of the typical signal; 1 for an empty mask. `left`: what of the signals gradients leave.
    """
    times, signals = _checked(magnitude, mask, echo_times)
    if len(signals) == 0:
        return 1.0
    every = slice(None, None, max(1, len(signals) // 100_000))
    sample = signals[every]
    shares = np.ones_like(sample) if left is None else np.ascontiguousarray(left[every])
    least = 1e-6 * float(np.median(sample[:, 0])) or 1e-6 * float(sample.max(initial=0.0)) or 1.0
    if times.size > 2:
        squares = decay.fit_lines(sample, shares, times, _bounds(times))[3]
        squares = squares[np.isfinite(squares) & (shares > 0).all(axis=1)]
        expected = 2 * float(gammaincinv((times.size - 2) / 2, 0.5))
        found = float(np.sqrt(np.median(squares) / expected)) if squares.size else 0.0
    else:
        found = _mixed_differences(magnitude, mask)
    return max(found, least)


def _mixed_differences(magnitude: FloatArray, mask: BoolArray) -> float:
    inside = mask[1:, 1:] & mask[:-1, 1:] & mask[1:, :-1] & mask[:-1, :-1]
    m = magnitude
    mixed = (m[1:, 1:] - m[:-1, 1:] - m[1:, :-1] + m[:-1, :-1])[inside]
    return float(np.nanmedian(np.abs(mixed))) / (2 * 0.67449) if mixed.size else 0.0


def _checked(
    magnitude: FloatArray, mask: BoolArray, echo_times: Sequence[float]
) -> tuple[NDArray[np.float64], FloatArray]:
    """The echo times, and the signals of the mask's voxels (voxels, echoes)."""
    times = np.asarray(echo_times, dtype=np.float64)
    if magnitude.ndim != 4 or times.size < 2:
        raise ScanError("R2* needs the magnitude of at least two echoes; leave R2* out for a single echo")
    if magnitude.shape[3] != times.size:
        raise ScanError(
            f"the magnitude has {magnitude.shape[3]} echoes but {times.size} echo times are given;"
            " give one time for each echo"
        )
    if mask.shape != magnitude.shape[:3]:
        raise ScanError(
            f"the mask of shape {mask.shape} does not fit the magnitude of shape {magnitude.shape[:3]};"
            " give a mask on the grid of the magnitude"
        )
    return times, np.ascontiguousarray(magnitude[mask], dtype=np.float32)


def _bounds(times: NDArray[np.float64]) -> tuple[float, float]:
    """Rates that echoes at these times can tell from others: up to ten decays before the first or the second echo."""
    return -1 / float(times[-1] - times[0]), 10 / float(min(times[0], times[1] - times[0]))


def _simpson(times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Echo times → for each triple the weights that integrate its parabola, and a third of its mean spacing."""
    first, second = np.diff(times)[:-1], np.diff(times)[1:]
    whole = first + second
    weights = [2 - second / first, whole**2 / (first * second), 2 - first / second]
    return np.stack(weights, axis=1) * (whole / 6)[:, None], whole / 6


def _fit(
    values: NDArray[np.float64],
    rate_errors: NDArray[np.float64],
    status: NDArray[np.uint8],
    residual: NDArray[np.float64],
) -> Fit:
    hopeless = rate_errors > HOPELESS
    status = np.where(hopeless, np.uint8(Status.OUT_OF_BOUNDS), status)
    values, residual = values.copy(), np.where(hopeless, np.nan, residual)
    values[hopeless] = np.nan
    errors = np.full_like(values, np.nan)
    errors[:, -1] = np.where(hopeless, np.nan, rate_errors)
    return Fit(values.astype(np.float32), errors.astype(np.float32), status, residual.astype(np.float32))
