"""An analytic head: which tissue lies at a point (x right, y front, z up; mm, anterior commissure at 0)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.cortex import Folding, cerebellum_labels, cerebrum_labels
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
NUCLEI = (
    (Label.THALAMUS, (11.5, -18.0, 8.0), (9.5, 15.0, 9.5), -0.45),
    (Label.PUTAMEN, (26.5, 3.0, 1.0), (5.8, 16.0, 10.0), 0.22),
    (Label.PALLIDUM, (19.0, -2.0, -1.0), (4.9, 10.0, 7.2), 0.50),
    (Label.RED_NUCLEUS, (5.0, -20.0, -8.0), (3.6, 3.8, 4.6), 0.0),
    (Label.SUBSTANTIA_NIGRA, (10.0, -17.0, -12.0), (3.0, 7.6, 3.4), 0.75),
)
"""Label, centre, radii (mm) and rotation about z (rad) of the right-hand nuclei."""


@dataclass(frozen=True, eq=False)
class Head:
    """A random head: how it deviates from the drawn one."""

    warp: tuple[Waves, Waves, Waves]
    folding: Folding
    cells: Waves
    warp_size: float = 1.8

    def displaced(self, points: Points) -> Points:
        """Points of the random head → the points of the drawn head that lie there."""
        moved = [p + np.float32(self.warp_size) * w(points) for p, w in zip(points, self.warp, strict=True)]
        return moved[0], moved[1], moved[2]

    def without_warp(self) -> Head:
        """The same head, undeformed."""
        return replace(self, warp_size=0.0)


def random_head(random: np.random.Generator) -> Head:
    """Draws a head: smooth warp, pattern of gyri, air cells."""
    warp = (
        random_waves(random, 5, (70, 180)),
        random_waves(random, 5, (70, 180)),
        random_waves(random, 5, (70, 180)),
    )
    folding = Folding(
        random_waves(random, 26, (15, 22)),
        random_waves(random, 6, (25, 50)),
        random_waves(random, 10, (14, 30)),
    )
    return Head(warp, folding, random_waves(random, 12, (5, 9)))


def tissue_at(points: Points, head: Head) -> tuple[Labels, NDArray[np.bool_]]:
    """Points → their labels (vessels and lesions not included), and whether they lie in the brain."""
    points = head.displaced(points)
    cavity = cranial_cavity(points)
    labels = np.full(points[0].shape, Label.AIR, np.uint8)
    brain = np.zeros(points[0].shape, bool)
    outside, inside = cavity >= 0, cavity < 0
    labels[outside] = outer_head(subset(points, outside), cavity[outside], head)
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
    for label, centre, radii, turn in NUCLEI:
        labels[ellipsoid(_turned(side, centre, turn), (0, 0, 0), radii) < 0] = label
    return labels


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


def outer_head(points: Points, cavity: Array, head: Head) -> Labels:
    """Points outside the cranial cavity (level set given) → skull, face, neck, scalp or air."""
    labels = np.full(points[0].shape, Label.AIR, np.uint8)
    skin = _skin(points, cavity)
    within = skin < 0
    points, cavity, skin = subset(points, within), cavity[within], skin[within]
    found = np.full(points[0].shape, Label.MUSCLE, np.uint8)
    found[(skin > -6.5) & (skin < -2.2)] = Label.FAT
    orbit = ellipsoid(mirrored(points), (32, 56, -32), (18, 22, 17))
    found[orbit < 0] = Label.FAT
    found[ellipsoid(mirrored(points), (32, 60, -32), (12, 12, 12)) < 0] = Label.EYE
    _bones(points, cavity, found)
    air = _air_spaces(points, head)
    found[(air < 2.0) & (found != Label.EYE) & (points[1] > -60)] = Label.BONE
    found[(air < 0) & (cavity > 1.5)] = Label.AIR
    labels[within] = found
    return labels


def _skin(points: Points, cavity: Array) -> Array:
    """Level set of the head's surface."""
    face = ellipsoid(points, (0, 36, -58), (60, 56, 74))
    nose = ellipsoid(points, (0, 92, -48), (13, 16, 22))
    x, y, z = points
    ring = np.sqrt((x / 58) ** 2 + ((y + 36) / 62) ** 2)
    neck = intersection((ring - 1) * 58, z + 45, 15)
    return union(union(cavity - 13, union(face, nose, 8), 14), neck, 20)


def _bones(points: Points, cavity: Array, labels: Labels) -> None:
    """Draws the skull with its marrow, the jaws, the palate and the spine over the labels."""
    skull = (cavity < 6.5) & (points[2] > -70)
    labels[skull] = Label.BONE
    labels[skull & (cavity > 2.2) & (cavity < 4.6) & (points[2] > -15)] = Label.MARROW
    side = mirrored(points)
    base = ellipsoid(side, (36, -30, -48), (26, 24, 13))  # the petrous bone and the mastoid
    labels[base < 0] = Label.BONE
    jaw = tube(side, ((50, 2, -60), (46, 18, -98), (22, 62, -116), (0, 72, -118)), (6.0, 6.5, 7.0, 7.0))
    palate = ellipsoid(points, (0, 48, -82), (27, 30, 5))
    spine = tube(points, ((0, -20, -72), (0, -24, -220)), (10.0, 11.0))
    hard = np.minimum(np.minimum(jaw, palate), spine)
    labels[hard < 0] = Label.BONE
    labels[hard < -2.5] = Label.MARROW


def _air_spaces(points: Points, head: Head) -> Array:
    """Level set of the sinuses, nose, throat, ear canals and mastoid cells."""
    side = mirrored(points)
    frontal = ellipsoid(side, (11, 75, 3), (10, 5, 12))
    ethmoid = ellipsoid(side, (8, 48, -34), (7, 19, 8))
    sphenoid = ellipsoid(points, (0, 14, -38), (15, 13, 10))
    maxillary = ellipsoid(side, (30, 46, -62), (14, 16, 17))
    nose = ellipsoid(side, (6, 52, -64), (4, 36, 15))
    throat = tube(points, ((0, 10, -60), (0, 6, -100), (0, 10, -220)), (9.0, 8.0, 9.0))
    canal = tube(side, ((88, -24, -46), (60, -22, -46), (46, -22, -45)), (4.0, 3.2, 5.0))
    solid = np.minimum(np.minimum(frontal, ethmoid), np.minimum(sphenoid, maxillary))
    solid = np.minimum(np.minimum(solid, canal), np.minimum(nose, throat))
    mastoid = ellipsoid(side, (55, -38, -54), (9, 13, 13))
    cells = np.maximum(mastoid, np.float32(1.2) * (np.float32(-0.3) - head.cells(points)))
    return np.asarray(np.minimum(solid, cells))
