"""Images and their sidecars, corrected for the nonlinearity of the gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.coil_file import Coil
from mensura.io.files import read_json, write_json
from mensura.io.nifti import Image
from mensura.scan import FloatArray, Grid, ScanError
from mensura.warp import Distortion, coil_frame, distortion, undistorted
from mensura.warp.resample import ORDER

PARTNERS = {"mag": "phase", "real": "imag"}
"""Parts of a complex image, the first of which leads."""
DIFFERENCE = ("phasediff", "magnitude2")
PHASES = ("phase", "phasediff", "phase1", "phase2")
"""Parts and suffixes of images that hold phase."""
NO_SIGNAL = (*PHASES, "UNIT1", "TB1TFL")
"""Suffixes of images that are no signals, besides those that end in `map`."""


@dataclass(frozen=True, eq=False)
class Undistortion:
    """How images are corrected: by which coil; in all directions (3D) or within each slice (2D); and whether the
    brightness that the distortion changed is corrected as well."""

    coil: Coil
    dimensions: Literal["3D", "2D"] = "3D"
    intensity: bool = True
    known: dict[Any, Distortion] = field(default_factory=dict, repr=False)

    def of(self, grid: Grid, frame: NDArray[np.float64]) -> tuple[Distortion, bool]:
        """A grid and `coil_frame` → where its voxels are to be fetched from, and whether within slices only.

        The last one is kept: images of a set share it.
        """
        planar = self.dimensions == "2D" or grid.shape[2] == 1
        key = (grid.shape, np.asarray(grid.affine).tobytes(), frame.tobytes(), planar)
        if key not in self.known:
            self.known.clear()
            self.known[key] = distortion(self.coil.harmonics, grid, frame, planar=planar)
        return self.known[key], planar


def refusal(record: Mapping[str, Any]) -> str:
    """The sidecar of an image → why it cannot be corrected; empty if it can."""
    done, how = record.get("NonlinearGradientCorrection"), record.get("GradientDistortionCorrection")
    if done or how in ("2D", "3D"):
        kind = f" ({how})" if how else ""
        return (
            f"it was corrected{kind} already, and cannot be twice; take images stored without correction (ND)"
        )
    if done is None and how != "none":
        return "its header does not tell whether the scanner corrected it; state NonlinearGradientCorrection"
    if "siemens" not in str(record.get("Manufacturer", "")).lower():
        return (
            f"coefficient files are those of Siemens, and its Manufacturer is {record.get('Manufacturer')!r}"
        )
    if not record.get("PatientPosition"):
        return "it does not tell how the patient lay; state PatientPosition (HFS, FFS …)"
    return ""


def undistort_files(images: Sequence[Path], how: Undistortion) -> int:
    """Images (.nii.gz with their sidecars beside them), each overwritten by the corrected one → how many.

    Magnitude and phase, or real and imaginary part, of one name are fetched together, as complex numbers. Their
    sidecars say what was done. ScanError, with nothing changed, if the sidecar of one forbids it.
    """
    records = {path: read_json(_sidecar(path)) for path in images}
    frames = {path: _frame(path, record) for path, record in records.items()}
    groups = _groups(images)
    for group in groups:
        _check_grids(group)
    for group in groups:
        read = [nifti.read(path) for path in group]
        found, planar = how.of(read[0].grid, frames[group[0]])
        made = corrected(read, [records[path] for path in group], found, intensity=how.intensity)
        for path, image, data in zip(group, read, made, strict=True):
            told = _told(how, found, image, records[path], planar=planar, parts=len(group))
            nifti.write(path, data, image.grid, image.header)
            write_json(_sidecar(path), {**records[path], **told})
    return len(images)


def _frame(path: Path, record: Mapping[str, Any]) -> NDArray[np.float64]:
    """The sidecar of an image that may be corrected → `coil_frame`."""
    if reason := refusal(record):
        raise ScanError(f"{path.name}: {reason}")
    if not _kinds(path).isdisjoint(PHASES) and record.get("Units") != "rad":
        raise ScanError(f"{path.name}: its phase must be in radians for this; state Units: rad if it is")
    try:
        return coil_frame(record["PatientPosition"], record.get("TablePosition") or (0, 0, 0))
    except ScanError as error:
        raise ScanError(f"{path.name}: {error}") from error


def corrected(
    images: Sequence[Image], records: Sequence[Mapping[str, Any]], found: Distortion, *, intensity: bool
) -> list[FloatArray]:
    """One image, or the two parts of a complex one, and their sidecars → the same, corrected.

    Phase (Units: rad) without magnitude is taken as that of a signal of size 1; signals alone (Units: arbitrary, or
    not stated and no suffix of a map) get the intensity correction.
    """
    is_phase = [record.get("Units") == "rad" for record in records]
    signal = intensity and any(_is_signal(i, r) for i, r in zip(images, records, strict=True))
    volumes = [image.data.reshape(*image.grid.shape, -1) for image in images]
    made = [np.empty_like(volume) for volume in volumes]
    for time in range(volumes[0].shape[3]):
        parts = [volume[..., time] for volume in volumes]
        if not any(is_phase):
            whole = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
        else:
            size = np.float32(1) if len(parts) == 1 else parts[0]
            whole = size * np.exp(1j * parts[-1])
        there = undistorted(whole, found, intensity=signal)
        for number, target in enumerate(made):
            target[..., time] = _part(there, number, len(parts), phase=any(is_phase))
    return [data.reshape(image.data.shape) for data, image in zip(made, images, strict=True)]


def _part(whole: Any, number: int, parts: int, *, phase: bool) -> Any:
    """A complex image → its magnitude or real part (the first of two), phase or imaginary part."""
    if not phase:
        return whole if parts == 1 else (whole.real, whole.imag)[number]
    return np.angle(whole) if number == parts - 1 else np.abs(whole)


def _is_signal(image: Image, record: Mapping[str, Any]) -> bool:
    kinds = _kinds(image.path)
    is_map = not kinds.isdisjoint(NO_SIGNAL) or any(kind.endswith("map") for kind in kinds)
    return record.get("Units") == "arbitrary" or ("Units" not in record and not is_map)


def _kinds(path: Path) -> set[str]:
    """The part and the suffix that an image's name tells."""
    named = parse(path.name)
    return {named.entities.get("part", ""), named.suffix} if named else set()


def _check_grids(group: Sequence[Path]) -> None:
    first, *others = (nifti.read_grid(path) for path in group)
    if not all(nifti.alike(other, first) for other in others):
        raise ScanError(
            f"{group[0].name} and {group[1].name} lie on different grids; give images of the same scan"
        )


def _groups(images: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Images that are parts of one complex image, the leading part first; others alone."""
    left = dict.fromkeys(images)
    groups: list[tuple[Path, ...]] = []
    for path in images:
        for first, second in PARTNERS.items():
            other = path.with_name(path.name.replace(f"_part-{first}_", f"_part-{second}_"))
            if f"_part-{first}_" in path.name and other in left:
                groups.append((path, other))
        other = path.with_name(path.name.replace(*DIFFERENCE))
        if path.name.endswith(f"_{DIFFERENCE[0]}.nii.gz") and other in left:
            groups.append((other, path))
    taken = {path for group in groups for path in group}
    return groups + [(path,) for path in images if path not in taken]


def _told(how: Undistortion, found: Distortion, image: Image, record: Mapping[str, Any], *, planar: bool,
          parts: int) -> dict[str, Any]:  # fmt: skip
    """What the sidecar says of the correction."""
    from mensura import __version__

    complex_ = parts == 2 or record.get("Units") == "rad"
    return {
        "NonlinearGradientCorrection": True,
        "GradientDistortionCorrection": "2D" if planar else "3D",
        "GradientDistortionCorrectionMethod": {
            "Software": f"mensura {__version__}",
            "CoefficientFile": how.coil.name,
            "CoefficientFileDigest": how.coil.digest,
            "Interpolation": f"B-spline of order {ORDER}{' of complex values' if complex_ else ''}",
            "IntensityCorrected": how.intensity and _is_signal(image, record),
            "LargestShift": round(found.length(image.grid), 3),
            "TablePositionKnown": "TablePosition" in record,
        },
    }


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
