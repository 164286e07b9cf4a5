"""Small DICOM files of any vendor and sequence, written by pydicom."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
SHAPE = (24, 32)
GRE = {"ScanningSequence": "GR", "SequenceVariant": "SP", "MRAcquisitionType": "3D"}
SPIN_ECHO = {"ScanningSequence": "SE", "SequenceVariant": "SK", "MRAcquisitionType": "2D"}
RECOVERY = {"ScanningSequence": ["SE", "IR"], "SequenceVariant": "SK", "MRAcquisitionType": "2D"}
PREPARED = {
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"],
    "MRAcquisitionType": "3D",
}


def uid(*told: Any) -> str:
    """The same words give the same UID."""
    return str(generate_uid(entropy_srcs=[repr(told)]))


def image(slice_: int = 0, time: int = 0, **fields: Any) -> Dataset:
    """One slice of a classic series; `fields` are DICOM attributes, and `private` (tag → VR, value)."""
    private: Mapping[int, tuple[str, Any]] = fields.pop("private", {})
    pixels = fields.pop("pixels", None)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = CLASSIC
    usual: dict[str, Any] = {
        "SOPClassUID": CLASSIC,
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Prisma",
        "PatientName": "Doe^Jane",
        "PatientID": "4711-0815",
        "PatientBirthDate": "19700229",
        "StudyInstanceUID": uid("study"),
        "SeriesNumber": 1,
        "SeriesDescription": "a series",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "EchoTime": 5,
        "RepetitionTime": 30,
        "FlipAngle": 15,
        "MagneticFieldStrength": 3,
        "PixelSpacing": [2, 2],
        "SliceThickness": 3,
        "SpacingBetweenSlices": 3,
        "ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6],
        "PatientPosition": "HFS",
        "StudyDate": "20200102",
        "StudyTime": "101112",
        "AcquisitionTime": f"10{20 + time // 60:02d}{time % 60:02d}",
        "AcquisitionNumber": time + 1,
        **GRE,
        **fields,
    }
    number = usual["SeriesNumber"]
    usual.setdefault("SeriesInstanceUID", uid("series", usual["StudyInstanceUID"], number))
    usual.setdefault("FrameOfReferenceUID", uid("frame", usual["StudyInstanceUID"]))
    usual.setdefault("ImagePositionPatient", [-30.0, -20 - 1.8 * slice_, 10 + 2.4 * slice_])
    for name, value in usual.items():
        setattr(data, name, value)
    told = (slice_, time, sorted(usual.items(), key=lambda pair: pair[0]), sorted(map(str, private.items())))
    data.InstanceNumber = fields.get("InstanceNumber", slice_ + 1)
    data.SOPInstanceUID = fields.get("SOPInstanceUID", uid("image", *told))
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    _fill(data, pixels, told)
    for tag, (vr, value) in private.items():
        data.add_new(tag, vr, value)
    return data


def _fill(data: Dataset, pixels: Any, told: Any) -> None:
    if pixels is None:
        pixels = np.random.default_rng(sum(map(ord, str(told)))).integers(0, 4096, SHAPE)
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    signed = bool(np.min(pixels) < 0)
    if signed:
        data.BitsStored, data.HighBit = 16, 15
    data.PixelRepresentation = int(signed)
    data.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()


def series(slices: int = 4, times: int = 1, **fields: Any) -> list[Dataset]:
    """All slices (and times) of a series."""
    return [image(z, t, **fields) for t in range(times) for z in range(slices)]


def save(folder: Path, images: Iterable[Dataset], stem: str = "im") -> Path:
    """Images → files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    start = len(list(folder.iterdir()))
    for n, data in enumerate(images):
        data.save_as(folder / f"{stem}{start + n:05d}.dcm", enforce_file_format=True)
    return folder


XA_PARTS: dict[str, tuple[str, str, tuple[float, float]]] = {
    "mag": ("M", "MAGNITUDE", (1, 0)),
    "phase": ("P", "PHASE", (2, -4096)),
    "real": ("R", "REAL", (1, -2048)),
    "imag": ("I", "IMAGINARY", (1, -2048)),
}
"""Word of the frame type, of the complex component, and rescaling, of each part."""


def xa_file(template: Path, parts: tuple[str, ...], pixels: np.ndarray) -> Dataset:
    """A multi-frame file as of Siemens XA: frames (echo, part, slice, row, column), in that order."""
    data = dcmread(template)
    groups, frames = data.PerFrameFunctionalGroupsSequence, []
    for echo, part, z in np.ndindex(pixels.shape[:3]):
        group = copy.deepcopy(groups[z])
        letter, component, rescale = XA_PARTS[parts[part]]
        group.MREchoSequence[0].EffectiveEchoTime = 4.0 * (echo + 1)
        kind = group.MRImageFrameTypeSequence[0]
        kind.FrameType, kind.ComplexImageComponent = ["ORIGINAL", "PRIMARY", letter, "NONE"], component
        group[0x002111FE].value[0][0x00211175].value = ["ORIGINAL", "PRIMARY", letter, "DIS2D"]
        transformation = group.PixelValueTransformationSequence[0]
        transformation.RescaleSlope, transformation.RescaleIntercept = rescale
        group.FrameContentSequence[0].DimensionIndexValues = [1, z + 1, 1 + part + echo * len(parts)]
        frames.append(group)
    data.PerFrameFunctionalGroupsSequence, data.NumberOfFrames = frames, len(frames)
    data.Rows, data.Columns = pixels.shape[3:]
    data.ComplexImageComponent, data.ImageType = "MIXED", ["ORIGINAL", "PRIMARY", "M", "NONE"]
    data.PixelData = pixels.astype("<u2").tobytes()
    return data
