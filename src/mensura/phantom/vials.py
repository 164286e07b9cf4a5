"""A sphere of water with five plates of vials, after the NIST/ISMRM system phantom: an anatomy to scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.phantom.scene import Anatomy, turned
from mensura.phantom.shapes import Array, Points, Triple
from mensura.phantom.solutions import (
    CALCITE_VOLUME,
    ROOM,
    added_rates,
    molar_susceptibility,
    static_dephasing,
    water_rates,
)
from mensura.phantom.system_phantom import Basis, Plate, Reference, reference
from mensura.phantom.tissues import TISSUES, Label, Tissue, at_field
from mensura.scan import BoolArray

AIR, PLASTIC, WATER = 0, 1, 2
RADIUS = 100.0
SHELL = 3.0
VIAL_RADIUS = 7.5
VIAL_WALL = 2.5
RING, SQUARE = 50.0, 20.0
"""Radius of the ring of ten vials and half the side of the square of four (mm)."""

PLANES = {"Ni": 56.5, "Mn": 16.5, "PD": -23.5, "fat": 36.5, "chi": -63.5}
"""Plate → its position (mm) along y (front), in the order of the labels. Ni, Mn, PD, ring, square and vials lie as
in NIST's own PhantomViewer and in real scans; the plates of fat and χ, turned by half a step, are ours, as is
the thickness of the shell."""
TURNED = ("fat", "chi")

FAT_FRACTIONS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
OIL_DENSITY = 0.97
"""Protons of oil per volume relative to water: 104 in 885 g/mol of triolein, at 0.916 g/ml."""

CHI_PLATE: tuple[dict[str, float], ...] = (
    *({"gadolinium": chi} for chi in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)),
    *({"ferritin": chi} for chi in (0.1, 0.3)),
    *({"CaCl2": chi} for chi in (-0.05, -0.2, -0.6)),
    *({"CaCO3": chi} for chi in (-0.1, -0.3)),
    {"ferritin": 0.2, "CaCO3": -0.2},
)
"""Spheres 1 … 14: substance → its χ at 20 °C (ppm); the last holds both signs in equal parts."""


@dataclass(frozen=True)
class Vial:
    """One vial: `plate` and `sphere` (1 … 14), `label`, `centre` and inner `radius` (mm, scanner axes), what is in
    it, its true properties, and how its T1 and T2 are known (see `system_phantom.Reference`).
    """

    plate: str
    sphere: int
    label: int
    centre: Triple
    radius: float
    contents: str
    tissue: Tissue
    t1_basis: Basis
    t2_basis: Basis

    @property
    def name(self) -> str:
        """Such as Ni-3."""
        return f"{self.plate}-{self.sphere}"


_Filling = tuple[str, Tissue, Basis, Basis]


def vials_anatomy(
    *,
    version: Annotated[int, Tunable("", "of the reference values: 1 (older phantoms) or 2")] = 2,
    field_strength: float = 3.0,
    temperature: Annotated[float, Tunable("°C", "of the vials, 16 to 26")] = ROOM,
    seed: int | None = None,
    wall: Annotated[float, Tunable("mm", "plastic around each vial")] = VIAL_WALL,
) -> Anatomy:
    """Version of the reference values, field (T), temperature (°C), seed → a phantom of vials to scan.

    Its property table holds at that field only. A seed shifts and turns the phantom a little, as hands place
    it; None puts it straight at the isocentre. `wall` is the thickness (mm) of the vials' plastic, which gives no
    signal. Liquid counts as what `Anatomy` calls brain. Raises ScanError as `system_phantom.reference`.
    """
    vials = draw_vials(version=version, field_strength=field_strength, temperature=temperature, seed=seed)
    r1, r2 = water_rates(field_strength, temperature)
    tissues = {
        AIR: TISSUES[Label.AIR],
        PLASTIC: Tissue(0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0),
        WATER: Tissue(0.0, 0.0, 0.0, 1.0, 1 / r1, 1 / r2, 0.0),
        **{vial.label: vial.tissue for vial in vials},
    }
    middle = _placement(seed)[1]
    reach = RADIUS + SHELL + 1
    x, y, z = ((float(m) - reach, float(m) + reach) for m in middle)
    return Anatomy(partial(_tissue_at, middle=middle, vials=vials, wall=wall), tissues, box=(x, y, z))


def draw_vials(
    *,
    version: int = 2,
    field_strength: float = 3.0,
    temperature: float = ROOM,
    seed: int | None = None,
) -> tuple[Vial, ...]:
    """Version, field (T), temperature (°C), seed → all vials: where they are, and what is true of them."""
    turn, middle = _placement(seed)
    vials = []
    for i, plate in enumerate(PLANES):
        centres = _plate_centres(plate) @ turn.T + middle
        fillings = _fillings(plate, version, field_strength, temperature)
        for sphere, (centre, filling) in enumerate(zip(centres, fillings, strict=True), start=1):
            x, y, z = map(float, centre)
            vials.append(Vial(plate, sphere, 20 * (i + 1) + sphere, (x, y, z), VIAL_RADIUS, *filling))
    return tuple(vials)


def label_names() -> dict[int, str]:
    """Label → what it is: air, plastic, water, Ni-1 …"""
    vials = {v.label: v.name for v in draw_vials()}
    return {AIR: "air", PLASTIC: "plastic", WATER: "water", **vials}


def _placement(seed: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seed → rotation matrix (2° about each axis) and position of the middle (2 mm along each), normal spread."""
    if seed is None:
        return np.eye(3), np.zeros(3)
    random = np.random.default_rng([seed, 3])
    turn = turned(np.radians(2.0) * random.standard_normal(3))
    return turn, 2.0 * random.standard_normal(3)


def _plate_centres(plate: str) -> NDArray[np.float64]:
    """Centres (14, 3) of a plate's vials: 1 on top (z), on to the patient's left; 11 inside on the upper right."""
    angles = 2 * np.pi * np.arange(10) / 10
    x = np.concatenate([-RING * np.sin(angles), SQUARE * np.array([1, -1, -1, 1])])
    z = np.concatenate([RING * np.cos(angles), SQUARE * np.array([1, 1, -1, -1])])
    half = np.pi / 10 if plate in TURNED else 0.0
    x, z = x * np.cos(half) - z * np.sin(half), x * np.sin(half) + z * np.cos(half)
    return np.stack([x, np.full(14, PLANES[plate]), z], axis=1)


def _fillings(plate: str, version: int, field_strength: float, temperature: float) -> Iterator[_Filling]:
    """What is in the 14 vials of a plate."""
    if plate == "fat":
        yield from (_emulsion(f, field_strength) for f in FAT_FRACTIONS)
    elif plate == "chi":
        yield from (_mixture(parts, field_strength, temperature) for parts in CHI_PLATE)
    else:
        known = reference(cast(Plate, plate), version, field_strength, temperature)
        yield from (_solution(plate, known, i, temperature) for i in range(14))


def _solution(plate: str, known: Reference, i: int, temperature: float) -> _Filling:
    """Sphere i + 1 of a plate of the system phantom."""
    t1, t2, density = float(known.t1[i]), float(known.t2[i]), float(known.density[i])
    if plate == "PD":
        return f"{100 * density:g} % H2O in D2O", Tissue(0, 0, 0, density, t1, t2, 0), "model", "model"
    salt, amount = f"{plate}Cl2", float(known.concentration[i])
    chi = amount * molar_susceptibility(salt, temperature)
    tissue = Tissue(chi, 0, 0, density, t1, t2, 0)
    return f"{amount:.3g} mM {salt}", tissue, known.t1_basis, known.t2_basis


def _emulsion(fat: float, field_strength: float) -> _Filling:
    """Fat fraction of the protons, field (T) → oil stirred into gel that is doped until it relaxes like fat.

    χ grows with the volume of oil. That oil is what the head's fat is, at any temperature, is an assumption.
    """
    like = TISSUES[Label.FAT]
    density = 1 / (1 - fat + fat / OIL_DENSITY)
    chi = like.chi * density * fat / OIL_DENSITY
    t1, t2 = at_field(like.t1, field_strength), at_field(like.t2, field_strength)
    tissue = Tissue(chi, 0, 0, density, t1, t2, 0, fat_fraction=fat)
    return f"{100 * fat:g} % of the protons in oil", tissue, "model", "model"


def _mixture(parts: dict[str, float], field_strength: float, temperature: float) -> _Filling:
    """Substances and their χ at 20 °C (ppm) → solution or suspension; CaCO3 takes the room of water and dephases."""
    r1, r2 = water_rates(field_strength, temperature)
    amounts = {name: chi / molar_susceptibility(name) for name, chi in parts.items()}
    for name, amount in amounts.items():
        more1, more2 = added_rates(name, amount, field_strength)
        r1, r2 = r1 + more1, r2 + more2
    chi = {name: amount * molar_susceptibility(name, temperature) for name, amount in amounts.items()}
    tissue = Tissue(
        chi_plus=sum(c for c in chi.values() if c > 0),
        chi_minus=sum(c for c in chi.values() if c < 0),
        texture=0,
        density=1 - amounts.get("CaCO3", 0) * CALCITE_VOLUME,
        t1=1 / r1,
        t2=1 / r2,
        r2prime=static_dephasing(chi.get("CaCO3", 0), field_strength),
    )
    return " + ".join(f"{amount:.3g} mM {name}" for name, amount in amounts.items()), tissue, "model", "model"


def _tissue_at(
    points: Points, *, middle: NDArray[np.float64], vials: Sequence[Vial], wall: float
) -> tuple[NDArray[np.uint8], BoolArray]:
    """Points (mm) → labels, and whether there is liquid."""
    labels = np.zeros(points[0].shape, np.uint8)
    distance = _squared_distance(points, middle)
    labels[distance < (RADIUS + SHELL) ** 2] = PLASTIC
    labels[distance < RADIUS**2] = WATER
    for vial in _near(points, vials, wall):
        distance = _squared_distance(points, vial.centre)
        labels[distance < (vial.radius + wall) ** 2] = PLASTIC
        labels[distance < vial.radius**2] = vial.label
    return labels, labels >= WATER


def _squared_distance(points: Points, centre: Sequence[float] | NDArray[np.float64]) -> Array:
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    squared: Array = x * x + y * y + z * z
    return squared


def _near(points: Points, vials: Sequence[Vial], wall: float) -> list[Vial]:
    """Those vials that the box around the points touches."""
    low = [float(np.min(p, initial=np.inf)) for p in points]
    high = [float(np.max(p, initial=-np.inf)) for p in points]
    return [
        vial
        for vial in vials
        if all(
            a - vial.radius - wall < c < b + vial.radius + wall
            for a, c, b in zip(low, vial.centre, high, strict=True)
        )
    ]
