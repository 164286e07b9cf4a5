"""MP2RAGE and SA2RAGE series of a BIDS dataset: timings from the sidecars, signed signals or the uniform image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.io.bids import sidecar_of
from mensura.io.bids_names import IMAGE_EXTENSIONS, join
from mensura.io.bids_series import ImageSeries, beside
from mensura.io.phase_scale import to_radians
from mensura.pipeline.plan import Plan, Taken, si, told
from mensura.pipeline.relaxometry import bright, entry
from mensura.scan import FloatArray, ScanError

Record = Mapping[str, Any]

LEVELS = 4095
"""Siemens stores −0.5 … 0.5 as 0 … 4095."""


def plan(series: ImageSeries) -> Plan:
    """A series → what is done to it: by the scanner's uniform image where there is one, else by magnitude and phase."""
    remarks: list[str] = []
    (one, two), given = _trains(series, remarks)
    uniform = _uniform(series)
    phases = [path for path in (beside(image, "phase") for image in (one, two)) if path is not None]
    if uniform is not None:
        remarks.append(f"the scanner's uniform image {uniform.name} was taken, not the magnitudes and phases")
        sources, read = [uniform, two], partial(_read_uniform, uniform, two)
    elif len(phases) == 2:
        remarks.append("the signs come from the phase between the two inversion times")
        sources, read = [one, two, *phases], partial(_read_signed, (one, two), phases, series.dataset)
    else:
        raise ScanError(
            f"{one}: there is neither phase nor a uniform image beside it, so that the signs are not known; add "
            "part-phase images of both inversion times, or UNIT1"
        )
    return Plan("mp2rage", entry("mp2rage"), sources, read, given, remarks=remarks)


def saturation_plan(series: ImageSeries) -> Plan:
    """A series of SA2RAGE (TB1SRGE) → what is done to it, by magnitude and phase."""
    remarks = [
        "the saturation is taken as of nominally 90°; the signs come from the phase between both times"
    ]
    images, given = _trains(series, remarks)
    given.pop("efficiency", None)
    phases = [path for path in (beside(image, "phase") for image in images) if path is not None]
    if len(phases) < 2:
        raise ScanError(
            f"{images[0]}: there is no phase beside it, so that the signs are not known; add part-phase images of both "
            "inversion times"
        )
    read = partial(_read_signed, images, phases, series.dataset)
    return Plan("sa2rage", entry("sa2rage"), [*images, *phases], read, given, remarks=remarks)


def _trains(series: ImageSeries, remarks: list[str]) -> tuple[tuple[Path, Path], dict[str, Any]]:
    """The magnitudes of both inversion times in order, and the timings."""
    records = list(zip(series.images, series.sidecars, strict=True))
    if len(records) != 2:
        raise ScanError(
            f"{series.images[0]}: {series.suffix} needs the magnitude of two inversion times, but there are "
            f"{len(records)}"
        )
    one, two = sorted(records, key=lambda pair: float(told(*pair, "InversionTime")))
    return (one[0], two[0]), _timings((one, two), remarks)


def _timings(records: Sequence[tuple[Path, Record]], remarks: list[str]) -> dict[str, Any]:
    path, record = records[0]
    angles, times = (
        tuple(si(key, told(*pair, key)) for pair in records) for key in ("FlipAngle", "InversionTime")
    )
    cycle = told(
        path, record, "RepetitionTimePreparation", "RepetitionTimePreperation"
    )  # BIDS 1.5 wrote it so
    return {
        "inversion_times": times,
        "flip_angles": angles,
        "excitation_interval": _interval(path, record, remarks),
        "excitations": _excitations(path, record, remarks),
        "cycle_time": float(cycle),
        **({"efficiency": float(record["InversionEfficiency"])} if "InversionEfficiency" in record else {}),
    }


def _interval(path: Path, record: Record, remarks: list[str]) -> float:
    """From excitation to excitation, s."""
    if "RepetitionTimeExcitation" in record or "EchoSpacing" in record or "EchoTime" not in record:
        return float(told(path, record, "RepetitionTimeExcitation", "EchoSpacing"))
    remarks.append("the sidecar has no RepetitionTimeExcitation: taken as twice the EchoTime")
    return 2 * float(record["EchoTime"])


def _excitations(path: Path, record: Record, remarks: list[str]) -> tuple[int, int]:
    """How many of a train come before the centre of k-space, and how many from it on, as BIDS has it."""
    shots = told(path, record, "NumberShots")
    if isinstance(shots, list):
        before, after = (round(float(n)) for n in shots)
        return before, after
    fraction = next((record[k] for k in ("SlicePartialFourier", "PartialFourierPE") if k in record), None)
    if fraction is None:
        remarks.append(
            "the sidecar tells no partial Fourier (SlicePartialFourier): the trains are taken as full"
        )
    return round(float(shots) * (float(fraction or 1) - 0.5)), round(float(shots) / 2)


def _uniform(series: ImageSeries) -> Path | None:
    """The uniform image that the scanner made, beside the series."""
    stem = series.images[0].with_name(f"{join(series.entities)}_UNIT1")
    found = (stem.with_name(stem.name + extension) for extension in IMAGE_EXTENSIONS)
    return next((path for path in found if path.is_file()), None)


def _read_uniform(path: Path, magnitude: Path) -> Taken:
    """The uniform image around 0 (x, y, z, 1), and where the second inversion time has signal."""
    image, bright_image = nifti.stack([path]), nifti.stack([magnitude])
    nifti.check_same_grid(bright_image, image)
    return replace(image, data=_around_zero(image.data, path)), bright(bright_image.data)


def _around_zero(stored: FloatArray, path: Path) -> FloatArray:
    low, high = float(np.nanmin(stored)), float(np.nanmax(stored))
    made: FloatArray = np.clip(stored, -0.5, 0.5)
    if low >= -0.5001 and high <= 0.5001:
        return made
    if low < 0 or not LEVELS / 2 < high <= LEVELS + 1:
        raise ScanError(
            f"{path} holds values from {low:.4g} to {high:.4g}, which is no known way of storing a uniform image; "
            f"convert it to −0.5 … 0.5, or to 0 … {LEVELS}"
        )
    made = np.clip(stored / np.float32(LEVELS) - np.float32(0.5), -0.5, 0.5)
    return made


def _read_signed(magnitudes: Sequence[Path], phases: Sequence[Path], dataset: Path) -> Taken:
    """Both signals along the phase of the second, which keeps its sign (x, y, z, 2), and where that has signal."""
    image = nifti.stack(magnitudes)
    angles = []
    for path in phases:
        phase = nifti.read(path)
        nifti.check_same_grid(phase, image)
        angles.append(to_radians(phase, sidecar_of(dataset, path)).data.reshape(image.grid.shape))
    signed = image.data.copy()
    signed[..., 0] *= np.cos(angles[1] - angles[0])
    return replace(image, data=signed), bright(image.data[..., 1:])
