"""Folds: how cortex, white matter and sulcal CSF share the inside of cerebrum and cerebellum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.shapes import Array, Points, Waves, ellipsoid, mirrored, subset
from mensura.phantom.tissues import Label

Labels = NDArray[np.uint8]
CENTRE, RADII = (0.0, -17.0, 15.0), (67.0, 87.0, 60.0)
THICKNESS = 2.9


@dataclass(frozen=True, eq=False)
class Folding:
    """The sulci: over the zero lines of `pattern` on the hull, how deep, and how the fissures bend."""

    pattern: Waves
    depth: Waves
    bend: Waves


def cerebrum_labels(points: Points, hull: Array, folding: Folding) -> Labels:
    """Points inside the cerebrum, level set of its hull → cortex, white matter, callosum or sulcal CSF.

    Sulci are sheets that run from the hull inwards, over the zero lines of a narrow-band random function of
    the direction; the cortex is what lies within its thickness of CSF.
    """
    depth, bend = -hull, folding.bend(points)
    core = -ellipsoid(points, (0, -10, 6), (39, 50, 28))
    pial = np.minimum(depth, _sulci(points, depth, core, folding))
    callosal = -ellipsoid(points, (0, -4, 8), (400, 41, 24))
    pial = np.minimum(pial, _midline(points, callosal, bend))
    pial = np.minimum(pial, _lateral_fissure(points, bend))
    labels = np.full(depth.shape, Label.WHITE_MATTER, np.uint8)
    labels[pial < np.float32(THICKNESS) + np.float32(0.35) * bend] = Label.CORTEX
    labels[pial < 0] = Label.CSF
    arch = (callosal > 0.5) & (callosal < 7 * (1 - (points[0] / 26) ** 2)) & (points[2] > 0)
    labels[arch] = Label.CORPUS_CALLOSUM
    return labels


def _sulci(points: Points, depth: Array, core: Array, folding: Folding) -> Array:
    """Distance (mm) to the CSF of the nearest sulcus, negative inside it."""
    scaled = [(p - np.float32(c)) / np.float32(r) for p, c, r in zip(points, CENTRE, RADII, strict=True)]
    stretch = np.maximum(np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2), np.float32(0.2)) ** -0.75
    outward = tuple(stretch * (p - np.float32(c)) for p, c in zip(points, CENTRE, strict=True))
    value, slope = folding.pattern.with_slope((outward[0], outward[1], outward[2]))
    sheet = np.abs(value) / np.maximum(slope * stretch, np.float32(0.02))
    deepest = np.float32(15) + np.float32(4) * folding.depth(points)
    end = np.maximum(np.maximum(depth - deepest, core), 0)
    width = np.float32(0.45) + np.float32(0.8) * np.exp(-depth / 3)
    gap: Array = np.sqrt(sheet * sheet + end * end) - width
    return gap


def _midline(points: Points, callosal: Array, bend: Array) -> Array:
    """Distance (mm) to the fissure between the hemispheres, which ends on the corpus callosum."""
    sheet = points[0] + np.float32(0.6) * bend
    end = np.maximum(callosal, 0)
    gap: Array = np.sqrt(sheet * sheet + end * end) - np.float32(1.1)
    return gap


def _lateral_fissure(points: Points, bend: Array) -> Array:
    """Distance (mm) to the Sylvian fissure and the cistern over the insula."""
    x, y, z = np.abs(points[0]), points[1], points[2]
    level = np.float32(-4) - np.float32(0.42) * y + np.float32(1.5) * bend
    beyond = np.maximum(np.maximum(y - 22, -38 - y), 0)
    above = (z - level) * np.float32(0.92)
    lip = np.sqrt(above**2 + np.maximum(38 - x, 0) ** 2 + beyond**2) - np.float32(1.3)
    side = np.maximum(np.abs(above) - 12, 0)
    insula = np.sqrt((x - 38) ** 2 + side**2 + beyond**2) - np.float32(0.9)
    return np.asarray(np.minimum(lip, insula))


def cerebellum_labels(points: Points, hull: Array, folding: Folding) -> Labels:
    """Points inside the cerebellum, level set of its hull → folia, white matter, dentate nucleus or CSF."""
    depth = -hull
    y, z = points[1] + 44, points[2] + 34
    radius = np.sqrt(y * y + z * z) + 1
    wave = np.arctan2(z, y) * np.float32(27) + np.float32(1.2) * folding.bend(points)
    sheet = np.abs(np.sin(wave)) * radius / np.float32(27)
    end = np.maximum(depth - 8, 0)
    pial = np.minimum(np.sqrt(sheet * sheet + end * end) - np.float32(0.25), depth)
    labels = np.full(depth.shape, Label.CEREBELLAR_WHITE, np.uint8)
    labels[pial < 1.6] = Label.CEREBELLAR_CORTEX
    labels[pial < 0] = Label.CSF
    dentate(points, labels, folding)
    return labels


def dentate(points: Points, labels: Labels, folding: Folding) -> None:
    """Draws the dentate nuclei, crumpled shells, over the cerebellar white matter among the labels, in place."""
    near = np.flatnonzero(labels == Label.CEREBELLAR_WHITE)
    side = mirrored(subset(points, near))
    shell = ellipsoid(side, (15, -57, -35), (7.5, 9.5, 6.5))
    crumpled = np.abs(shell + np.float32(1.3) + np.float32(0.8) * folding.bend(subset(points, near))) < 1.1
    labels[near[crumpled & (shell < 1.5)]] = Label.DENTATE
