"""What lies on disk for one run: its maps and the JSON beside each, found by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mensura.io.files import read_json
from mensura.report.fitted import is_fitted
from mensura.scan import ScanError

NAME = re.compile(
    r"^(?P<prefix>(?:(?!part-|desc-)[a-z]+-[A-Za-z0-9]+_)*)(?P<name>(?:part-[a-z]+_)?(?:desc-[A-Za-z0-9]+_)?"
    r"(?:Chimap|R2starmap|T2starmap|fieldmap|mask|MEGRE|T2starw|bold))\.nii\.gz$"
)
FIRST = ("Chimap", "desc-std_Chimap", "desc-local_fieldmap", "R2starmap")

DATATYPES = ("anat", "func", "fmap")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Zero:
    """The region that χ is referenced to, and its mean and standard deviation before subtraction, ppm."""

    region: str
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Run:
    """The results of one run: `prefix` (entities, "" in a plain folder), images and sidecars by map name."""

    folder: Path
    prefix: str
    images: Mapping[str, Path]
    sidecars: Mapping[str, Record]

    @property
    def entities(self) -> dict[str, str]:
        """The parts of the name: {"sub": "01", "ses": "1"}."""
        return dict(part.partition("-")[::2] for part in self.prefix.split("_") if "-" in part)

    @property
    def ours(self) -> dict[str, Record]:
        """The records of how the maps came about, by map name; χ's first."""
        blocks = {name: self.sidecars[name].get("Mensura") for name in _ordered(self.sidecars)}
        return {name: block for name, block in blocks.items() if isinstance(block, Mapping)}

    @property
    def steps(self) -> list[Record]:
        """One record for each step that wrote a map, χ's first."""
        found: dict[Any, Record] = {}
        for name, block in self.ours.items():
            found.setdefault(block.get("Key") or name, block)
        return list(found.values())

    @property
    def acquisition(self) -> Record:
        """What is recorded of the scan; empty if nothing is."""
        records = (self.sidecars[name].get("Acquisition") for name in _ordered(self.sidecars))
        return next((record for record in records if record), {})

    @property
    def processing(self) -> list[Record]:
        """Every step that any of the maps went through, each once, in order."""
        found: dict[Any, Record] = {}
        for name in _ordered(self.sidecars):
            for entry in self.sidecars[name].get("Processing") or ():
                found.setdefault(entry.get("Key") or (entry.get("Stage"), entry.get("Method")), entry)
        return list(found.values())

    @property
    def zero(self) -> Zero | None:
        """What χ was referenced to; the region, where it is not named, after the method that chose it."""
        mean, sd = self.statistic("ReferenceMean"), self.statistic("ReferenceSD")
        if mean is None:
            return None
        method = next((str(e.get("Method")) for e in self.processing if e.get("Stage") == "reference"), "")
        region = self.statistic("ReferenceRegion") or method.replace("_", " ") or "region not named"
        return Zero(str(region), float(mean), None if sd is None else float(sd))

    def statistic(self, name: str) -> Any:
        """A number that a step recorded under this name, or None; χ's step is asked first."""
        for block in self.ours.values():
            value = (block.get("Statistics") or {}).get(name)
            if value is not None:
                return value
        return None

    def noted(self, name: str) -> Any:
        """A field of the records of how the maps came about, or None."""
        return next((b[name] for b in self.ours.values() if b.get(name) is not None), None)


def runs_in(folder: Path) -> list[Run]:
    """A folder → the runs whose maps lie in it; ScanError for a sidecar that cannot be read."""
    groups: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.nii.gz")):
        match = NAME.match(path.name)
        if match:
            name = match["name"].replace("T2starw", "MEGRE").replace("bold", "MEGRE")
            groups.setdefault(match["prefix"].rstrip("_"), {})[name] = path
    runs = [Run(folder, prefix, images, _sidecars(images)) for prefix, images in sorted(groups.items())]
    return [own for run in runs if (own := _without_fitted(run)).images]


def _without_fitted(run: Run) -> Run:
    """A run without the maps of fitted models, which have pages of their own."""
    own = {name: path for name, path in run.images.items() if not is_fitted(run.sidecars.get(name, {}))}
    return replace(run, images=own, sidecars={n: r for n, r in run.sidecars.items() if n in own})


def find_run(source: Path) -> Run:
    """A folder with one run, or the path that the names of a run's files begin with → the run.

    ScanError when there is none, or when the folder holds several.
    """
    folder, prefix = (source, None) if source.is_dir() else (source.parent, source.name)
    runs = [run for run in runs_in(folder) if prefix in (None, run.prefix)]
    if not runs:
        raise ScanError(f"{source} holds no maps to report on; give the folder that `mensura qsm` wrote to")
    if len(runs) > 1:
        names = ", ".join(run.prefix or "(no name)" for run in runs)
        raise ScanError(f"{source} holds several runs ({names}); give the folder and one of these names")
    return runs[0]


def folder_of(out_dir: Path, subject: str, session: str | None = None) -> Path:
    """A derivatives folder and a subject → where the maps of its session lie, by datatype."""
    folder = out_dir / f"sub-{subject}"
    return folder if session is None else folder / f"ses-{session}"


def runs_of(out_dir: Path, subject: str, session: str | None = None, *, needed: bool = True) -> list[Run]:
    """A derivatives folder and a subject → its runs; ScanError when there are none but some are needed."""
    folder = folder_of(out_dir, subject, session)
    runs = [run for kind in DATATYPES for run in runs_in(folder / kind)]
    if needed and not runs:
        raise ScanError(f"{folder} holds no maps to report on; run `mensura run` for this subject first")
    return runs


def _sidecars(images: Mapping[str, Path]) -> dict[str, Record]:
    paths = {
        name: path.with_name(path.name.removesuffix(".nii.gz") + ".json") for name, path in images.items()
    }
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def _ordered(names: Iterable[str]) -> list[str]:
    known = list(names)
    return [n for n in FIRST if n in known] + [n for n in known if n not in FIRST]
