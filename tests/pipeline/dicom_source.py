"""A small DICOM scan, two echoes of oblique slices, and BIDS-like maps on its planes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from mensura.io import nifti
from mensura.io.dicom.geometry import LPS
from mensura.scan import Grid

ROWS, COLUMNS, SLICES = 6, 5, 4
TILT = np.linalg.qr(np.array([[0.98, -0.15, 0.1], [0.16, 0.98, -0.08], [-0.09, 0.1, 0.99]]))[0]
TILT = TILT * np.sign(np.diag(TILT))
SPACING, GAP = (2.5, 1.75), 3.3
ORIGIN = np.array([-31.5, -42.25, 17.125])


def write_scan(
    folder: Path, study: str = "1.2.3.4", frame: str | None = "1.2.3.4.9", patient: str = "P-1"
) -> None:
    """The headers and pixels of the scan."""
    folder.mkdir(parents=True, exist_ok=True)
    for echo in range(2):
        for place in range(SLICES):
            image = _image(study, frame, patient)
            image.SOPInstanceUID = f"{study}.{echo + 1}.{place + 1}"
            image.InstanceNumber, image.EchoTime = 1 + echo * SLICES + place, 4 + 4 * echo
            image.ImagePositionPatient = [f"{x:.10g}" for x in ORIGIN + place * GAP * TILT[:, 2]]
            image.save_as(
                folder / f"{echo}{place}.dcm", implicit_vr=False, little_endian=True, enforce_file_format=True
            )
    (folder / "README.txt").write_text("no DICOM")


def _image(study: str, frame: str | None, patient: str) -> Dataset:
    image = Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    image.StudyInstanceUID, image.SeriesInstanceUID = study, f"{study}.7"
    if frame:
        image.FrameOfReferenceUID = frame
    image.PatientID, image.PatientName, image.PatientSex = patient, "Doe^Jane", "F"
    image.StudyDate, image.StudyTime, image.StudyID, image.SeriesNumber = "20240102", "101112", "77", 5
    image.Modality, image.Manufacturer, image.ManufacturerModelName = "MR", "Maker", "Model"
    image.MagneticFieldStrength, image.RepetitionTime, image.ScanningSequence = 3, 30, "GR"
    image.SequenceVariant, image.MRAcquisitionType, image.PatientPosition = "SP", "3D", "HFS"
    image.Rows, image.Columns, image.PixelSpacing, image.SliceThickness = ROWS, COLUMNS, list(SPACING), 3
    image.ImageOrientationPatient = [f"{x:.10g}" for x in TILT.T[:2].ravel()]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = np.zeros((ROWS, COLUMNS), np.uint16).tobytes()
    return image


def grid() -> Grid:
    """The planes as a converter writes them: rows turned, right and front positive."""
    affine = np.eye(4)
    affine[:3, :3] = TILT * [SPACING[1], SPACING[0], GAP]
    affine[:3, 3] = ORIGIN + affine[:3, 1] * (ROWS - 1)
    affine[:3, 1] *= -1
    return Grid((COLUMNS, ROWS, SLICES), LPS @ affine)


def write_map(folder: Path, name: str, where: Grid | None = None, **record: Any) -> np.ndarray:
    """A map with its sidecar; one voxel has no value."""
    where = where or grid()
    values = np.random.default_rng(len(name)).normal(1, 0.4, where.shape).astype(np.float32)
    values[0, 0, 0], values[1, 2, 3 % where.shape[2]] = np.nan, 0
    folder.mkdir(parents=True, exist_ok=True)
    nifti.write(folder / f"{name}.nii.gz", values, where)
    sidecar = {
        "Description": "Longitudinal relaxation time",
        "Units": "s",
        "SkullStripped": True,
        "EstimationAlgorithm": "mensura variable_flip_angle",
        "EstimationReference": "https://doi.org/10.1002/mrm.21669",
        "Sources": ["bids:raw:sub-01/anat/sub-01_flip-1_VFA.nii.gz"],
        "Mensura": {
            "Version": "0.1.0",
            "Model": "variable_flip_angle",
            "Parameters": {"repetition_time": 0.02},
        },
        **record,
    }
    (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return values
