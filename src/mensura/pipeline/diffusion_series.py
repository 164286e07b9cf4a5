"""Diffusion-weighted images of a BIDS dataset: their b-values and directions, and which model they suffice for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from mensura.io import nifti
from mensura.io.bids import sidecars_of
from mensura.io.bids_series import ImageSeries
from mensura.io.files import read_bytes
from mensura.pipeline.plan import Plan, Taken
from mensura.pipeline.relaxometry import bright, entry
from mensura.qmri.diffusion import determined
from mensura.scan import ScanError


def plan(series: ImageSeries) -> Plan:
    """A series → a tensor where the directions determine one, else the apparent diffusion coefficient."""
    if len(series.images) != 1:
        raise ScanError(f"{series.images[0]}: diffusion-weighted images are one 4D file; join them")
    image = series.images[0]
    sizes = nifti.read_shape(image)
    count = sizes[3] if len(sizes) > 3 else 1
    table, vectors = _table(series, ".bval", count), _table(series, ".bvec", 3 * count)
    if table is None:
        raise ScanError(f"{image} has no .bval file; add it, as FSL and BIDS have it")
    read = partial(_taken, image)
    if vectors is not None and determined(table.numbers, vectors.numbers):
        sources, given = [image, table.path, vectors.path], {"b_vectors": vectors.numbers}
        return Plan("dti", entry("dti"), sources, read, given, [table.numbers])
    said = ["the directions do not tell a tensor: the apparent diffusion coefficient was fitted"]
    return Plan("adc", entry("adc"), [image, table.path], read, {}, [table.numbers], said)


class Table(NamedTuple):
    """A file of numbers."""

    path: Path
    numbers: tuple[float, ...]


def _table(series: ImageSeries, extension: str, count: int) -> Table | None:
    """The nearest .bval or .bvec that applies; None without one. ScanError where its numbers do not fit the image."""
    found = sidecars_of(series.dataset, series.images[0], extension)
    if not found:
        return None
    try:
        numbers = tuple(float(piece) for piece in read_bytes(found[-1]).decode().split())
    except ValueError as error:
        raise ScanError(f"{found[-1]} holds something else than numbers ({error}); correct it") from None
    if len(numbers) != count:
        raise ScanError(
            f"{found[-1]} has {len(numbers)} numbers where {series.images[0].name} needs {count}; correct it"
        )
    return Table(found[-1], numbers)


def _taken(path: Path) -> Taken:
    image = nifti.stack([path])
    return image, bright(image.data)
