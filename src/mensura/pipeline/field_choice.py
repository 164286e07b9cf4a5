"""The transmit and static fields of a dataset: read, held against what can be true, and chosen for a series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mensura.io import nifti
from mensura.io.bids_links import acquired, meant_for
from mensura.io.bids_series import ImageSeries
from mensura.qmri.gradients import rises_on
from mensura.qmri.resampled import carried, coverage
from mensura.qmri.transmit import onto, relative
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

OVERLAP = 0.5
"""Share of the voxels to fit that the field of view of a map must hold."""
LABELS = ("acq", "run", "rec")
"""Entities by which a map and a series that belong together are told."""
FARTHEST = 2e4
"""Hz, from the frequency of the scanner: no tissue lies further off."""


@dataclass(frozen=True)
class FieldMap:
    """A map of a field on disk (NaN where unknown), the series that it is or was made of, and what was assumed in
    reading it."""

    image: nifti.Image
    series: ImageSeries
    remarks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.image.path


@dataclass(frozen=True)
class Kind:
    """A kind of field in words: its name, what follows where there is none, and what is done with it."""

    name: str
    what: str
    without: str
    use: str


TRANSMIT = Kind("B1", "B1", "flip angles are taken as nominal", "corrected by {}, smoothed")
STATIC = Kind(
    "field",
    "the field",
    "what the field's gradient dephases is left in R2*",
    "R2* is corrected for the gradient of the field in {}",
)


def read_transmit(path: Path, series: ImageSeries) -> FieldMap:
    """A B1 map, relative to nominal or in percent → the same around 1. ScanError for what cannot be one."""
    image = nifti.read(path)
    values = image.data if image.data.ndim == 3 else image.data[..., 0]
    data, remarks = relative(np.where(values > 0, values, np.nan), str(path))
    return FieldMap(nifti.Image(path, data, image.grid, image.header), series, tuple(remarks))


def read_static(path: Path, series: ImageSeries) -> FieldMap:
    """A map of the field in Hz, 0 where it is unknown → the same, NaN there. ScanError for what cannot be one."""
    image = nifti.read(path)
    return FieldMap(nifti.Image(path, static(image), image.grid, image.header), series)


def static(image: nifti.Image) -> FloatArray:
    """An image of the field in Hz, 0 or NaN where it is unknown → the field (x, y, z). ScanError for another unit."""
    values = image.data if image.data.ndim == 3 else image.data[..., 0]
    known: FloatArray = np.where(values != 0, values, np.float32(np.nan))
    if image.data.size != values.size or not np.isfinite(known).any():
        raise ScanError(
            f"{image.path}: this is no map of the field; give one volume, in Hz, 0 where it is unknown"
        )
    if float(np.nanmedian(np.abs(known))) > FARTHEST:
        raise ScanError(f"{image.path}: the field lies {FARTHEST:g} Hz and more off resonance; give it in Hz")
    return known


def choose(
    fields: Sequence[FieldMap], series: ImageSeries, kind: Kind = TRANSMIT
) -> tuple[FieldMap | None, str]:
    """The maps of a field of a subject, a series → the one to correct it by, or none, and why in words.

    A map that its sidecar names for these images; else one of the same session that is not meant for others. Among
    several, the nearest in time where all times are known, else that whose labels (acq, run) are the series'.
    """
    said = [(field, meant_for(field.series, series)) for field in fields]
    here = [pair for pair in said if pair[0].series.place == series.place]
    named = [field for field, meant in said if meant]
    free = [field for field, meant in here if meant is None]
    if not named and not free:
        others = f"the {kind.name} maps of the session are meant for other images" if here else ""
        none = f"there is no {kind.name} map in the session that can be used"
        return None, f"{others or none}: {kind.without}"
    best, nearest = _nearest(named or free, series)
    why = "meant for these images" if named else "of the same session"
    return best, kind.use.format(f"{best.path.name}, {why}{nearest}")


def _nearest(fields: Sequence[FieldMap], series: ImageSeries) -> tuple[FieldMap, str]:
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


def brought(
    argument: str, field: nifti.Image, image: nifti.Image, mask: BoolArray
) -> tuple[FloatArray, list[str]]:
    """What a model takes of a field, a map of that (NaN where unknown) → the same in the mask of an image, and remarks.

    By the geometry of the headers. NaN where it is unknown. ScanError where the headers do not tell how they lie, or
    place them apart.
    """
    kind, made = TAKEN[argument]
    source = _source(field, image, mask, kind)
    values = made(field.data, (source, image.grid))[mask]
    missing = float(np.mean(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
    remark = f"{kind.what} is not known in {missing:.2g} of the voxels: they have no value"
    return values, [remark] if missing > 0 else []


def _smooth(b1: FloatArray, grids: tuple[Grid, Grid]) -> FloatArray:
    return onto(b1, *grids)


def _as_it_is(field: FloatArray, grids: tuple[Grid, Grid]) -> FloatArray:
    return carried(field, np.isfinite(field), grids, (0, 0, 0))


def _rises(field: FloatArray, grids: tuple[Grid, Grid]) -> FloatArray:
    return rises_on(field, np.isfinite(field), grids)


TAKEN: Mapping[str, tuple[Kind, Callable[[FloatArray, tuple[Grid, Grid]], FloatArray]]] = {
    "b1": (TRANSMIT, _smooth),
    "b0": (STATIC, _as_it_is),
    "field_rises": (STATIC, _rises),
}
"""Arguments of models: the field that each tells of, and how."""


def _source(field: nifti.Image, image: nifti.Image, mask: BoolArray, kind: Kind) -> Grid:
    """The grid of a map; that of the images where one of both tells no orientation and the shapes are the same."""
    if not (field.header.orientation_known and image.header.orientation_known):
        if field.grid.shape == image.grid.shape:
            return image.grid
        unknown = image.path if field.header.orientation_known else field.path
        raise ScanError(
            f"{unknown} does not state its orientation, so that {field.path.name} cannot be brought onto the grid of "
            f"{image.path.name}; convert it again, or give a {kind.name} map on that grid"
        )
    seen = coverage(field.grid, image.grid, mask)
    if seen < OVERLAP:
        raise ScanError(
            f"{field.path}: by the headers, this {kind.name} map covers only {seen:.0%} of the voxels of "
            f"{image.path.name}; align it, name the images that it is meant for (IntendedFor), or leave it out"
        )
    return field.grid
