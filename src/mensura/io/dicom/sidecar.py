"""The JSON file of an image: what the converter found, what the headers say, and what BIDS asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mensura.io.dicom.frames import Frame
from mensura.io.dicom.rules import EXCITATION, PREPARATION, Rule
from mensura.io.dicom.stacks import Stack

PROVENANCE = (
    *("Manufacturer", "ManufacturersModelName", "DeviceSerialNumber", "StationName", "SoftwareVersions"),
    *("MagneticFieldStrength", "ReceiveCoilName", "ReceiveCoilActiveElements", "MRTransmitCoilSequence"),
    *("CoilCombinationMethod", "NonlinearGradientCorrection", "B0ShimmingTechnique", "SpoilingType"),
)
"""What comparing sites needs to know."""
UNITS = {"mag": "arbitrary", "real": "arbitrary", "imag": "arbitrary", "phase": "rad", "field": "Hz"}
SEQUENCES = {
    "inversion spin echo": "Inversion Recovery Spin Echo",
    "spin echo": "Spin Echo",
    "gradient echo": "Spoiled Gradient Echo",
    "inversion gradient echo": "Inversion Recovery Gradient Echo",
    "TB1SRGE": "Saturation Recovery Gradient Echo",
}
"""By suffix, or else by family; used where the converter names no PulseSequenceType."""
CORRECTIONS = {"ND": "none", "DIS2D": "2D", "DIS3D": "3D"}
PLANAR = ("echo planar", "spin echo planar")
"""Families over time: their RepetitionTime is from volume to volume, as the converter finds it."""
LONG = 1.0
"""s: no gradient echo is repeated so slowly."""


def sidecar(
    stack: Stack, rule: Rule | None, converted: Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, Any]:
    """The converter's record, laid under what the headers say and under `fields` → the sidecar."""
    known = SEQUENCES.get(rule.suffix, SEQUENCES.get(rule.family)) if rule is not None else None
    kind = {"PulseSequenceType": known} if known else {}
    record = {**kind, **stack.series.record, **converted, **of_headers(stack, rule), **fields}
    difference = "EchoTime1" in fields or (
        rule is not None and rule.suffix == "phasediff" and stack.kind == "phase"
    )
    for key in ("EchoTime",) if difference and "EchoTime1" in record else ("EchoTime1", "EchoTime2"):
        record.pop(key, None)
    if rule is not None and rule.family in PLANAR:
        record["RepetitionTime"] = converted.get("RepetitionTime", record.get("RepetitionTime"))
    elif EXCITATION in record or PREPARATION in record:
        record.pop("RepetitionTime", None)
    return {key: value for key, value in record.items() if value not in (None, "", [])}


def of_headers(stack: Stack, rule: Rule | None) -> dict[str, Any]:
    """Times (s), angles (degrees), states and corrections of an image, by their BIDS names."""
    first = stack.first
    found: dict[str, Any] = {
        "EchoTime": first.echo_time,
        "InversionTime": first.inversion_time,
        _repetition(first, rule): first.repetition_time,
        "FlipAngle": first.flip_angle or None,
        "MTState": first.transfer if rule is not None and "MTState" in rule.needs else None,
        "MagneticFieldStrength": stack.series.record.get("MagneticFieldStrength"),
        **_corrections(first),
    }
    if stack.kind in UNITS:
        found["Units"] = UNITS[stack.kind]
    elif rule is not None and rule.suffix == "TB1map" and stack.series.vendor == "philips":
        found["Units"] = "percent"
    return {key: value for key, value in found.items() if value is not None}


def _repetition(first: Frame, rule: Rule | None) -> str:
    """What the header's repetition time is: of the excitations, of the inversions before them (a second and more,
    as Siemens has it), or of both."""
    if rule is None or EXCITATION not in rule.needs:
        return "RepetitionTime"
    return PREPARATION if PREPARATION in rule.needs and (first.repetition_time or 0) > LONG else EXCITATION


def _corrections(first: Frame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if first.corrected:
        found["NonlinearGradientCorrection"] = first.corrected != "ND"
        found["GradientDistortionCorrection"] = CORRECTIONS[first.corrected]
    if first.normalised is not None:
        found["PrescanNormalize"] = first.normalised
    return found


def missing_fields(stack: Stack, rule: Rule, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What BIDS requires of this suffix and the headers do not say."""
    told = {**of_headers(stack, rule), **fields, "PulseSequenceType": rule.family}
    needs = rule.needs if not (rule.suffixes and stack.kind in rule.suffixes) else ("EchoTime",)
    always = () if "Units" in needs else ("MagneticFieldStrength",)
    return tuple(key for key in dict.fromkeys((*needs, *always)) if key not in told)


def unrecorded(record: Mapping[str, Any], rule: Rule | None) -> list[str]:
    """Keys of provenance that a sidecar lacks, and those that only the converter could have found."""
    return [key for key in (*PROVENANCE, *(rule.later if rule else ())) if key not in record]
