"""Where a fit begins: the best of a dictionary of signals, found for all voxels in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit.model import SignalModel
from mensura.fit.table import SUMS

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
Places = NDArray[np.int32]

LEVELS = 9
"""Of everything that each voxel has of its own, as B1: a dictionary each."""
ENDS = 0.001, 0.999
"""Quantiles between which they lie, so that no single voxel moves them far."""
LANES = 256
"""Voxels side by side, so that all arithmetic is wide."""


@dataclass(frozen=True)
class Dictionary:
    """Coordinates of the nonlinear parameters of candidates (g, q), and an orthonormal basis of the signals of each
    (g, k, m), or the signal if k is 0. Those of one parameter are evenly spaced: a curve goes between them."""

    places: Doubles
    basis: Singles
    linear: bool

    @classmethod
    def of(cls, model: SignalModel, points: Doubles, known: Mapping[str, Any]) -> Self:
        candidates = model.candidates()
        if model.linear:
            basis = np.linalg.qr(model.basis(points, candidates, known))[0]
        else:
            basis = model.signal(points, candidates, known)[:, :, None]
        made = np.ascontiguousarray(basis.transpose(0, 2, 1), np.float32)
        return cls(model.coordinates(candidates), made, bool(model.linear))

    def nearest(self, data: Doubles) -> Doubles:
        """Data (n, m) → the coordinates that leave the smallest residual, (n, q)."""
        bias = np.zeros(len(self.basis), np.float32)
        if not self.linear:
            bias -= 0.5 * np.square(self.basis[:, 0]).sum(axis=1)
        place, shift = _nearest(data, self.basis, bias, self.linear)
        found: Doubles = self.places[place]
        if found.shape[1] == 1:
            found[:, 0] += (self.places[1, 0] - self.places[0, 0]) * shift
        return found


@dataclass(frozen=True, eq=False)
class Start:
    """A dictionary for every level of what the voxels have of their own, as B1, and the level of each voxel (n)."""

    model: SignalModel
    dictionaries: tuple[Dictionary, ...]
    level: NDArray[np.intp]

    @classmethod
    def of(cls, model: SignalModel, points: Doubles, known: Mapping[str, Any], voxels: int) -> Self:
        """Known: numbers, or (n, 1)."""
        level, dictionaries = np.zeros(voxels, np.intp), []
        for place, (told, members) in enumerate(_levels(known, voxels)):
            level[members] = place
            dictionaries.append(Dictionary.of(model, points, told))
        return cls(model, tuple(dictionaries), level)

    def part(self, which: Any) -> Start:
        """That of some of the voxels."""
        return replace(self, level=self.level[which])

    def places(self, data: Doubles) -> Doubles:
        """Data (n, m) → coordinates of the nonlinear parameters to start from, (n, q)."""
        if len(self.dictionaries) == 1:
            return self.dictionaries[0].nearest(data)
        found = np.empty((len(data), len(self.model.nonlinear)))
        for place in np.unique(self.level):
            members = np.flatnonzero(self.level == place)
            found[members] = self.dictionaries[place].nearest(data[members])
        return found


@njit(cache=True, nogil=True, fastmath=SUMS)
def _nearest(data: Doubles, basis: Singles, bias: Singles, squared: bool) -> tuple[Places, Doubles]:
    """Where Σ products² (or product + bias) is largest, and how far from there a curve through its neighbours peaks.

    Products of data (n, m) and basis (g, k, m): loops, not a library's, whose threads would fight ours.
    """
    n, (g, k, m) = len(data), basis.shape
    place, shift = np.empty(n, np.int32), np.empty(n)
    lanes, score = np.zeros((m, LANES), np.float32), np.empty((g, LANES), np.float32)
    product, largest = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    best, about = np.zeros(LANES, np.int32), np.empty((6, LANES))
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        _load(data, first, squared, lanes[:, :count])
        for i in range(g):
            score[i] = bias[i]
            for j in range(k):
                _multiply(lanes, basis, (i, j), product)
                for v in range(LANES):
                    score[i, v] += product[v] * product[v] if squared else product[v]
        _choose(score, largest, best)
        _peak(score, best, about)
        for v in range(count):
            place[first + v], shift[first + v] = best[v], about[0, v]
    return place, shift


@njit(cache=True, nogil=True, fastmath=SUMS)
def _load(data: Doubles, first: int, scaled: bool, lanes: Singles) -> None:
    """Voxels from the first on → lanes, of unit length if they are to be scaled."""
    m, count = lanes.shape
    for v in range(count):
        size = 0.0
        for e in range(m):
            size += data[first + v, e] * data[first + v, e]
        scale = 1 / np.sqrt(size) if scaled and size > 0 else 1.0
        for e in range(m):
            lanes[e, v] = data[first + v, e] * scale


@njit(cache=True, nogil=True, fastmath=SUMS)
def _multiply(lanes: Singles, basis: Singles, which: tuple[int, int], product: Singles) -> None:
    """Lanes (m, LANES) → their products with one signal, four points at a time."""
    m, (i, j) = len(lanes), which
    product[:] = 0
    for e in range(0, m - 3, 4):
        a, b, c, d = basis[i, j, e], basis[i, j, e + 1], basis[i, j, e + 2], basis[i, j, e + 3]
        for v in range(LANES):
            product[v] += a * lanes[e, v] + b * lanes[e + 1, v] + c * lanes[e + 2, v] + d * lanes[e + 3, v]
    for e in range(m - m % 4, m):
        for v in range(LANES):
            product[v] += basis[i, j, e] * lanes[e, v]


@njit(cache=True, nogil=True)
def _choose(score: Singles, largest: Singles, best: Places) -> None:
    """Where the scores (g, LANES) are largest."""
    largest[:], best[:] = score[0], 0
    for i in range(1, len(score)):
        for v in range(LANES):
            more = score[i, v] > largest[v]
            largest[v] = score[i, v] if more else largest[v]
            best[v] = i if more else best[v]


@njit(cache=True, nogil=True, error_model="numpy")
def _peak(score: Singles, best: Places, about: Doubles) -> None:
    """How far from the best, in places, a curve through the five about it peaks; through three next to the ends.

    Into the first row of `about` (6, LANES), which is room for the five.
    """
    last = len(score) - 1
    for v in range(LANES):
        b = best[v]
        about[0, v], about[1, v] = (
            score[max(b - 1, 0), v] - score[b, v],
            score[min(b + 1, last), v] - score[b, v],
        )
        about[2, v], about[3, v] = (
            score[max(b - 2, 0), v] - score[b, v],
            score[min(b + 2, last), v] - score[b, v],
        )
        about[4, v], about[5, v] = 0 < b < last, 1 < b < last - 1
    for v in range(LANES):
        one, other, far, away = about[0, v], about[1, v], about[2, v], about[3, v]
        slope, bend, wide = (other - one) / 2, one + other, about[5, v]
        shift = max(min(-slope / bend, 0.5), -0.5) if bend < 0 else 0.0
        third, fourth = wide * ((away - far) / 2 - (other - one)), wide * (far + away - 4 * (one + other))
        slope, bend = slope - third / 6, bend - fourth / 12
        for _ in range(2):
            rise = slope + shift * (bend + shift * (third / 2 + shift * fourth / 6))
            curve = bend + shift * (third + shift * fourth / 2)
            on = max(min(shift - rise / curve, 0.6), -0.6)
            shift = on if wide > 0 and curve < 0 else shift
        about[0, v] = shift * about[4, v]


def _levels(known: Mapping[str, Any], n: int) -> Iterator[tuple[dict[str, Any], Any]]:
    """What is known, each voxel's own values rounded to a few levels, and the voxels of each combination."""
    own = {name: value for name, value in known.items() if np.ndim(value)}
    if not own:
        yield dict(known), slice(None)
        return
    places, centres = {}, {}
    for name, value in own.items():
        low, high = (float(end) for end in np.quantile(value, ENDS))
        centres[name] = np.linspace(low, high, LEVELS if high > low else 1)
        width = (high - low) / (LEVELS - 1) or 1.0
        nearest = np.rint((np.ravel(value) - low) / width)
        places[name] = np.clip(nearest, 0, len(centres[name]) - 1).astype(int)
    for combination in product(*(range(len(c)) for c in centres.values())):
        at = np.logical_and.reduce([places[name] == i for name, i in zip(own, combination, strict=True)])
        if at.any():
            level = {name: centres[name][i] for name, i in zip(own, combination, strict=True)}
            yield {**known, **level}, np.flatnonzero(at)
