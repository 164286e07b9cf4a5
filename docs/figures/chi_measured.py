"""The measurements behind "Why susceptibility is hard": what noise, inversions and backgrounds do, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from typing import Any

import numpy as np
from chi_scene import Array, Case
from scipy.ndimage import distance_transform_edt

from mensura.inverse.fft import crop, irfft, pad, rfft
from mensura.inverse.operators import gradient
from mensura.qsm import kernels, smv, weights
from mensura.qsm.background.lbv import lbv
from mensura.qsm.background.pdf import pdf
from mensura.qsm.background.sharp import vsharp
from mensura.qsm.dipole.direct import tikhonov, tkd
from mensura.qsm.dipole.medi import medi
from mensura.qsm.dipole.tv import tv
from mensura.qsm.single_step.smv import smv_tv
from mensura.qsm.uncertainty import explained_field
from mensura.scan import BoolArray, FloatArray, Grid
from mensura.score import coverage, nrmse

Inversion = Callable[..., FloatArray]
CONE = 0.1
"""Frequencies with |D| below this are called the cone."""
NOISE = 1e-3
"""The white noise of the field (ppm) that is sent through TKD."""
FAR = 9.0
"""What lies farther than this (mm) from the calcification is scored apart."""
METHODS: Mapping[str, tuple[Inversion, str]] = {
    "TKD": (tkd, "threshold"),
    "Tikhonov": (tikhonov, "weight"),
    "TV": (tv, "weight"),
    "MEDI": (medi, "weight"),
}
DEFAULTS: Mapping[str, tuple[Inversion, str, float]] = {
    name: (function, parameter, signature(function).parameters[parameter].default)
    for name, (function, parameter) in METHODS.items()
}
"""Each inversion with the parameter that regularises it and that parameter's default."""
LARGEST_THRESHOLD = 0.33
"""TKD allows none beyond a third, where |D| ends across B0."""


# --- noise by angle ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NoiseByAngle:
    """Noise that thresholded division makes of a white field noise of 1 ppb.

    `power` of χ over that of the field, by angle of k to B0 (`angle`, degrees), as measured and as the closed form
    has it; `gain` the ratio of the standard deviations, measured and closed; `maps` of one draw (ppm).
    """

    angle: Array
    power: dict[float, Array]
    closed: dict[float, Array]
    gain: dict[float, tuple[float, float]]
    maps: dict[float, FloatArray]


def noise_by_angle(thresholds: Sequence[float], size: int = 96, draws: int = 4) -> NoiseByAngle:
    """Thresholds, size of the volume, number of draws → what TKD makes of noise alone.

    The spectrum is that of χ under a Hann window, which keeps the cone's noise from leaking to other angles.
    """
    grid, mask = Grid.from_voxel_size((size, size, size)), np.ones((size, size, size), bool)
    angle, bins = np.arange(0.5, 90, 1.0), _angle_bins(size)
    power = {t: np.zeros(angle.size) for t in thresholds}
    taper = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window = taper[:, None, None] * taper[:, None] * taper
    unit = NOISE**2 * np.sum(window**2) * draws
    variance = dict.fromkeys(thresholds, 0.0)
    maps: dict[float, FloatArray] = {}
    for seed in range(draws):
        noise = np.random.default_rng(seed).standard_normal(mask.shape, dtype=np.float32) * np.float32(NOISE)
        for t in thresholds:
            chi = tkd(noise, mask, grid, threshold=t)
            power[t] += _mean_by(np.abs(np.fft.rfftn(window * chi)) ** 2, bins, angle.size) / unit
            variance[t] += float(np.var(chi, dtype=np.float64)) / NOISE**2 / draws
            maps.setdefault(t, chi)
    closed = {t: closed_gain(np.radians(angle), t) for t in thresholds}
    gain = {t: (float(np.sqrt(variance[t])), closed_total(t)) for t in thresholds}
    return NoiseByAngle(angle, power, closed, gain, maps)


def closed_gain(angle: Array, threshold: float) -> Array:
    """Angle of k to B0 (rad) → power gain of TKD, 1 / (s·max(|D|, t))², s the mean of D/D_t over all directions."""
    size = np.abs(1 / 3 - np.cos(angle) ** 2)
    return np.asarray(1 / (_scaling(threshold) * np.maximum(size, threshold)) ** 2)


def closed_total(threshold: float) -> float:
    """Standard deviation of χ over that of the field for TKD: root of the mean power gain over all directions."""
    return float(np.sqrt(np.mean(closed_gain(np.arccos(_cosines()), threshold))))


def cone_share(limit: float = CONE) -> float:
    """The share of all directions of k for which |D| < limit, %."""
    return 100 * float(np.mean(np.abs(1 / 3 - _cosines() ** 2) < limit))


def cone_noise_share(threshold: float, limit: float = CONE) -> float:
    """The share of TKD's noise power that comes from directions with |D| < limit, %."""
    inside = np.abs(1 / 3 - _cosines() ** 2) < limit
    power = closed_gain(np.arccos(_cosines()), threshold)
    return 100 * float(power[inside].sum() / power.sum())


def _cosines(count: int = 200_001) -> Array:
    """Directions spread evenly over the half sphere, by their cosine with B0."""
    return (np.arange(count) + 0.5) / count


@cache
def _scaling(threshold: float) -> float:
    """The mean of D/D_t over all directions, by which TKD divides."""
    size = np.abs(1 / 3 - _cosines() ** 2)
    return float(np.mean(size / np.maximum(size, threshold)))


def _angle_bins(size: int, low: float = 0.1, high: float = 0.4) -> Array:
    """The angle bin (1°) of each frequency of a half spectrum with |k| between `low` and `high` per voxel, else −1."""
    k = np.fft.fftfreq(size)
    along = np.fft.rfftfreq(size)[None, None, :]
    length = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + along**2)
    angle = np.degrees(np.arccos(np.divide(along, length, out=np.ones_like(length), where=length > 0)))
    return np.where((length > low) & (length < high), np.minimum(angle, 89.999), -1).astype(int)


def _mean_by(values: Array, bins: Array, count: int) -> Array:
    chosen = bins >= 0
    total = np.bincount(bins[chosen], values[chosen], count)
    return np.asarray(total / np.maximum(np.bincount(bins[chosen], minlength=count), 1))


# --- inversions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scores:
    """Errors of a map: `error` and `far` (away from the calcification) NRMSE in %, `cone` and `rest` the root mean
    square error (ppb) carried by frequencies in and off the cone, `lesion` χ of the calcification (ppm), `total` the
    share (%) of its sum of χ found within 4.5 mm, `slope` the regression of χ on the truth far from it."""

    error: float
    far: float
    cone: float
    rest: float
    lesion: float
    total: float
    slope: float


def inverted(case: Case, name: str, factor: float = 1.0, **more: Any) -> FloatArray:
    """The measured local field, inverted by a method with its default regularisation times `factor`."""
    function, parameter, default = DEFAULTS[name]
    value = min(default * factor, LARGEST_THRESHOLD) if name == "TKD" else default * factor
    known: dict[str, Any] = {parameter: value, **_thorough(name), **more}
    if name in ("TV", "MEDI"):
        known["field_std"] = case.std
    if name == "MEDI":
        known["magnitude"] = case.scan.magnitude
    return function(case.local, case.scan.mask, case.scan.grid, **known)


def scores(case: Case, chi: FloatArray) -> Scores:
    """χ (ppm) → its errors over the brain less one voxel."""
    truth, lesion = case.scan.chi, case.calcification
    far, near = case.scored & ~around(case), case.scored & around(case, FAR / 2)
    difference = np.where(case.scored, chi - truth, 0)
    difference = np.where(case.scored, difference - difference[case.scored].mean(), 0).astype(np.float32)
    inside, off = cone_parts(difference, case.scored, case.scan.grid)
    shift = float((chi - truth)[far].mean())
    return Scores(
        error=nrmse(chi, truth, case.scored),
        far=nrmse(chi, truth, far),
        cone=inside,
        rest=off,
        lesion=float(chi[lesion].mean()) - shift if lesion.any() else 0.0,
        total=100 * float((chi[near] - shift).sum() / truth[near].sum()) if near.any() else 0.0,
        slope=float(np.polyfit(truth[far], chi[far], 1)[0]),
    )


def around(case: Case, distance: float = FAR) -> BoolArray:
    """The voxels within a distance (mm) of the calcification."""
    lesion = case.calcification
    if not lesion.any():
        return lesion
    near: BoolArray = distance_transform_edt(~lesion, sampling=case.scan.grid.voxel_size) <= distance
    return near


def cone_parts(
    difference: FloatArray, mask: BoolArray, grid: Grid, limit: float = CONE
) -> tuple[float, float]:
    """An error map (ppm) → the root mean square (ppb, over the mask) of its parts with |D| < limit and above."""
    power = np.abs(np.fft.rfftn(difference)) ** 2
    power[..., 1 : (difference.shape[2] + 1) // 2] *= 2
    low = np.abs(kernels.dipole(difference.shape, grid)) < limit
    both = power[low].sum(), power[~low].sum()
    inside, off = (float(1e3 * np.sqrt(p / difference.size / np.count_nonzero(mask))) for p in both)
    return inside, off


@dataclass(frozen=True, eq=False)
class Path:
    """A method over its regularisation: `factor` times the default; scores, data misfit (ppb), roughness (ppb/mm)."""

    factor: Array
    scores: list[Scores]
    misfit: Array
    roughness: Array


def regularisation_path(case: Case, name: str, factors: Array) -> Path:
    """A method, multiples of its default → how the map changes with them."""
    maps = [inverted(case, name, float(f)) for f in factors]
    return Path(
        factors,
        [scores(case, chi) for chi in maps],
        np.array([misfit(case, chi) for chi in maps]),
        np.array([roughness(case, chi) for chi in maps]),
    )


def misfit(case: Case, chi: FloatArray) -> float:
    """Weighted root mean square of the field that χ leaves unexplained (ppb), its mean aside."""
    mask, grid = case.scan.mask, case.scan.grid
    trust = weights.squared(case.std, mask)
    left = np.where(mask, np.nan_to_num(case.local) - explained_field(chi, mask, grid), 0)
    mean = np.sum(trust * left) / np.sum(trust)
    return float(1e3 * np.sqrt(np.sum(trust * (left - mean) ** 2) / np.sum(trust)))


def noise_level(case: Case) -> float:
    """The misfit that the noise of the field alone would leave, weighted alike (ppb)."""
    trust = weights.squared(case.std, case.scan.mask)
    variance = np.where(trust > 0, case.std, 0) ** 2
    return float(1e3 * np.sqrt(np.sum(trust * variance) / np.sum(trust)))


def roughness(case: Case, chi: FloatArray) -> float:
    """Mean |∇χ| over the brain less one voxel (ppb/mm)."""
    slope = gradient(np.ascontiguousarray(chi), (1 / np.array(case.scan.grid.voxel_size)).astype(np.float32))
    return float(1e3 * np.mean(np.sqrt(np.sum(slope[:, case.scored] ** 2, axis=0))))


def _thorough(name: str) -> dict[str, Any]:
    """Iterations until the map stands still, also for regularisation far from the default."""
    return {"tol": 2e-3, "max_iter": 120} if name in ("TV", "MEDI") else {}


# --- background -------------------------------------------------------------------------------------------------


def by_depth(values: FloatArray, mask: BoolArray, depth: FloatArray, edges: Array) -> Array:
    """Root mean square of values over the mask, in shells of depth (edges in mm); NaN where a shell is empty."""
    shell = np.digitize(depth[mask], edges) - 1
    good = (shell >= 0) & (shell < edges.size - 1)
    square = np.bincount(shell[good], values[mask][good].astype(np.float64) ** 2, edges.size - 1)
    count = np.bincount(shell[good], minlength=edges.size - 1)
    mean: Array = np.divide(square, count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.sqrt(mean)


def root_mean_square(values: FloatArray) -> float:
    """Root mean square of an array; 0 if it is empty."""
    return 0.0 if not values.size else float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def centred_error(case: Case, local: FloatArray, kept: BoolArray) -> tuple[FloatArray, BoolArray]:
    """A local field (ppm) and its mask → its error, of mean 0 over the mask, and the mask."""
    error = np.where(kept, local - case.scan.local_field, np.float32(0))
    return np.where(kept, error - error[kept].mean(), np.float32(0)), kept


def less_ball_mean(field: FloatArray, grid: Grid, radius: float) -> FloatArray:
    """A field minus its mean over a ball of `radius` (mm) around each voxel."""
    shape = smv.padded_shape(grid, [radius])
    ball = kernels.sphere(shape, grid.voxel_size, radius)
    return crop(irfft(rfft(pad(field, shape)) * (1 - ball), shape[2]), grid.shape)


def local_fields(case: Case) -> dict[str, tuple[FloatArray, BoolArray]]:
    """The true total field (ppm) → the local field and its mask by each background method."""
    total, mask, grid = case.scan.total_field * case.scan.mask, case.scan.mask, case.scan.grid
    return {
        "V-SHARP": vsharp(total, mask, grid),
        "PDF": pdf(total, mask, grid),
        "LBV": lbv(total, mask, grid),
    }


def chains(case: Case, measured: bool) -> dict[str, tuple[FloatArray, BoolArray]]:
    """χ and where it has a value: two steps with TV, and one step, from the measured or the true total field.

    The weights are those of the measurement either way.
    """
    mask, grid = case.scan.mask, case.scan.grid
    total, std = np.nan_to_num(case.total) if measured else case.scan.total_field * mask, case.std
    found = {}
    for name, remove in (
        ("V-SHARP, then TV", vsharp),
        ("PDF, then TV", partial(pdf, field_std=std)),
    ):
        local, kept = remove(total, mask, grid)
        found[name] = tv(local, kept, grid, field_std=std, **_thorough("TV")), kept
    found["one step"] = smv_tv(total, mask, grid, field_std=std), mask
    return found


def chain_scores(case: Case, chi: FloatArray, kept: BoolArray, rim: float = 6.0) -> dict[str, float]:
    """χ and its mask → NRMSE (%) over the brain less one voxel, coverage (%), and the root mean square error
    (ppb) closer to the surface than `rim` mm and deeper; voxels without a value count as 0."""
    filled = np.where(kept, chi, 0)
    difference = np.where(case.scored, filled - case.scan.chi, 0)
    difference = difference - difference[case.scored].mean()
    near = case.scored & (case.depth < rim)
    deep = case.scored & ~near
    return {
        "error": nrmse(filled, case.scan.chi, case.scored),
        "coverage": coverage(kept, case.scored),
        "rim": 1e3 * root_mean_square(difference[near]),
        "deep": 1e3 * root_mean_square(difference[deep]),
    }
