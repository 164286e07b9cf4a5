"""Maps on disk → DICOM: which of them go, what they were made of, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.dicom.derived import Derived
from mensura.io.dicom.quantities import QUANTITIES, key_of
from mensura.io.dicom.source import Series, Source, read_series, source_of
from mensura.io.dicom.write import KINDS, write_map
from mensura.io.files import digest, read_json, staged
from mensura.io.scans import json_of
from mensura.scan import ScanError

SHOWN = ("", "total", "local", "std")
"""Maps by their `desc`: the map itself, the fields, and standard deviations, which go with them."""
BELOW = "first-volume"
"""Where a series over time has the maps of its first volume, whose names are those of the series."""
STANDARD_SPACE = 3
"""Orientation codes from here on are those of an atlas, not of the scanner."""


@dataclass(frozen=True)
class Request:
    """The folder of maps, where DICOM goes, the DICOM folder of the scan, and which kinds, maps and session."""

    maps: Path
    dicom: Path
    source: Path
    kinds: Sequence[str] = tuple(KINDS)
    names: Sequence[str] = ()
    participant: str = ""
    session: str = ""


@dataclass(frozen=True)
class Written:
    """One map as it was written: its folder there, and the words that say what it is and where it lies."""

    folder: Path
    files: int
    about: str


def export(request: Request) -> list[Written]:
    """Every map of a folder, or those named → DICOM series, a folder for each map; all of them or none.

    ScanError for maps of several sessions, for a map that lies elsewhere than the source, for a damaged file.
    """
    paths = find(request)
    series = read_series(request.source)
    number = 100 * max(one.number for one in series)
    pairs = [(path, *_prepared(path, series)) for path in paths]
    found = []
    with staged(request.dicom) as folder:
        for place, (path, derived, source) in enumerate(pairs):
            stem, files = json_of(path).stem, 0
            for step, kind in enumerate(request.kinds):
                own = number + 10 * (place + 1) + step
                files += len(write_map(folder / stem / kind, derived, source, kind=kind, number=own))
            found.append(Written(request.dicom / stem, files, _about(derived, source)))
    return found


def find(request: Request) -> list[Path]:
    """The maps that are to be written, of one subject and session; ScanError where there are none, or of several."""
    if not request.maps.is_dir():
        raise ScanError(
            f"{request.maps} is not a folder; give the folder that `mensura run`, `qsm` or `fit` wrote"
        )
    found: dict[Path, tuple[str, str]] = {}
    for path in sorted(request.maps.rglob("*.nii*")):
        name = parse(path)
        if name is None or name.entities.get("desc", "") not in SHOWN or path.parent.name == BELOW:
            continue
        if key_of(_short(path)) not in QUANTITIES:
            continue
        place = name.entities.get("sub", ""), name.entities.get("ses", "")
        if _wanted(request, place) and (not request.names or _short(path) in request.names):
            found[path] = place
    if not found:
        raise ScanError(f"{request.maps} holds no map{_which(request)}; see what lies in it")
    places = sorted(set(found.values()))
    if len(places) > 1:
        listed = ", ".join(f"sub-{sub}" + (f" ses-{ses}" if ses else "") for sub, ses in places[:5])
        raise ScanError(
            f"{request.maps} holds maps of {listed}; choose one by --participant-label and --session-label"
        )
    _check_apart(list(found))
    return list(found)


def _check_apart(paths: Sequence[Path]) -> None:
    """Every map has a name of its own; ScanError names two that have not."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.name in seen:
            raise ScanError(
                f"{seen[path.name]} and {path} have the same name; give the folder of one of them"
            )
        seen[path.name] = path


def _wanted(request: Request, place: tuple[str, str]) -> bool:
    asked = request.participant.removeprefix("sub-"), request.session.removeprefix("ses-")
    return all(not label or label == own for label, own in zip(asked, place, strict=True))


def _which(request: Request) -> str:
    words = [f" named {' or '.join(request.names)}"] if request.names else []
    words += [f" of sub-{request.participant.removeprefix('sub-')}"] if request.participant else []
    return "".join(words + ([f" of ses-{request.session.removeprefix('ses-')}"] if request.session else []))


def _short(path: Path) -> str:
    """A map's name without its subject: Chimap, desc-total_fieldmap, mod-VFA_T1map."""
    name = parse(path)
    assert name is not None
    kept = [
        f"{key}-{name.entities[key]}" for key in ("mod", "model", "param", "desc") if key in name.entities
    ]
    return "_".join([*kept, name.suffix])


def _prepared(path: Path, series: Sequence[Series]) -> tuple[Derived, Source]:
    """A map's file → the map with its record, and the source that it lies on."""
    image = nifti.read(path)
    if image.data.ndim != 3:
        raise ScanError(f"{path} holds several volumes; give a map of one")
    code = image.header.sform_code or image.header.qform_code
    if not 0 < code < STANDARD_SPACE:
        where = "where it lies in the scanner" if code < 1 else "scanner coordinates, but those of an atlas"
        raise ScanError(f"{path} does not state {where}; export the map as it was made")
    record = read_json(json_of(path))
    name = _short(path)
    derived = Derived(name, image.data, record, digest(path), _made(path, record), "desc-std" in name)
    _ = derived.unit, derived.range
    return derived, source_of(series, image.grid, str(path))


def _made(path: Path, record: dict[str, object]) -> datetime:
    """When the map was made, as its record says, or else its file."""
    block = record.get("Mensura")
    told = block.get("Created") if isinstance(block, dict) else None
    try:
        return datetime.fromisoformat(str(told))
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _about(derived: Derived, source: Source) -> str:
    numbers = ", ".join(str(one.number) for one in source.series[:4]) + (
        ", …" if len(source.series) > 4 else ""
    )
    where = "on the planes of" if source.same_planes else "on planes of its own, in the frame of reference of"
    what = f"{'standard deviation of ' if derived.deviation else ''}{derived.quantity.meaning}"
    return f"{derived.name}: {what} ({derived.unit.value}), {where} series {numbers}"
