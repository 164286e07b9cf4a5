"""An analytic head: which tissue lies at a point (x right, y front, z up; mm, anterior commissure at 0)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.cortex import Folding, cerebellum_labels, cerebrum_labels
from mensura.phantom.fields import Warp, random_warp
from mensura.phantom.shapes import (
    Array,
    Points,
    Waves,
    ellipsoid,
    intersection,
    mirrored,
    random_waves,
    subset,
    tube,
    union,
)
from mensura.phantom.tissues import Label

Labels = NDArray[np.uint8]
FORAMEN = -62.0
"""Below this height (mm) the cord is not part of the brain."""
BASAL = (
    (Label.THALAMUS, (11.5, -18.0, 8.0), (9.5, 15.0, 9.5), -0.45),
    (Label.PUTAMEN, (26.5, 2.0, 1.0), (5.6, 17.0, 10.0), -0.32),
    (Label.PALLIDUM, (19.5, -3.0, -1.0), (4.4, 9.5, 6.5), -0.55),
)
MIDBRAIN = (
    (Label.RED_NUCLEUS, (5.2, -20.0, -9.0), (3.7, 4.0, 5.0), 0.0),
    (Label.SUBSTANTIA_NIGRA, (10.5, -16.5, -12.5), (2.8, 8.2, 3.8), -0.6),
)
"""Label, centre, radii (mm) and rotation about z (rad) of the right-hand nuclei."""


@dataclass(frozen=True, eq=False)
class Head:
    """A random head: how it deviates from the drawn one.

    `displaced` takes points of this head to the points of the drawn head that lie there; `surface` is the level
    set (mm) of the drawn brain's hull, `openness` how much wider the sulci of a template are made here. Air fills
    the mastoid and ethmoid where `cells` are high, fat lies between muscles where `seams` are zero.
    """

    folding: Folding
    cells: Waves
    seams: Waves
    displaced: Warp = field(default_factory=Warp)
    surface: Callable[[Points], Array] = field(default=lambda points: cerebrum(points))
    openness: Callable[[Points], Array] = field(default=lambda points: np.zeros_like(points[0]))


def random_head(random: np.random.Generator) -> Head:
    """Draws an analytic head: smooth warp, pattern of gyri, air cells."""
    warp = random_warp(random, [(1.8, 5, (70, 180))])
    return Head(random_folding(random), *random_filling(random), warp)


def random_folding(random: np.random.Generator) -> Folding:
    """Draws the pattern of the analytic head's gyri."""
    return Folding(
        random_waves(random, 26, (15, 22)),
        random_waves(random, 6, (25, 50)),
        random_waves(random, 10, (14, 30)),
    )


def random_filling(random: np.random.Generator) -> tuple[Waves, Waves]:
    """Draws the air cells of mastoid and ethmoid, and the seams between muscles."""
    return random_waves(random, 12, (5, 9)), random_waves(random, 8, (18, 40))


def tissue_at(points: Points, head: Head) -> tuple[Labels, NDArray[np.bool_]]:
    """Points → their labels (vessels and lesions not included), and whether they lie in the brain."""
    points = head.displaced(points)
    cavity = cranial_cavity(points)
    labels = np.full(points[0].shape, Label.AIR, np.uint8)
    brain = np.zeros(points[0].shape, bool)
    outside, inside = cavity >= 0, cavity < 0
    labels[outside] = outer_head(subset(points, outside), cavity[outside], cavity[outside] - 13, head)
    labels[inside], brain[inside] = intracranial(subset(points, inside), head)
    return labels, brain


def cerebrum(points: Points) -> Array:
    """Level set of the cerebral hemispheres with their smooth hull."""
    floor = np.float32(-20) + np.clip((-30 - points[1]) * np.float32(0.25), 0, 5) - points[2]
    dome = intersection(ellipsoid(points, (0, -17, 15), (67, 87, 60)), floor, 10)
    return union(dome, ellipsoid(mirrored(points), (43, -10, -20), (24, 41, 23)), 6)


def cerebellum(points: Points) -> Array:
    """Level set of the cerebellum."""
    halves = ellipsoid(mirrored(points), (24, -63, -38), (32, 31, 21))
    return union(halves, ellipsoid(points, (0, -60, -36), (12, 25, 21)), 6)


def brainstem(points: Points) -> Array:
    """Level set of midbrain, pons, medulla and cord."""
    path = ((0, -21, -5), (0, -23, -16), (0, -24, -27), (0, -33, -46), (0, -40, -66), (0, -46, -220))
    return tube(points, path, (12.0, 13.0, 14.5, 9.5, 7.0, 6.0))


def cranial_cavity(points: Points) -> Array:
    """Level set of the inner skull and the spinal canal: everything inside is brain, CSF or vessel."""
    side = mirrored(points)
    dome = intersection(
        ellipsoid(points, (0, -17, 15), (69.2, 89.2, 62.2)), np.float32(-22.5) - points[2], 10
    )
    middle = ellipsoid(side, (43, -10, -20), (26, 43, 25.5))
    fossa = ellipsoid(points, (0, -60, -36), (61.5, 41.5, 30))
    clivus = tube(
        points, ((0, -16, -8), (0, -20, -24), (0, -34, -58), (0, -46, -220)), (18.0, 19.0, 13.0, 10.0)
    )
    return union(union(dome, middle, 6), union(fossa, clivus, 8), 8)


def intracranial(points: Points, head: Head) -> tuple[Labels, NDArray[np.bool_]]:
    """Points inside the skull → CSF or the tissue they lie in, and whether that lies in the brain."""
    labels = np.full(points[0].shape, Label.CSF, np.uint8)
    hull, small, stem = cerebrum(points), cerebellum(points), brainstem(points)
    for part, surface in ((cerebrum_labels, hull), (cerebellum_labels, small)):
        inside = surface < 0
        labels[inside] = part(subset(points, inside), surface[inside], head.folding)
    trunk = (stem < 0) & ((points[2] < -4) | (hull > 0)) & (points[2] < 2)
    labels[trunk] = Label.BRAINSTEM
    core = ellipsoid(points, (0, -14, 4), (42, 62, 38)) < 0
    labels[core] = deep_nuclei(subset(points, core), labels[core])
    _carve_ventricles(points, labels)
    return labels, ((hull < 0) | (small < 0) | (stem < 0)) & (points[2] > FORAMEN)


def deep_nuclei(points: Points, labels: Labels) -> Labels:
    """Points of the brain's core and their labels → the labels with the deep nuclei drawn over them."""
    side = mirrored(points)
    tail = tube(
        side, ((13, 16, 4), (13, 10, 11), (15, -4, 20), (18, -22, 20), (24, -34, 12)), (6.5, 6, 3.6, 2.4, 1.6)
    )
    labels[tail < 0] = Label.CAUDATE
    for label, centre, radii, turn in (*BASAL, *MIDBRAIN):
        labels[ellipsoid(_turned(side, centre, turn), (0, 0, 0), radii) < 0] = label
    return labels


def midbrain_nuclei(points: Points, labels: Labels) -> None:
    """Draws red nucleus and substantia nigra over the labels at points of the brain, in place."""
    near = np.flatnonzero(ellipsoid(points, (0, -18, -11), (20, 12, 10)) < 0)
    side = mirrored(subset(points, near))
    for label, centre, radii, turn in MIDBRAIN:
        labels[near[ellipsoid(_turned(side, centre, turn), (0, 0, 0), radii) < 0]] = label


def _turned(points: Points, centre: tuple[float, float, float], angle: float) -> Points:
    """Points relative to a centre, in axes turned about z."""
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    return cosine * x - sine * y, sine * x + cosine * y, z


def _carve_ventricles(points: Points, labels: Labels) -> None:
    near = ellipsoid(points, (0, -20, 0), (42, 66, 56)) < 0
    x, y, z = points = subset(points, near)
    side = mirrored(points)
    lateral = tube(
        side,
        ((7, 30, 4), (7, 16, 13), (8, -8, 20), (12, -28, 20), (23, -40, 13), (31, -28, -8), (32, -14, -17)),
        (2.5, 4.6, 4.2, 4.6, 6.0, 2.6, 1.8),
    )
    occipital = tube(side, ((23, -40, 13), (22, -62, 8)), (5.5, 2.0))
    third = ellipsoid(points, (0, -13, 0), (2.2, 14, 10))
    fourth = ellipsoid(points, (0, -45, -34), (6, 5.5, 10))
    aqueduct = tube(points, ((0, -27, -2), (0, -33, -12), (0, -42, -28)), (1.2, 1.0, 1.5))
    wet = np.minimum(np.minimum(np.minimum(lateral, occipital), np.minimum(third, fourth)), aqueduct) < 0
    wet &= ~((np.abs(x) < 1.0) & (z > 4) & (y > -40))  # septum pellucidum
    carved = labels[near]
    carved[wet] = Label.CSF
    labels[near] = carved


def outer_head(points: Points, cavity: Array, scalp: Array, head: Head) -> Labels:
    """Points outside the cranial cavity, its level set and that of the scalp → skull, face, neck, skin or air."""
    labels = np.full(points[0].shape, Label.AIR, np.uint8)
    skin = _skin(points, scalp)
    within = skin < 0
    points, cavity, skin = subset(points, within), cavity[within], skin[within]
    found = np.full(points[0].shape, Label.MUSCLE, np.uint8)
    _soft(points, skin, found, head)
    _bones(points, cavity, found)
    air = _air_spaces(points, head)
    found[(air < 1.5) & (found != Label.EYE) & (skin < -4) & (points[1] > -60)] = Label.BONE
    found[(air < 0) & (cavity > 1.5) & ((skin < -2.5) | (points[2] < -40))] = Label.AIR
    labels[within] = found
    return labels


def _skin(points: Points, scalp: Array) -> Array:
    """Level set of the head's surface."""
    face = union(
        ellipsoid(points, (0, 30, -50), (58, 58, 66)), ellipsoid(points, (0, 44, -88), (40, 50, 42)), 14
    )
    nose = tube(points, ((0, 80, -12), (0, 89, -34), (0, 96, -46), (0, 86, -54)), (6.0, 9.0, 9.0, 9.0))
    nose = union(nose, ellipsoid(mirrored(points), (9, 89, -50), (7, 9, 7)), 5)
    chin = ellipsoid(points, (0, 78, -118), (16, 14, 14))
    ears = tube(mirrored(points), ((79, -30, -24), (80, -33, -40), (73, -22, -58)), (5.0, 7.0, 3.0))
    x, y, z = points
    ring = np.sqrt((x / 56) ** 2 + ((y + 32) / 60) ** 2)
    neck = intersection((ring - 1) * 56, z + 45, 15)
    whole = union(union(scalp, union(face, chin, 10), 12), neck, 20)
    return union(union(whole, nose, 5), ears, 4)


def _soft(points: Points, skin: Array, labels: Labels, head: Head) -> None:
    """Draws skin, the fat under it and between muscles, and the eyes over the labels."""
    deep = np.flatnonzero((skin < -8) & (points[2] < -50))
    labels[deep[np.abs(head.seams(subset(points, deep))) < 0.16]] = Label.FAT
    cheek = np.clip((-45 - points[2]) / 15, 0, 1) * np.clip((points[1] - 20) / 20, 0, 1)
    labels[(skin > -6 - 4 * cheek) & (skin <= -1.8)] = Label.FAT
    labels[skin > -1.8] = Label.SKIN
    side = mirrored(points)
    labels[tube(side, ((32, 58, -34), (26, 40, -34), (16, 22, -31)), (18.0, 13.0, 6.0)) < 0] = Label.FAT
    for rectus in ((-6, 8), (6, 8), (0, 15), (0, 1)):
        away, up = rectus
        path = ((32 + away, 58, -42 + up), (26 + away / 2, 40, -38 + up / 2), (15, 22, -31))
        labels[tube(side, path, (1.4, 2.2, 1.2)) < 0] = Label.MUSCLE
    labels[tube(side, ((32, 46, -34), (24, 36, -33), (14, 20, -30)), (1.8, 1.8, 1.8)) < 0] = (
        Label.WHITE_MATTER
    )
    labels[ellipsoid(side, (32, 58, -34), (12, 12, 12)) < 0] = Label.EYE


def _bones(points: Points, cavity: Array, labels: Labels) -> None:
    """Draws the skull with its marrow, the jaws, the palate and the spine over the labels."""
    orbit = np.abs(np.abs(points[0]) - 30) + np.abs(points[1] - 52) + 0.5 * np.abs(points[2] + 26) < 30
    thickness = np.where(orbit, 1.5, 6.5 - 2.5 * np.clip((-20 - points[2]) / 20, 0, 1))
    skull = (cavity < thickness) & (points[2] > -74)
    labels[skull] = Label.BONE
    labels[skull & (cavity > 2.0) & (cavity < 4.7) & (points[2] > -15)] = Label.MARROW
    side = mirrored(points)
    petrous = tube(side, ((14, -18, -40), (30, -28, -44), (52, -36, -50)), (7.0, 9.0, 12.0))
    clivus = tube(points, ((0, 0, -40), (0, -8, -52), (0, -14, -62)), (8.0, 7.0, 5.0))
    brow = tube(side, ((10, 76, -14), (32, 73, -16), (50, 58, -22)), (3.0, 3.0, 3.0))
    cheek = tube(side, ((48, 56, -30), (46, 58, -50), (64, 30, -52), (70, 0, -50)), (4.0, 6.0, 3.5, 3.5))
    jaw = tube(side, ((52, -4, -56), (49, 14, -96), (26, 58, -114), (0, 74, -116)), (5.0, 6.0, 6.5, 6.5))
    teeth = tube(side, ((26, 44, -92), (20, 68, -92), (0, 78, -92)), (6.0, 6.0, 6.0))
    palate = ellipsoid(points, (0, 48, -82), (27, 30, 4))
    spine = _spine(points)
    hard = np.minimum.reduce([petrous, clivus, brow, cheek, jaw, teeth, palate, spine])
    free = (cavity > 0.5) & (labels != Label.EYE)
    labels[(hard < 0) & free] = Label.BONE
    labels[(np.minimum.reduce([clivus, cheek, jaw, spine]) < -2.2) & free] = Label.MARROW


def _spine(points: Points) -> Array:
    """Level set of the vertebral bodies, with discs between them, and of their arches."""
    x, y, z = points
    bodies = tube(points, ((0, -22, -72), (0, -24, -220)), (9.0, 10.0))
    disc = np.abs(np.mod(z + 80, 19) - 9.5) - 7.5
    ring = np.abs(np.sqrt(x * x + ((y + 46) / 1.1) ** 2) - 13) - 2.5
    return np.asarray(np.maximum(np.minimum(bodies, ring), np.maximum(disc, z + 70)))


def _air_spaces(points: Points, head: Head) -> Array:
    """Level set of the sinuses, nose, throat, ear canals and mastoid cells."""
    side = mirrored(points)
    frontal = ellipsoid(side, (11, 80, -2), (11, 4.5, 15))
    ethmoid = ellipsoid(side, (8, 48, -34), (7, 19, 8))
    sphenoid = ellipsoid(side, (8, 14, -40), (6.5, 11, 8))
    maxillary = ellipsoid(side, (30, 46, -62), (12, 14, 15))
    nose = ellipsoid(side, (6, 56, -64), (4, 34, 14))
    nostril = tube(side, ((7, 78, -58), (8, 91, -54)), (3.5, 3.0))
    throat = tube(points, ((0, 14, -60), (0, 4, -84), (0, 4, -110), (0, 10, -220)), (9.0, 7.0, 7.0, 8.0))
    canal = tube(side, ((92, -24, -46), (62, -22, -46), (46, -22, -45)), (3.5, 3.0, 5.0))
    mouth = ellipsoid(points, (0, 52, -90), (18, 24, 2))
    solid = np.minimum.reduce([frontal, sphenoid, maxillary, nose, nostril, throat, canal, mouth])
    cellular = np.minimum(ethmoid, ellipsoid(side, (55, -38, -54), (9, 13, 13)))  # and the mastoid
    near = cellular < 3
    cellular[near] = np.maximum(cellular[near], 1.2 * (np.float32(-0.3) - head.cells(subset(points, near))))
    return np.asarray(np.minimum(solid, cellular))
