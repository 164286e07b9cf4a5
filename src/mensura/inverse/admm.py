"""Alternating directions for sums of terms that are diagonal in Fourier space: every linear step is exact.

The unknowns are a volume x, with second-order priors its slope field v, and optionally a second volume y (an
unknown part of the data). v and y are eliminated frequency by frequency; only x needs a division.

Large structures come late on fine grids. So the same problem can first be solved on coarser ones, where they come
soon and cheaply, and each grid starts from the states of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import Spectrum, irfft, rfft
from mensura.inverse.grids import double, halved, low_frequencies
from mensura.inverse.operators import difference_spectrum
from mensura.inverse.prox import confine
from mensura.inverse.solvers import Solution, relative_change
from mensura.inverse.variation import bend_pull, bend_step, slope_pull, slope_step
from mensura.methods import Monitor

Array = NDArray[np.float32]


Shape = tuple[int, int, int]


class Step(Protocol):
    """A pointwise term's step, which turns its state and the value into what it wants (see `inverse.prox`)."""

    def __call__(self, state: Array, value: Array, relax: np.float32, /) -> None: ...

    def coarser(self) -> Step:
        """The same term on voxels of twice the size."""


@dataclass(frozen=True)
class Filtered:
    """A pointwise term of K∗x + L∗y: K and L half spectra (None: absent), ρ, and its step."""

    kernel: Array | None
    penalty: float
    step: Step
    other: Array | None = None

    def coarser(self, shape: Shape) -> Filtered:
        """The term on voxels of twice the size, if it was made for volumes of `shape`."""
        kernel, other = (None if k is None else low_frequencies(k, shape) for k in (self.kernel, self.other))
        return Filtered(kernel, self.penalty, self.step.coarser(), other)


@dataclass(frozen=True)
class Variation:
    """strength·Σ|∇x| per mm, or with a `length` (mm) the second-order min over v of strength·Σ|∇x − v| + length·|E v|.

    `edges` (3, x, y, z) in 0…1 scale each component of the slope in the norm; they lie in the low corner.
    """

    strength: float
    penalty: float
    length: float = 0.0
    edges: Array | None = None

    @property
    def limit(self) -> np.float32:
        return np.float32(self.strength / self.penalty)

    def coarser(self) -> Variation:
        """The same on voxels of twice the size."""
        return replace(self, edges=None if self.edges is None else halved(self.edges, outside=1))


@dataclass(frozen=True)
class Support:
    """x is 0 outside `inside`, a mask in the low corner."""

    inside: NDArray[np.bool_]
    penalty: float

    def coarser(self) -> Support:
        """The voxels of twice the size that reach inside."""
        return replace(self, inside=halved(self.inside) > 0)


RELAX = 1.6
"""Over-relaxation: 1 is the plain iteration, anything below 2 converges."""


def admm(
    filters: Sequence[Filtered],
    variation: Variation,
    support: Support,
    shape: Shape,
    voxel_size: Sequence[float],
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    relax: float = RELAX,
    halvings: int = 0,
    monitor: Monitor | None = None,
) -> Solution:
    """Minimise Σᵢ fᵢ(Kᵢ∗x + Lᵢ∗y) + the variation of x, over volumes x of `shape` within the support, and y.

    Ends when ‖x − x₋₁‖ ≤ tol·‖x‖. `halvings`: how often the grid is coarsened for the start; the shape must allow it.
    Boyd et al. 2011 (10.1561/2200000016), section 3.4.3 for the relaxation.
    """
    problem = _Problem(filters, variation, support, shape, tuple(voxel_size))
    return _solved(problem, (tol, max_iter, relax), halvings, monitor)[0]


@dataclass(frozen=True)
class _Problem:
    filters: Sequence[Filtered]
    variation: Variation
    support: Support
    shape: Shape
    voxel_size: tuple[float, ...]

    def coarser(self) -> _Problem:
        """The same on voxels of twice the size."""
        x, y, z = (n // 2 for n in self.shape)
        filters = [f.coarser(self.shape) for f in self.filters]
        size = tuple(2 * h for h in self.voxel_size)
        return _Problem(filters, self.variation.coarser(), self.support.coarser(), (x, y, z), size)


def _solved(
    problem: _Problem, stop: tuple[float, int, float], halvings: int, monitor: Monitor | None
) -> tuple[Solution, _Workspace]:
    """The solution and everything it left behind."""
    work = _Workspace.allocate(problem)
    if halvings:
        work.start(_solved(problem.coarser(), stop, halvings - 1, None)[1])
    return _iterated(problem, work, stop, monitor), work


def _iterated(
    problem: _Problem, work: _Workspace, stop: tuple[float, int, float], monitor: Monitor | None
) -> Solution:
    variation = problem.variation
    tol, max_iter, relax = stop
    x, before = np.zeros(problem.shape, np.float32), np.zeros(problem.shape, np.float32)
    history: list[float] = []
    converged = False
    while len(history) < max_iter and not converged:
        amount = np.float32(relax if history else 0)
        _pointwise(problem.filters, work, amount)
        _in_space(variation, problem.support, work, x, amount)
        x, before = before, x
        _solve(variation, work, x)
        history.append(relative_change(x, before))
        converged = history[-1] <= tol
        if monitor is not None:
            monitor(len(history), max_iter, history[-1])
    return Solution(x, len(history), converged, tuple(history))


@dataclass(frozen=True)
class _Other:
    """The second volume: its spectrum and right side, 1/(its normal matrix), and that times its coupling to x."""

    y: Spectrum
    right: Spectrum
    inverse: Array
    coupling: Array


@dataclass(frozen=True)
class _Slope:
    """The slope field, the state of its bending, and the spectra of its right side."""

    v: Array
    state: Array
    right: Spectrum


@dataclass(frozen=True)
class _Workspace:
    """Everything that is written into, allocated once."""

    inverse_size: Array
    symbols: tuple[Spectrum, Spectrum, Spectrum]
    inverse: Array
    states: list[Array]
    gradient_state: Array
    support_state: Array
    value: Array
    x: Spectrum
    right: Spectrum
    spare: Spectrum
    slope: _Slope | None
    other: _Other | None

    @classmethod
    def allocate(cls, problem: _Problem) -> Self:
        filters, variation, shape = problem.filters, problem.variation, problem.shape
        half = (shape[0], shape[1], shape[2] // 2 + 1)
        x, right, spare = (np.zeros(half, np.complex64) for _ in range(3))
        normal = np.float32(problem.support.penalty) + _variation_normal(
            variation, (shape, problem.voxel_size)
        )
        for f in filters:
            if f.kernel is not None:
                normal += np.float32(f.penalty) * f.kernel * f.kernel
        other = _other(filters, half) if any(f.other is not None for f in filters) else None
        if other is not None:
            normal -= other.coupling**2 / other.inverse
        return cls(
            inverse_size=(1 / np.asarray(problem.voxel_size)).astype(np.float32),
            symbols=_symbols(shape, problem.voxel_size),
            inverse=np.float32(1) / normal,
            states=[np.zeros(shape, np.float32) for _ in filters],
            gradient_state=np.zeros((3, *shape), np.float32),
            support_state=np.zeros(shape, np.float32),
            value=np.zeros(shape, np.float32),
            x=x,
            right=right,
            spare=spare,
            slope=_slope(shape, half) if variation.length > 0 else None,
            other=other,
        )

    def memory(self) -> list[Array]:
        """Every term's state: from these all unknowns follow."""
        bending = [] if self.slope is None else [self.slope.state]
        return [*self.states, self.gradient_state, self.support_state, *bending]

    def start(self, coarse: _Workspace) -> None:
        """Goes on from the states on voxels of twice the size."""
        for state, before in zip(self.memory(), coarse.memory(), strict=True):
            double(before, state)


def _slope(shape: tuple[int, int, int], half: tuple[int, int, int]) -> _Slope:
    return _Slope(
        np.zeros((3, *shape), np.float32),
        np.zeros((6, *shape), np.float32),
        np.zeros((3, *half), np.complex64),
    )


def _other(filters: Sequence[Filtered], half: tuple[int, int, int]) -> _Other:
    normal, coupling = np.zeros(half, np.float32), np.zeros(half, np.float32)
    for f in filters:
        if f.other is not None:
            normal += np.float32(f.penalty) * f.other * f.other
            if f.kernel is not None:
                coupling += np.float32(f.penalty) * f.kernel * f.other
    return _Other(
        np.zeros(half, np.complex64), np.zeros(half, np.complex64), np.float32(1) / normal, coupling / normal
    )


def _variation_normal(variation: Variation, where: Any) -> Array:
    """ρ|k|², times length²|k|²/(1 + length²|k|²) once the slope field is eliminated."""
    squared = difference_spectrum(*where)
    normal = np.float32(variation.penalty) * squared
    if variation.length > 0:
        squared *= np.float32(variation.length**2)
        normal *= squared / (1 + squared)
    return normal


def _symbols(shape: tuple[int, int, int], voxel_size: Sequence[float]) -> tuple[Spectrum, Spectrum, Spectrum]:
    """The multipliers of the forward differences along each axis (1/mm)."""
    k = (np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]))
    x, y, z = (
        ((np.exp(2j * np.pi * f) - 1) / h).astype(np.complex64) for f, h in zip(k, voxel_size, strict=True)
    )
    return x, y, z


def _pointwise(filters: Sequence[Filtered], work: _Workspace, relax: np.float32) -> None:
    """Every pointwise term's step at the current unknowns; what they want is gathered in the right sides."""
    other = work.other
    work.right.fill(0)
    if other is not None:
        other.right.fill(0)
    for f, state in zip(filters, work.states, strict=True):
        combine(f.kernel, work.x, f.other, None if other is None else other.y, work.spare)
        irfft(work.spare, work.value.shape[2], work.value)
        f.step(state, work.value, relax)
        rfft(work.value, work.spare)
        if f.kernel is not None:
            add_scaled(work.right, work.spare, f.kernel, np.float32(f.penalty))
        if other is not None and f.other is not None:
            add_scaled(other.right, work.spare, f.other, np.float32(f.penalty))


def _in_space(variation: Variation, support: Support, work: _Workspace, x: Array, relax: np.float32) -> None:
    """The steps of the variation and the support; the spectrum of what they want is left in `spare`."""
    limit, penalty, size = variation.limit, np.float32(variation.penalty), work.inverse_size
    longer, slope = size * np.float32(variation.length), work.slope
    v = None if slope is None else slope.v
    slope_step(work.gradient_state, x, v, relax, limit, variation.edges, size)
    if slope is not None:
        bend_step(slope.state, slope.v, relax, limit, longer)
    slope_pull(work.gradient_state, limit, variation.edges, size, penalty, work.value, v)
    if slope is not None:
        bend_pull(slope.state, limit, longer, penalty, slope.v)
        for c in range(3):
            rfft(slope.v[c], slope.right[c])
    confine(work.support_state, x, relax, support.inside, work.value, np.float32(support.penalty))
    rfft(work.value, work.spare)


def _solve(variation: Variation, work: _Workspace, x: Array) -> None:
    """All unknowns from their right sides: x as spectrum and in space, the slope field only in space."""
    slope, other = work.slope, work.other
    if other is not None:
        subtract_scaled(work.right, other.coupling, other.right)
    if slope is None:
        solve(work.right, work.spare, work.inverse, work.x)
    else:
        length2, penalty = np.float32(variation.length**2), np.float32(variation.penalty)
        sides = (work.right, work.spare, slope.right)
        solve_slopes(sides, work.inverse, work.symbols, penalty, length2, work.x)
        for c in range(3):
            irfft(slope.right[c], x.shape[2], slope.v[c])
    if other is not None:
        solve_other(other.right, other.inverse, other.coupling, work.x, other.y)
    irfft(work.spare, x.shape[2], x)


@njit(cache=True, parallel=True)
def combine(kernel: Any, x: Spectrum, other: Any, y: Any, out: Spectrum) -> None:
    """out = kernel·x + other·y, without what is None."""
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                s = np.complex64(0)
                if kernel is not None:
                    s += kernel[i, j, k] * x[i, j, k]
                if other is not None:
                    s += other[i, j, k] * y[i, j, k]
                out[i, j, k] = s


@njit(cache=True, parallel=True)
def add_scaled(total: Spectrum, spectrum: Spectrum, multiplier: Array, scalar: np.float32) -> None:
    """total += scalar · multiplier · spectrum."""
    for i in prange(total.shape[0]):
        for j in range(total.shape[1]):
            for k in range(total.shape[2]):
                total[i, j, k] += (scalar * multiplier[i, j, k]) * spectrum[i, j, k]


@njit(cache=True, parallel=True)
def subtract_scaled(total: Spectrum, multiplier: Array, spectrum: Spectrum) -> None:
    """total −= multiplier · spectrum."""
    for i in prange(total.shape[0]):
        total[i] -= multiplier[i] * spectrum[i]


@njit(cache=True, parallel=True)
def solve(right: Spectrum, more: Spectrum, inverse: Array, x: Spectrum) -> None:
    """x = inverse·(right + more), also written over `more`."""
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                s = inverse[i, j, k] * (right[i, j, k] + more[i, j, k])
                x[i, j, k] = s
                more[i, j, k] = s


@njit(cache=True, parallel=True)
def solve_other(right: Spectrum, inverse: Array, cross: Array, x: Spectrum, y: Spectrum) -> None:
    """y = inverse·right − cross·x."""
    for i in prange(x.shape[0]):
        y[i] = inverse[i] * right[i] - cross[i] * x[i]


@njit(cache=True, parallel=True)
def solve_slopes(
    sides: Any, inverse: Array, symbols: Any, penalty: np.float32, length2: np.float32, x: Spectrum
) -> None:
    """x from right + more and v, the right side of the slopes, which become their solution in place.

    Eᴴ E = ½ (|k|² + k kᴴ): along k and across it the slopes' normal is a number each (Sherman–Morrison).
    """
    right, more, v = sides
    one, half = np.float32(1), np.float32(0.5)
    for i in prange(x.shape[0]):
        a = symbols[0][i]
        for j in range(x.shape[1]):
            b = symbols[1][j]
            for k in range(x.shape[2]):
                c = symbols[2][k]
                q = abs(a) ** 2 + abs(b) ** 2 + abs(c) ** 2
                along = np.conj(a) * v[0, i, j, k] + np.conj(b) * v[1, i, j, k] + np.conj(c) * v[2, i, j, k]
                s = inverse[i, j, k] * (right[i, j, k] + more[i, j, k] + along / (one + length2 * q))
                x[i, j, k] = s
                more[i, j, k] = s
                push = penalty * s
                push -= half * length2 / (one + length2 * q) * (along + penalty * q * s)
                scale = one / (penalty * (one + half * length2 * q))
                v[0, i, j, k] = (v[0, i, j, k] + a * push) * scale
                v[1, i, j, k] = (v[1, i, j, k] + b * push) * scale
                v[2, i, j, k] = (v[2, i, j, k] + c * push) * scale
