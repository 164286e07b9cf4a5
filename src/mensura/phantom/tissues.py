"""The table of tissues: what each label of a head means physically, at any field strength."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import log

import numpy as np

from mensura.scan import FloatArray

WATER_CHI = -9.05
"""Volume susceptibility of water at body temperature, ppm (SI); the table's are relative to it."""
AIR_CHI = 0.36 - WATER_CHI
REFERENCE_FIELD = 3.0
Dispersion = float | Mapping[float, float]
"""One value at all fields, or field strength (T) → value: see `at_field`."""


class Label(IntEnum):
    """What a voxel of the head consists of."""

    AIR = 0
    MUSCLE = 1
    FAT = 2
    BONE = 3
    MARROW = 4
    EYE = 5
    CSF = 6
    CORTEX = 7
    WHITE_MATTER = 8
    CORPUS_CALLOSUM = 9
    CAUDATE = 10
    PUTAMEN = 11
    PALLIDUM = 12
    THALAMUS = 13
    RED_NUCLEUS = 14
    SUBSTANTIA_NIGRA = 15
    DENTATE = 16
    BRAINSTEM = 17
    CEREBELLAR_CORTEX = 18
    CEREBELLAR_WHITE = 19
    VEIN = 20
    SINUS = 21
    CALCIFICATION = 22
    HAEMORRHAGE = 23


BRAIN = frozenset(Label) - {Label.AIR, Label.MUSCLE, Label.FAT, Label.BONE, Label.MARROW, Label.EYE}
"""Labels that may lie inside a brain mask (CSF and veins also lie outside)."""


@dataclass(frozen=True)
class Tissue:
    """Properties of one tissue.

    `chi_plus` ≥ 0 and `chi_minus` ≤ 0, the susceptibilities of its para- and diamagnetic sources (ppm, relative
    to water); `texture` the standard deviation of χ inside it (ppm); `density` of protons relative to water;
    `t1`, `t2` (s) and `r2prime` (1/s) at any field; `fat_fraction` of the protons' signal; `mt_saturation` the
    fraction of the magnetisation that one reference pulse takes; `ktrans` 1/s, `ve`, `vp` fractions of volume.
    """

    chi_plus: float
    chi_minus: float
    texture: float
    density: float
    t1: Dispersion
    t2: Dispersion
    r2prime: Dispersion
    fat_fraction: float = 0.0
    mt_saturation: float = 0.0
    ktrans: float = 0.0
    ve: float = 0.0
    vp: float = 0.0

    @property
    def chi(self) -> float:
        """χ = χ⁺ + χ⁻, ppm relative to water."""
        return self.chi_plus + self.chi_minus


def _power(at_reference: float, exponent: float) -> Dispersion:
    """A property that grows like a power of the field, from its value at 3 T."""
    return {b: at_reference * (b / REFERENCE_FIELD) ** exponent for b in (1.5, 7.0)}


WHITE_T1: Dispersion = {1.5: 0.646, 3.0: 0.838, 7.0: 1.126}
CORTEX_T1: Dispersion = {1.5: 1.197, 3.0: 1.607, 7.0: 1.939}
WHITE_T2: Dispersion = {1.5: 0.080, 3.0: 0.071, 7.0: 0.047}
GREY_T2: Dispersion = {1.5: 0.087, 3.0: 0.076, 7.0: 0.047}
WHITE_R2P: Dispersion = {1.5: 2.65, 3.0: 4.78, 7.0: 15.8}
CORTEX_R2P: Dispersion = {1.5: 0.6, 3.0: 2.0, 7.0: 9.0}

TISSUES: dict[int, Tissue] = {
    Label.AIR: Tissue(AIR_CHI, 0, 0, 0, 1.0, 1.0, 0.0),
    Label.MUSCLE: Tissue(0.01, -0.01, 0.02, 0.75, _power(1.40, 0.33), 0.032, {3.0: 3}, mt_saturation=0.03),
    Label.FAT: Tissue(0.65, 0.0, 0.03, 0.85, 0.38, 0.07, {3.0: 20.7}, fat_fraction=0.95),
    Label.BONE: Tissue(0.0, -2.1, 0.15, 0.12, _power(0.25, 0.33), 0.0025, {3.0: 100.0}),
    Label.MARROW: Tissue(0.0, -0.2, 0.1, 0.55, _power(0.5, 0.33), 0.05, {3.0: 70.0}),
    Label.EYE: Tissue(0.0, 0.0, 0.002, 0.98, 4.0, 0.7, {3.0: 1.6}),
    Label.CSF: Tissue(0.019, 0.0, 0.002, 1.0, 4.0, 1.5, {3.0: 1.3}),
    Label.CORTEX: Tissue(0.038, -0.018, 0.01, 0.84, CORTEX_T1, GREY_T2, CORTEX_R2P),
    Label.WHITE_MATTER: Tissue(0.02, -0.05, 0.01, 0.7, WHITE_T1, WHITE_T2, WHITE_R2P),
    Label.CORPUS_CALLOSUM: Tissue(0.014, -0.056, 0.008, 0.69, _power(0.79, 0.33), WHITE_T2, {3.0: 7.9}),
    Label.CAUDATE: Tissue(0.064, -0.02, 0.01, 0.82, _power(1.4, 0.33), 0.062, {3.0: 7.9}),
    Label.PUTAMEN: Tissue(0.07, -0.02, 0.014, 0.81, _power(1.33, 0.33), 0.057, {3.0: 9.5}),
    Label.PALLIDUM: Tissue(0.151, -0.02, 0.022, 0.73, _power(1.05, 0.33), 0.042, {3.0: 18.2}),
    Label.THALAMUS: Tissue(0.04, -0.02, 0.014, 0.77, _power(1.15, 0.33), 0.065, {3.0: 6.6}),
    Label.RED_NUCLEUS: Tissue(0.12, -0.02, 0.014, 0.75, _power(1.0, 0.33), 0.045, {3.0: 13.8}),
    Label.SUBSTANTIA_NIGRA: Tissue(0.131, -0.02, 0.022, 0.76, _power(1.05, 0.33), 0.043, {3.0: 14.7}),
    Label.DENTATE: Tissue(0.125, -0.02, 0.018, 0.77, _power(1.15, 0.33), 0.048, {3.0: 13.2}),
    Label.BRAINSTEM: Tissue(0.025, -0.04, 0.012, 0.74, _power(1.05, 0.33), 0.07, {3.0: 5.7}),
    Label.CEREBELLAR_CORTEX: Tissue(0.04, -0.018, 0.009, 0.85, _power(1.55, 0.33), GREY_T2, {3.0: 3.8}),
    Label.CEREBELLAR_WHITE: Tissue(0.023, -0.045, 0.009, 0.71, _power(0.9, 0.33), WHITE_T2, {3.0: 5.9}),
    Label.VEIN: Tissue(0.23, 0.0, 0.03, 0.85, _power(1.6, 0.33), 0.04, {3.0: 17.0}),
    Label.SINUS: Tissue(0.3, 0.0, 0.015, 0.88, _power(1.6, 0.33), 0.04, {3.0: 20.0}),
    Label.CALCIFICATION: Tissue(0.0, -2.0, 0.2, 0.35, _power(0.8, 0.33), 0.02, {3.0: 70.0}),
    Label.HAEMORRHAGE: Tissue(0.8, 0.0, 0.12, 0.75, _power(1.1, 0.33), 0.025, {3.0: 70.0}),
}
"""Sources. χ: in-silico head of the second reconstruction challenge (10.1002/mrm.28716), except sinuses, deep
nuclei rounded to the range that goes with their iron (10.1016/j.neuroimage.2012.05.049), calcification and
haemorrhage as typical of lesions."""


def properties(
    name: str, tissues: Mapping[int, Tissue], field_strength: float = REFERENCE_FIELD
) -> FloatArray:
    """Name of a property → its value for each label (index = label, 0 without entry), at a field (T)."""
    table = np.zeros(max(tissues) + 1, np.float32)
    for label, tissue in tissues.items():
        table[label] = _value(name, tissue, field_strength)
    return table


def spoiled_signal(
    tissues: Mapping[int, Tissue], field_strength: float, flip_angle: float, tr: float
) -> FloatArray:
    """Steady-state spoiled gradient-echo signal at TE = 0 of each label (flip angle rad, TR s)."""
    t1 = np.maximum(properties("t1", tissues, field_strength), 1e-6)  # 0 for a label without tissue
    decay = np.exp(-tr / t1)
    weight = np.sin(flip_angle) * (1 - decay) / (1 - decay * np.cos(flip_angle))
    signal: FloatArray = (properties("density", tissues) * weight).astype(np.float32)
    return signal


def names(labels: Sequence[int] = tuple(Label)) -> dict[int, str]:
    """Label → its name in words."""
    return {int(label): Label(label).name.lower().replace("_", " ") for label in labels}


def _value(name: str, tissue: Tissue, field_strength: float) -> float:
    if name == "r2star":
        return 1 / at_field(tissue.t2, field_strength) + at_field(tissue.r2prime, field_strength)
    if name == "shift":
        return -3.4 if tissue.fat_fraction > 0.5 else 0.0
    return at_field(getattr(tissue, name), field_strength)


def at_field(value: Dispersion, field_strength: float) -> float:
    """A property's dispersion → its value at a field (T): log-log between the entries and beyond them.

    A single entry means proportional to the field; a number, the same at every field.
    """
    if not isinstance(value, Mapping):
        return float(value)
    fields = sorted(value)
    if len(fields) == 1:
        return value[fields[0]] * field_strength / fields[0]
    i = min(max(bisect(fields, field_strength), 1), len(fields) - 1)
    low, high = fields[i - 1], fields[i]
    slope = log(value[high] / value[low]) / log(high / low)
    return float(value[low] * (field_strength / low) ** slope)
