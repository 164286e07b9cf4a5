"""Files of one scan → the record that every job starts from, whether they came from BIDS or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io.acquisition import Sidecar, gradient_echo, merge
from mensura.io.files import read_json
from mensura.io.header import Header
from mensura.io.nifti import FilePath, Image, check_same_grid, read, read_shape, stack
from mensura.io.phase_scale import to_radians
from mensura.scan import GAMMA_BAR, BoolArray, FloatArray, GradientEcho, Grid, ScanError

Sources = Mapping[str, tuple[Path, ...]]
"""Artifact name → the files it is read from; the first artifact with a known orientation gives the grid."""

ECHO_PARTS = ("phase", "magnitude", "real", "imaginary")
FIELDS = ("total_field", "local_field")
IMPLAUSIBLE_PPM = 20.0
"""A field that mostly exceeds this is not in ppm."""


@dataclass(frozen=True, eq=False)
class Scan:
    """What was read: arrays on one grid, how they were acquired, and what the user should know.

    `phase` (rad), `magnitude`, `real`, `imaginary`: (x, y, z, echo); `total_field`, `local_field`: ppm; NaN
    and Inf of the files are still there. `acquisition` is None where a field was given without echo times.
    `header` is what output files inherit; `sources` the files behind each array; `phase_rule` says how phase
    became radians.
    """

    grid: Grid
    header: Header
    acquisition: GradientEcho | None = None
    field_strength: float | None = None
    phase: FloatArray | None = None
    magnitude: FloatArray | None = None
    real: FloatArray | None = None
    imaginary: FloatArray | None = None
    mask: BoolArray | None = None
    total_field: FloatArray | None = None
    local_field: FloatArray | None = None
    sources: Sources = field(default_factory=dict)
    phase_rule: str = ""
    already_unwrapped: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def hz_per_ppm(self) -> float:
        """Frequency of one part per million of the field, Hz; ScanError without a field strength."""
        if self.field_strength is None:
            raise ScanError(
                "the field strength is not known; give it in tesla, for example --field-strength 3"
            )
        return GAMMA_BAR * self.field_strength * 1e-6


def load_nifti(
    *,
    phase: Sequence[FilePath] = (),
    magnitude: Sequence[FilePath] = (),
    real: Sequence[FilePath] = (),
    imaginary: Sequence[FilePath] = (),
    echo_times: Sequence[float] = (),
    field_strength: float | None = None,
    mask: FilePath | None = None,
    total_field: FilePath | None = None,
    local_field: FilePath | None = None,
    field_unit: str = "Hz",
    b0_direction: Sequence[float] | None = None,
) -> Scan:
    """NIfTI files (3D per echo, or one 4D), echo times (s) and field strength (T) → the scan.

    Echo times and field strength that are not given are taken from JSON files beside the phase. Fields on
    disk are in `field_unit`, Hz or ppm. ScanError, naming file and remedy, for anything that does not fit.
    """
    given = {
        "phase": phase,
        "magnitude": magnitude,
        "real": real,
        "imaginary": imaginary,
        "mask": [mask] if mask else [],
        "total_field": [total_field] if total_field else [],
        "local_field": [local_field] if local_field else [],
    }
    sources = {name: tuple(Path(path) for path in paths) for name, paths in given.items() if paths}
    echoes = sources.get("phase", sources.get("real", ()))
    sidecars = [Sidecar(str(path), record) for path in echoes if (record := beside(path))]
    if not echoes and not echo_times:
        return assemble(
            sources, None, field_strength=field_strength, field_unit=field_unit, b0_direction=b0_direction
        )
    acquisition, doubts = gradient_echo(sidecars, echo_times, field_strength)
    scan = assemble(
        sources,
        acquisition,
        sidecar=merge([sidecar.record for sidecar in sidecars]),
        field_unit=field_unit,
        b0_direction=b0_direction,
    )
    return replace(scan, warnings=doubts + scan.warnings)


def assemble(
    sources: Sources,
    acquisition: GradientEcho | None,
    *,
    sidecar: Mapping[str, Any] | None = None,
    field_strength: float | None = None,
    field_unit: str = "Hz",
    b0_direction: Sequence[float] | None = None,
    images: Mapping[str, Image] | None = None,
) -> Scan:
    """The files of each artifact and the acquisition → the scan, with every check between them.

    `images` are those that were read already, (x, y, z, echo).
    """
    _check_parts(sources)
    if images is None:
        _check_volumes(sources, acquisition)
    images = dict(images or {})
    for name, paths in sources.items():
        if name not in images:
            images[name] = stack(paths) if name in ECHO_PARTS else read(paths[0])
    reference = next((i for i in images.values() if i.header.orientation_known), next(iter(images.values())))
    for image in images.values():
        check_same_grid(image, reference)
    grid, orientation_doubts = _oriented(reference, b0_direction)
    scan = Scan(
        grid,
        reference.header,
        acquisition,
        acquisition.field_strength if acquisition else field_strength,
        sources=dict(sources),
        magnitude=_data(images, "magnitude"),
        real=_data(images, "real"),
        imaginary=_data(images, "imaginary"),
        warnings=orientation_doubts,
    )
    if "phase" in images:
        scan = _with_phase(scan, images["phase"], sidecar or {})
    if "mask" in images:
        scan = replace(scan, mask=_mask(images["mask"]))
    for name in FIELDS:
        if name in images:
            scan = _with_field(scan, name, images[name], field_unit)
    return scan


def _data(images: Mapping[str, Image], name: str) -> FloatArray | None:
    return images[name].data if name in images else None


def beside(path: Path) -> dict[str, Any]:
    """The record in the JSON file of the same name, if there is one."""
    sidecar = json_of(path)
    return read_json(sidecar) if sidecar.is_file() else {}


def json_of(path: Path) -> Path:
    """An image → the JSON file of the same name, be it there or not."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def _check_parts(sources: Sources) -> None:
    for part, other in (("real", "imaginary"), ("imaginary", "real")):
        if part in sources and other not in sources:
            raise ScanError(
                f"{sources[part][0]} has no {other} part with it; give both, or magnitude and phase"
            )
    if not {"phase", "real", *FIELDS} & set(sources):
        found = f"only {' and '.join(sources)}" if sources else "no image at all"
        raise ScanError(
            f"there is no phase ({found}); give phase images, real and imaginary parts, or a field map"
        )


def _check_volumes(sources: Sources, acquisition: GradientEcho | None) -> None:
    """As many volumes as echo times, in every part."""
    counts = {name: _volumes(sources[name]) for name in ECHO_PARTS if name in sources}
    echoes = len(acquisition.echo_times) if acquisition else None
    for name, count in counts.items():
        if name != "magnitude" and echoes is not None and count != echoes:
            times = f"; if they are {count} points in time, add --time-series" if echoes == 1 else ""
            raise ScanError(
                f"{sources[name][0]}: {count} {name} volume{'s' * (count > 1)} but {echoes} echo "
                f"time{'s' * (echoes > 1)}; give one echo time (s) per echo, and combine coil images first{times}"
            )
    if "phase" in counts and counts.get("magnitude", counts["phase"]) != counts["phase"]:
        raise ScanError(
            f"{sources['magnitude'][0]}: {counts['magnitude']} magnitude, {counts['phase']} phase volumes; "
            "give magnitude and phase of the same echoes"
        )


def _volumes(paths: Sequence[Path]) -> int:
    if len(paths) > 1:
        return len(paths)
    shape = read_shape(paths[0])
    return shape[3] if len(shape) == 4 else 1


def _oriented(reference: Image, b0_direction: Sequence[float] | None) -> tuple[Grid, tuple[str, ...]]:
    """The grid, with the direction of B0 (voxel axes) if it was given, and doubts about it."""
    name, known = reference.path.name, reference.header.orientation_known
    if b0_direction is None:
        doubt = (
            f"{name} does not state its orientation: B0 is taken along the third axis (see --b0-direction)"
        )
        return reference.grid, () if known else (doubt,)
    x, y, z = _three(b0_direction)
    grid = replace(reference.grid, b0_override=(x, y, z))
    cosine = abs(float(np.dot(grid.b0_direction, reference.grid.b0_direction)))
    angle = float(np.degrees(np.arccos(min(cosine, 1.0))))
    doubt = f"the B0 direction given lies {angle:.0f}° off the one that the header of {name} states"
    return grid, (doubt,) if known and angle > 5 else ()


def _three(direction: Sequence[float]) -> tuple[float, float, float]:
    values = [float(value) for value in direction]
    if len(values) != 3:
        raise ScanError(f"the B0 direction {values} must be three numbers, for example 0 0 1")
    return values[0], values[1], values[2]


def _with_phase(scan: Scan, image: Image, sidecar: Mapping[str, Any]) -> Scan:
    radians = to_radians(image, sidecar)
    return replace(
        scan,
        phase=radians.data,
        phase_rule=radians.rule,
        already_unwrapped=radians.unwrapped,
        warnings=scan.warnings + radians.warnings,
    )


def _mask(image: Image) -> BoolArray:
    if image.data.ndim != 3:
        raise ScanError(f"{image.path} holds {image.data.shape[3]} volumes; give a mask of a single volume")
    mask: BoolArray = np.isfinite(image.data) & (image.data != 0)
    if not mask.any():
        raise ScanError(f"{image.path} is zero everywhere; give a mask that marks the tissue with 1")
    return mask


def _with_field(scan: Scan, name: str, image: Image, unit: str) -> Scan:
    """The field in ppm, from a file in Hz or ppm."""
    if image.data.ndim != 3:
        raise ScanError(
            f"{image.path} holds {image.data.shape[3]} volumes; give a field map of a single volume"
        )
    if not np.any(np.nan_to_num(image.data)):
        raise ScanError(
            f"{image.path} is zero everywhere; give a field map in Hz, or in ppm with --field-unit ppm"
        )
    field_ppm = image.data * np.float32(_ppm_per_unit(scan, unit))
    size = np.abs(field_ppm[np.isfinite(field_ppm) & (field_ppm != 0)])
    doubt = f"{image.path.name} has a median of {np.median(size):.3g} ppm, too much: check --field-unit"
    doubts = (doubt,) if np.median(size) > IMPLAUSIBLE_PPM else ()
    changes: dict[str, Any] = {name: field_ppm}
    return replace(scan, warnings=scan.warnings + doubts, **changes)


def _ppm_per_unit(scan: Scan, unit: str) -> float:
    if unit.lower() == "ppm":
        return 1.0
    if unit.lower() == "hz":
        return 1 / scan.hz_per_ppm
    raise ScanError(f"the field unit {unit!r} is not known; choose Hz or ppm")
