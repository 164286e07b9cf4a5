"""What lies on disk of fitted models: series by series, their maps, errors, status and chosen voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mensura.io.bids_names import join, parse
from mensura.io.files import read_json

Record = Mapping[str, Any]
IMAGE = ".nii.gz"


@dataclass(frozen=True)
class FittedMap:
    """A map of a fit: its name (a BIDS suffix), the file and its record, and the file of its standard deviation."""

    name: str
    path: Path
    record: Record
    std: Path | None

    @property
    def page(self) -> str:
        """The name of its page."""
        return self.path.name.removesuffix(IMAGE) + ".html"

    @property
    def label(self) -> str:
        """What it shows, in words."""
        return str(self.record.get("Description") or self.name)


@dataclass(frozen=True)
class Series:
    """The maps that one fit made."""

    model: str
    entities: Mapping[str, str]
    maps: tuple[FittedMap, ...]
    status: Path | None
    voxels: Record | None

    @property
    def record(self) -> Record:
        """What the sidecars of all its maps tell."""
        return self.maps[0].record

    @property
    def ours(self) -> Record:
        """How the maps came about."""
        return self.record.get("Mensura") or {}

    @property
    def field_strength(self) -> float | None:
        """T, where it was recorded as a number."""
        for place in (self.record.get("Acquisition") or {}, self.record):
            value = place.get("MagneticFieldStrength")
            if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                return float(value)
        return None

    @property
    def sources(self) -> list[str]:
        return [str(source) for source in self.record.get("Sources") or ()]

    @property
    def suffix(self) -> str:
        """The BIDS suffix of its images, "" where they have none."""
        return self._suffixes[0] if self._suffixes else ""

    @property
    def images(self) -> int:
        """How many of its sources are images of the series."""
        return self._suffixes.count(self.suffix)

    @property
    def _suffixes(self) -> list[str]:
        names = [parse(source.rpartition(":")[2]) for source in self.sources]
        return [name.suffix if name is not None and "sub" in name.entities else "" for name in names]


@dataclass
class _Found:
    """Files that share a record, as they are collected."""

    maps: dict[str, Path] = field(default_factory=dict)
    others: dict[tuple[str, str], Path] = field(default_factory=dict)
    entities: dict[str, str] = field(default_factory=dict)


def is_fitted(record: Record) -> bool:
    """Whether a sidecar is that of a fitted model."""
    ours = record.get("Mensura")
    return isinstance(ours, Mapping) and "Model" in ours


def series_in(folders: Iterable[Path]) -> list[Series]:
    """Folders → the fitted series whose maps lie in them; ScanError for a sidecar that cannot be read."""
    return [series for folder in folders for series in _series_in(folder)]


def _series_in(folder: Path) -> list[Series]:
    found: dict[tuple[str, ...], _Found] = {}
    records: dict[Path, Record] = {}
    for path in sorted(folder.glob("*.json")):
        name, record = parse(path), read_json(path)
        if name is None or not is_fitted(record):
            continue
        records[path] = record
        key = (str(record["Mensura"]["Model"]), *(str(s) for s in record.get("Sources") or ()))
        group = found.setdefault(key, _Found())
        desc = name.entities.pop("desc", "")
        if not desc:
            group.maps[name.suffix], group.entities = path, name.entities
        else:
            group.others[join(name.entities), f"desc-{desc}_{name.suffix}"] = path
    made = [_series(key[0], group, records) for key, group in found.items()]
    return [series for series in made if series.maps]


def _series(model: str, group: _Found, records: Mapping[Path, Record]) -> Series:
    """Files of one record → the series; a map is one whose image is there."""
    others = {name: path for (_, name), path in group.others.items()}
    maps = [
        FittedMap(name, _image(path), records[path], _there(others.get(f"desc-std_{name}")))
        for name, path in group.maps.items()
        if _image(path).is_file()
    ]
    told = {
        desc: [p for n, p in others.items() if n.startswith(f"desc-{desc}_")] for desc in ("status", "voxels")
    }
    first = [path.name.rpartition("_")[2].removesuffix(".json") for path in told["status"]]
    maps.sort(key=lambda m: (m.name not in first, m.name))
    entities = {key: value for key, value in group.entities.items() if key != "mod"}
    return Series(
        model,
        entities,
        tuple(maps),
        next((_image(p) for p in told["status"] if _image(p).is_file()), None),
        next((records[p] for p in told["voxels"]), None),
    )


def _image(sidecar: Path) -> Path:
    return sidecar.with_name(sidecar.name.removesuffix(".json") + IMAGE)


def _there(sidecar: Path | None) -> Path | None:
    return _image(sidecar) if sidecar is not None and _image(sidecar).is_file() else None
