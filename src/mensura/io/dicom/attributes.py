"""DICOM attributes by name: which are read, where they lie in nested headers, and their values as plain numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from mensura.io.dicom.privacy import IDENTIFIERS

Look = Callable[[str], Any]
KEPT = {
    "TransmitCoilName": "MRTransmitCoilSequence",
    "ReceiveCoilName": "ReceiveCoilName",
    "StationName": "StationName",
    "DeviceSerialNumber": "DeviceSerialNumber",
    "MagneticFieldStrength": "MagneticFieldStrength",
    "SoftwareVersions": "SoftwareVersions",
    "ManufacturerModelName": "ManufacturersModelName",
    "FrameOfReferenceUID": "FrameOfReferenceUID",
}
"""DICOM attribute → sidecar field, for what the converter may leave out."""
PLAIN = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber"),
    *(
        "SeriesDescription",
        "ProtocolName",
        "Manufacturer",
        "ImageType",
        "ScanningSequence",
        "SequenceVariant",
    ),
    *("ScanOptions", "MRAcquisitionType", "SequenceName", "PulseSequenceName", "StudyDate", "StudyTime"),
    *("ContrastBolusAgent", "NumberOfTemporalPositions", "InstanceNumber", "AcquisitionNumber"),
    *("TemporalPositionIdentifier", "TriggerTime", "EchoTime", "EffectiveEchoTime", "InversionTime"),
    *("RepetitionTime", "FlipAngle", "MagnetizationTransfer", "ImagePositionPatient", "PixelSpacing"),
    *("ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames", "RescaleSlope", "RescaleIntercept"),
    *("ComplexImageComponent", "FrameType", "DiffusionBValue", "InversionTimes", "TemporalPositionIndex"),
    *("EchoPulseSequence", "InversionRecovery", "EchoPlanarPulseSequence", "SteadyStatePulseSequence"),
    *(
        "BitsAllocated",
        "SamplesPerPixel",
        "SmallestImagePixelValue",
        "AcquisitionTime",
        "InStackPositionNumber",
    ),
    *("MultipleSpinEcho", "FrameAcquisitionNumber", "FrameAcquisitionDateTime", "EchoTrainLength"),
    *("SliceThickness", "SpacingBetweenSlices", "ImageComments", "SaturationRecovery"),
    *("DiffusionDirectionality", "InPlanePhaseEncodingDirection", "RectilinearPhaseEncodeReordering"),
)
RAW = "bytes"
CREATORS = {
    "philips_slope": (0x2005100E, "<f"),
    "philips_kind": (0x20051011, ""),
    "ge_kind": (0x0043102F, "<h"),
    "ge_sequence": (0x0019109E, ""),
    "ge_flag": (0x00431030, "<h"),
    "siemens_coil": (0x0051100F, ""),
    "siemens_xa_coil": (0x0021114F, ""),
    "siemens_type": (0x00211175, ""),
    "siemens_b": (0x0019100C, ""),
    "siemens_forwards": (0x0021111C, ""),
    "siemens_csa": (0x00291010, RAW),
    "philips_b": (0x20011003, "<f"),
    "ge_b": (0x00431039, ""),
    "uih_b": (0x00651009, "<d"),
}
"""Private attributes: a name, the tag, and how the number is packed where the VR is not known."""
BLOCKS = (
    *(0x20050010, 0x20010010, 0x00430010, 0x00190010, 0x00510010, 0x00210010, 0x00210011),
    *(0x00290010, 0x00650010),
)
GROUPS = (0x52009229, 0x52009230)
DIRECTORY_RECORDS = 0x00041220


def flat_groups(sequence: Any) -> dict[int, Any]:
    return flat(sequence[0]) if sequence else {}


def flat(item: Any) -> dict[int, Any]:
    """A data set → its values by tag, those of nested sequences (first item) included where they are new."""
    read = wanted()
    found: dict[int, Any] = {}
    nested = []
    for element in item:
        if element.VR == "SQ":
            if element.tag not in GROUPS and element.value:
                nested.append(element.value[0])
        elif int(element.tag) in read:
            found[int(element.tag)] = element.value
    for inner in nested:
        found = {**flat(inner), **found}
    return found


def look_in(layers: list[dict[int, Any]]) -> Callable[[str], Any]:
    """Layers, the nearest first → a function from an attribute's name to its value, None if absent or empty."""
    tags = named()

    def look(name: str) -> Any:
        tag = tags[name]
        value = next((layer[tag] for layer in layers if layer.get(tag) not in (None, "")), None)
        packing = CREATORS.get(name, (0, ""))[1]
        if isinstance(value, bytes) and packing != RAW:
            return _unpacked(value, packing)
        return value

    return look


def _unpacked(value: bytes, packing: str) -> Any:
    if packing and len(value) >= struct.calcsize(packing):
        return struct.unpack_from(packing, value)[0]
    return value.decode("ascii", "replace").strip("\0 ")


def to_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def floats(value: Any) -> tuple[float, ...]:
    return tuple(number for item in listed(value) if (number := to_number(item)) is not None)


def listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return (
        [value]
        if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__")
        else list(value)
    )


def to_text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def plain(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    number = to_number(value) if not isinstance(value, str) else None
    return number if number is not None else "\\".join(to_text(item) for item in listed(value))


@cache
def named() -> dict[str, int]:
    """Attribute name → tag."""
    from pydicom.datadict import tag_for_keyword

    plain = {name: tag_for_keyword(name) for name in (*PLAIN, *KEPT, *IDENTIFIERS)}
    missing = [name for name, tag in plain.items() if tag is None]
    if missing:
        raise KeyError(f"no DICOM attribute is called {missing}")
    known = {name: tag for name, tag in plain.items() if tag is not None}
    return {**known, **{name: tag for name, (tag, _) in CREATORS.items()}}


@cache
def wanted() -> frozenset[int]:
    """The tags of all attributes that are read."""
    return frozenset(named().values())


@cache
def tags() -> list[int]:
    """What is read of a file: these, the blocks of private ones, and the sequences that hold them."""
    return [*wanted(), *BLOCKS, *GROUPS, DIRECTORY_RECORDS]
