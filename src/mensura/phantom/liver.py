"""An analytic abdomen around a liver that may hold iron and fat (x right, y front, z up; mm, liver dome at 55)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.phantom.dispersion import at_field
from mensura.phantom.labels import Label
from mensura.phantom.scene import Anatomy
from mensura.phantom.shapes import (
    Array,
    Points,
    Triple,
    Waves,
    ellipsoid,
    intersection,
    random_waves,
    subset,
    tube,
    union,
)
from mensura.phantom.surroundings import Box
from mensura.phantom.tissues import TISSUES, Tissue
from mensura.phantom.tubes import Vessel, rounded, spaced, tapered
from mensura.scan import BoolArray, ScanError

Labels = NDArray[np.uint8]
FIELDS = (0.55, 1.5, 3.0, 7.0)
IRON_RANGE, FAT_RANGE = (0.5, 40.0), (0.0, 0.5)
NORMAL_IRON, NORMAL_FAT = 0.6, 0.03
BODY_BOX: Box = ((-185.0, 185.0), (-130.0, 130.0), (-220.0, 220.0))
STORED_IRON_CHI = 1.6
"""χ (ppm) that 1 mg of iron in ferritin and haemosiderin adds to 1 ml of wet tissue."""
WET_PER_DRY, WET_DENSITY = 4.1, 1.05
"""Weight of wet tissue over that of its dry matter; g/ml."""


def liver_r2star(iron: float, field_strength: float) -> float:
    """Liver iron (mg per g dry weight) and field (T) → R2* (1/s): 11 + (38.4·iron + 6.15 − 11)·B/1.5.

    At 1.5 T the calibration of 10.1148/radiol.213256, solved for R2*; the part above 11 1/s grows in proportion
    to the field, which doubles R2* from 1.5 to 3 T (10.1177/0284185117715285).
    """
    low_field = (iron + 0.16) / 0.02603
    return 11 + (low_field - 11) * field_strength / 1.5


def liver_iron(r2star: float, field_strength: float) -> float:
    """R2* of a liver (1/s) at a field (T) → its iron (mg per g dry weight): the inverse of `liver_r2star`."""
    return 0.02603 * (11 + (r2star - 11) * 1.5 / field_strength) - 0.16


def liver_tissue(iron: float = NORMAL_IRON, fat_fraction: float = NORMAL_FAT) -> Tissue:
    """Iron (mg per g dry weight), fat fraction → the tissue of such a liver at any field.

    R2* as in `liver_r2star`; R2 = 6.88 + 26.06·iron^0.701 − 0.438·iron^1.402 at 1.5 T, times (B/1.5)^0.4; iron
    adds 0.03 1/s per mg/g to R1 and 0.41 ppm per mg/g to χ, fat its share of its own χ. Raises ScanError where
    no such relation was measured.
    """
    _check("iron", iron, IRON_RANGE, "mg per g of dry weight")
    _check("fat fraction", fat_fraction, FAT_RANGE, "of the signal")
    healthy = TISSUES[Label.LIVER]
    r2 = {b: _r2(iron) * (b / 1.5) ** 0.4 for b in FIELDS}
    r1 = {b: 1 / at_field(healthy.t1, b) + 0.03 * (iron - NORMAL_IRON) for b in FIELDS}
    return replace(
        healthy,
        chi_plus=_iron_chi(iron) + fat_fraction * TISSUES[Label.FAT].chi_plus,
        t1={b: 1 / rate for b, rate in r1.items()},
        t2={b: 1 / rate for b, rate in r2.items()},
        r2prime={b: liver_r2star(iron, b) - rate for b, rate in r2.items()},
        fat_fraction=fat_fraction,
    )


def liver_anatomy(
    seed: int = 0,
    *,
    iron: Annotated[float, Tunable("mg/g", "iron of the liver, per dry weight")] = 5.0,
    fat_fraction: Annotated[float, Tunable("", "share of the liver's protons in fat, 0 to 1")] = 0.15,
) -> Anatomy:
    """Seed, liver iron (mg per g dry weight) and fat fraction → an abdomen whose `in_brain` is the liver.

    The body's outline, the liver's shape and its vessels differ from seed to seed. Lungs lie above
    the diaphragm.
    """
    random = np.random.default_rng([seed, 2])
    body = _Body.draw(random)
    vessels = _draw_vessels(random, body)
    tissues = {**TISSUES, Label.LIVER: liver_tissue(iron, fat_fraction)}
    covered = frozenset({Label.LIVER, Label.FAT, Label.MUSCLE, Label.LUNG})
    return Anatomy(lambda points: _tissue_at(points, body), tissues, vessels, covered, box=BODY_BOX)


@dataclass(frozen=True, eq=False)
class _Body:
    """How one body deviates from the drawn one: warp, thickness of the fat under its skin, folds of its fat."""

    warp: tuple[Waves, Waves, Waves]
    fat: Waves
    bowel: Waves
    thickness: float

    @classmethod
    def draw(cls, random: np.random.Generator) -> _Body:
        warps = [random_waves(random, 5, (120, 300)) for _ in range(3)]
        fat, bowel = random_waves(random, 6, (60, 200)), random_waves(random, 16, (25, 60))
        return cls((warps[0], warps[1], warps[2]), fat, bowel, float(random.uniform(12, 24)))

    def displaced(self, points: Points) -> Points:
        """Points of this body → the points of the drawn body that lie there."""
        x, y, z = (p + np.float32(3.0) * w(points) for p, w in zip(points, self.warp, strict=True))
        return x, y, z


def _tissue_at(points: Points, body: _Body) -> tuple[Labels, BoolArray]:
    """Points → their labels (vessels not included), and whether they lie in the liver."""
    points = body.displaced(points)
    labels = np.full(points[0].shape, Label.AIR, np.uint8)
    liver = np.zeros(points[0].shape, bool)
    skin = _outline(points)
    inside = skin < 0
    labels[inside], liver[inside] = _within(subset(points, inside), skin[inside], body)
    return labels, liver


def _outline(points: Points) -> Array:
    """Level set of the trunk, a superellipse flattened at the back."""
    x, y, _ = points
    width, depth = np.float32(168), np.float32(112)
    radius = (np.abs(x / width) ** 2.5 + np.abs(y / depth) ** 2.5) ** np.float32(0.4)
    level: Array = (radius - 1) * np.float32(108)
    return level


def _within(points: Points, skin: Array, body: _Body) -> tuple[Labels, BoolArray]:
    """Points of the trunk and the level set of its skin → labels, and whether they lie in the liver."""
    fat = np.float32(body.thickness) + np.float32(3) * body.fat(points)
    labels = np.full(skin.shape, Label.FAT, np.uint8)
    wall = -skin - fat
    labels[wall > 0] = Label.MUSCLE
    labels[skin > -2] = Label.SKIN
    cavity, diaphragm = wall > 13, _diaphragm(points)
    labels[cavity] = Label.FAT
    labels[cavity & (body.bowel(points) > 0.2)] = Label.MUSCLE
    _ribs(points, wall, labels)
    labels[cavity & (diaphragm > 0)] = Label.LUNG
    labels[cavity & (np.abs(diaphragm) < 2.0)] = Label.MUSCLE
    heart = ellipsoid(points, (-35, 35, 112), (48, 42, 46)) < 0
    labels[cavity & heart & (diaphragm > 0)] = Label.MUSCLE
    below = cavity & (diaphragm < -2)
    labels[below & (_spleen(points) < 0)] = Label.SPLEEN
    stomach = ellipsoid(points, (-62, 42, 12), (40, 30, 36))
    labels[below & (stomach < 0)] = Label.MUSCLE
    labels[below & (stomach < -5)] = Label.CSF
    labels[below & (stomach < -5) & (points[1] > 52)] = Label.AIR
    liver = below & (_liver(points) < 0)
    labels[liver] = Label.LIVER
    _spine(points, labels)
    return labels, liver & (labels == Label.LIVER)


def _diaphragm(points: Points) -> Array:
    """Height (mm) above the two domes of the diaphragm."""
    right = 55 - ((points[0] - 75) / 14) ** 2 * 0.55 - ((points[1] - 5) / 14) ** 2 * 0.75
    left = 42 - ((points[0] + 75) / 14) ** 2 * 0.75 - ((points[1] - 5) / 14) ** 2 * 0.85
    return np.asarray(points[2] - np.maximum(np.maximum(right, left), np.float32(-60)), np.float32)


def _liver(points: Points) -> Array:
    """Level set of the liver: a right lobe that tapers downwards, a left lobe across the midline."""
    right = ellipsoid(points, (74, 4, -12), (78, 86, 98))
    left = ellipsoid(points, (2, 48, 18), (78, 40, 40))
    whole = union(right, left, 18)
    fissure = tube(points, ((22, 64, -60), (20, 44, -8), (22, 26, 4)), (9.0, 6.0, 3.0))
    gallbladder = ellipsoid(points, (46, 48, -52), (15, 24, 19))
    kidney = ellipsoid(points, (66, -66, -78), (34, 34, 58))
    spared = np.minimum(np.minimum(fissure, gallbladder), np.minimum(kidney, _medial(points)))
    return np.maximum(whole, -spared)


def _medial(points: Points) -> Array:
    """Level set of what lies in front of the spine: neither lobe reaches it."""
    return ellipsoid(points, (-8, -46, -10), (52, 56, 200))


def _spleen(points: Points) -> Array:
    hilum = ellipsoid(points, (-56, -14, 0), (34, 44, 80))
    return intersection(ellipsoid(points, (-98, -36, -2), (38, 50, 58)), -hilum, 6)


def _ribs(points: Points, wall: Array, labels: Labels) -> None:
    """Twelve bony bars a side inside the wall of the chest, sloping down to the front."""
    x, y, z = points
    slope = z + np.float32(0.55) * y + np.float32(10) * np.abs(x / 160)
    phase = np.abs(((slope + 300) % 27) - np.float32(13.5))
    bar = np.hypot(phase / np.float32(1.6), wall - 6.5)
    ribs = (bar < 3.6) & (z > -62 + 0.5 * y) & (np.abs(x) > 26)
    labels[ribs] = Label.BONE
    labels[ribs & (bar < 2.2)] = Label.MARROW


def _spine(points: Points, labels: Labels) -> None:
    """Draws vertebrae with their cortex and discs, the canal with its cord, and the spinous processes."""
    x, y, z = points
    body = np.hypot(x, (y + 50) * np.float32(1.15)) - 21
    disc = np.abs((z + 320) % 34 - 17) > 13.5
    labels[body < 0] = Label.BONE
    labels[(body < -2) & ~disc] = Label.VERTEBRA
    labels[(body < -1) & disc] = Label.MUSCLE
    arch = tube(points, ((0, -78, -300), (0, -78, 300)), (12.5, 12.5))
    process = (np.abs(x) < 4) & (y < -84) & (y > -96) & ~disc
    labels[(arch < 0) | process] = Label.BONE
    labels[arch < -4] = Label.CSF
    labels[arch < -8.5] = Label.BRAINSTEM


def _draw_vessels(random: np.random.Generator, body: _Body) -> list[Vessel]:
    """Aorta and caval vein; hepatic veins that drain into it; the portal vein and its branches."""
    caval = rounded([(25, -22, -230), (25, -22, -60), (27, -20, 0), (26, -12, 40), (18, 0, 80)])
    aorta = rounded([(-8, -19, -230), (-8, -20, 0), (-12, -26, 60), (-22, -38, 230)])
    drawn = [Vessel(caval, 11.0, Label.VEIN), Vessel(aorta, 11.0, Label.ARTERY)]
    for aim in ((122, -18, -2), (78, 34, -2), (-8, 46, 26)):
        drawn += _tree(random, (27, -16, 34), aim, 4.6)
    trunk = rounded([(4, -4, -70), (24, 0, -40), (38, 2, -18)])
    drawn.append(Vessel(trunk, 6.0, Label.VEIN))
    for aim in ((110, 18, 6), (96, -24, -52), (112, 4, -30), (16, 44, 8)):
        drawn += _tree(random, (38, 2, -18), aim, 4.4)
    return [Vessel(_moved(v.path, body), v.radius, v.label, v.over) for v in drawn]


def _tree(
    random: np.random.Generator, start: Triple, aim: Triple, radius: float, depth: int = 4
) -> list[Vessel]:
    """A vein from `start` towards `aim` that forks: the cube of its radius is shared by its branches."""
    a, b = np.array(start), np.array(aim)
    length = float(np.linalg.norm(b - a))
    bend = 0.10 * length * random.standard_normal((2, 3))
    path = rounded(np.stack([a, a + (b - a) / 3 + bend[0], a + (b - a) * 2 / 3 + bend[1], b]).tolist())
    over = frozenset({Label.LIVER})
    drawn = tapered(Vessel(path, radius, Label.VEIN, over), 0.75 * radius)
    if depth == 0:
        return drawn
    for share in random.permutation([0.62, 0.38]):
        fork = path[int(len(path) * random.uniform(0.55, 0.95))].astype(float)
        ahead = (b - a) / length + 0.75 * random.standard_normal(3)
        tip = fork + 0.68 * length * ahead / np.linalg.norm(ahead)
        thinner = 0.9 * radius * float(share) ** (1 / 3)
        drawn += _tree(random, _triple(fork), _triple(tip), thinner, depth - 1)
    return drawn


def _triple(point: NDArray[np.float64]) -> Triple:
    return float(point[0]), float(point[1]), float(point[2])


def _moved(path: NDArray[np.float32], body: _Body) -> NDArray[np.float32]:
    """Points of the drawn body → where this body has them."""
    rows = spaced(path, 1.0)
    moved = rows
    for _ in range(4):
        moved = moved + rows - np.stack(body.displaced((moved[:, 0], moved[:, 1], moved[:, 2])), 1)
    return np.asarray(moved, np.float32)


def _iron_chi(iron: float) -> float:
    return STORED_IRON_CHI * WET_DENSITY / WET_PER_DRY * iron


def _r2(iron: float) -> float:
    return float(6.88 + 26.06 * iron**0.701 - 0.438 * iron**1.402)


def _check(name: str, value: float, limits: tuple[float, float], unit: str) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ScanError(
            f"a liver's {name} of {value:g} {unit} is not known; choose {limits[0]} to {limits[1]}"
        )
