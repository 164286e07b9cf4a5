"""A folder of DICOM images as the source of maps: which of its series a map lies on, and what is copied of them."""

from __future__ import annotations

import io
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mensura.io.compression import decompressed
from mensura.io.dicom.geometry import Frames, Layout, fitted, in_order, overlap, own
from mensura.scan import Grid, ScanError

NEEDED = {
    **dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex"), ""),
    **dict.fromkeys(("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"), ""),
}
"""What every image must hold, if only empty."""
WORDS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM")
"""Kinds of values that are text, with rules of their own."""
UNICODE = "ISO_IR 192"
ONE_SET = (
    UNICODE,
    *(f"ISO_IR {number}" for number in (6, 100, 101, 109, 110, 144, 127, 126, 138, 148, 13, 166)),
    "GB18030",
)
"""Character sets that are one alone; names in several, as in Japan, become Unicode."""
IDENTIFIED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
INDEX = "1.2.840.10008.1.3.10"
"""Of a DICOMDIR, the list of a folder's files."""
MAKER = "mensura"


@dataclass(frozen=True, eq=False)
class Series:
    """The headers of one series, and its planes; None where they have no common geometry."""

    headers: tuple[Any, ...]
    frames: Frames | None

    @property
    def number(self) -> int:
        return int(self.headers[0].get("SeriesNumber") or 0)

    @property
    def key(self) -> tuple[str, str]:
        """Study and frame of reference."""
        return str(self.headers[0].StudyInstanceUID), str(self.headers[0].get("FrameOfReferenceUID", ""))


@dataclass(frozen=True, eq=False)
class Source:
    """What a map is written after: the series that it was made of, and where its planes go.

    `same_planes` tells whether they are those of the series, or the map's own in the same frame of reference.
    """

    series: tuple[Series, ...]
    layout: Layout
    same_planes: bool

    @property
    def header(self) -> Any:
        """The header that patient, study and scanner are copied from."""
        return self.series[0].headers[0]

    @property
    def headers(self) -> list[Any]:
        return [header for series in self.series for header in series.headers]


def read_series(folder: Path) -> list[Series]:
    """A folder, searched through → its image series by number. Files that are no DICOM are passed over.

    ScanError where there is none, or one is damaged. What this program wrote is no source.
    """
    if not folder.is_dir():
        raise ScanError(
            f"{folder} is not a folder; give the folder of the DICOM images that the maps were made of"
        )
    groups: dict[str, list[Any]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            header = _header(path)
            if header is not None:
                groups[str(header.SeriesInstanceUID)].append(header)
    if not groups:
        raise ScanError(
            f"{folder} holds no DICOM images; give the folder of those that the maps were made of"
        )
    found = [_series(sorted(headers, key=_order)) for headers in groups.values()]
    return sorted(found, key=lambda one: (one.number, str(one.headers[0].SeriesInstanceUID)))


def source_of(series: Sequence[Series], grid: Grid, name: str) -> Source:
    """The series of a folder whose planes a map lies on; else all, if the map lies in their frame of reference.

    ScanError where the series belong to several studies or frames, or lie elsewhere.
    """
    there = [(one, layout) for one in series if one.frames and (layout := fitted(one.frames, grid))]
    if there:
        _check_one([one for one, _ in there], name)
        return Source(tuple(one for one, _ in there), there[0][1], True)
    near = [one for one in series if one.frames and overlap(one.frames, grid)]
    if not near:
        raise ScanError(
            f"{name} lies on no series of the source, nor near one; give the DICOM folder of the scan it was made of"
        )
    _check_one(near, name)
    return Source(tuple(near), own(grid, name), False)


def _check_one(series: Sequence[Series], name: str) -> None:
    keys = {one.key for one in series}
    if len({study for study, _ in keys}) > 1:
        raise ScanError(
            f"{name} lies on series of {len(keys)} studies; give the DICOM folder of its own study alone"
        )
    if len(keys) > 1 or not next(iter(keys))[1]:
        raise ScanError(
            f"{name}: its series state {'no' if len(keys) == 1 else 'several'} frame of reference; give the DICOM "
            "folder of one scan that states it"
        )


def _header(path: Path) -> Any:
    """The header of an image; None for what is no DICOM image of a patient, or is one of ours."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(io.BytesIO(decompressed(path)), stop_before_pixels=True)
    except InvalidDicomError:
        return None
    except Exception as error:
        raise ScanError(
            f"{path} is damaged ({error}); copy it again, or take it out of the folder"
        ) from error
    if header.file_meta.get("MediaStorageSOPClassUID") == INDEX:
        return None
    lacking = next((key for key in IDENTIFIED if key not in header), None)
    if lacking:
        raise ScanError(
            f"{path} is damaged (it has no {lacking}); copy it again, or take it out of the folder"
        )
    if "Rows" not in header or header.get("ManufacturerModelName") == MAKER:
        return None
    return _sound(header)


def _sound(header: Any) -> Any:
    """A header without the words that DICOM does not allow, which no image can be written with; empty where needed."""
    for tag in list(header.keys()):
        if not tag.is_private and not _valid(header, tag):
            del header[tag]
    if header.get("SpecificCharacterSet") not in (None, *ONE_SET):
        header.decode()
        header.SpecificCharacterSet = UNICODE
    if header.get("PatientSex", "") not in ("M", "F", "O"):
        header.PatientSex = ""
    for key, value in NEEDED.items():
        if key not in header:
            setattr(header, key, value)
    return header


def _valid(header: Any, tag: Any) -> bool:
    """Whether an element holds what its kind of word allows, a sequence something at all; binary numbers and
    identifiers are taken as they are."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        element = header[tag]
        if element.VR == "SQ":
            return bool(element.value)
        for value in element.value if element.VM > 1 else [element.value]:
            if element.VR in WORDS and value is not None:
                validate_value(element.VR, str(value), RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _order(header: Any) -> tuple[int, str]:
    return int(header.get("InstanceNumber") or 0), str(header.SOPInstanceUID)


def _series(headers: Sequence[Any]) -> Series:
    planes = [plane for header in headers for plane in planes_of(header)]
    if not planes or len({(p.shape, p.spacing) for p in planes}) > 1:
        return Series(tuple(headers), None)
    first = planes[0]
    if any(
        max(abs(a - b) for a, b in zip(p.orientation, first.orientation, strict=True)) > 1e-4 for p in planes
    ):
        return Series(tuple(headers), None)
    places = in_order([position for plane in planes for position in plane.positions], first.orientation)
    frames = Frames(first.orientation, first.spacing, first.thickness, first.shape, tuple(places))
    try:
        _ = frames.affine
    except ScanError:
        return Series(tuple(headers), None)
    return Series(tuple(headers), frames)


def planes_of(header: Any) -> Iterator[Frames]:
    """The planes of an image, one, or one for each of its frames; none where it does not tell them."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        yield from _plane(header, header, header, header)
        return
    shared = header.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in header else {}
    for frame in header.PerFrameFunctionalGroupsSequence:
        parts = [
            next((group[key][0] for group in (frame, shared) if key in group), None)
            for key in ("PlaneOrientationSequence", "PixelMeasuresSequence", "PlanePositionSequence")
        ]
        if all(part is not None for part in parts):
            yield from _plane(header, *parts)


def _plane(header: Any, orientation: Any, measures: Any, position: Any) -> Iterator[Frames]:
    way, spacing = orientation.get("ImageOrientationPatient"), measures.get("PixelSpacing")
    place = position.get("ImagePositionPatient")
    if not (way and spacing and place):
        return
    thickness = float(measures.get("SliceThickness") or measures.get("SpacingBetweenSlices") or 1)
    yield Frames(
        tuple(map(float, way)),
        (float(spacing[0]), float(spacing[1])),
        thickness,
        (int(header.Rows), int(header.Columns)),
        (tuple(map(float, place)),),
    )
