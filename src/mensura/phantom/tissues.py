"""The table of tissues: what each label of a head means physically, at any field strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mensura.scan import FloatArray

WATER_CHI = -9.05
"""Volume susceptibility of water at body temperature, ppm (SI); the table's are relative to it."""
AIR_CHI = 0.36 - WATER_CHI
REFERENCE_FIELD = 3.0


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
    """Properties of one tissue at 3 T.

    `chi` ppm relative to water, `texture` the standard deviation of χ inside the tissue (ppm), `r2star` 1/s
    and the part of it that grows in proportion to the field, `t1` s, `density` relative to water, `shift` the
    chemical shift in ppm (fat).
    """

    chi: float
    texture: float
    r2star: float
    r2star_slope: float
    t1: float
    density: float
    shift: float = 0.0


TISSUES: dict[int, Tissue] = {
    Label.AIR: Tissue(AIR_CHI, 0, 0, 0, 1, 0),
    Label.MUSCLE: Tissue(0.00, 0.02, 32, 10, 1.40, 0.75),
    Label.FAT: Tissue(0.65, 0.03, 35, 15, 0.38, 0.85, -3.4),
    Label.BONE: Tissue(-2.10, 0.15, 500, 100, 0.25, 0.12),
    Label.MARROW: Tissue(-0.20, 0.10, 90, 50, 0.50, 0.55),
    Label.EYE: Tissue(0.00, 0.002, 3, 1, 4.00, 0.98),
    Label.CSF: Tissue(0.019, 0.002, 2, 1, 4.00, 1.00),
    Label.CORTEX: Tissue(0.020, 0.010, 16, 9.8, 1.61, 0.84),
    Label.WHITE_MATTER: Tissue(-0.030, 0.010, 20, 11, 0.84, 0.70),
    Label.CORPUS_CALLOSUM: Tissue(-0.042, 0.008, 22, 12, 0.79, 0.69),
    Label.CAUDATE: Tissue(0.044, 0.010, 24, 13, 1.40, 0.82),
    Label.PUTAMEN: Tissue(0.050, 0.014, 27, 15, 1.33, 0.81),
    Label.PALLIDUM: Tissue(0.131, 0.022, 42, 28, 1.05, 0.73),
    Label.THALAMUS: Tissue(0.020, 0.014, 22, 11, 1.15, 0.77),
    Label.RED_NUCLEUS: Tissue(0.100, 0.014, 36, 22, 1.00, 0.75),
    Label.SUBSTANTIA_NIGRA: Tissue(0.111, 0.022, 38, 24, 1.05, 0.76),
    Label.DENTATE: Tissue(0.105, 0.018, 34, 19, 1.15, 0.77),
    Label.BRAINSTEM: Tissue(-0.015, 0.012, 20, 11, 1.05, 0.74),
    Label.CEREBELLAR_CORTEX: Tissue(0.022, 0.009, 17, 10, 1.55, 0.85),
    Label.CEREBELLAR_WHITE: Tissue(-0.022, 0.009, 20, 11, 0.90, 0.71),
    Label.VEIN: Tissue(0.230, 0.030, 42, 28, 1.60, 0.85),
    Label.SINUS: Tissue(0.300, 0.015, 45, 32, 1.60, 0.88),
    Label.CALCIFICATION: Tissue(-2.00, 0.20, 120, 60, 0.80, 0.35),
    Label.HAEMORRHAGE: Tissue(0.80, 0.12, 110, 70, 1.10, 0.75),
}
"""Sources. χ: in-silico head of the second reconstruction challenge (10.1002/mrm.28716), except sinuses, deep
nuclei rounded to the range that goes with their iron (10.1016/j.neuroimage.2012.05.049), calcification and
haemorrhage as typical of lesions. R2*: linear in the field through the published values at 1.5/3/7 T of white
matter (15/19/37 1/s) and cortex (12/15/30 1/s), nuclei in proportion to their iron. T1: white matter 0.84,
cortex 1.61, putamen 1.33, caudate 1.40 s at 3 T, growing like the cube root of the field."""


def properties(name: str, tissues: dict[int, Tissue], field_strength: float = REFERENCE_FIELD) -> FloatArray:
    """Name of a property → its value for each label (index = label), at a field strength (T)."""
    table = np.zeros(max(tissues) + 1, np.float32)
    for label, tissue in tissues.items():
        table[label] = _value(name, tissue, field_strength)
    return table


def spoiled_signal(
    tissues: dict[int, Tissue], field_strength: float, flip_angle: float, tr: float
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
        return tissue.r2star + tissue.r2star_slope * (field_strength / REFERENCE_FIELD - 1)
    if name == "t1":
        fluid_or_fat = tissue.t1 > 3 or tissue.shift != 0
        return tissue.t1 if fluid_or_fat else tissue.t1 * float(np.cbrt(field_strength / REFERENCE_FIELD))
    return float(getattr(tissue, name))
