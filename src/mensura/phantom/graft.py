"""A head around a brain segmented from a real scan: real folds; drawn nuclei, veins, skull and air."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import Labels, deep_nuclei, outer_head, random_head
from mensura.phantom.scene import Anatomy
from mensura.phantom.shapes import Array, Points, ellipsoid, subset
from mensura.phantom.tissues import BRAIN, TISSUES, Label
from mensura.phantom.vessels import draw_lesions, draw_vessels
from mensura.scan import BoolArray, Grid, ScanError

CLOSING = 4.0
"""Sulci narrower than twice this (mm) belong to the brain."""
GAP = 2.5
"""Depth of the CSF (mm) between brain and skull."""
TISSUE_OF = {1: Label.CORTEX, 2: Label.WHITE_MATTER, 3: Label.CSF}


@dataclass(frozen=True, eq=False)
class _Brain:
    """A segmented brain: labels, signed distance (mm) from its hull, and scanner mm → voxel."""

    labels: Labels
    distance: Array
    inverse: NDArray[np.float64]
    voxel_size: Array


def head_around(segmentation: Labels, grid: Grid, seed: int = 0, lesions: Sequence[str] = ()) -> Anatomy:
    """Segmentation (1 grey matter, 2 white matter, 3 CSF; 0 elsewhere) in MNI space → a head to be scanned.

    Deep nuclei, veins, skull, face and air spaces are drawn where a standard brain has them, so the grid's
    affine must lead to MNI coordinates (mm). Raises ScanError where grey or white matter is missing.
    """
    if not (np.any(segmentation == 1) and np.any(segmentation == 2)):
        raise ScanError("the segmentation needs voxels of grey matter (1) and of white matter (2)")
    random = np.random.default_rng([seed, 0])
    head = random_head(random)
    still = head.without_warp()
    brain = _segmented(segmentation, grid)

    def tissue_at(points: Points) -> tuple[Labels, BoolArray]:
        found, distance = _look_up(brain, points)
        inside = distance < 0
        labels = np.full(points[0].shape, Label.CSF, np.uint8)
        labels[inside] = found[inside]
        core = inside & (found != Label.CSF) & (ellipsoid(points, (0, -14, 4), (42, 62, 38)) < 0)
        labels[core] = deep_nuclei(subset(points, core), labels[core])
        cavity = distance - np.float32(GAP)
        outside = cavity >= 0
        labels[outside] = outer_head(subset(points, outside), cavity[outside], still)
        return labels, inside

    vessels = [*draw_vessels(random, still), *draw_lesions(random, lesions)]
    return Anatomy(tissue_at, dict(TISSUES), vessels, frozenset(BRAIN))


def _segmented(segmentation: Labels, grid: Grid) -> _Brain:
    from scipy import ndimage

    size = np.array(grid.voxel_size, np.float32)
    margin = int(np.ceil(2 * CLOSING / min(grid.voxel_size)))
    padded = np.pad(segmentation > 0, margin)
    grown = ndimage.distance_transform_edt(~padded, sampling=size) <= CLOSING
    hull = ndimage.distance_transform_edt(grown, sampling=size) > CLOSING
    hull = ndimage.binary_fill_holes(hull | padded)
    distance = ndimage.distance_transform_edt(~hull, sampling=size)
    distance -= ndimage.distance_transform_edt(hull, sampling=size)
    core = (slice(margin, -margin),) * 3
    table = np.array([Label.CSF, *(TISSUE_OF[k] for k in (1, 2, 3))], np.uint8)
    return _Brain(
        table[np.minimum(segmentation, 3)],
        distance[core].astype(np.float32),
        np.asarray(np.linalg.inv(grid.affine), np.float64),
        size,
    )


def _look_up(brain: _Brain, points: Points) -> tuple[Labels, Array]:
    """Nearest label and distance from the hull, which keeps growing beyond the segmentation's edge."""
    from scipy import ndimage

    at = [
        sum((np.float32(row[a]) * points[a] for a in range(3)), np.float32(row[3]))
        for row in brain.inverse[:3]
    ]
    held = [np.clip(c, 0, n - 1) for c, n in zip(at, brain.labels.shape, strict=True)]
    beyond = np.sqrt(
        sum(((c - h) * size) ** 2 for c, h, size in zip(at, held, brain.voxel_size, strict=True))
    )
    distance = ndimage.map_coordinates(brain.distance, held, order=1, mode="nearest") + beyond
    cells = tuple(np.rint(h).astype(np.intp) for h in held)
    return brain.labels[cells], np.asarray(distance, np.float32)
