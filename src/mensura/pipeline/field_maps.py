"""Field maps of a BIDS dataset: phasediff, phase1 and phase2, or fieldmap → the field in Hz, with its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mensura.fit import Status
from mensura.io import nifti
from mensura.io.bids import sidecar_of
from mensura.io.bids_series import ImageSeries, beside
from mensura.io.phase_scale import to_radians
from mensura.pipeline.plan import Plan, Taken, told
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import Model
from mensura.scan import GAMMA_BAR, BoolArray, FloatArray, Grid, ScanError

NEXT_TO_ZERO = np.float32(1e-6)
"""Hz"""
LONGEST = 0.1
"""s; a longer time between echoes is in milliseconds."""
HZ: Mapping[str, float] = {"hz": 1.0, "rad/s": 1 / (2 * np.pi), "t": GAMMA_BAR, "tesla": GAMMA_BAR}
"""What a fieldmap may be in, as BIDS has it (and T spelt out)."""
SUFFIXES = ("phasediff", "phase1", "fieldmap")
"""By which BIDS names the first image of a field map."""
MODEL = Model("mensura.pipeline.field_maps:dual_echo", "10.1002/mrm.1910340111", {"fieldmap": "Hz"})
GIVEN = Model("mensura.pipeline.field_maps:given", "10.1002/mrm.1910340111", {"fieldmap": "Hz"})


def plan(series: ImageSeries) -> Plan:
    """A phasediff, a phase1 (with its phase2) or a fieldmap → what is done to it."""
    path, record = series.images[0], series.sidecars[0]
    sizes = [found for found in (_beside(path, f"magnitude{n}") for n in ("", "1", "2")) if found]
    if series.suffix == "fieldmap":
        unit = str(told(path, record, "Units"))
        if unit.lower() not in HZ:
            raise ScanError(
                f"{path}: the Units of a field map are Hz, rad/s or T, not {unit!r}; correct them"
            )
        read = partial(_read_given, path, sizes[:1], HZ[unit.lower()])
        return Plan("fieldmap_given", GIVEN, [path, *sizes[:1]], read, {"unit": unit}, whole=given)
    interval, phases = _interval(series)
    if not sizes:
        raise ScanError(f"{path}: there is no magnitude image beside it; add magnitude1")
    sizes = sizes[-2:] if len(phases) == 2 else sizes
    reader = partial(_read_phase, phases, sizes, series.dataset)
    made = partial(dual_echo, interval=interval)
    return Plan("dual_echo_field", MODEL, [*phases, *sizes], reader, {"interval": interval}, whole=made)


def dual_echo(image: nifti.Image, mask: BoolArray, *, interval: float) -> Estimates:
    """Phase between two echoes (rad) and magnitudes (x, y, z, 2 or 3), their interval (s) → field (Hz) and its error.

    f = Δφ/(2π ΔTE): what coils and pulses add to both phases cancels. Unwrapped by `mensura.qsm.unwrap`, its noise by
    `mensura.qsm.field` as that of one echo with 1/m² = 1/m₁² + 1/m₂². The median of the field is taken to lie within
    half a turn, 1/(2 ΔTE). Jezzard & Balaban 1995, doi:10.1002/mrm.1910340111.
    """
    from mensura.qsm.field import weighted
    from mensura.qsm.unwrap import unwrap_spatial

    phase, sizes = np.ascontiguousarray(image.data[..., 0]), image.data[..., 1:]
    with np.errstate(divide="ignore"):
        size = (1 / np.sqrt(np.sum(1 / np.square(sizes, dtype=np.float64), axis=3))).astype(np.float32)
    if sizes.shape[3] == 1:
        size /= np.float32(np.sqrt(2))
    inside = mask & (size > 0) & np.isfinite(phase)
    unwrapped = unwrap_spatial(phase, inside, magnitude=size)
    field, spread, *_ = weighted(
        unwrapped, inside, image.grid, magnitude=size, echo_times=(interval,), hz_per_ppm=1.0
    )
    return _estimates(field[mask], spread[mask], inside[mask])


def given(image: nifti.Image, mask: BoolArray) -> Estimates:
    """A field map in Hz → the same where there is signal; no error is told."""
    values = image.data[..., 0][mask]
    return _estimates(values, np.full(values.shape, np.nan), np.isfinite(values))


def _estimates(values: Any, spread: Any, good: Any) -> Estimates:
    """On disk a field of exactly 0 says that there is none."""
    values = np.where(values == 0, NEXT_TO_ZERO, values)
    status = np.where(good & np.isfinite(values), Status.OK, Status.NO_SIGNAL).astype(np.uint8)
    return Estimates.closed(status, fieldmap=(values, spread))


def _interval(series: ImageSeries) -> tuple[float, list[Path]]:
    """Time between the echoes, s, and the phase images: that of a difference, or both."""
    path, record = series.images[0], series.sidecars[0]
    phases = [path]
    if series.suffix == "phasediff":
        times = [float(told(path, record, key)) for key in ("EchoTime1", "EchoTime2")]
    else:
        second = _beside(path, "phase2")
        if second is None:
            raise ScanError(f"{path}: there is no phase2 beside it; add it")
        phases.append(second)
        times = [float(told(p, sidecar_of(series.dataset, p), "EchoTime")) for p in phases]
    if not 0 < times[1] - times[0] < LONGEST:
        raise ScanError(f"{path}: the echo times {times} must rise, in seconds; correct the JSON files")
    return times[1] - times[0], phases


def _beside(path: Path, suffix: str) -> Path | None:
    stem, _, rest = path.name.rpartition("_")
    found = path.with_name(f"{stem}_{suffix}.{rest.partition('.')[2]}")
    return found if found.is_file() else None


def _read_phase(phases: list[Path], sizes: list[Path], dataset: Path) -> Taken:
    """The phase of the second echo before the first, and the magnitudes; the brain, or what has signal."""
    made = _difference(phases, sizes, dataset)
    return made, _region(made.data[..., 1], made.grid)


def _difference(phases: Sequence[Path], sizes: Sequence[Path], dataset: Path) -> nifti.Image:
    """The phase of the second echo before the first, or what is that already, and the magnitudes."""
    images = [nifti.read(path) for path in phases]
    magnitude = nifti.stack(sizes)
    for image in images:
        nifti.check_same_grid(image, magnitude)
    shape = magnitude.grid.shape
    angles = [
        to_radians(image, sidecar_of(dataset, image.path)).data.reshape(shape).astype(np.float64)
        for image in images
    ]
    turned = angles[0] if len(angles) == 1 else angles[1] - angles[0]
    wrapped = np.angle(np.exp(1j * turned)).astype(np.float32)
    stacked = np.concatenate([wrapped[..., None], magnitude.data], axis=3)
    return nifti.Image(phases[0], stacked, magnitude.grid, magnitude.header)


@dataclass(frozen=True)
class OwnPhase:
    """Two echoes of a series with their phase images, and the time between them (s)."""

    sizes: tuple[Path, Path]
    phases: tuple[Path, Path]
    interval: float
    dataset: Path

    @property
    def words(self) -> str:
        first, second = (path.name for path in self.phases)
        return f"R2* is corrected for the gradient of the field in the phase of {first} and {second}"

    def field(self, mask: BoolArray) -> nifti.Image:
        """The field (Hz) in a mask of the images, NaN elsewhere."""
        image = _difference(self.phases, self.sizes, self.dataset)
        values = np.full(mask.shape, np.nan, np.float32)
        values[mask] = dual_echo(image, mask, interval=self.interval).maps["fieldmap"][0]
        return nifti.Image(image.path, values, image.grid, image.header)


def own_phase(series: ImageSeries, echoes: Sequence[tuple[Path, float]]) -> OwnPhase | None:
    """Magnitudes of the echoes of one contrast with their times (s) → the two that tell the field, if they have phase.

    The first and the third, which a readout that alternates turns the same way, or the first two of two.
    """
    pair = [*echoes[:1], *(echoes[2:3] or echoes[1:2])]
    phases = [beside(path, "phase") for path, _ in pair]
    if len(pair) < 2 or phases[0] is None or phases[1] is None:
        return None
    interval = pair[1][1] - pair[0][1]
    return OwnPhase((pair[0][0], pair[1][0]), (phases[0], phases[1]), interval, series.dataset)


def _read_given(path: Path, sizes: list[Path], scale: float) -> Taken:
    image = nifti.stack([path])
    made = nifti.Image(path, image.data * np.float32(scale), image.grid, image.header)
    if not sizes:
        return made, np.isfinite(image.data[..., 0]) & (image.data[..., 0] != 0)
    magnitude = nifti.stack(sizes)
    nifti.check_same_grid(magnitude, image)
    return made, _region(magnitude.data[..., 0], image.grid)


def _region(magnitude: FloatArray, grid: Grid) -> BoolArray:
    from mensura.mask.combination import robust

    return robust(np.ascontiguousarray(magnitude), None, grid)
