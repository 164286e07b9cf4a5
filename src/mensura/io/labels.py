"""Segmentations: the names of their labels, and the labels on the grid of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io import nifti
from mensura.io.bids_write import DESCRIPTION
from mensura.io.files import read_bytes
from mensura.scan import Grid, ScanError

DSEG = "dseg.tsv"


def labels_on(path: Path, grid: Grid) -> NDArray[np.integer[Any]]:
    """A segmentation and a grid → the label at every voxel's centre, by the geometry of the headers; 0 outside.

    ScanError for a file that holds no whole numbers.
    """
    image = nifti.read(path)
    if image.data.ndim != 3 or not np.array_equal(image.data, np.rint(image.data)):
        raise ScanError(f"{path} holds no labels; give a 3D map of whole numbers")
    labels = image.data.astype(np.int32)
    if image.grid.matches(grid):
        return labels
    to_source = np.linalg.inv(image.grid.affine) @ grid.affine
    found = np.zeros(grid.shape, np.int32)
    rows, columns = np.arange(grid.shape[1])[:, None], np.arange(grid.shape[2])[None]
    for plane in range(grid.shape[0]):
        place = [
            np.rint(a * plane + b * rows + c * columns + d).astype(np.int32) for a, b, c, d in to_source[:3]
        ]
        inside = np.logical_and.reduce([(p >= 0) & (p < n) for p, n in zip(place, labels.shape, strict=True)])
        x, y, z = (p[inside] for p in place)
        found[plane][inside] = labels[x, y, z]
    return found


def label_names(segmentation: Path, labels: Path | None = None) -> dict[int, str]:
    """A segmentation and perhaps its table (TSV with index and name) → label → name; empty where none is found.

    Without `labels` it is the TSV of the same name, or the nearest dseg.tsv above it in its dataset.
    """
    path = labels or _table_of(segmentation)
    if path is None:
        return {}
    lines = [line.split("\t") for line in read_bytes(path).decode("utf-8-sig").splitlines() if line.strip()]
    try:
        index, name = (lines[0].index(column) for column in ("index", "name"))
        return {int(line[index]): line[name].strip() for line in lines[1:]}
    except (IndexError, ValueError) as error:
        raise ScanError(
            f"{path} is no table of labels; it needs the columns index and name, split by tabs"
        ) from error


def _table_of(segmentation: Path) -> Path | None:
    folder = segmentation.resolve().parent
    beside = folder / (segmentation.name.partition(".")[0] + ".tsv")
    if beside.is_file():
        return beside
    for place in (folder, *folder.parents[:4]):
        if (place / DSEG).is_file():
            return place / DSEG
        if (place / DESCRIPTION).is_file():
            break
    return None
