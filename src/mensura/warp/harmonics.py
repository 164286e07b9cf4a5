"""Fields of gradient coils as solid harmonics: their values and derivatives anywhere, from coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Terms = tuple[int, int, Indices, Doubles, Indices]
MOST = 40
"""The highest degree; files have 13 or so."""
INVERSES = 1 / np.maximum(np.arange(MOST + 2), 1)
FIELDS = 12
"""Three displacements and their nine derivatives."""


@dataclass(frozen=True, eq=False)
class Harmonics:
    """What the fields of the three coils have beyond their linear gradient, as a displacement.

    d(r) = R · Σₙₘ (r/R)ⁿ Nₙₘ Pₙᵐ(cos θ) (Aₙₘ cos mφ + Bₙₘ sin mφ) for each axis, with R = `radius` (mm), θ from z and φ
    from x. `cosine` and `sine` hold A and B as (axis, n, m). Pₙᵐ has no factor (−1)ᵐ; the normalisation is that of
    Siemens: Nₙ₀ = 1, and for m > 0 Nₙₘ = √((2n + 1)(n − m)! / (2(n + m)!)), with which ∫(Nₙₘ Pₙᵐ)² over cos θ is 1.
    Coordinates are those of the coils. Janke et al. 2004, doi:10.1002/mrm.20134.
    """

    radius: float
    cosine: Doubles
    sine: Doubles

    @property
    def degree(self) -> int:
        return int(self.cosine.shape[1]) - 1

    @cached_property
    def terms(self) -> Terms:
        """For the compiled loops: degree and order up to which harmonics are needed; for each of `FIELDS` the places of
        those that are not zero, and their factors, one field after the other; where each field begins."""
        coefficients = [self._complex(axis) for axis in range(3)]
        fields = coefficients + [_derivative(c, along) for c in coefficients for along in range(3)]
        return _listed(fields)

    def __call__(self, points: ArrayLike) -> tuple[Doubles, Doubles]:
        """Points (…, 3) in mm → displacements (…, 3) in mm, and their derivatives (…, axis, along)."""
        points = np.asarray(points, np.float64)
        found = _at(points.reshape(-1, 3) / self.radius, self.terms)
        moved = found[:, :3] * self.radius
        return moved.reshape(points.shape), found[:, 3:].reshape(*points.shape, 3)

    def _complex(self, axis: int) -> NDArray[np.complex128]:
        """A − iB of one axis for harmonics rⁿ Pₙᵐ e^{imφ} without a norm, of which the real part is the field."""
        found = np.zeros((self.degree + 1,) * 2, np.complex128)
        for n in range(self.degree + 1):
            for m in range(n + 1):
                found[n, m] = norm(n, m) * (self.cosine[axis, n, m] - 1j * self.sine[axis, n, m])
        found[:, 0] = found[:, 0].real
        return found


def norm(n: int, m: int) -> float:
    """Nₙₘ, by which Siemens multiplies associated Legendre functions."""
    if m == 0:
        return 1.0
    return math.sqrt((2 * n + 1) * math.factorial(n - m) / (2 * math.factorial(n + m)))


def _derivative(field: NDArray[np.complex128], along: int) -> NDArray[np.complex128]:
    """The coefficients of a field → those of its derivative along x, y or z (0, 1, 2).

    With h = rⁿ Pₙᵐ e^{imφ}: ∂h/∂z = (n + m) hₙ₋₁,ₘ; (∂/∂x + i∂/∂y) h = −hₙ₋₁,ₘ₊₁;
    (∂/∂x − i∂/∂y) h = (n + m)(n + m − 1) hₙ₋₁,ₘ₋₁, and for m = 0 minus the conjugate of hₙ₋₁,₁;
    hₙₘ = 0 for m > n.
    """
    found = np.zeros_like(field)
    for n, m in np.argwhere(field):
        value, up = field[n, m], m + 1 < n
        if along == 2:
            if m < n:
                found[n - 1, m] += (n + m) * value
        elif m == 0:
            if up:
                found[n - 1, 1] -= value * (1, -1j)[along]
        else:
            found[n - 1, m - 1] += value * (n + m) * (n + m - 1) * (0.5, 0.5j)[along]
            if up:
                found[n - 1, m + 1] -= value * (0.5, -0.5j)[along]
    return found


def _listed(fields: list[NDArray[np.complex128]]) -> Terms:
    """Coefficients of fields → what `_basis` must make, and which of it each field is the sum of."""
    used = np.any(fields, axis=0)
    degree, order = (int(np.flatnonzero(used.any(axis=axis)).max(initial=0)) for axis in (1, 0))
    places, factors, starts = [], [], [0]
    for field in fields:
        for part, values in enumerate((field.real, -field.imag)):
            for n, m in np.argwhere(values):
                places.append((part * (order + 1) + m) * (degree + 1) + n)
                factors.append(values[n, m])
        starts.append(len(places))
    return (
        degree,
        order,
        np.array(places, np.int64),
        np.array(factors, np.float64),
        np.array(starts, np.int64),
    )


@njit(cache=True, nogil=True)
def _basis(x: float, y: float, z: float, degree: int, order: int, table: Doubles) -> None:
    """rⁿ Pₙᵐ(cos θ) cos mφ for m up to `order`, at place m (degree + 1) + n, and with sin mφ in the second half."""
    half = table.size // 2
    square = x * x + y * y + z * z
    real, imaginary = 1.0, 0.0
    for m in range(order + 1):
        if m > 0:
            before = real
            real = (2 * m - 1) * (real * x - imaginary * y)
            imaginary = (2 * m - 1) * (before * y + imaginary * x)
        one, two, first = 1.0, 0.0, m * (degree + 1)
        for n in range(m, degree + 1):
            table[first + n], table[half + first + n] = real * one, imaginary * one
            one, two = ((2 * n + 1) * z * one - (n + m) * square * two) * INVERSES[n + 1 - m], one


@njit(cache=True, nogil=True)
def evaluate(x: float, y: float, z: float, terms: Terms, table: Doubles, found: Doubles) -> None:
    """A point in units of the radius → the `FIELDS` there; `table` is room to work in."""
    degree, order, places, factors, starts = terms
    _basis(x, y, z, degree, order, table)
    for field in range(FIELDS):
        total = 0.0
        for n in range(starts[field], starts[field + 1]):
            total += factors[n] * table[places[n]]
        found[field] = total


@njit(cache=True, nogil=True)
def room(terms: Terms) -> Doubles:
    """The table that `evaluate` works in."""
    return np.empty(2 * (terms[0] + 1) * (terms[1] + 1))


@njit(cache=True, nogil=True)
def _at(points: Doubles, terms: Terms) -> Doubles:
    found, table = np.empty((points.shape[0], FIELDS)), room(terms)
    for n in range(points.shape[0]):
        evaluate(points[n, 0], points[n, 1], points[n, 2], terms, table, found[n])
    return found
