"""A map → classic MR images, one a slice, that every viewer shows: whole numbers with a rescale slope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.dicom.attributes import listed
from mensura.io.dicom.derived import Derived, ascii_text, comments, describe, mapping, sources_of, uid
from mensura.io.dicom.source import MAKER, Source, planes_of

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
LARGEST = 32767
MISSING = -32768
"""What a voxel without a value holds, as the padding value says."""
OUTLYING = 20
"""Times the 99th percentile: what is beyond is left to the Parametric Map."""
KINDS = {"T1map": "T1 MAP", "T2map": "T2 MAP", "PDmap": "DENSITY MAP", "dwimap": "DIFFUSION MAP"}
"""Third value of the image's type; others are OTHER."""
PROTOCOL = (
    *("MagneticFieldStrength", "ImagingFrequency", "ImagedNucleus", "MRAcquisitionType", "SequenceName"),
    *(
        "RepetitionTime",
        "InversionTime",
        "FlipAngle",
        "NumberOfAverages",
        "PixelBandwidth",
        "ReceiveCoilName",
        "TransmitCoilName",
    ),
    *("InPlanePhaseEncodingDirection", "AcquisitionDate", "AcquisitionTime", "AcquisitionNumber"),
)
"""Copied where the source has it, and all its images agree."""
ASKED = {"InversionTime": ("ScanningSequence", {"IR"}), "TriggerTime": ("ScanOptions", {"CG", "PPG"})}
"""What must be there, if only empty, where another attribute holds one of these words."""


def mr_images(derived: Derived, source: Source, number: int) -> Iterator[Any]:
    """A map and its source → a dataset for each slice: value = stored × RescaleSlope, to half a slope; 0 stays 0.

    DICOM PS3.3 A.4, extended by rescaling and the real-world value mapping. A voxel without a value holds the
    padding value.
    """
    slope = rescale_slope(limit(derived))
    stored = source.layout.cut(derived.values)
    common = _common(derived, source, number, slope)
    sources = _by_plane(source)
    for index, plane in enumerate(stored):
        yield _slice(common, derived, source, (index, whole(plane, float(slope)), sources[index]))


def limit(derived: Derived) -> float:
    """The largest value that is written: the map's own, but for an outlier that would cost all others their digits."""
    values = np.abs(derived.values[np.isfinite(derived.values) & (derived.values != 0)])
    if not values.size:
        return 1.0
    return float(min(values.max(), OUTLYING * np.quantile(values, 0.99)))


def rescale_slope(most: float) -> str:
    """The slope as it is written, a decimal of 16 letters at most, so that the largest value just fits."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(most / LARGEST * (1 + 1e-9))


def whole(values: NDArray[np.float32], slope: float) -> NDArray[np.int16]:
    """Values → whole numbers of which each is within half a slope; what is no number, or too large, is padding."""
    with np.errstate(invalid="ignore"):
        scaled = np.rint(values.astype(np.float64) / slope)
        return np.where(np.abs(scaled) <= LARGEST, scaled, MISSING).astype(np.int16)


def _common(derived: Derived, source: Source, number: int, slope: str) -> Any:
    """What all slices share."""
    import highdicom
    from highdicom.base import SOPClass
    from pydicom.uid import ExplicitVRLittleEndian

    head = source.header
    image = SOPClass(
        study_instance_uid=head.StudyInstanceUID,
        series_instance_uid=uid(derived, source, "mr"),
        series_number=number,
        sop_instance_uid=uid(derived, source, "mr", "0"),
        sop_class_uid=MR_IMAGE,
        instance_number=1,
        modality="MR",
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        device_serial_number=derived.version,
        software_versions=derived.version,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **{name: head.get(key) for name, key in IDENTITY.items()},
    )
    image.copy_patient_and_study_information(head)
    image.ContributingEquipmentSequence = [highdicom.ContributingEquipment.for_image_acquisition(head)]
    _protocol(image, derived, source)
    _numbers(image, derived, source, slope)
    describe(image, derived, source)
    beyond = int((np.abs(derived.values) > float(slope) * (LARGEST + 0.5)).sum())
    if beyond:
        image.ImageComments += (
            f"\n{beyond} values are too large for these whole numbers; see the Parametric Map"
        )
    return image


IDENTITY = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_id": "StudyID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "referring_physician_name": "ReferringPhysicianName",
}


def _protocol(image: Any, derived: Derived, source: Source) -> None:
    """How the source was acquired, where all of its images agree."""
    head = source.header
    image.ImageType = [
        "DERIVED",
        "SECONDARY",
        KINDS.get(derived.suffix, "OTHER"),
        derived.suffix.upper()[:16],
    ]
    image.ScanningSequence = head.get("ScanningSequence") or "RM"
    image.SequenceVariant = head.get("SequenceVariant") or "NONE"
    image.ScanOptions = head.get("ScanOptions") or ""
    image.MRAcquisitionType = head.get("MRAcquisitionType") or ""
    image.RepetitionTime = image.EchoTime = image.EchoTrainLength = None
    image.PatientPosition = image.PositionReferenceIndicator = ""
    for key in PROTOCOL:
        values = [header.get(key) for header in source.headers]
        if values[0] not in (None, "") and all(value == values[0] for value in values):
            image[key] = head[key]
    for key, (where, words) in ASKED.items():
        if words & set(listed(image[where].value)):
            image.setdefault(key, None)
    image.DerivationDescription = comments(derived)[:1024]


def _numbers(image: Any, derived: Derived, source: Source, slope: str) -> None:
    """How pixels are stored and what they mean."""
    frames = source.layout.frames
    image.Rows, image.Columns = frames.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 1
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, "0", _rescale_type(derived)
    image.RealWorldValueMappingSequence = [mapping(derived, (-LARGEST, LARGEST), float(slope))]
    centre, width = derived.window
    image.WindowCenter, image.WindowWidth, image.VOILUTFunction = (
        f"{centre:.6g}",
        f"{width:.6g}",
        "LINEAR_EXACT",
    )
    image.WindowCenterWidthExplanation = ascii_text(derived.label)[:64]
    image.add_new("PixelPaddingValue", "SS", MISSING)
    image.LossyImageCompression = "00"
    image.PixelSpacing = [_decimal(part) for part in frames.spacing]
    image.SliceThickness = _decimal(frames.thickness)
    if len(frames.positions) > 1:
        image.SpacingBetweenSlices = _decimal(frames.gap)
    image.ImageOrientationPatient = [_decimal(part) for part in frames.orientation]


def _slice(
    common: Any, derived: Derived, source: Source, plane: tuple[int, NDArray[np.int16], list[Any]]
) -> Any:
    from copy import copy

    index, stored, headers = plane
    frames = source.layout.frames
    image = copy(common)
    image.file_meta = copy(common.file_meta)
    image.SOPInstanceUID = uid(derived, source, "mr", str(index + 1))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = [_decimal(part) for part in frames.positions[index]]
    normal = np.cross(frames.orientation[:3], frames.orientation[3:])
    image.SliceLocation = _decimal(float(np.dot(normal, frames.positions[index])))
    image.SourceImageSequence = sources_of(headers)
    image.PixelData = stored.tobytes()
    return image


def _by_plane(source: Source) -> list[list[Any]]:
    """The source images of each slice: those at its place, or all, where planes are the map's own or in one image."""
    count = len(source.layout.frames.positions)
    headers = source.headers
    if not source.same_planes or any("NumberOfFrames" in header for header in headers):
        return [headers] * count
    found: list[list[Any]] = [[] for _ in range(count)]
    places = np.array(source.layout.frames.positions)
    for header in headers:
        for plane in planes_of(header):
            found[int(np.argmin(np.linalg.norm(places - plane.positions[0], axis=1)))].append(header)
    return found


def _rescale_type(derived: Derived) -> str:
    return derived.unit.value[:16]


def _decimal(number: float) -> str:
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(number))
