"""Scans repeated over time: one volume after the other, so that memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import header as headers
from mensura.io.acquisition import Sidecar, gradient_echo, merge
from mensura.io.compression import first_bytes, stream, stream_into
from mensura.io.files import atomic
from mensura.io.header import Header
from mensura.io.nifti import FilePath, Image, check_same_grid, read_shape, scaled
from mensura.io.phase_scale import phase_rule
from mensura.io.scans import Scan, Sources, assemble, beside
from mensura.scan import FloatArray, GradientEcho, Grid, ScanError

Moment = tuple[FloatArray, FloatArray | None]
"""Phase (rad) and magnitude of one volume, echoes last."""
SERIES_PARTS = ("phase", "magnitude")


@dataclass(frozen=True, eq=False)
class SeriesScan:
    """A gradient echo repeated over time: its `first` volume as a scan, how many there are, and all in order."""

    first: Scan
    count: int
    moments: Callable[[], Iterator[Moment]]


def load_series(
    *,
    phase: Sequence[FilePath] = (),
    magnitude: Sequence[FilePath] = (),
    echo_times: Sequence[float] = (),
    field_strength: float | None = None,
    mask: FilePath | None = None,
    b0_direction: Sequence[float] | None = None,
    **others: Any,
) -> SeriesScan:
    """4D files with time last (one per echo), echo times (s) and field strength (T) → the series.

    ScanError for any other image, and for what does not fit.
    """
    foreign = [name for name, value in others.items() if value and name != "field_unit"]
    if foreign or not phase:
        wrong = (
            f"{' and '.join(foreign).replace('_', ' ')} cannot be used" if foreign else "there is no phase"
        )
        raise ScanError(f"{wrong}: a time series needs a 4D phase image (and magnitude) for each echo")
    given = {"phase": phase, "magnitude": magnitude, "mask": [mask] if mask else []}
    sources = {name: tuple(Path(path) for path in paths) for name, paths in given.items() if paths}
    sidecars = [Sidecar(str(path), record) for path in sources["phase"] if (record := beside(path))]
    acquisition, doubts = gradient_echo(sidecars, echo_times, field_strength)
    record = merge([sidecar.record for sidecar in sidecars])
    series = assemble_series(sources, acquisition, sidecar=record, b0_direction=b0_direction)
    return replace(series, first=replace(series.first, warnings=doubts + series.first.warnings))


def assemble_series(
    sources: Sources,
    acquisition: GradientEcho,
    *,
    sidecar: Mapping[str, Any],
    b0_direction: Sequence[float] | None = None,
) -> SeriesScan:
    """The files of each part, one per echo, and the acquisition → the series, checked."""
    count = _count(sources, acquisition)
    parts = {name: sources[name] for name in SERIES_PARTS if name in sources}
    images = {name: next(volumes_of(paths)) for name, paths in parts.items()}
    first = assemble(sources, acquisition, sidecar=sidecar, b0_direction=b0_direction, images=images)
    if first.already_unwrapped:
        raise ScanError(
            f"{sources['phase'][0]} was unwrapped before; a time series needs the phase as the scanner gave it"
        )
    to_radians = phase_rule(images["phase"], sidecar)

    def moments() -> Iterator[Moment]:
        magnitudes = volumes_of(parts["magnitude"]) if "magnitude" in parts else None
        for phase in volumes_of(parts["phase"]):
            yield to_radians(phase).data, None if magnitudes is None else next(magnitudes).data

    return SeriesScan(first, count, moments)


def volumes_of(paths: Sequence[Path]) -> Iterator[Image]:
    """4D files, one per echo → an image (x, y, z, echo) for each time, read one after the other."""
    for together in zip(*(_volumes(path) for path in paths), strict=True):
        for image in together[1:]:
            check_same_grid(image, together[0])
        yield replace(together[0], data=np.stack([image.data for image in together], axis=-1))


def _volumes(path: Path) -> Iterator[Image]:
    """A 4D file → its volumes, one at a time."""
    raw = headers.parse(path, first_bytes(path, headers.LENGTH))
    shape, dtype = headers.image_shape(path, raw), headers.number_type(path, raw)
    grid, header = headers.image_grid(path, raw, shape), headers.header_record(path, raw)
    size = math.prod(shape[:3]) * dtype.itemsize
    with stream(path) as file:
        file.read(int(raw["vox_offset"]) or int(raw["sizeof_hdr"]) + 4)
        for volume in range(shape[3] if len(shape) > 3 else 1):
            content = file.read(size)
            if len(content) < size:
                raise ScanError(f"{path} is truncated in volume {volume + 1}; copy or convert it again")
            stored = np.frombuffer(content, dtype).reshape(shape[:3], order="F")
            yield Image(path, scaled(stored, header.slope, header.intercept), grid, header)


def write_series(
    path: Path, volumes: Iterable[FloatArray], count: int, grid: Grid, header: Header | None = None
) -> None:
    """`count` 3D arrays, one at a time → a 4D .nii.gz file (float32), written whole or not at all."""
    shape = np.broadcast_to(np.float32(0), (*grid.shape, count))
    with atomic(path) as file, stream_into(file) as zipped:
        zipped.write(headers.header_bytes(shape, grid, header))
        for volume in volumes:
            zipped.write(np.asarray(volume, np.float32).tobytes(order="F"))


def _count(sources: Sources, acquisition: GradientEcho) -> int:
    """The number of volumes, the same in every file; ScanError where files, echo times and volumes do not fit."""
    echoes = len(acquisition.echo_times)
    counts = {}
    for name in SERIES_PARTS:
        paths = sources.get(name, ())
        if paths and len(paths) != echoes:
            raise ScanError(
                f"{paths[0]}: {len(paths)} {name} file{'s' * (len(paths) > 1)} but {echoes} echo "
                f"time{'s' * (echoes > 1)}; a time series has one 4D file for each echo, time last"
            )
        for path in paths:
            shape = read_shape(path)
            counts[path] = shape[3] if len(shape) > 3 else 1
    count = next(iter(counts.values()))
    for path, own in counts.items():
        if own < 2:
            raise ScanError(f"{path} holds a single volume; a time series needs two or more, time last")
        if own != count:
            raise ScanError(
                f"{path} holds {own} volumes but {next(iter(counts))} holds {count}; give images of one series"
            )
    return count
