"""What a relaxometry model gives for every voxel: maps with their errors, and why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mensura.fit import Fit, Status
from mensura.fit.result import replaced
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimates:
    """`maps`: name (a BIDS suffix) → values and standard deviations (n), NaN where `status` (n) is not OK.

    `fit` is what the maps were made of, where they come from a fit; `notes` is what was chosen on the way, in words.
    """

    maps: Mapping[str, tuple[FloatArray, FloatArray]]
    status: NDArray[np.uint8]
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, fit: Fit, **columns: int) -> Self:
        """Parameters of a fit under the names of maps."""
        return cls({n: (fit.values[:, c], fit.errors[:, c]) for n, c in columns.items()}, fit.status, fit)

    @classmethod
    def closed(cls, status: NDArray[np.uint8], **maps: tuple[Any, Any]) -> Self:
        """Closed forms: values and errors, both NaN where the status is not OK."""
        good = status == Status.OK
        made = {
            name: tuple(np.where(good, a, np.nan).astype(np.float32) for a in pair)
            for name, pair in maps.items()
        }
        return cls(made, status)  # type: ignore[arg-type]

    @classmethod
    def joined(cls, parts: Sequence[tuple[NDArray[np.intp], Self]]) -> Self:
        """Estimates of groups of voxels, each with their places, which together are all; without their fits."""
        n = sum(len(places) for places, _ in parts)
        maps = {name: (np.empty(n, np.float32), np.empty(n, np.float32)) for name in parts[0][1].maps}
        status = np.empty(n, np.uint8)
        for places, made in parts:
            status[places] = made.status
            for name, pair in made.maps.items():
                for mine, its in zip(maps[name], pair, strict=True):
                    mine[places] = its
        return cls(maps, status)

    def replaced(self, which: NDArray[np.bool_], others: Estimates) -> Estimates:
        """With what others found in some of the voxels; so is the fit, if theirs has the same parameters."""
        status, maps = self.status.copy(), {}
        status[which] = others.status
        for name, pair in self.maps.items():
            new = tuple(a.copy() for a in pair)
            for mine, its in zip(new, others.maps[name], strict=True):
                mine[which] = its
            maps[name] = new
        fit, theirs = self.fit, others.fit
        if fit is not None and theirs is not None and fit.values.shape[1] == theirs.values.shape[1]:
            fit = replaced(fit, np.flatnonzero(which), theirs)
        return replace(self, maps=maps, status=status, fit=fit)  # type: ignore[arg-type]

    def derived(self, name: str, value: Any, error: Any) -> Estimates:
        """With one more map."""
        pair = (np.asarray(value, np.float32), np.asarray(error, np.float32))
        return replace(self, maps={**self.maps, name: pair})


def columns(signals: FloatArray, *counts: int) -> Doubles:
    """Signals (n, images) in double precision. ScanError if there are more or fewer images than one of `counts`."""
    data = np.asarray(signals, np.float64)
    if data.shape[1] not in counts:
        wanted = " or ".join(map(str, counts))
        raise ScanError(
            f"the model takes {wanted} images, but there are {data.shape[1]}; give those it needs"
        )
    return data


def ended(signals: FloatArray | Doubles, possible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Signals (n, images), where a closed form has a value (n) → the status of each voxel."""
    status = np.where(possible, Status.OK, Status.OUT_OF_BOUNDS).astype(np.uint8)
    status[~np.isfinite(signals).all(axis=1) | ~np.any(signals, axis=1)] = Status.NO_SIGNAL
    return status


def propagated(fit: Fit, slopes: Mapping[int, Any]) -> Doubles:
    """∂f/∂parameter (n) of some parameters → standard deviation of f, with the parameters' correlation."""
    assert fit.correlation is not None
    n, p = fit.values.shape
    by = np.zeros((n, p))
    for i, slope in slopes.items():
        by[:, i] = slope
    return deviations(by, fit.errors, fit.correlation)


@njit(cache=True, nogil=True)
def deviations(by: Doubles, errors: FloatArray, correlation: FloatArray) -> Doubles:
    """√ Σ (∂f/∂i σ_i)(∂f/∂j σ_j) ρ_ij of slopes (n, p); what a function does not depend on may have no error."""
    n, p = by.shape
    found = np.empty(n)
    for v in range(n):
        variance = 0.0
        for i in range(p):
            mine = by[v, i] * errors[v, i] if by[v, i] != 0 else 0.0
            variance += mine * mine
            for j in range(i):
                if mine != 0 and by[v, j] != 0:
                    variance += 2 * mine * by[v, j] * errors[v, j] * correlation[v, i, j]
        found[v] = np.sqrt(max(variance, 0.0)) if variance == variance else np.nan
    return found
