"""What a map shows, as DICOM codes: the quantity by the map's BIDS suffix, its unit in UCUM, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mensura.scan import ScanError


class Concept(NamedTuple):
    """A code, the scheme that it belongs to, and what it means."""

    value: str
    scheme: str
    meaning: str


OWN = "99MENSURA"
"""The scheme of what DICOM has no code for."""


def _dcm(value: str, meaning: str) -> Concept:
    return Concept(value, "DCM", meaning)


def _own(value: str, meaning: str) -> Concept:
    return Concept(value, OWN, meaning)


QUANTITIES: Mapping[str, Concept] = {
    "Chimap": _dcm("126396", "Magnetic Susceptibility"),
    "T1map": _dcm("113063", "T1"),
    "T2map": _dcm("113065", "T2"),
    "T2starmap": _dcm("113064", "T2*"),
    "R1map": _dcm("126393", "R1"),
    "R2map": _dcm("126394", "R2"),
    "R2starmap": _dcm("126395", "R2*"),
    "fieldmap": _dcm("110807", "Field Map MR Signal Intensity"),
    "PDmap": _dcm("113058", "Proton Density"),
    "MTRmap": _dcm("113098", "Magnetization Transfer Ratio"),
    "PDFFmap": _dcm("129100", "Fat fraction"),
    "WFmap": _dcm("129103", "Water fraction"),
    "Ktransmap": _dcm("126312", "Ktrans"),
    "kepmap": _dcm("126313", "kep"),
    "vemap": _dcm("126314", "ve"),
    "vpmap": _dcm("126331", "vp"),
    "TB1map": _own("TB1", "Transmit field relative to nominal"),
    "S0map": _own("S0", "Signal at echo time 0"),
    "M0map": _own("M0", "Signal at full magnetization"),
    "MTsat": _own("MTSAT", "Magnetization transfer saturation"),
    "MWFmap": _own("MWF", "Myelin water fraction"),
    "param-adc_dwimap": _dcm("113041", "Apparent Diffusion Coefficient"),
    "param-fa_dwimap": _dcm("110808", "Fractional Anisotropy"),
    "param-md_dwimap": _own("MD", "Mean diffusivity"),
    "param-ad_dwimap": _own("AD", "Axial diffusivity"),
    "param-rd_dwimap": _own("RD", "Radial diffusivity"),
    "param-s0_dwimap": _own("S0", "Signal without diffusion weighting"),
    "R2primemap": _own("R2PRIME", "R2*, less R2"),
    "MTVmap": _own("MTV", "Macromolecular tissue volume"),
    "UNIT1": _own("UNIT1", "Uniform image of MP2RAGE"),
    "T1starmap": _own("T1STAR", "Apparent T1 under readouts"),
    "IEmap": _own("IE", "Efficiency of the inversion"),
    "offsetmap": _own("OFFSET", "Constant below the decay"),
}
"""By BIDS suffix, with `param` before it where there is one. Label and unit of a map are those of its sidecar, which
the tables of models and steps wrote."""

UNITS: Mapping[str, Concept] = {
    "s": Concept("s", "UCUM", "s"),
    "ms": Concept("ms", "UCUM", "ms"),
    "1/s": Concept("/s", "UCUM", "/s"),
    "1/min": Concept("/min", "UCUM", "/min"),
    "Hz": Concept("Hz", "UCUM", "Hz"),
    "ppm": Concept("ppm", "UCUM", "ppm"),
    "percent": Concept("%", "UCUM", "%"),
    "1": Concept("1", "UCUM", "no units"),
    "mm^2/s": Concept("mm2/s", "UCUM", "mm2/s"),
    "mm2/s": Concept("mm2/s", "UCUM", "mm2/s"),
    "arbitrary": Concept("[arb'U]", "UCUM", "arbitrary unit"),
}
"""By the unit of the sidecar, written as in DICOM's own list (CID 7181), which has ppm without brackets."""

METHODS: Mapping[str, Concept] = {
    **dict.fromkeys(("inversion_recovery", "look_locker"), _dcm("126351", "T1 by Inversion Recovery")),
    **dict.fromkeys(("variable_flip_angle", "despot1"), _dcm("126350", "T1 by Multiple Flip Angles")),
}
"""Models that DICOM has a code for."""

QUANTITY = Concept("246205007", "SCT", "Quantity")
MEASUREMENT_METHOD = Concept("370129005", "SCT", "Measurement Method")
DERIVATION = Concept("121401", "DCM", "Derivation")
STANDARD_DEVIATION = _dcm("113061", "Standard Deviation")
SOURCE_IMAGE = _dcm("121322", "Source image for image processing operation")


def key_of(name: str) -> str:
    """A map's name → its key among the quantities: desc-std_model-DTI_param-fa_dwimap → param-fa_dwimap."""
    *pairs, suffix = name.split("_")
    return "_".join([*(pair for pair in pairs if pair.startswith("param-")), suffix])


def unit_of(name: str, unit: str) -> Concept:
    """A sidecar's unit → its UCUM code; ScanError for one that is not known."""
    if unit not in UNITS:
        raise ScanError(f"{name}: the unit {unit!r} has no UCUM code here; give one of {', '.join(UNITS)}")
    return UNITS[unit]


def method_of(name: str) -> Concept:
    """The name of a model or method → its code; our own, of 16 letters at most, where DICOM has none."""
    return METHODS.get(name, _own(name.upper()[:16], name.replace("_", " ")[:64]))
