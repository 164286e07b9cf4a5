"""The table of tissues: what each label of a head means physically, at any field strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mensura.phantom.dispersion import REFERENCE_FIELD, Dispersion, at_field, like, rest
from mensura.phantom.labels import ABDOMINAL, BRAIN, LESIONAL, Label, names
from mensura.scan import FloatArray

__all__ = [
    "ABDOMINAL",
    "AIR_CHI",
    "BRAIN",
    "LESIONAL",
    "REFERENCE_FIELD",
    "TISSUES",
    "WATER_CHI",
    "Dispersion",
    "Label",
    "Tissue",
    "at_field",
    "blood_chi",
    "names",
    "properties",
]

WATER_CHI = -9.05
"""Volume susceptibility of water at body temperature, ppm (SI); the table's are relative to it."""
AIR_CHI = 0.36 - WATER_CHI


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


BLOOD_CHI = (4 * np.pi * 0.273, -4 * np.pi * 0.008)
"""χ (ppm) that haemoglobin adds per haematocrit: where it holds no oxygen, and always."""
HAEMATOCRIT = 0.42


def blood_chi(saturation: float) -> tuple[float, float]:
    """Oxygen saturation of blood (0…1) → its χ⁺ and χ⁻ (ppm): 4π·Hct·(0.273·(1 − Y) − 0.008).

    Jain et al., 10.1002/mrm.23282; haematocrit 0.42.
    """
    return HAEMATOCRIT * BLOOD_CHI[0] * (1 - saturation), HAEMATOCRIT * BLOOD_CHI[1]


WHITE_T1 = {1.5: 0.646, 3.0: 0.838, 7.0: 1.126}
WHITE_T2 = {1.5: 0.080, 3.0: 0.071, 7.0: 0.047}
WHITE_R2P = rest({1.5: 0.066, 3.0: 0.053, 7.0: 0.027}, WHITE_T2)
CORTEX_T1 = {1.5: 1.197, 3.0: 1.607, 7.0: 1.939}
CORTEX_T2 = {1.5: 0.087, 3.0: 0.076, 7.0: 0.047}
CORTEX_R2P = rest({1.5: 0.084, 3.0: 0.066, 7.0: 0.033}, CORTEX_T2)
PUTAMEN_T1 = {1.5: 1.084, 3.0: 1.332, 7.0: 1.644}
CAUDATE_T1 = {1.5: 1.109, 3.0: 1.395, 7.0: 1.684}
BLOOD_T1 = {1.5: 1.480, 3.0: 1.649, 7.0: 2.087}
ARTERY_T2 = {0.55: 0.280, 1.5: 0.250, 3.0: 0.150, 7.0: 0.068}
VEIN_T2 = {0.55: 0.180, 1.5: 0.100, 3.0: 0.045, 7.0: 0.020}
CSF_T2 = {1.5: 2.20, 3.0: 1.79, 7.0: 1.05}
MUSCLE_T1, MUSCLE_T2 = {1.5: 1.130, 3.0: 1.420}, {1.5: 0.0353, 3.0: 0.0317}
FAT_T1, MARROW_T1 = {1.5: 0.343, 3.0: 0.382}, {1.5: 0.549, 3.0: 0.586}

Relaxation = tuple[Dispersion, Dispersion, Dispersion]
"""T1 (s), T2 (s), R2′ (1/s)."""


def _iron_t2(iron: float) -> Dispersion:
    """Iron (mg in 100 g of wet tissue) → T2 of grey matter: 1/T2 = R·T(3)/T(B) + 0.615·iron·B/3, T that of cortex.

    Slope and R = 12.7 1/s at 3 T from 10.1148/radiology.210.3.r99fe41759; the part of the iron is taken as
    proportional to the field, B in T.
    """
    own = {b: 12.7 * CORTEX_T2[3.0] / at_field(CORTEX_T2, b) for b in (0.55, 1.5, 3.0, 7.0)}
    return {b: 1 / (rate + 0.615 * iron * b / 3.0) for b, rate in own.items()}


def _nucleus(t1: float, iron: float, r2prime: float) -> Relaxation:
    """T1 (s), iron (mg in 100 g) and R2′ (1/s) at 3 T → those at any field."""
    return like(PUTAMEN_T1, t1), _iron_t2(iron), {3.0: r2prime}


def _white(t1: float, t2: float, r2prime: float) -> Relaxation:
    """Values at 3 T → those at any field, as they change in white matter."""
    return like(WHITE_T1, t1), like(WHITE_T2, t2), like(WHITE_R2P, r2prime)


def _grey(t1: float, t2: float, r2prime: float) -> Relaxation:
    """Values at 3 T → those at any field: T1 and T2 as they change in cortex, R2′ with the field."""
    return like(CORTEX_T1, t1), like(CORTEX_T2, t2), {3.0: r2prime}


def _of(
    chi: tuple[float, float, float],
    density: float,
    relaxation: Relaxation,
    mt_saturation: float = 0.0,
    perfusion: tuple[float, float, float] = (0.0, 0.0, 0.0),
    fat_fraction: float = 0.0,
) -> Tissue:
    """χ⁺, χ⁻, texture (ppm); proton density; T1, T2, R2′; MT; Ktrans (1/min), ve, vp; fat fraction → a tissue."""
    ktrans, ve, vp = perfusion
    return Tissue(*chi, density, *relaxation, fat_fraction, mt_saturation, ktrans / 60, ve, vp)


PLASMA = (0.0, 0.0, 1 - HAEMATOCRIT)
TISSUES: dict[int, Tissue] = {
    Label.AIR: _of((AIR_CHI, 0.0, 0.0), 0.0, (1.0, 1.0, 0.0)),
    Label.MUSCLE: _of(
        (0.010, -0.010, 0.020), 0.75, (MUSCLE_T1, MUSCLE_T2, {3.0: 2.0}), 0.022, (0.10, 0.12, 0.02)
    ),
    Label.FAT: _of((0.650, 0.0, 0.030), 0.85, (FAT_T1, 0.068, {3.0: 20.0}), 0.0, (0.02, 0.08, 0.01), 0.95),
    Label.BONE: _of((0.0, -2.100, 0.150), 0.12, ({1.5: 0.20, 3.0: 0.25}, 0.0005, {3.0: 100.0})),
    Label.MARROW: _of(
        (0.240, -0.440, 0.100), 0.55, (MARROW_T1, 0.049, {3.0: 70.0}), 0.004, (0.10, 0.10, 0.03), 0.45
    ),
    Label.EYE: _of((0.0, 0.0, 0.002), 0.98, (4.0, 0.70, {3.0: 1.6})),
    Label.CSF: _of((0.0275, -0.0085, 0.002), 1.00, (4.3, CSF_T2, {3.0: 1.4})),
    Label.CORTEX: _of(
        (0.039, -0.019, 0.010), 0.84, (CORTEX_T1, CORTEX_T2, CORTEX_R2P), 0.0085, (0.0, 0.2, 0.025)
    ),
    Label.WHITE_MATTER: _of(
        (0.006, -0.036, 0.010), 0.70, (WHITE_T1, WHITE_T2, WHITE_R2P), 0.0175, (0.0, 0.2, 0.012)
    ),
    Label.CORPUS_CALLOSUM: _of(
        (0.006, -0.048, 0.008), 0.69, _white(0.79, 0.068, 6.5), 0.0195, (0.0, 0.2, 0.010)
    ),
    Label.CAUDATE: _of(
        (0.053, -0.009, 0.010), 0.82, (CAUDATE_T1, _iron_t2(9.28), {3.0: 5.8}), 0.0095, (0.0, 0.2, 0.025)
    ),
    Label.PUTAMEN: _of(
        (0.059, -0.009, 0.014), 0.81, (PUTAMEN_T1, _iron_t2(13.32), {3.0: 8.1}), 0.0100, (0.0, 0.2, 0.025)
    ),
    Label.PALLIDUM: _of((0.144, -0.013, 0.022), 0.73, _nucleus(1.05, 21.30, 15.5), 0.0135, (0.0, 0.2, 0.020)),
    Label.THALAMUS: _of((0.051, -0.031, 0.014), 0.77, _nucleus(1.15, 4.76, 6.4), 0.0125, (0.0, 0.2, 0.022)),
    Label.RED_NUCLEUS: _of(
        (0.111, -0.011, 0.014), 0.75, _nucleus(1.00, 19.48, 11.3), 0.0135, (0.0, 0.2, 0.020)
    ),
    Label.SUBSTANTIA_NIGRA: _of(
        (0.122, -0.011, 0.022), 0.76, _nucleus(1.05, 18.46, 13.5), 0.0130, (0.0, 0.2, 0.020)
    ),
    Label.DENTATE: _of((0.121, -0.016, 0.018), 0.77, _nucleus(1.15, 10.35, 14.0), 0.0120, (0.0, 0.2, 0.020)),
    Label.BRAINSTEM: _of((0.018, -0.033, 0.012), 0.74, _white(1.05, 0.070, 5.5), 0.0150, (0.0, 0.2, 0.015)),
    Label.CEREBELLAR_CORTEX: _of(
        (0.040, -0.018, 0.009), 0.85, _grey(1.55, 0.074, 3.0), 0.0085, (0.0, 0.2, 0.028)
    ),
    Label.CEREBELLAR_WHITE: _of(
        (0.010, -0.032, 0.009), 0.71, _white(0.90, 0.071, 5.2), 0.0165, (0.0, 0.2, 0.013)
    ),
    Label.VEIN: _of((0.272, -0.042, 0.030), 0.85, (BLOOD_T1, VEIN_T2, {3.0: 20.0}), 0.002, PLASMA),
    Label.SINUS: _of((0.342, -0.042, 0.015), 0.88, (BLOOD_T1, VEIN_T2, {3.0: 22.0}), 0.002, PLASMA),
    Label.CALCIFICATION: _of((0.0, -2.000, 0.200), 0.35, (like(PUTAMEN_T1, 0.80), 0.020, {3.0: 70.0}), 0.004),
    Label.HAEMORRHAGE: _of((0.820, -0.020, 0.120), 0.75, _grey(1.10, 0.025, 70.0), 0.006, (0.0, 0.2, 0.0)),
    Label.ARTERY: _of((*blood_chi(0.98), 0.004), 0.85, (BLOOD_T1, ARTERY_T2, {3.0: 3.0}), 0.002, PLASMA),
    Label.MS_PLAQUE: _of((0.016, -0.010, 0.010), 0.82, _white(1.30, 0.120, 3.0), 0.0085, (0.002, 0.3, 0.012)),
    Label.PLAQUE_RIM: _of(
        (0.056, -0.018, 0.012), 0.79, _white(1.15, 0.085, 8.0), 0.0100, (0.005, 0.25, 0.015)
    ),
    Label.TUMOUR: _of((0.050, -0.015, 0.020), 0.84, _grey(1.45, 0.105, 4.0), 0.0070, (0.15, 0.35, 0.07)),
    Label.TUMOUR_CORE: _of((0.030, -0.010, 0.020), 0.93, _grey(2.20, 0.220, 2.0), 0.0030, (0.02, 0.60, 0.01)),
    Label.OEDEMA: _of((0.010, -0.025, 0.010), 0.83, _white(1.40, 0.140, 3.0), 0.0095, (0.0, 0.35, 0.012)),
    Label.SKIN: _of(
        (0.0, 0.0, 0.020), 0.70, ({1.5: 0.80, 3.0: 0.95}, 0.030, {3.0: 15.0}), 0.020, (0.05, 0.30, 0.03)
    ),
    Label.LIVER: _of(
        (0.268, -0.009, 0.020),
        0.78,
        ({1.5: 0.586, 3.0: 0.809}, {1.5: 0.0401, 3.0: 0.0304}, {1.5: 4.3, 3.0: 14.5, 7.0: 50.0}),
        0.016,
        (0.50, 0.25, 0.10),
        0.03,
    ),
    Label.SPLEEN: _of(
        (0.100, -0.030, 0.020),
        0.82,
        ({1.5: 1.057, 3.0: 1.328}, {1.5: 0.079, 3.0: 0.061}, {3.0: 14.0}),
        0.010,
        (0.80, 0.30, 0.15),
    ),
    Label.VERTEBRA: _of(
        (0.290, -0.640, 0.080), 0.65, (MARROW_T1, 0.049, {3.0: 110.0}), 0.005, (0.15, 0.15, 0.04), 0.40
    ),
    Label.LUNG: _of(
        (0.75 * AIR_CHI, 0.0, 0.050),
        0.20,
        ({1.5: 1.10, 3.0: 1.20}, {1.5: 0.050, 3.0: 0.040}, {1.5: 454.0, 3.0: 1326.0}),
        0.0,
        (0.20, 0.20, 0.08),
    ),
}
"""Where the values come from stands in docs/tissues.md, with what could not be sourced."""


def properties(
    name: str, tissues: Mapping[int, Tissue], field_strength: float = REFERENCE_FIELD
) -> FloatArray:
    """Name of a property → its value for each label (index = label, 0 without entry), at a field (T)."""
    table = np.zeros(max(tissues) + 1, np.float32)
    for label, tissue in tissues.items():
        table[label] = _value(name, tissue, field_strength)
    return table


def _value(name: str, tissue: Tissue, field_strength: float) -> float:
    if name == "r2star":
        return 1 / at_field(tissue.t2, field_strength) + at_field(tissue.r2prime, field_strength)
    return at_field(getattr(tissue, name), field_strength)
