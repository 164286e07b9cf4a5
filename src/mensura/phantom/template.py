"""A brain with real folds, from the ICBM152 template or from a segmentation, as smooth fields in MNI space.

The packaged template (data/icbm152.npz, made by tools/make_template.py) derives from the ICBM 152 nonlinear symmetric
template of 2009, Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
Institute, McGill University (10.1016/j.neuroimage.2010.07.033); the notice in full is in data/LICENCE.txt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import FORAMEN, Head, Labels, midbrain_nuclei, outer_head
from mensura.phantom.cortex import dentate
from mensura.phantom.fields import Field
from mensura.phantom.labels import Label
from mensura.phantom.shapes import Array, Points, subset, tube, union
from mensura.scan import BoolArray, Grid, ScanError

PACKAGED = Path(__file__).with_name("data") / "icbm152.npz"
HULL, DURA, SCALP = (4.0, 2.0), (8.0, 2.0), (90.0, 5.0)
"""Radius (mm) of the closing that makes a surface of the brain, what is narrower than twice that being filled, and
about the spacing (mm) at which it is computed: the brain's hull, the inner skull, the scalp."""
GAP, VAULT, COVER = 2.5, 3.5, 14.0
"""Depth of the CSF (mm) between brain and skull, and at most under the vault; from the brain to the scalp's skin."""
STRUCTURES = (Label.CORPUS_CALLOSUM, Label.THALAMUS, Label.CAUDATE, Label.PUTAMEN, Label.PALLIDUM)
CISTERN = ((0, 4, -16), (0, -10, -22), (0, -14, -38), (0, -34, -58))
"""Course of the CSF in front of the brainstem, from above the pituitary gland down to the canal (mm)."""
CORD = ((0, -44, -62), (0, -46, -74), (0, -47, -100), (0, -46, -220))


@dataclass(frozen=True, eq=False)
class Brain:
    """A brain as fields over MNI space (mm): `tissue` and `white` positive inside.

    `hull`, `dura`, `scalp` are level sets (mm) of the brain with its sulci filled, ever more; `parts` are positive
    inside cerebellum, brainstem and those structures that the template knows.
    """

    tissue: Field
    white: Field
    hull: Field
    dura: Field
    scalp: Field
    parts: Mapping[str, Field]


@lru_cache(maxsize=1)
def template() -> Brain:
    """→ the packaged template."""
    with np.load(PACKAGED) as file:
        fields = {
            name: _both_sides(file[name], file[f"{name}_grid"]) for name in file.files if "_grid" not in name
        }
    tissue, white = fields.pop("tissue"), fields.pop("white")
    return Brain(tissue, white, *_surfaces(tissue.values > 0, tissue.inverse, np.ones(3)), fields)


def segmented(segmentation: Labels, grid: Grid) -> Brain:
    """Segmentation (1 grey matter, 2 white matter, 3 CSF; 0 elsewhere) in MNI space → its brain.

    What it does not tell, cerebellum, brainstem and deep nuclei, is where the template has them. Raises
    ScanError where grey or white matter is missing.
    """
    if not (np.any(segmentation == 1) and np.any(segmentation == 2)):
        raise ScanError("the segmentation needs voxels of grey matter (1) and of white matter (2)")
    padded = np.pad(segmentation, 1)
    inverse = np.linalg.inv(grid.affine)[:3] + np.array([[0, 0, 0, 1.0]])
    tissue, white = (
        Field(np.where(chosen, np.float32(1), np.float32(-1)), inverse, -1.0)
        for chosen in ((padded == 1) | (padded == 2), padded == 2)
    )
    surfaces = _surfaces(padded > 0, inverse, np.array(grid.voxel_size))
    return Brain(tissue, white, *surfaces, template().parts)


def tissue_at(points: Points, brain: Brain, head: Head) -> tuple[Labels, BoolArray]:
    """Points (mm) → their labels (vessels and lesions not included), and whether they lie in the brain."""
    points = head.displaced(points)
    cavity = _cavity(points, brain)
    labels = np.full(points[0].shape, Label.CSF, np.uint8)
    outside, inside = cavity >= 0, cavity < 0
    beyond = subset(points, outside)
    labels[outside] = outer_head(beyond, cavity[outside], brain.scalp(beyond) - np.float32(COVER), head)
    labels[inside] = _intracranial(subset(points, inside), brain, head)
    return labels, (brain.hull(points) < 0) & (points[2] > FORAMEN)


def _cavity(points: Points, brain: Brain) -> Array:
    """Level set of the inner skull, whose vault is rounder than its base, with basal cisterns and spinal canal."""
    canal = union(tube(points, CORD, (10.0, 9.0, 9.0, 9.0)), tube(points, CISTERN, (12.0, 9.0, 7.0, 9.0)), 4)
    below = np.clip(np.float32(0.4) * (20 - points[2]), 0, None)
    vault = np.minimum(brain.dura(points) - np.float32(GAP), brain.scalp(points) - np.float32(VAULT) + below)
    return union(vault, canal, 8)


def _intracranial(points: Points, brain: Brain, head: Head) -> Labels:
    labels = np.full(points[0].shape, Label.CSF, np.uint8)
    solid = brain.tissue(points) > head.openness(points)
    labels[solid] = _parenchyma(subset(points, solid), brain, head)
    labels[(points[2] < -70) & (tube(points, CORD, (6.0, 6.0, 5.5, 5.5)) < 0)] = Label.BRAINSTEM
    return labels


def _parenchyma(points: Points, brain: Brain, head: Head) -> Labels:
    """Points of the brain's tissue → cortex, white matter or the structure that they lie in."""
    white = brain.white(points) > 0
    labels = np.where(white, np.uint8(Label.WHITE_MATTER), np.uint8(Label.CORTEX))
    small = brain.parts["cerebellum"](points) > 0
    labels[small & white] = Label.CEREBELLAR_WHITE
    labels[small & ~white] = Label.CEREBELLAR_CORTEX
    for label in STRUCTURES:
        within = brain.parts[label.name.lower()](points) > 0
        labels[within & (white | (label != Label.CORPUS_CALLOSUM))] = label
    labels[brain.parts["brainstem"](points) > 0] = Label.BRAINSTEM
    midbrain_nuclei(points, labels)
    dentate(points, labels, head.folding)
    return labels


def _both_sides(half: NDArray[np.uint8], grid: NDArray[np.int16]) -> Field:
    """Right half (bytes, 128: zero) whose first plane is the middle, its first voxel and step (mm) → a field."""
    values = (np.concatenate([half[:0:-1], half]).astype(np.float32) - np.float32(128)) / np.float32(96)
    x, y, z, step = (float(v) for v in grid)
    return Field.on(values, (x - step * (len(half) - 1), y, z), step, -1.0)


def _surfaces(
    brain: BoolArray, inverse: NDArray[np.float64], voxel_size: NDArray[np.float64]
) -> tuple[Field, Field, Field]:
    """Mask, mm → voxel, voxel size → hull, dura and scalp."""
    hull, dura, scalp = (_closed(brain, inverse, voxel_size, kind) for kind in (HULL, DURA, SCALP))
    return hull, dura, scalp


def _closed(
    brain: BoolArray, inverse: NDArray[np.float64], voxel_size: NDArray[np.float64], kind: tuple[float, float]
) -> Field:
    """The level set (mm) of a mask closed by a ball; it ends 24 mm or the radius beyond the mask's grid."""
    from scipy import ndimage

    radius, spacing = kind
    step = np.maximum(1, np.round(spacing / voxel_size)).astype(int)
    size = voxel_size * step
    margin = np.ceil(max(24, radius) / size).astype(int)
    coarse = np.pad(brain[:: step[0], :: step[1], :: step[2]], [(m, m) for m in margin])

    def distance(mask: BoolArray) -> Array:
        return np.asarray(ndimage.distance_transform_edt(mask, sampling=size), np.float32)

    closed = ndimage.binary_fill_holes((distance(distance(~coarse) <= radius) > radius) | coarse)
    level = ndimage.gaussian_filter(distance(~closed) - distance(closed), spacing / size)
    return Field(level, inverse / step[:, None] + np.column_stack([np.zeros((3, 3)), margin]))
