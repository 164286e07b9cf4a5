"""Data → the weight of the regularisation, when the user names a rule instead of a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mensura.inverse.fft import crop, frequencies, irfft, pad, rfft
from mensura.inverse.operators import gradient
from mensura.qsm import kernels
from mensura.qsm.variational import DataTerm
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Rule = Literal["l-curve", "discrepancy", "frequency"]
Numbers = NDArray[np.float64]
Maps = Iterable[FloatArray]

FACTORS = 2.0 ** np.arange(-3, 4)
"""The weights that a rule looks at, as multiples of the method's own default."""
ITERATIONS = 15
"""How long each of them is solved for; the rules rank maps, they need not be finished."""
RADII = (0.65, 0.95)
"""Shell of k-space whose power is compared, in shares of the coarsest axis's Nyquist frequency."""
NEAR, FAR = (0.1, 0.2), (0.22, 0.32)
"""Values of the dipole kernel that bound the two regions of that shell."""


@dataclass(frozen=True)
class Data:
    """What the rules look at: the data terms on the padded `shape`, and the field's effective noise (ppm).

    The latter as `weights.noise` has it: the measured noise, and what no discrete model explains.
    """

    terms: Sequence[DataTerm]
    mask: BoolArray
    grid: Grid
    shape: tuple[int, int, int]
    noise: float


def choose(
    weight: float | Rule, usual: float, solve: Callable[[float, int], FloatArray], data: Data
) -> float:
    """A weight, or a rule, and `solve(weight, iterations)` → χ (ppm) → the weight to use.

    A number is handed back. A rule looks at the maps of seven weights, an eighth of the `usual` one to eight times
    it, and answers between the ends:
    discrepancy: the misfit is what the noise σ makes it, median of √w |d∗χ − f| = 0.67 σ (Morozov);
    l-curve: log Σ|∇χ| over log misfit turns from curving up to curving down, where it is flattest;
    frequency: χ has the same mean amplitude in two regions of k-space, where the dipole kernel lies in 0.1…0.2 and
    in 0.22…0.32: too small a weight raises the former, too large a one lowers it.

    Milovic et al. 2021, doi:10.1002/mrm.28435, for the latter two. Differs from the paper in the crossing of the
    amplitudes in place of their least squared difference, and in the misfit, which is a median.
    """
    if not isinstance(weight, str):
        return weight
    rules = {"discrepancy": _discrepancy, "l-curve": _inflection, "frequency": _frequency}
    if weight not in rules:
        raise ScanError(f"the weight {weight!r} is neither a number nor one of {', '.join(rules)}")
    tried = usual * FACTORS
    maps = (solve(float(each), ITERATIONS) for each in tried)
    return float(np.exp(rules[weight](np.log(tried), maps, data)))


def _discrepancy(logs: Numbers, maps: Maps, data: Data) -> float:
    excess = np.array([misfit(chi, data) for chi in maps]) - np.log(data.noise)
    return _crossing(logs, excess)


def _inflection(logs: Numbers, maps: Maps, data: Data) -> float:
    """The bottom of the parabola through the three flattest steps of the curve."""
    x, y = np.array([(misfit(chi, data), variation(chi, data)) for chi in maps]).T
    steepness = -np.diff(y) / np.maximum(np.diff(x), 1e-12)
    at = int(np.clip(np.argmin(steepness), 1, steepness.size - 2))
    left, middle, right = steepness[at - 1 : at + 2]
    bend = left - 2 * middle + right
    shift = float(np.clip((left - right) / (2 * bend), -1, 1)) if bend > 0 else float(np.sign(left - right))
    return float(logs[at] + (0.5 + shift) * (logs[1] - logs[0]))


def _frequency(logs: Numbers, maps: Maps, data: Data) -> float:
    near, far = regions(data)
    return _crossing(logs, -np.array([_ratio(chi, near, far, data) for chi in maps]))


def _ratio(chi: FloatArray, near: BoolArray, far: BoolArray, data: Data) -> float:
    size = np.abs(rfft(pad(chi.astype(np.float32), data.shape)))
    return float(np.log(size[near].mean(dtype=np.float64) / size[far].mean(dtype=np.float64)))


def regions(data: Data) -> tuple[BoolArray, BoolArray]:
    """The two regions of the half spectrum whose amplitudes are compared."""
    radius = np.sqrt(sum(k**2 for k in frequencies(data.shape, data.grid.voxel_size)))
    nyquist = 0.5 / max(data.grid.voxel_size)
    dipole = kernels.dipole(data.shape, data.grid)
    shell = (radius > RADII[0] * nyquist) & (radius < RADII[1] * nyquist)
    near, far = (shell & (dipole > low) & (dipole < high) for low, high in (NEAR, FAR))
    return near, far


def misfit(chi: FloatArray, data: Data) -> float:
    """Log of the typical weighted residual (ppm): its median, which a strong source's model error cannot reach."""
    spectrum = rfft(pad(chi.astype(np.float32), data.shape))
    parts = []
    for term in data.terms:
        known = term.weight > 0
        predicted = crop(irfft(spectrum * term.kernel, data.shape[2]), term.data.shape)
        parts.append(np.sqrt(term.weight[known]) * np.abs(predicted[known] - term.data[known]))
    return float(np.log(max(1.4826 * np.median(np.concatenate(parts)), 1e-30)))


def variation(chi: FloatArray, data: Data) -> float:
    """Log of Σ|∇χ|."""
    slope = gradient(chi.astype(np.float32), (1 / np.asarray(data.grid.voxel_size)).astype(np.float32))
    return float(np.log(np.sqrt(np.einsum("c...,c...", slope, slope)).sum(dtype=np.float64)))


def _crossing(logs: Numbers, rising: Numbers) -> float:
    """Where a rising curve passes 0; its nearest end if it does not."""
    return float(np.interp(0, np.maximum.accumulate(rising), logs))
