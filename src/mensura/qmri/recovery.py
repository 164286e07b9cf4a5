"""Amplitudes of a recovery a + b e^{−TI/T1} → what else they tell: M0 and the efficiency of the inversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit import Fit
from mensura.fit.descent import in_chunks
from mensura.qmri.estimates import deviations
from mensura.scan import FloatArray

Doubles = NDArray[np.float64]


def amplitudes(fit: Fit) -> tuple[Any, Any, Doubles]:
    """a, b (complex, if the signals were) and T1 of a recovery."""
    *parts, t1 = fit.values.T.astype(float)
    if len(parts) == 2:
        return parts[0], parts[1], t1
    return parts[0] + 1j * parts[2], parts[1] + 1j * parts[3], t1


def slopes(by_a: Any, by_b: Any, by_t1: Any) -> dict[int, Any]:
    """Derivatives of a function by a, b and T1 → of its real part by the parameters of the fit, in their order."""
    parts = (by_a, by_b, 1j * by_a, 1j * by_b) if np.iscomplexobj(by_b) else (by_a, by_b)
    return {i: np.real(slope) for i, slope in enumerate((*parts, by_t1))}


def beside_t1(fit: Fit, repetition: float | None) -> FloatArray:
    """Repetition time (s), None if each image has its own → M0, its error, the efficiency, and its error (4, n).

    M0 = (a + b e^{−TR/T1})/(1 − e^{−TR/T1}), the efficiency is −b/M0 − 1; with TR of each image, a is M0 and b the
    efficiency times M0. Of complex amplitudes M0 is the size, and of the efficiency the real part counts.
    """
    found, time = np.empty((4, len(fit.values)), np.float32), np.nan if repetition is None else repetition

    def some(which: slice) -> None:
        part = fit.part(which)
        _magnetization(amplitudes(part), time, (part.errors, part.correlation), found[:, which])

    in_chunks(len(fit.values), some)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _magnetization(recovered: Any, repetition: float, spread: Any, found: FloatArray) -> None:
    """`beside_t1` of amplitudes and T1 (n), and of their errors and correlation; slopes are by a, b and T1.

    Not a number where M0 is 0: compiled, complex numbers cannot be divided by it.
    """
    (a, b, t1), (errors, correlation) = recovered, spread
    n, p = errors.shape
    by, changed = np.empty((n, p)), np.empty((n, p))
    for v in range(n):
        left = 0.0 if np.isnan(repetition) else np.exp(-repetition / t1[v])
        free = 1 / (1 - left)
        m0 = (a[v] + b[v] * left) * free
        if m0 == 0:
            found[:, v], by[v], changed[v] = np.nan, np.nan, np.nan
            continue
        back = np.conj(m0) / abs(m0) if p > 3 else 1.0 + 0 * m0
        bend = left * repetition / t1[v] ** 2 * free * (b[v] + m0) if left > 0 else 0 * m0
        _by_parts(by, v, back * free, back * left * free, back * bend)
        ratio, inverse = b[v] / m0, 1 / m0
        share = ratio * inverse
        _by_parts(changed, v, share * free, share * left * free - inverse, share * bend)
        found[0, v] = (back * m0).real
        found[2, v] = ratio.real if np.isnan(repetition) else -ratio.real - 1
    found[1] = deviations(by, errors, correlation)
    found[3] = deviations(changed, errors, correlation)


@njit(cache=True, nogil=True)
def _by_parts(parts: Doubles, v: int, by_a: Any, by_b: Any, by_t1: Any) -> None:
    """`slopes` of one voxel."""
    parts[v, 0], parts[v, 1], parts[v, -1] = by_a.real, by_b.real, by_t1.real
    if parts.shape[1] > 3:
        parts[v, 2], parts[v, 3] = -by_a.imag, -by_b.imag
