"""The labels of all tissues, of head and abdomen."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


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
    ARTERY = 24
    MS_PLAQUE = 25
    PLAQUE_RIM = 26
    TUMOUR = 27
    TUMOUR_CORE = 28
    OEDEMA = 29
    SKIN = 30
    LIVER = 31
    SPLEEN = 32
    VERTEBRA = 33
    LUNG = 34


ABDOMINAL = frozenset({Label.LIVER, Label.SPLEEN, Label.VERTEBRA, Label.LUNG})
"""Labels of the second body part, which no head has."""
LESIONAL = frozenset(range(Label.CALCIFICATION, Label.SKIN)) - {Label.ARTERY}
"""Labels that only lesions have."""
BRAIN = frozenset(Label) - {Label.AIR, Label.MUSCLE, Label.FAT, Label.BONE, Label.MARROW, Label.EYE}
BRAIN = BRAIN - {Label.SKIN} - ABDOMINAL
"""Labels that may lie inside a brain mask (CSF and vessels also lie outside)."""


def names(labels: Sequence[int] = tuple(Label)) -> dict[int, str]:
    """Label → its name in words."""
    return {int(label): Label(label).name.lower().replace("_", " ") for label in labels}
