"""Every iterative solver of the package, written once. Each returns a `Solution` and calls `monitor` per iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mensura.inverse.fft import Spectrum, irfft, rfft
from mensura.inverse.operators import difference_spectrum, gradient_to, negative_divergence_to, scale
from mensura.methods import Monitor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Solution:
    """What a solver ends with: `history` holds the relative change (or residual) of every iteration."""

    x: Array
    iterations: int
    converged: bool
    history: tuple[float, ...]


@dataclass(frozen=True)
class Split:
    """One term f(A x) of a sum that ADMM minimises: `prox(value, dual)` acts in place (see `inverse.prox`).

    `map` is "identity", "gradient", or the real half spectrum of a circular convolution; `penalty` is ρ of the
    augmented Lagrangian.
    """

    map: Any
    penalty: float
    prox: Callable[[Array, Array], None]

    @property
    def is_convolution(self) -> bool:
        return not isinstance(self.map, str)


def conjugate_gradient(
    operator: Callable[[Array], Array],
    b: Array,
    *,
    start: Array | None = None,
    tol: float = 1e-3,
    max_iter: int = 100,
    monitor: Monitor | None = None,
) -> Solution:
    """Right side `b` of A x = b with A symmetric positive (semi)definite → x, until ‖b − A x‖ ≤ tol·‖b‖.

    Hestenes & Stiefel 1952 (10.6028/jres.049.044).
    """
    x = np.zeros_like(b) if start is None else start.copy()
    residual = b.copy() if start is None else b - operator(start)
    direction = residual.copy()
    squared, goal = dot(residual, residual), tol**2 * dot(b, b)
    history: list[float] = []
    while squared > goal and len(history) < max_iter:
        image = operator(direction)
        step = np.float32(squared / dot(direction, image))
        x += step * direction
        residual -= step * image
        before, squared = squared, dot(residual, residual)
        direction *= np.float32(squared / before)
        direction += residual
        history.append(float(np.sqrt(squared / goal) * tol))
        if monitor is not None:
            monitor(len(history), max_iter, history[-1])
    return Solution(x, len(history), bool(squared <= goal), tuple(history))


def admm(
    splits: Sequence[Split],
    shape: tuple[int, int, int],
    voxel_size: Sequence[float],
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    monitor: Monitor | None = None,
) -> Solution:
    """Minimise Σᵢ fᵢ(Aᵢ x) over volumes x of `shape`, all Aᵢ diagonal in Fourier space or gradients.

    The linear step is solved exactly by one division in Fourier space. Ends when ‖x − x₋₁‖ ≤ tol·‖x‖.
    Boyd et al. 2011 (10.1561/2200000016), scaled form (3.5)–(3.7).
    """
    work = _Workspace.allocate(splits, shape, voxel_size)
    x, before = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    history: list[float] = []
    converged = False
    while len(history) < max_iter and not converged:
        for split, value, dual in zip(splits, work.values, work.duals, strict=True):
            split.prox(value, dual)
        x, before = before, x
        _linear_step(splits, work, x)
        history.append(relative_change(x, before))
        converged = history[-1] <= tol
        if monitor is not None:
            monitor(len(history), max_iter, history[-1])
        if not converged:
            for split, value in zip(splits, work.values, strict=True):
                _apply(split, x, work, value)
    return Solution(x, len(history), converged, tuple(history))


@dataclass(frozen=True)
class _Workspace:
    """Everything that ADMM writes into, allocated once."""

    inverse_size: Array
    inverse_normal: Array
    values: list[Array]
    duals: list[Array]
    local: Array
    solution: Spectrum
    spectrum: Spectrum

    @classmethod
    def allocate(
        cls, splits: Sequence[Split], shape: tuple[int, int, int], voxel_size: Sequence[float]
    ) -> _Workspace:
        half = (shape[0], shape[1], shape[2] // 2 + 1)
        sizes = [(3, *shape) if _is_gradient(s) else shape for s in splits]
        return cls(
            inverse_size=(1 / np.asarray(voxel_size)).astype(np.float32),
            inverse_normal=_inverse_normal(splits, shape, voxel_size),
            values=[np.zeros(size, np.float32) for size in sizes],
            duals=[np.zeros(size, np.float32) for size in sizes],
            local=np.empty(shape, np.float32),
            solution=np.empty(half, np.complex64),
            spectrum=np.empty(half, np.complex64),
        )


def _is_gradient(split: Split) -> bool:
    return isinstance(split.map, str) and split.map == "gradient"


def _inverse_normal(
    splits: Sequence[Split], shape: tuple[int, int, int], voxel_size: Sequence[float]
) -> Array:
    """1 / Σ ρᵢ|Aᵢ|² on the half spectrum; frequencies that no term sees stay at zero."""
    normal = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), np.float32)
    for split in splits:
        if split.is_convolution:
            normal += np.float32(split.penalty) * split.map * split.map
        elif split.map == "gradient":
            normal += np.float32(split.penalty) * difference_spectrum(shape, voxel_size)
        else:
            normal += np.float32(split.penalty)
    seen = normal > 1e-12 * normal.max()
    return np.divide(1, normal, out=np.zeros_like(normal), where=seen)


def _linear_step(splits: Sequence[Split], work: _Workspace, x: Array) -> None:
    """x = argmin Σ ρᵢ‖Aᵢ x − (copyᵢ − dualᵢ)‖², written into `x`; its spectrum stays in `work.solution`."""
    x.fill(0)
    for split, value in zip(splits, work.values, strict=True):
        if split.is_convolution:
            continue
        if _is_gradient(split):
            negative_divergence_to(value, work.inverse_size, work.local)
        add_multiple(x, work.local if _is_gradient(split) else value, np.float32(split.penalty))
    rfft(x, work.solution)
    for split, value in zip(splits, work.values, strict=True):
        if split.is_convolution:
            add_scaled(work.solution, rfft(value, work.spectrum), split.map, np.float32(split.penalty))
    scale(work.solution, work.inverse_normal)
    np.copyto(work.spectrum, work.solution)
    irfft(work.spectrum, x.shape[2], x)


def _apply(split: Split, x: Array, work: _Workspace, out: Array) -> None:
    """out = Aᵢ x."""
    if split.is_convolution:
        scale_to(work.solution, split.map, work.spectrum)
        irfft(work.spectrum, x.shape[2], out)
    elif _is_gradient(split):
        gradient_to(x, work.inverse_size, out)
    else:
        np.copyto(out, x)


@njit(cache=True, parallel=True)
def scale_to(spectrum: Spectrum, multiplier: Array, out: Spectrum) -> None:
    """out = multiplier · spectrum."""
    for i in prange(spectrum.shape[0]):
        out[i] = spectrum[i] * multiplier[i]


@njit(cache=True, parallel=True)
def add_multiple(total: Array, volume: Array, scalar: np.float32) -> None:
    """total += scalar · volume."""
    for i in prange(total.shape[0]):
        for j in range(total.shape[1]):
            for k in range(total.shape[2]):
                total[i, j, k] += scalar * volume[i, j, k]


@njit(cache=True, parallel=True)
def add_scaled(total: Spectrum, spectrum: Spectrum, multiplier: Array, scalar: np.float32) -> None:
    """total += scalar · multiplier · spectrum."""
    for i in prange(total.shape[0]):
        for j in range(total.shape[1]):
            for k in range(total.shape[2]):
                total[i, j, k] += (scalar * multiplier[i, j, k]) * spectrum[i, j, k]


@njit(cache=True, parallel=True)
def _dot_slices(a: Array, b: Array) -> NDArray[np.float64]:
    sums = np.zeros(a.shape[0])
    for i in prange(a.shape[0]):
        s = 0.0
        for j in range(a.shape[1]):
            for k in range(a.shape[2]):
                s += np.float64(a[i, j, k]) * np.float64(b[i, j, k])
        sums[i] = s
    return sums


def dot(a: Array, b: Array) -> float:
    """Inner product of two volumes in double precision; the same on any number of threads."""
    return float(np.sum(_dot_slices(a, b)))


@njit(cache=True, parallel=True)
def _change_slices(x: Array, before: Array) -> NDArray[np.float64]:
    sums = np.zeros((x.shape[0], 2))
    for i in prange(x.shape[0]):
        s = 0.0
        t = 0.0
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                d = np.float64(x[i, j, k]) - np.float64(before[i, j, k])
                s += d * d
                t += np.float64(x[i, j, k]) ** 2
        sums[i, 0] = s
        sums[i, 1] = t
    return sums


def relative_change(x: Array, before: Array) -> float:
    """‖x − before‖ / ‖x‖ (0 for two zero volumes)."""
    difference, size = np.sum(_change_slices(x, before), axis=0)
    return float(np.sqrt(difference / size)) if size > 0 else 0.0
