"""The decay of the magnitude over the echoes, fitted voxel by voxel: the loops behind `estimators`.

All take signals (n voxels, echoes), work in double precision, and let every voxel stand alone, so that the
result does not depend on the number of threads. Rates beyond `bounds` (1/s) and voxels without signal are NaN.
`left` (n, echoes) is the share of the signal that other causes than R2* leave, 0 for an echo that does not count.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.fit import Status
from mensura.fit.likelihood import SPACING
from mensura.scan import FloatArray

Doubles = NDArray[np.float64]
Codes = NDArray[np.uint8]
Bounds = tuple[float, float]
Echoes = tuple[Doubles, FloatArray, Doubles]
"""Of a voxel: signals, what is left of them, times."""

OK, NO_SIGNAL = np.uint8(Status.OK), np.uint8(Status.NO_SIGNAL)
OUT_OF_BOUNDS, NOT_CONVERGED = np.uint8(Status.OUT_OF_BOUNDS), np.uint8(Status.NOT_CONVERGED)
NOT_IDENTIFIABLE = np.uint8(Status.NOT_IDENTIFIABLE)
I0_BELOW = np.array([1, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813])
I1_BELOW = np.array([0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411])
I0_ABOVE = np.array([
    0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633,
    0.00392377,
])  # fmt: skip
I1_ABOVE = np.array([
    0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967, -0.02895312, 0.01787654,
    -0.00420059,
])  # fmt: skip
"""Coefficients of the polynomials for the Bessel functions I₀ and I₁, below and above 3.75."""
MAX_ITER = 60
TOLERANCE = 1e-8
"""A step is small enough if it is shorter than 1e-4 standard deviations."""


@njit(cache=True)
def _line(signal: Doubles, times: Doubles, weight: Doubles) -> tuple[float, float]:
    """Weighted straight line through ln(signal): ln S0 and R2*; NaN where fewer than two weights count."""
    w, wt, wtt, wy, wty = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(times.size):
        if weight[e] > 0 and signal[e] > 0:
            y = np.log(signal[e])
            w += weight[e]
            wt += weight[e] * times[e]
            wtt += weight[e] * times[e] * times[e]
            wy += weight[e] * y
            wty += weight[e] * times[e] * y
    determinant = w * wtt - wt * wt
    if not determinant > 1e-12 * w * wtt:
        return np.nan, np.nan
    rate = (wt * wy - w * wty) / determinant
    return (wy + rate * wt) / w, rate


@njit(cache=True)
def _rate_error(log_s0: float, rate: float, times: Doubles, information: Doubles) -> float:
    """Cramér–Rao bound of R2* in units of the noise: `information` is σ² times that of each echo's signal."""
    f00, f01, f11 = 0.0, 0.0, 0.0
    for e in range(times.size):
        g = information[e] * np.exp(2 * (log_s0 - rate * times[e]))
        f00 += g
        f01 -= g * times[e]
        f11 += g * times[e] * times[e]
    determinant = f00 * f11 - f01 * f01
    return np.sqrt(f00 / determinant) if determinant > 0 else np.inf


@njit(cache=True)
def _has_signal(signal: FloatArray) -> bool:
    """Whether every echo is finite and at least two are above zero."""
    positive = 0
    for e in range(signal.size):
        if not np.isfinite(signal[e]) or signal[e] < 0:
            return False
        positive += signal[e] > 0
    return positive >= 2


@njit(cache=True)
def _counted(left: FloatArray) -> int:
    """How many echoes count."""
    count = 0
    for e in range(left.size):
        count += left[e] > 0
    return count


@njit(cache=True)
def _restored(signal: Doubles, left: FloatArray) -> Doubles:
    """The signal as R2* alone would leave it, 0 for echoes that do not count."""
    whole = np.zeros(signal.size)
    for e in range(signal.size):
        if left[e] > 0:
            whole[e] = signal[e] / left[e]
    return whole


@njit(cache=True)
def _squares(signal: Doubles, model: Doubles, left: FloatArray) -> float:
    """Sum of squared residuals over the echoes that count."""
    total = 0.0
    for e in range(signal.size):
        if left[e] > 0:
            total += (signal[e] - model[e]) ** 2
    return total


@njit(cache=True, parallel=True)
def fit_lines(
    signals: FloatArray, left: FloatArray, times: Doubles, bounds: Bounds
) -> tuple[Doubles, Doubles, Codes, Doubles]:
    """Signals → (ln S0, R2*), standard deviation per unit of noise, status, sum of squared residuals.

    ln(S/left) = ln S0 − R2*·t, weighted with the squared signal; then once more with that of the fit.
    """
    n = signals.shape[0]
    values, errors = np.full((n, 2), np.nan), np.full(n, np.nan)
    status, residual = np.zeros(n, np.uint8), np.full(n, np.nan)
    for v in prange(n):
        if not _has_signal(signals[v]):
            status[v] = NO_SIGNAL
            continue
        if _counted(left[v]) < 2:
            status[v] = NOT_IDENTIFIABLE
            continue
        signal = signals[v].astype(np.float64)
        whole = _restored(signal, left[v])
        log_s0, rate = _line(whole, times, signal * signal)
        log_s0, rate = _line(whole, times, left[v] ** 2 * np.exp(2 * (log_s0 - rate * times)))
        if not bounds[0] <= rate <= bounds[1]:
            status[v] = OUT_OF_BOUNDS
            continue
        values[v, 0], values[v, 1] = log_s0, rate
        errors[v] = _rate_error(log_s0, rate, times, left[v].astype(np.float64) ** 2)
        residual[v] = _squares(signal, left[v] * np.exp(log_s0 - rate * times), left[v])
    return values, errors, status, residual


@njit(cache=True, parallel=True)
def autoregress(
    signals: FloatArray, left: FloatArray, simpson: tuple[Doubles, Doubles], bounds: Bounds
) -> tuple[Doubles, Doubles, Codes]:
    """Signals → R2*, standard deviation per unit of noise, status, by auto-regression on linear operations.

    `simpson`: the rule and the spans of every triple; the echoes that count come first. Over each triple of echoes
    S = Σ rule·m approximates the integral of the signal and δ = m₀ − m₂ its decrease;
    R2* = Σ(Sδ + cδ²)/Σ(S² + cSδ), c being a third of the mean spacing (`spans`). The standard deviation is
    that of the noise propagated to first order.
    """
    n = signals.shape[0]
    rule, spans = simpson
    values, errors, status = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.uint8)
    for v in prange(n):
        if not _has_signal(signals[v]):
            status[v] = NO_SIGNAL
            continue
        echoes = _counted(left[v])
        if echoes < 3:
            status[v] = NOT_IDENTIFIABLE
            continue
        m = _restored(signals[v].astype(np.float64), left[v])
        above, below = 0.0, 0.0
        for i in range(echoes - 2):
            area = rule[i, 0] * m[i] + rule[i, 1] * m[i + 1] + rule[i, 2] * m[i + 2]
            drop = m[i] - m[i + 2]
            above += area * drop + spans[i] * drop * drop
            below += area * area + spans[i] * area * drop
        rate = above / below if below > 0 else np.nan
        if not bounds[0] <= rate <= bounds[1]:
            status[v] = OUT_OF_BOUNDS
            continue
        slope = np.zeros(echoes)
        for i in range(echoes - 2):
            area = rule[i, 0] * m[i] + rule[i, 1] * m[i + 1] + rule[i, 2] * m[i + 2]
            drop = m[i] - m[i + 2]
            by_area = drop - rate * (2 * area + spans[i] * drop)
            by_drop = area + 2 * spans[i] * drop - rate * spans[i] * area
            slope[i] += by_area * rule[i, 0] + by_drop
            slope[i + 1] += by_area * rule[i, 1]
            slope[i + 2] += by_area * rule[i, 2] - by_drop
        values[v] = rate
        errors[v] = np.sqrt(np.sum((slope / left[v, :echoes]) ** 2)) / below
    return values, errors, status


@njit(cache=True)
def _polynomial(coefficients: Doubles, x: float) -> float:
    """Σ coefficients[k]·xᵏ."""
    total = 0.0
    for k in range(coefficients.size - 1, -1, -1):
        total = total * x + coefficients[k]
    return total


@njit(cache=True)
def _bessel(x: float) -> tuple[float, float]:
    """I₁(x)/I₀(x) and ln I₀(x) − x for x ≥ 0.

    Abramowitz and Stegun 9.8.1 to 9.8.4 (relative error below 3e-7), and the asymptotic series above 50.
    """
    if x > 50:
        u = 1 / x
        return 1 - u * (0.5 + u * (0.125 + u * 0.125)), u * (0.125 + 0.0703125 * u) - 0.5 * np.log(
            2 * np.pi * x
        )
    if x > 3.75:
        u = 3.75 / x
        i0 = _polynomial(I0_ABOVE, u)
        return _polynomial(I1_ABOVE, u) / i0, np.log(i0) - 0.5 * np.log(x)
    u = (x / 3.75) ** 2
    i0 = _polynomial(I0_BELOW, u)
    return x * _polynomial(I1_BELOW, u) / i0, np.log(i0) - x


@njit(cache=True)
def _information(ratio: float, table: Doubles) -> float:
    """The table's value at a ratio of signal to noise, linear in between, 1 − 1/(2·ratio²) beyond."""
    place = ratio / SPACING
    below = int(place)
    if below >= table.size - 1:
        return 1 - 0.5 / (ratio * ratio)
    return float(table[below] + (place - below) * (table[below + 1] - table[below]))


@njit(cache=True)
def _start(signal: Doubles, left: FloatArray, times: Doubles) -> tuple[float, float]:
    """ln S0 and R2* from the second moment E[m²] = S² + 2σ², for signals in units of the noise."""
    corrected = np.sqrt(np.maximum(signal * signal - 2, 0.25))
    return _line(_restored(corrected, left), times, corrected * corrected)


@njit(cache=True)
def _cost(log_s0: float, rate: float, echoes: Echoes) -> float:
    """Negative log-likelihood of Rician signals (in units of the noise), but for terms of the data alone."""
    signal, left, times = echoes
    total = 0.0
    for e in range(times.size):
        if left[e] == 0:
            continue
        s = left[e] * np.exp(log_s0 - rate * times[e])
        total += 0.5 * (s - signal[e]) ** 2 - _bessel(signal[e] * s)[1]
    return total


@njit(cache=True)
def _scored(
    log_s0: float, rate: float, echoes: Echoes, table: Doubles
) -> tuple[float, float, float, float, float]:
    """Score (two) and Fisher information (three) of ln S0 and R2*."""
    signal, left, times = echoes
    u0, u1, f00, f01, f11 = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(times.size):
        if left[e] == 0:
            continue
        s, t = left[e] * np.exp(log_s0 - rate * times[e]), times[e]
        pull = (signal[e] * _bessel(signal[e] * s)[0] - s) * s
        weight = _information(s, table) * s * s
        u0, u1 = u0 + pull, u1 - t * pull
        f00, f01, f11 = f00 + weight, f01 - t * weight, f11 + t * t * weight
    return u0, u1, f00, f01, f11


@njit(cache=True)
def _maximise(echoes: Echoes, table: Doubles, bounds: Bounds) -> tuple[float, float, float, np.uint8]:
    """Echoes in units of the noise → ln S0 and R2* of greatest likelihood, error of R2*, status.

    Fisher scoring, damped as by Levenberg and Marquardt where a step does not help.
    """
    log_s0, rate = _start(*echoes)
    rate = min(max(rate, bounds[0]), bounds[1])
    cost, damping = _cost(log_s0, rate, echoes), 0.0
    for _ in range(MAX_ITER):
        u0, u1, f00, f01, f11 = _scored(log_s0, rate, echoes, table)
        determinant = f00 * f11 * (1 + damping) ** 2 - f01 * f01
        if not (determinant > 1e-12 * f00 * f11 and bounds[0] <= rate <= bounds[1]):
            return log_s0, rate, np.nan, OUT_OF_BOUNDS
        d0 = (f11 * (1 + damping) * u0 - f01 * u1) / determinant
        d1 = (f00 * (1 + damping) * u1 - f01 * u0) / determinant
        moved = d0 * (f00 * d0 + 2 * f01 * d1) + f11 * d1 * d1
        trial = _cost(log_s0 + d0, rate + d1, echoes)
        if trial <= cost or moved < TOLERANCE:
            log_s0, rate, cost, damping = log_s0 + d0, rate + d1, trial, 0.1 * damping
        else:
            damping = max(10 * damping, 1e-2)
        if moved < TOLERANCE:
            known = f00 * f11 - f01 * f01
            if not known > 1e-12 * f00 * f11:
                return log_s0, rate, np.nan, OUT_OF_BOUNDS
            return log_s0, rate, np.sqrt(f00 / known), OK
    return log_s0, rate, np.nan, NOT_CONVERGED


@njit(cache=True, parallel=True)
def fit_rician(
    signals: FloatArray, left: FloatArray, known: tuple[Doubles, float, Doubles], bounds: Bounds
) -> tuple[Doubles, Doubles, Codes, Doubles]:
    """Signals, what is known → (ln S0, R2*), standard deviation, status, sum of squared residuals.

    `known`: the echo times, the noise's standard deviation σ in either channel, and `information_table()`.
    """
    n = signals.shape[0]
    times, sigma, table = known
    values, errors = np.full((n, 2), np.nan), np.full(n, np.nan)
    status, residual = np.zeros(n, np.uint8), np.full(n, np.nan)
    for v in prange(n):
        if not _has_signal(signals[v]):
            status[v] = NO_SIGNAL
            continue
        if _counted(left[v]) < 2:
            status[v] = NOT_IDENTIFIABLE
            continue
        signal = signals[v].astype(np.float64) / sigma
        log_s0, rate, error, status[v] = _maximise((signal, left[v], times), table, bounds)
        if status[v] == OK:
            model = left[v] * np.exp(log_s0 - rate * times)
            values[v, 0], values[v, 1], errors[v] = log_s0 + np.log(sigma), rate, error
            residual[v] = _squares(signal, model, left[v]) * sigma * sigma
    return values, errors, status, residual
