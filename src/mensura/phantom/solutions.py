"""What is dissolved in a vial: relaxation rates and susceptibility of water, heavy water, salts, agents, grains.

Everything is at room temperature (°C as an argument); rates in 1/s, concentrations in mM, χ in ppm (SI) relative
to water.
"""

from __future__ import annotations

from math import pi, sqrt

from mensura.phantom.tissues import Dispersion, at_field
from mensura.scan import GAMMA_BAR

ROOM = 20.0
"""The temperature (°C) that reference values hold at."""
WARMING = 0.027
"""Relative growth of water's T1 and T2 per °C. The relaxation rates of the NiCl2 spheres at 16 … 26 °C,
extrapolated to no nickel, give T1 = 2.71 2.92 3.08 3.24 3.37 3.57 s, which is 2.8 % per °C; MnCl2 has 2.7 %."""
WATER_R1 = 0.325
WATER_R2: Dispersion = {1.5: 0.411, 3.0: 0.435}
"""Rates of water at 20 °C: the intercepts of the relaxivity laws of NiCl2 (10.1002/mrm.28779)."""

MOMENTS = {"NiCl2": 3.2, "MnCl2": 5.9, "gadolinium": 7.94}
"""Effective moments of Ni²⁺, Mn²⁺ (measured) and Gd³⁺ (g√(J(J+1)), J = 7/2) in Bohr magnetons: Ashcroft and
Mermin, Solid State Physics, pages 657 and 658."""
MOLAR_CHI = {"ferritin": 8.13e-2, "CaCl2": -2.70e-4, "CaCO3": -9.52e-5}
"""ppm per mM (of iron, of salt) at room temperature, measured in gels at 3 and 7 T: 10.1101/2024.02.18.580843."""
GADOLINIUM_R1: Dispersion = {1.5: 3.32, 3.0: 3.00, 7.0: 2.84}
"""1/s per mM of gadoterate, in plasma at 37 °C: 10.1097/RLI.0000000000000577. Taken for water at room
temperature too, which is an assumption, as is GADOLINIUM_R2_R1, the ratio r2/r1 of a small chelate."""
GADOLINIUM_R2_R1 = 1.2
FERRITIN_R2 = 1.1
"""1/s per mM of iron and tesla. Linear in the field as in solutions (10.1002/mrm.23301); the slope is that of iron
in the brain, 2·10⁴ 1/s per T and unit of mass fraction (Dependence of brain-tissue R2 on MRI field strength)."""
CALCITE_VOLUME = 100.09 / 2.71 * 1e-6
"""Litres per mmol of CaCO3 grains: molar mass over density."""
HEAVY = 0.0419
"""Dipolar relaxation of a proton by a deuteron over that by a proton: (16/9)(γD/γH)²."""

_BOHR, _AVOGADRO, _BOLTZMANN, _VACUUM = 9.2740100783e-24, 6.02214076e23, 1.380649e-23, 1.25663706212e-6


def water_rates(field_strength: float, temperature: float = ROOM) -> tuple[float, float]:
    """Field (T), temperature (°C) → R1, R2 (1/s) of water: R(θ) = R(20 °C)/(1 + 0.027 (θ − 20))."""
    slower = 1 + WARMING * (temperature - ROOM)
    return WATER_R1 / slower, at_field(WATER_R2, field_strength) / slower


def heavy_water_share(h2o: float) -> float:
    """Fraction of H2O in D2O → relaxation rate over that of H2O: x + (1 − x)(16/9)(γD/γH)².

    Each neighbour of a proton is a proton with probability x and a deuteron else; dipolar relaxation in the
    limit of fast motion (the dependence that Anderson and Arnold found in 1956, Proton relaxation times in
    H2O–D2O mixtures). The higher viscosity of D2O and dissolved oxygen, which both shorten T1, are left out.
    """
    return h2o + (1 - h2o) * HEAVY


def molar_susceptibility(substance: str, temperature: float = ROOM) -> float:
    """Substance, temperature (°C) → ppm per mM.

    Ions by Curie's law, χ = μ0 N p² μB²/(3 k T); ferritin as measured and scaled like 1/T (an assumption);
    calcium salts do not depend on temperature.
    """
    kelvin = temperature + 273.15
    if substance in MOMENTS:
        moment = MOMENTS[substance] * _BOHR
        return 1e6 * _VACUUM * _AVOGADRO * moment * moment / (3 * _BOLTZMANN * kelvin)
    curie = (ROOM + 273.15) / kelvin if substance == "ferritin" else 1.0
    return MOLAR_CHI[substance] * curie


def added_rates(substance: str, concentration: float, field_strength: float) -> tuple[float, float]:
    """Substance, concentration (mM), field (T) → what it adds to R1 and R2 of water (1/s).

    Gadolinium by its relaxivities; ferritin R2 ∝ B0 and no R1; calcium salts nothing (an assumption).
    """
    if substance == "gadolinium":
        r1 = at_field(GADOLINIUM_R1, field_strength) * concentration
        return r1, GADOLINIUM_R2_R1 * r1
    if substance == "ferritin":
        return 0.0, FERRITIN_R2 * field_strength * concentration
    return 0.0, 0.0


def static_dephasing(chi: float, field_strength: float) -> float:
    """χ of many spheres spread in water (ppm, mean over the volume), field (T) → R2' (1/s).

    R2' = 2π/(9√3)·γ·B0·|χ|: 324 1/s per ppm at 3 T. Yablonskiy and Haacke 1994 (10.1002/mrm.1910320610).
    """
    return 2 * pi / (9 * sqrt(3)) * 2 * pi * GAMMA_BAR * field_strength * abs(chi) * 1e-6
