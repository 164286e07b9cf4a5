"""Where a fit begins: the best of a dictionary of signals, found for all voxels by one matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mensura.fit.model import SignalModel

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

LEVELS = 9
"""Of everything that each voxel has of its own, as B1: a dictionary each."""


@dataclass(frozen=True)
class Dictionary:
    """Candidates (g, p) and an orthonormal basis of the signals of each (g, m, k), or the signal if k is 0.

    `along`: the only parameter in which they differ, if there is just one; then a parabola goes between candidates.
    """

    candidates: Doubles
    basis: Singles
    linear: bool
    along: int | None

    @classmethod
    def of(cls, model: SignalModel, points: Doubles, known: Mapping[str, Any]) -> Self:
        candidates = model.candidates()
        if model.linear:
            basis = np.linalg.qr(model.basis(points, candidates, known))[0]
        else:
            basis = model.signal(points, candidates, known)[:, :, None]
        along = model.nonlinear[0] if len(model.nonlinear) == 1 else None
        return cls(candidates, basis.astype(np.float32), bool(model.linear), along)

    def best(self, data: Doubles) -> Doubles:
        """Data (n, m) → the candidate that leaves the smallest residual, (n, p)."""
        g, m, k = self.basis.shape
        size = np.maximum(np.linalg.norm(data, axis=1, keepdims=True), 1e-300) if self.linear else 1.0
        products = (data / size).astype(np.float32) @ self.basis.transpose(1, 0, 2).reshape(m, g * k)
        if self.linear:
            explained = np.square(products).reshape(len(data), g, k).sum(-1)
        else:
            explained = products - 0.5 * np.square(self.basis[:, :, 0]).sum(1)
        place = np.argmax(explained, axis=1)
        found: Doubles = self.candidates[place]
        if self.along is not None:
            at = np.arange(len(data))
            left, mid, right = (explained[at, np.clip(place + i, 0, g - 1)] for i in (-1, 0, 1))
            bend = 2 * mid - left - right
            shift = np.divide(right - left, 2 * bend, out=np.zeros_like(mid), where=bend > 0)
            column = self.along
            ends = self.candidates[np.clip(place + np.where(shift < 0, -1, 1), 0, g - 1), column]
            found[:, column] += np.minimum(np.abs(shift), 0.5) * (ends - found[:, column])
        return found


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
