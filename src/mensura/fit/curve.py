"""The curve of a fit: the signal of its model over what was varied, and between which bounds it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from mensura.fit.model import Known, SignalModel
from mensura.fit.result import Design, Fit
from mensura.scan import ScanError

Doubles = NDArray[np.float64]

LEVEL = 0.95
"""Of the interval."""
SAMPLES = 81
"""Of a curve that is drawn."""
MARGIN = 0.04
"""Of the range of the points, by which a curve goes beyond it at either end."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points (k,) or (…, k), the signal of n voxels there (n, k), the ends of its interval, NaN without an error."""

    points: Doubles
    signal: Doubles
    low: Doubles
    high: Doubles


def curve(fit: Fit) -> Curve:
    """The fit of some voxels, with its design → their curves, each with its interval of 95 %.

    The variance of the signal is g Σ gᵀ, Σ the covariance of the parameters and g the signal's slopes by them (first
    order); the interval takes Student's quantile where the residuals told the noise. It is that of the curve, not of
    new data. Where the fit has no value, everything is NaN. ScanError for a fit that has no design, as closed forms.
    """
    if fit.design is None or fit.correlation is None or fit.freedom is None:
        raise ScanError("a closed form has no curve; draw its data alone")
    points = sampled(fit.design)
    good = np.asarray(np.isfinite(fit.values).all(axis=1))
    signal, half = np.full((2, len(good), points.shape[-1]), np.nan)
    if good.any():
        signal[good], half[good] = _with_width(fit.part(good), points)
    return Curve(points, signal, signal - half, signal + half)


def sampled(design: Design) -> Doubles:
    """Where a curve is drawn: evenly over the range of the points, or the points alone where nothing lies between."""
    points = design.points
    listed = any(np.ndim(value) == 1 and np.size(value) == points.size for value in design.known.values())
    if listed or points.ndim > 1 or not design.model.between:
        return points
    low, high = float(points.min()), float(points.max())
    margin = MARGIN * (high - low)
    start = max(low - margin, low / 2) if low >= 0 else low - margin
    return np.linspace(start, high + margin, SAMPLES)


def sensitivity(model: SignalModel, points: Doubles, values: Doubles, known: Known) -> Doubles:
    """Slopes of the signal by every parameter, at values (n, p): (n, m, p)."""
    signal = model.signal(points, values, known)
    slopes = np.empty((*signal.shape, len(model.parameters)))
    slopes[..., model.linear] = model.basis(points, values, known)
    if model.nonlinear:
        slopes[..., model.nonlinear] = model.slopes(points, values, known, signal)
    logarithmic = [p.logarithmic for p in model.parameters]
    return slopes / np.where(logarithmic, values, 1)[:, None, :]


def _with_width(fit: Fit, points: Doubles) -> tuple[Doubles, Doubles]:
    """Signals of fitted voxels (n, k), and half the width of their intervals."""
    assert fit.design is not None
    assert fit.correlation is not None
    assert fit.freedom is not None
    model, known = fit.design.model, fit.design.known
    values, errors = fit.values.astype(np.float64), fit.errors.astype(np.float64)
    covariance = fit.correlation * errors[:, :, None] * errors[:, None, :]
    slopes = sensitivity(model, points, values, known)
    variance = np.maximum(np.einsum("nki,nij,nkj->nk", slopes, covariance, slopes), 0)
    free, tail = np.maximum(fit.freedom, 1), 0.5 + LEVEL / 2
    quantile = np.full(len(values), ndtri(tail)) if fit.design.told else stdtrit(free, tail)
    return model.signal(points, values, known), quantile[:, None] * np.sqrt(variance)
