"""Contrast agent in blood and tissue: plasma concentration → concentration in the tissue → shortened T1.

Times in s, concentrations in mmol/l, rates in 1/s, volumes as fractions. `plasma` is the concentration in the
arterial plasma at `times`, straight between them and 0 before the first: for such curves the convolution with
an exponential is exact, at any spacing. Tissue parameters broadcast; the times run along a new last axis, and
float32 tissue gives float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from mensura.qmri.broadcast import doubles
from mensura.scan import ScanError

Array = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

BOLUSES = ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132))
"""Area (mmol/l·min), centre (min) and width (min) of the first pass and the recirculation (Parker 2006)."""
WASHOUT = (1.050, 0.1685, 38.078, 0.483)
"""Amplitude (mmol/l), rate (1/min), slope (1/min) and centre (min) of the modulated exponential (Parker 2006)."""
SERIES = 14
"""Terms of the series of φ₂ below |x| = 1; the first one left out is below 1e-13."""


def parker_aif(times: ArrayLike, *, delay: float = 0.0, haematocrit: float = 0.42) -> Doubles:
    """Times (s) → population-averaged arterial plasma concentration (mmol/l) after the bolus, 0 before `delay`.

    Cb = Σ A_n/(σ_n √2π) e^{−(t−T_n)²/2σ_n²} + α e^{−βt}/(1 + e^{−s(t−τ)}); plasma = Cb/(1 − haematocrit), so
    that haematocrit 0 gives the concentration in whole blood. Parker 2006, DOI 10.1002/mrm.21066, equation 1.
    """
    if not 0 <= haematocrit < 1:
        raise ScanError(
            f"a haematocrit of {haematocrit} is no fraction below 1; give about 0.42, or 0 for blood"
        )
    minutes = (np.asarray(times, np.float64) - delay) / 60
    started = minutes >= 0
    minutes = np.maximum(minutes, 0)
    amplitude, rate, slope, centre = WASHOUT
    blood = amplitude * np.exp(-rate * minutes) / (1 + np.exp(-slope * (minutes - centre)))
    for area, middle, width in BOLUSES:
        peak = area / (width * np.sqrt(2 * np.pi))
        blood = blood + peak * np.exp(-(((minutes - middle) / width) ** 2) / 2)
    return np.where(started, blood, 0.0) / (1 - haematocrit)


@njit(cache=True)
def _weights(x: float) -> tuple[float, float, float]:
    """x = rate·step → e^{−x}, φ₁ = ∫₀¹ e^{−x(1−u)} du and φ₂ = ∫₀¹ u e^{−x(1−u)} du."""
    if abs(x) >= 1:
        first = -np.expm1(-x) / x
        return np.exp(-x), first, (1 - first) / x
    second = 0.0  # Σ (−x)^n/(n+2)!, from the last term
    for n in range(SERIES, 0, -1):
        second = (1 - x * second) / (n + 1)
    return np.exp(-x), 1 - x * second, second


@njit(cache=True, parallel=True)
def _uptake(rates: Doubles, washout: Doubles, volumes: Doubles, curve: Doubles, out: NDArray[Any]) -> None:
    """rate ∫ c(s) e^{−washout (t−s)} ds + volume·c(t) → `out` (voxels, times); `curve` holds times and c.

    Every voxel stands alone, so the number of threads does not matter. An infinite washout holds nothing.
    """
    times, plasma = curve
    for v in prange(rates.size):
        held, before, left, first, second = 0.0, -1.0, 0.0, 0.0, 0.0
        out[v, 0] = volumes[v] * plasma[0]
        for i in range(1, times.size):
            step = times[i] - times[i - 1]
            if step != before:
                left, first, second = _weights(washout[v] * step)
                before = step
            rise = plasma[i] - plasma[i - 1]
            held = held * left + step * (plasma[i - 1] * first + rise * second)
            out[v, i] = rates[v] * held + volumes[v] * plasma[i]


def _concentration(
    times: ArrayLike, plasma: ArrayLike, ktrans: ArrayLike, ve: ArrayLike, vp: ArrayLike
) -> Array:
    """Times and plasma curve (n,), tissue parameters → concentration in the tissue (…, n)."""
    curve = _curve(times, plasma)
    shape, kind, (rate, space, blood) = doubles(ktrans, ve, vp)
    washout = np.divide(rate, space, out=np.full(rate.shape, np.inf), where=space != 0)
    concentration = np.empty((rate.size, curve.shape[1]), kind)
    _uptake(rate, washout, blood, curve, concentration)
    return concentration.reshape(*shape, curve.shape[1])


def _curve(times: ArrayLike, plasma: ArrayLike) -> Doubles:
    """Times (s) and plasma concentration → both as rows of one array; refused if they do not belong together."""
    when, what = np.asarray(times, np.float64), np.asarray(plasma, np.float64)
    if when.ndim != 1 or when.shape != what.shape or when.size == 0:
        raise ScanError(
            f"{when.shape} times and {what.shape} plasma concentrations; give one of each per scan"
        )
    if not (np.diff(when) > 0).all():
        raise ScanError("the times of the plasma curve do not rise; sort them and drop repeated ones")
    return np.stack((when, what))


def tofts(times: ArrayLike, ktrans: ArrayLike, ve: ArrayLike, *, plasma: ArrayLike) -> Array:
    """Times (s), Ktrans (1/s), ve, plasma curve (mmol/l) → concentration in the tissue, (…, n) (mmol/l).

    C = Ktrans ∫₀ᵗ Cp(s) e^{−(Ktrans/ve)(t−s)} ds; ve = 0 holds no agent.
    Tofts 1999, DOI 10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.
    """
    return _concentration(times, plasma, ktrans, ve, 0.0)


def extended_tofts(
    times: ArrayLike, ktrans: ArrayLike, ve: ArrayLike, vp: ArrayLike, *, plasma: ArrayLike
) -> Array:
    """Times (s), Ktrans (1/s), ve, vp, plasma curve (mmol/l) → concentration in the tissue, (…, n) (mmol/l).

    C = vp Cp(t) + Ktrans ∫₀ᵗ Cp(s) e^{−(Ktrans/ve)(t−s)} ds.
    Tofts 1999, DOI 10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.
    """
    return _concentration(times, plasma, ktrans, ve, vp)


def patlak(times: ArrayLike, ktrans: ArrayLike, vp: ArrayLike, *, plasma: ArrayLike) -> Array:
    """Times (s), Ktrans (1/s), vp, plasma curve (mmol/l) → concentration in the tissue, (…, n) (mmol/l).

    C = vp Cp(t) + Ktrans ∫₀ᵗ Cp(s) ds: nothing flows back. Patlak 1983, DOI 10.1038/jcbfm.1983.1.
    """
    return _concentration(times, plasma, ktrans, np.inf, vp)


def shortened_t1(t1: ArrayLike, concentration: ArrayLike, *, relaxivity: float) -> Array:
    """T1 without agent (s), concentration (mmol/l), relaxivity (l/(mmol·s)) → T1 (s).

    1/T1 = 1/T1₀ + r₁ C, written as T1₀/(1 + r₁ C T1₀); t1 and concentration broadcast.
    """
    before = np.asarray(t1)
    shortened: Array = before / (1 + relaxivity * np.asarray(concentration) * before)
    return shortened
