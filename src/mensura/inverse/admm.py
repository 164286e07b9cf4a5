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
from numpy.typing import NDArray

from mensura.inverse.fft import Spectrum, irfft, rfft
from mensura.inverse.grids import Steps, double, halved, low_frequencies, steps
from mensura.inverse.operators import difference_spectrum
from mensura.inverse.prox import confine
from mensura.inverse.solvers import Solution, relative_change
from mensura.inverse.spectra import add_scaled, combine, solve, solve_other, solve_slopes, subtract_scaled
from mensura.inverse.variation import bend_pull, bend_step, slope_pull, slope_step
from mensura.methods import Monitor

Array = NDArray[np.float32]


Shape = tuple[int, int, int]


class Step(Protocol):
    """A pointwise term's step, which turns its state and the value into what it wants (see `inverse.prox`)."""

    def __call__(self, state: Array, value: Array, relax: np.float32, /) -> None: ...

    def coarser(self, by: Steps, /) -> Step:
        """The same term on a coarser grid."""


@dataclass(frozen=True)
class Filtered:
    """A pointwise term of K∗x + L∗y: K and L half spectra (None: absent), ρ, and its step."""

    kernel: Array | None
    penalty: float
    step: Step
    other: Array | None = None

    def coarser(self, by: Steps, shape: Shape) -> Filtered:
        """The term on a coarser grid, if it was made for volumes of `shape`."""
        kernels = (self.kernel, self.other)
        kernel, other = (None if k is None else low_frequencies(k, shape, by) for k in kernels)
        return Filtered(kernel, self.penalty, self.step.coarser(by), other)


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

    def coarser(self, by: Steps) -> Variation:
        """The same on a coarser grid."""
        return replace(self, edges=None if self.edges is None else halved(self.edges, by, outside=1))


@dataclass(frozen=True)
class Support:
    """x is 0 outside `inside`, a mask in the low corner."""

    inside: NDArray[np.bool_]
    penalty: float

    def coarser(self, by: Steps) -> Support:
        """The voxels of a coarser grid that reach inside."""
        return replace(self, inside=halved(self.inside, by) > 0)


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
    settle: float = 1.0,
    monitor: Monitor | None = None,
) -> Solution:
    """Minimise Σᵢ fᵢ(Kᵢ∗x + Lᵢ∗y) + the variation of x, over volumes x of `shape` within the support, and y.

    Ends when ‖x − x₋₁‖ ≤ tol·‖x‖. `halvings`: how often the grid is coarsened for the start; the shape must allow it.
    Each coarser grid ends at `settle` (0…1) times the tolerance of the one before, after 1/`settle` times as many.
    Boyd et al. 2011 (10.1561/2200000016), section 3.4.3 for the relaxation.
    """
    problem = _Problem(filters, variation, support, shape, tuple(voxel_size))
    return _solved(problem, _Stop(tol, max_iter, relax, settle), halvings, monitor)[0]


@dataclass(frozen=True)
class _Stop:
    tol: float
    max_iter: int
    relax: float
    settle: float

    def coarser(self) -> _Stop:
        """On a coarser grid, where iterations are cheap."""
        return replace(self, tol=self.tol * self.settle, max_iter=round(self.max_iter / self.settle))


@dataclass(frozen=True)
class _Problem:
    filters: Sequence[Filtered]
    variation: Variation
    support: Support
    shape: Shape
    voxel_size: tuple[float, ...]

    def coarser(self) -> _Problem:
        """The same on a coarser grid."""
        by = steps(self.voxel_size)
        x, y, z = (n // s for n, s in zip(self.shape, by, strict=True))
        filters = [f.coarser(by, self.shape) for f in self.filters]
        size = tuple(s * h for h, s in zip(self.voxel_size, by, strict=True))
        return _Problem(filters, self.variation.coarser(by), self.support.coarser(by), (x, y, z), size)


def _solved(
    problem: _Problem, stop: _Stop, halvings: int, monitor: Monitor | None
) -> tuple[Solution, _Workspace]:
    """The solution and everything it left behind."""
    work = _Workspace.allocate(problem)
    if halvings:
        work.start(_solved(problem.coarser(), stop.coarser(), halvings - 1, None)[1])
    return _iterated(problem, work, stop, monitor), work


def _iterated(problem: _Problem, work: _Workspace, stop: _Stop, monitor: Monitor | None) -> Solution:
    variation = problem.variation
    x, before = np.zeros(problem.shape, np.float32), np.zeros(problem.shape, np.float32)
    history: list[float] = []
    converged = False
    while len(history) < stop.max_iter and not converged:
        amount = np.float32(stop.relax if history else 0)
        _pointwise(problem.filters, work, amount)
        _in_space(variation, problem.support, work, x, amount)
        x, before = before, x
        _solve(variation, work, x)
        history.append(relative_change(x, before))
        converged = history[-1] <= stop.tol
        if monitor is not None:
            monitor(len(history), stop.max_iter, history[-1])
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
        """Goes on from the states on a coarser grid."""
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
