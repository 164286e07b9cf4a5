"""Names of stages and methods as a paper writes them, and the unit of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

TABLES = ("mensura.mask.methods", "mensura.qsm.stages", "mensura.qmri.models")
"""Modules whose STAGES tell the units of parameters."""


@dataclass(frozen=True)
class StageWords:
    """How a stage is called in a table, and how a methods paragraph says that a method did it."""

    title: str
    sentence: str  # {method} is the method's name with its parameters and citation


STAGES: dict[str, StageWords] = {
    "phase": StageWords("Phase preparation", "The phase was prepared with {method}."),
    "bipolar": StageWords(
        "Bipolar correction", "Phase differences between even and odd echoes were corrected with {method}."
    ),
    "mask": StageWords("Mask", "The mask was made by {method}."),
    "offset": StageWords(
        "Phase offset removal", "The phase offset of the receive coils was removed with {method}."
    ),
    "unwrap": StageWords("Phase unwrapping", "The phase was unwrapped with {method}."),
    "field": StageWords("Field from echoes", "The echoes were combined into one field map by {method}."),
    "background": StageWords("Background removal", "The background field was removed with {method}."),
    "dipole": StageWords("Dipole inversion", "The local field was inverted to susceptibility with {method}."),
    "background+dipole": StageWords(
        "Background removal and dipole inversion",
        "Background removal and dipole inversion were solved together by {method}.",
    ),
    "reference": StageWords("Referencing", "Susceptibility was referenced to {method}."),
    "r2star": StageWords("R2* and T2*", "R2* was estimated with {method}; T2* is its inverse."),
    "uncertainty": StageWords("Noise of χ", "The noise of the field was propagated to χ by {method}."),
    "series": StageWords(
        "Series over time",
        "Every volume was mapped as the first one, its phase unwrapped as the change since it.",
    ),
    "prior share": StageWords(
        "Share of the prior", "What the prior filled in was measured as the share of energy in {method}."
    ),
    "combine": StageWords("Echo combination", "The magnitudes of the echoes were combined by {method}."),
    "explained field": StageWords("Local field", "The local field was computed from χ by {method}."),
}

METHODS: dict[str, str] = {
    "romeo": "ROMEO",
    "laplacian": "the Laplacian method",
    "mcpc3ds": "MCPC-3D-S",
    "weighted": "a linear fit weighted by the noise of each echo",
    "linear": "an unweighted linear fit",
    "nonlinear": "a nonlinear fit of the complex signal",
    "vsharp": "V-SHARP",
    "pdf": "projection onto dipole fields",
    "lbv": "the Laplacian boundary value method",
    "tkd": "thresholded k-space division",
    "tikhonov": "closed-form Tikhonov regularisation",
    "tv": "total-variation regularised inversion",
    "medi": "morphology-enabled dipole inversion (MEDI)",
    "sharp": "SHARP",
    "resharp": "RESHARP",
    "ismv": "iterative spherical mean values (iSMV)",
    "harperella": "HARPERELLA",
    "joint": "a joint fit of dipoles inside and outside the mask",
    "tgv": "an inversion with total generalised variation",
    "nonlinear_tv": "nonlinear total-variation inversion",
    "nonlinear_tgv": "nonlinear inversion with total generalised variation",
    "l1_tv": "total-variation inversion with absolute deviations (L1-QSM)",
    "hd_qsm": "the hybrid data term (HD-QSM)",
    "wh_qsm": "weak-harmonic inversion (WH-QSM)",
    "medi0": "MEDI with uniform cerebrospinal fluid (MEDI+0)",
    "ndi": "nonlinear dipole inversion (NDI)",
    "ilsqr": "iLSQR",
    "star": "two-level streak reduction (STAR-QSM)",
    "rts": "rapid two-step inversion (RTS)",
    "tsvd": "truncated k-space division (TSVD)",
    "smv_medi": "a total-variation inversion, eased at the magnitude's edges, of the SMV-filtered field",
    "smv_tv": "a total-variation inversion of the field filtered with spherical means",
    "smv_tgv": "an inversion with total generalised variation of the field filtered with spherical means",
    "tgv_qsm": "single-step inversion with total generalised variation (TGV-QSM)",
    "tfi": "total field inversion (TFI)",
    "noise_floor": "a fit that accounts for the noise floor",
    "loglinear": "a weighted logarithmic fit",
    "arlo": "ARLO",
    "whole_mask": "the mean over the whole mask",
    "csf": "the mean of automatically found cerebrospinal fluid",
    "region": "the mean of a given region",
    "probed": "random noise fields and the inversion linearised at the map",
    "resampled": "repeating the inversion with noise added",
    "closed_form": "a linear inverse of the dipole kernel",
    "forward_model": "its dipole field",
    "cone": "the cone of frequencies where the dipole is weak",
    "brain": "brain extraction",
    "threshold": "a threshold on the magnitude",
    "phase_quality": "a threshold on the phase quality",
    "robust": "brain extraction combined with phase quality",
    "root_sum_of_squares": "root sum of squares",
}

SENTENCES: dict[tuple[str, str], str] = {
    ("mask", "given"): "The mask was given with the data.",
    ("mask", "field"): "The mask was made of the voxels where the given field is not zero.",
    ("offset", "none"): "The phase offset of the receive coils was left in.",
    ("reference", "none"): "Susceptibility was left as the inversion gave it, without a reference region.",
    ("explained field", "forward_model"): "The local field is the field of the susceptibility map.",
}
"""What to say where the stage's sentence would not be true, or not be English."""


def stage_title(stage: Any) -> str:
    """A stage's key → its title; an unknown key is written with a capital."""
    words = STAGES.get(str(stage))
    return words.title if words else str(stage).replace("_", " ").capitalize()


def method_name(method: Any) -> str:
    """A method's key → its name in running text; an unknown key stays as it is."""
    return METHODS.get(str(method), str(method))


def sentence(stage: Any, method: Any) -> str:
    """A stage's and a method's key → a sentence for a paper, with {method} where the name goes."""
    words = STAGES.get(str(stage))
    usual = words.sentence if words else f"{stage_title(stage)} was done with {{method}}."
    return SENTENCES.get((str(stage), str(method)), usual)


def parameter_units(entry: Mapping[str, Any]) -> dict[str, str]:
    """A line of the processing record → the unit of each parameter, as recorded or else from the tables."""
    recorded = entry.get("ParameterUnits")
    if isinstance(recorded, Mapping):
        return {name: str(unit) for name, unit in recorded.items()}
    return _from_tables(str(entry.get("Stage")), str(entry.get("Method"))) if entry.get("Parameters") else {}


def _from_tables(stage: str, method: str) -> dict[str, str]:
    """Nothing for a stage or method that this version does not have: results may be older or newer."""
    for table in TABLES:
        with suppress(ImportError, AttributeError):
            stages = import_module(table).STAGES
            if stage in stages and method in stages[stage].methods:
                return {name: p.unit for name, p in stages[stage].methods[method].parameters.items()}
    return {}
