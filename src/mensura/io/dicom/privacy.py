"""What must not leave DICOM by default: attributes that identify a person, and sidecar fields that may repeat them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

IDENTIFIERS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "PatientAddress", "PatientAge"),
    *(
        "PatientSex",
        "PatientSize",
        "PatientWeight",
        "OtherPatientIDs",
        "OtherPatientNames",
        "PatientComments",
    ),
    *(
        "PatientTelephoneNumbers",
        "EthnicGroup",
        "Occupation",
        "AdditionalPatientHistory",
        "MedicalRecordLocator",
    ),
    *("PatientMotherBirthName", "MilitaryRank", "IssuerOfPatientID", "AccessionNumber", "StudyID"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName"),
    *("RequestingPhysician", "PhysiciansOfRecord", "InstitutionAddress", "StudyDescription", "ImageComments"),
    *("PerformedProcedureStepDescription", "RequestedProcedureDescription", "StudyDate", "AcquisitionDate"),
    *("AcquisitionDateTime", "SeriesDate", "ContentDate", "AcquisitionTime"),
)
"""DICOM attributes that are read only to tell persons apart and to say that they were left out."""
FIELDS = (
    *(
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientWeight",
        "PatientAge",
        "PatientSize",
    ),
    *("AccessionNumber", "StudyID", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName"),
    *(
        "InstitutionAddress",
        "StudyDescription",
        "ProcedureStepDescription",
        "ImageComments",
        "PatientComments",
    ),
    *(
        "AcquisitionTime",
        "AcquisitionDateTime",
        "AcquisitionDate",
        "RawImage",
        "BidsGuess",
        "ConsistencyInfo",
    ),
    *("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "InstitutionalDepartmentName"),
    *("StudyDate", "SeriesDate", "MedicalRecordLocator", "RequestingPhysician"),
)
"""Sidecar fields of the converter that are dropped."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""Kept only on demand: the scanner often writes date and time into them."""
PERSON = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "AccessionNumber",
    "OperatorsName",
)
PERSON_ENDS = ("PhysicianName", "BirthDate")
HARMLESS = ("anon", "anonymous", "anonymized", "none", "unknown", "phantom")
SHORTEST, ANYWHERE = 3, 4
"""Characters from which a part of a name or number is looked for in other fields: as a word, and within words."""


def cleaned(record: Mapping[str, Any], identifiers: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """A sidecar and what identifies the person → the sidecar without it, and the names of the fields dropped.

    Dropped are the `FIELDS`, and any text in which a part of a name, number or date of birth occurs.
    """
    telling = _telling(identifiers)
    kept, dropped = {}, []
    for key, value in record.items():
        if key in FIELDS or any(_tells(text, telling) for text in _texts(value)):
            dropped.append(key)
        else:
            kept[key] = value
    return kept, dropped


def present(identifiers: Iterable[Mapping[str, str]]) -> list[str]:
    """The attributes that any of the series holds, in the order of the table."""
    found = {key for record in identifiers for key in record}
    return [key for key in IDENTIFIERS if key in found]


def safe(text: str, identifiers: Mapping[str, str]) -> str:
    """A text, or nothing where it holds a part of what identifies the person."""
    return "" if _tells(text.lower(), _telling(identifiers)) else text


def _tells(text: str, telling: set[str]) -> bool:
    words = set(re.split(r"[^a-z0-9]+", text))
    return any(part in words or (len(part) >= ANYWHERE and part in text) for part in telling)


def _telling(identifiers: Mapping[str, str]) -> set[str]:
    """Names, numbers and dates of birth in small letters, whole and in parts."""
    values = [text.lower() for key, text in identifiers.items() if key in PERSON or key.endswith(PERSON_ENDS)]
    parts = {part for text in values for part in (text, *re.split(r"[\^\s=,;\\]+", text))}
    return {part for part in parts if len(part) >= SHORTEST and part not in HARMLESS}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.lower()]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []
