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
    at = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    place = np.rint(at @ to_source[:3, :3].T + to_source[:3, 3]).astype(np.int64)
    inside = np.all((place >= 0) & (place < labels.shape), axis=-1)
    x, y, z = np.moveaxis(np.where(inside[..., None], place, 0), -1, 0)
    return np.where(inside, labels[x, y, z], 0).astype(np.int32)


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
