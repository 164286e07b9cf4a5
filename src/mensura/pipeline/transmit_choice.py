"""The transmit fields of a dataset: read, held against what can be true, and chosen for a series of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mensura.io import nifti
from mensura.io.bids_links import acquired, meant_for
from mensura.io.bids_series import ImageSeries
from mensura.qmri.transmit import coverage, onto, relative
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

NOMINAL = "flip angles are taken as nominal"
OVERLAP = 0.5
"""Share of the voxels to fit that the field of view of a B1 map must hold."""
LABELS = ("acq", "run", "rec")
"""Entities by which a map and a series that belong together are told."""


@dataclass(frozen=True)
class TransmitField:
    """A B1 map on disk, the series that it is or was made of, and what was assumed in reading it."""

    image: nifti.Image
    series: ImageSeries
    remarks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.image.path


def read_field(path: Path, series: ImageSeries) -> TransmitField:
    """A B1 map, relative to nominal or in percent → the same around 1. ScanError for what cannot be one."""
    image = nifti.read(path)
    values = image.data if image.data.ndim == 3 else image.data[..., 0]
    data, remarks = relative(np.where(values > 0, values, np.nan), str(path))
    return TransmitField(nifti.Image(path, data, image.grid, image.header), series, tuple(remarks))


def choose(fields: Sequence[TransmitField], series: ImageSeries) -> tuple[TransmitField | None, str]:
    """The B1 maps of a subject, a series → the one to correct it by, or none, and why in words.

    A map that its sidecar names for these images; else one of the same session that is not meant for others. Among
    several, the nearest in time where all times are known, else that whose labels (acq, run) are the series'.
    """
    said = [(field, meant_for(field.series, series)) for field in fields]
    here = [pair for pair in said if pair[0].series.place == series.place]
    named = [field for field, meant in said if meant]
    free = [field for field, meant in here if meant is None]
    if not named and not free:
        others = "the B1 maps of the session are meant for other images" if here else ""
        return None, f"{others or 'there is no B1 map in the session that can be used'}: {NOMINAL}"
    best, nearest = _nearest(named or free, series)
    why = "meant for these images" if named else "of the same session"
    return best, f"corrected by {best.path.name}, {why}{nearest}, smoothed"


def _nearest(fields: Sequence[TransmitField], series: ImageSeries) -> tuple[TransmitField, str]:
    """The best of those that may serve, and by what it was chosen, in words."""
    if len(fields) == 1:
        return fields[0], ""
    now, times = acquired(series), [acquired(field.series) for field in fields]
    if now is not None and all(time is not None for time in times):
        away = [abs((time - now).total_seconds()) for time in times if time is not None]
        return fields[int(np.argmin(away))], f", of {len(fields)} the nearest in time"
    unlike = [sum(f.series.entities.get(k) != series.entities.get(k) for k in LABELS) for f in fields]
    best = int(np.argmin(unlike))
    how = "the first" if unlike.count(min(unlike)) > 1 else "that with the same labels"
    return fields[best], f", of {len(fields)} {how}"


def brought(field: TransmitField, image: nifti.Image, mask: BoolArray) -> tuple[FloatArray, list[str]]:
    """A B1 map on its grid → B1 in the mask of an image, by the geometry of the headers, smoothed, and remarks.

    NaN where it is unknown. ScanError where the headers do not tell how they lie, or place them apart.
    """
    source = _source(field.image, image)
    seen = coverage(source, image.grid, mask)
    if seen < OVERLAP:
        raise ScanError(
            f"{field.path}: by the headers, this B1 map covers only {seen:.0%} of the voxels of {image.path.name}; "
            "align it, name the images that it is meant for (IntendedFor), or leave it out"
        )
    values = onto(field.image.data, source, image.grid)[mask]
    missing = float(np.mean(~np.isfinite(values)))
    remark = f"B1 is not known in {missing:.2g} of the voxels: they have no value"
    return values, [remark] if missing > 0 else []


def _source(field: nifti.Image, image: nifti.Image) -> Grid:
    """The grid of a B1 map; that of the images where one of both tells no orientation and the shapes are the same."""
    if field.header.orientation_known and image.header.orientation_known:
        return field.grid
    if field.grid.shape == image.grid.shape:
        return image.grid
    unknown = image.path if field.header.orientation_known else field.path
    raise ScanError(
        f"{unknown} does not state its orientation, so that {field.path.name} cannot be brought onto the grid of "
        f"{image.path.name}; convert it again, or give a B1 map on that grid"
    )
