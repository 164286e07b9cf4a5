"""Where a fit begins: the best of a dictionary of signals, found for all voxels in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit.model import Parameter, SignalModel

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

LEVELS = 9
"""Of everything that each voxel has of its own, as B1: a dictionary each."""


@dataclass(frozen=True)
class Dictionary:
    """Candidates (g, p) and an orthonormal basis of the signals of each (g, m, k), or the signal if k is 0.

    `along`: the only parameter in which they differ, if there is just one; then a curve goes between
    candidates, evenly spaced in the coordinate of this `parameter`.
    """

    candidates: Doubles
    basis: Singles
    linear: bool
    along: int | None
    parameter: Parameter

    @classmethod
    def of(cls, model: SignalModel, points: Doubles, known: Mapping[str, Any]) -> Self:
        candidates = model.candidates()
        if model.linear:
            basis = np.linalg.qr(model.basis(points, candidates, known))[0]
        else:
            basis = model.signal(points, candidates, known)[:, :, None]
        along = model.nonlinear[0] if len(model.nonlinear) == 1 else None
        return cls(
            candidates, basis.astype(np.float32), bool(model.linear), along, model.parameters[along or 0]
        )

    def best(self, data: Doubles) -> Doubles:
        """Data (n, m) → the candidate that leaves the smallest residual, (n, p)."""
        g = len(self.candidates)
        bias = np.zeros(g, np.float32) if self.linear else -0.5 * np.square(self.basis[:, :, 0]).sum(1)
        across = np.ascontiguousarray(self.basis.transpose(2, 1, 0))
        place, shift = _largest(data, across, bias, self.linear)
        found: Doubles = self.candidates[place]
        if self.along is not None:
            at = self.parameter.inside(self.candidates[:, self.along])
            found[:, self.along] = self.parameter.outside(at[place] + (at[1] - at[0]) * shift)
        return found


@njit(cache=True, nogil=True)
def _largest(data: Doubles, basis: Singles, bias: Singles, squared: bool) -> tuple[NDArray[np.intp], Doubles]:
    """Where Σ products² (or product + bias) is largest, and how far from there a curve through its neighbours peaks.

    Products of data (n, m) and basis (k, m, g). Loops, not a library's matrix product, whose threads would fight ours.
    """
    n, (k, m, g) = len(data), basis.shape
    place, shift = np.zeros(n, np.intp), np.zeros(n)
    score, product = np.empty(g, np.float32), np.empty(g, np.float32)
    for v in range(n):
        size = 0.0
        for e in range(m):
            size += data[v, e] * data[v, e]
        scale = 1 / np.sqrt(size) if squared and size > 0 else 1.0
        score[:] = bias
        for j in range(k):
            product[:] = 0
            for e in range(m):
                one = np.float32(data[v, e] * scale)
                for i in range(g):
                    product[i] += one * basis[j, e, i]
            for i in range(g):
                score[i] += product[i] * product[i] if squared else product[i]
        best = int(np.argmax(score))
        place[v] = best
        if 0 < best < g - 1:
            shift[v] = _peak(score, best)
    return place, shift


@njit(cache=True, nogil=True)
def _peak(score: Singles, best: int) -> float:
    """How far from its largest value, in places, a curve through the five about it peaks; through three at the ends."""
    middle = np.float64(score[best])
    one, other = score[best - 1] - middle, score[best + 1] - middle
    slope, bend, third, fourth = (other - one) / 2, one + other, 0.0, 0.0
    shift = max(min(-slope / bend, 0.5), -0.5) if bend < 0 else 0.0
    if 1 < best < score.size - 2:
        far, away = score[best - 2] - middle, score[best + 2] - middle
        third, fourth = (away - far) / 2 - (other - one), far + away - 4 * (one + other)
        slope, bend = slope - third / 6, bend - fourth / 12
        for _ in range(2):
            rise = slope + shift * (bend + shift * (third / 2 + shift * fourth / 6))
            curve = bend + shift * (third + shift * fourth / 2)
            shift = max(min(shift - rise / curve, 0.6), -0.6) if curve < 0 else shift
    return shift


def search(model: SignalModel, points: Doubles, data: Doubles, known: Mapping[str, Any]) -> Doubles:
    """Data (n, m), what is known (numbers, or (n, 1)) → values to start from, (n, p); the linear ones are 1."""
    found = np.empty((len(data), len(model.parameters)))
    for level, members in _levels(known, len(data)):
        found[members] = Dictionary.of(model, points, level).best(data[members])
    return found


def _levels(known: Mapping[str, Any], n: int) -> Iterator[tuple[dict[str, Any], NDArray[np.intp]]]:
    """What is known, each voxel's own values rounded to a few levels, and the voxels of each combination."""
    own = {name: value for name, value in known.items() if np.ndim(value)}
    if not own:
        yield dict(known), np.arange(n)
        return
    places, centres = {}, {}
    for name, value in own.items():
        low, high = float(np.min(value)), float(np.max(value))
        centres[name] = np.linspace(low, high, LEVELS if high > low else 1)
        width = (high - low) / (LEVELS - 1) or 1.0
        places[name] = np.rint((np.ravel(value) - low) / width).astype(int)
    for combination in product(*(range(len(c)) for c in centres.values())):
        at = np.logical_and.reduce([places[name] == i for name, i in zip(own, combination, strict=True)])
        if at.any():
            level = {name: centres[name][i] for name, i in zip(own, combination, strict=True)}
            yield {**known, **level}, np.flatnonzero(at)
