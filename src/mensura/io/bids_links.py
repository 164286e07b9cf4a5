"""BIDS datasets: which images a field map is meant for, and when series were acquired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mensura.io.bids_series import ImageSeries
from mensura.io.files import read_bytes


def meant_for(field: ImageSeries, target: ImageSeries) -> bool | None:
    """A field map's series, another series → whether the sidecars say that it is meant for those; None: nothing said.

    Yes where a `B0FieldIdentifier` of the map is a `B0FieldSource` of the images, else what `IntendedFor` says: BIDS
    URIs, or paths relative to the participant's folder; a string, or a list of them.
    """
    known = set(_strings(field.sidecars, "B0FieldIdentifier"))
    if known & set(_strings(target.sidecars, "B0FieldSource")):
        return True
    intended = list(_strings(field.sidecars, "IntendedFor"))
    if not intended:
        return None
    images = {_bare(path.relative_to(target.dataset).as_posix()) for path in target.images}
    participant = f"sub-{field.entities['sub']}"
    return any(_bare(path) in images for text in intended for path in _paths(text, participant))


def acquired(series: ImageSeries) -> datetime | None:
    """A series → when its first image was acquired: as its sidecar says, else as scans.tsv does; None if unknown."""
    record = series.sidecars[0]
    for key in ("AcquisitionDateTime", "AcquisitionTime"):
        if key in record:
            return _time(str(record[key]))
    return _time(_scans(series.images[0]).get(_within(series.images[0]), ""))


def _strings(sidecars: Iterable[Mapping[str, Any]], key: str) -> Iterable[str]:
    for record in sidecars:
        value = record.get(key, [])
        yield from (str(one) for one in (value if isinstance(value, list) else [value]) if one)


def _paths(text: str, participant: str) -> Iterable[str]:
    """What an entry may mean, relative to the dataset; of another dataset, nothing."""
    if text.startswith("bids:"):
        dataset, _, path = text.removeprefix("bids:").partition(":")
        yield from (path,) if not dataset else ()
        return
    yield from (f"{participant}/{text.lstrip('./')}", text.lstrip("./"))


def _bare(path: str) -> str:
    """Without the image's extension."""
    return str(PurePosixPath(path)).removesuffix(".gz").removesuffix(".nii")


def _time(text: str) -> datetime | None:
    """A date with time, or a time of day (of one day for all)."""
    try:
        return datetime.fromisoformat(text if "T" in text else f"2000-01-01T{text}").replace(tzinfo=None)
    except ValueError:
        return None


def _within(image: Path) -> str:
    """An image as scans.tsv names it: anat/sub-01_…"""
    return f"{image.parent.name}/{image.name}"


def _scans(image: Path) -> dict[str, str]:
    """The scans.tsv beside the folder of an image: file → acquisition time."""
    found = sorted(image.parent.parent.glob("sub-*_scans.tsv"))
    if not found:
        return {}
    rows = [line.split("\t") for line in read_bytes(found[0]).decode("utf-8-sig").splitlines() if line]
    if not rows or not {"filename", "acq_time"} <= set(rows[0]):
        return {}
    file, time = rows[0].index("filename"), rows[0].index("acq_time")
    return {row[file]: row[time] for row in rows[1:] if len(row) > max(file, time)}
