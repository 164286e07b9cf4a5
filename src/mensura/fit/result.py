"""What every voxel-wise fit returns, and how a voxel's fit may end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mensura.fit.model import SignalModel
from mensura.scan import BoolArray, FloatArray

Doubles = NDArray[np.float64]
T = TypeVar("T")


def either(which: NDArray[np.bool_], one: T, other: T) -> T:
    """Two records of arrays (n, …) → one with the first's voxels where it is told to, else the second's.

    What is no array is the first's.
    """

    def chosen(name: str) -> Any:
        a, b = getattr(one, name), getattr(other, name)
        if not isinstance(a, np.ndarray):
            return a
        return np.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return type(one)(**{name: chosen(name) for name in type(one).__dataclass_fields__})  # type: ignore[attr-defined]


def replaced(one: T, which: NDArray[np.intp], others: T) -> T:
    """A record of arrays (n, …) → the same with some of its voxels from another, which holds just these.

    What is no array stays.
    """

    def put(name: str) -> Any:
        a = getattr(one, name)
        if isinstance(a, np.ndarray):
            a = a.copy()
            a[which] = getattr(others, name)
        return a

    return type(one)(**{name: put(name) for name in type(one).__dataclass_fields__})  # type: ignore[attr-defined]


def joined(parts: Sequence[T]) -> T:
    """Records of arrays of some voxels each → one of all, one after the other; what is no array is the first's."""

    def put(name: str) -> Any:
        mine = [getattr(part, name) for part in parts]
        return np.concatenate(mine) if isinstance(mine[0], np.ndarray) else mine[0]

    kind = type(parts[0])
    return kind(**{name: put(name) for name in kind.__dataclass_fields__})  # type: ignore[attr-defined]


class Status(IntEnum):
    """How the fit of a voxel ended; every code but OK goes with a value that is not a number."""

    OK = 0
    """Fitted (also: outside the mask)."""
    NO_SIGNAL = 1
    """The data are missing, not finite, or zero."""
    OUT_OF_BOUNDS = 2
    """The estimate lies where the data cannot tell it from infinity, or at a bound."""
    NOT_CONVERGED = 3
    """The iteration did not come to rest."""
    NOT_IDENTIFIABLE = 4
    """With this protocol the data do not tell the parameters apart: a standard error as large as its value."""
    BELOW_NOISE = 5
    """No point stands out of the noise."""
    CORRUPTED = 6
    """So many points were rejected that those left do not tell the parameters."""


@dataclass(frozen=True, eq=False)
class Design:
    """What was fitted to what: the model, its points (m,), what is known (numbers, or (n, 1)), and whether the noise
    was told rather than found from the residuals."""

    model: SignalModel
    points: Doubles
    known: Mapping[str, Any]
    told: bool

    def part(self, which: Any) -> Design:
        """That of some of the voxels."""
        known = {name: value[which] if np.ndim(value) else value for name, value in self.known.items()}
        return replace(self, known=known)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit of `n` voxels by `p` parameters.

    `values` and their standard deviations `errors` (n, p) are NaN where `status` (n, codes of `Status`) is not
    OK; `residual` (n) is the root mean square of data minus model, in the data's unit. What follows is None for
    closed forms: `weights` (n, m), 0 for a rejected point; `correlation` (n, p, p) of the parameters; `r_squared`
    (n), the share of the data's variance that the model explains; `chi_squared` (n), the weighted sum of squared
    residuals over the noise's variance, NaN where that is not known; `aic` (n), Akaike's criterion, to compare models
    on the same data; `freedom` (n), how many points more than parameters; `data` (n, m) as they were fitted, in the
    order of the design's points and with the signs that were found, NaN where missing; `design`, what fitted them.
    """

    values: FloatArray
    errors: FloatArray
    status: NDArray[np.uint8]
    residual: FloatArray
    weights: FloatArray | None = None
    correlation: FloatArray | None = None
    r_squared: FloatArray | None = None
    chi_squared: FloatArray | None = None
    aic: FloatArray | None = None
    freedom: NDArray[np.int16] | None = None
    data: FloatArray | None = None
    design: Design | None = None

    def part(self, which: Any) -> Fit:
        """That of some of the voxels."""
        arrays: dict[str, Any] = {
            name: a[which] for name, a in vars(self).items() if isinstance(a, np.ndarray)
        }
        design = None if self.design is None else self.design.part(which)
        return replace(self, design=design, **arrays)

    def maps(self, mask: BoolArray, parameter: int) -> tuple[FloatArray, FloatArray, NDArray[np.uint8]]:
        """The mask whose voxels were fitted → volumes of one parameter, its standard deviation and the status.

        All three are zero outside the mask.
        """
        value, error = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
        status = np.zeros(mask.shape, np.uint8)
        value[mask], error[mask] = self.values[:, parameter], self.errors[:, parameter]
        status[mask] = self.status
        return value, error, status
