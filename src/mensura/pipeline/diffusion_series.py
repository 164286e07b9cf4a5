"""Diffusion-weighted images of a BIDS dataset: their b-values and directions, and which model they suffice for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

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
    tables = {kind: _nearest(series, kind) for kind in (".bval", ".bvec")}
    values, vectors = (_numbers(tables[kind]) for kind in (".bval", ".bvec"))
    sizes = nifti.read_shape(image)
    count = sizes[3] if len(sizes) > 3 else 1
    for kind, numbers, each in ((".bval", values, 1), (".bvec", vectors, 3)):
        if numbers.size != each * count:
            raise ScanError(
                f"{tables[kind]} has {numbers.size} numbers, but {image.name} has {count} volumes, of {each} each"
            )
    told = tuple(values.tolist())
    read = partial(_taken, image)
    if determined(told, tuple(vectors.tolist())):
        given = {"b_vectors": tuple(vectors.tolist())}
        return Plan("dti", entry("dti"), [image, *tables.values()], read, given, [told])
    said = ["the directions are too few for a tensor: the apparent diffusion coefficient was fitted"]
    return Plan("adc", entry("adc"), [image, *tables.values()], read, {}, [told], said)


def _taken(path: Path) -> Taken:
    image = nifti.stack([path])
    return image, bright(image.data)


def _nearest(series: ImageSeries, extension: str) -> Path:
    found = sidecars_of(series.dataset, series.images[0], extension)
    if not found:
        raise ScanError(f"{series.images[0]} has no {extension} file; add it, as FSL and BIDS have it")
    return found[-1]


def _numbers(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    try:
        return np.array([float(piece) for piece in read_bytes(path).decode().split()])
    except ValueError as error:
        raise ScanError(f"{path} holds something else than numbers ({error}); correct it") from None
