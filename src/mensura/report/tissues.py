"""Which voxels belong to which tissue: a segmentation on disk, its names, and the classes that are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.bids_names import parse
from mensura.io.files import read_json
from mensura.io.labels import label_names, labels_on
from mensura.scan import BoolArray, Grid

CLASSES: Mapping[str, str] = {
    "white matter": r"white matter|wm|corpus callosum|cc (anterior|posterior|central|mid anterior|mid posterior)",
    "cortex": r"cortex|(cortical )?gr[ea]y matter|gm",
    "caudate": r"caudate( nucleus)?",
    "putamen": r"putamen",
}
"""Classes that values were published for → names of their labels, without side."""
MOST = 10
FEWEST = 20
"""Classes that are shown, and voxels that each must have."""
SPACES = ("T1w", "orig", "individual", "scanner")
"""Values of the entity `space` that leave an image where the scanner put it."""


@dataclass(frozen=True)
class Tissue:
    """A class: its name, whether it is one of `CLASSES`, and its voxels."""

    name: str
    known: bool
    voxels: BoolArray


@dataclass(frozen=True)
class Segmentation:
    """The classes on a map's grid, the file they came from, and what is to be said of it."""

    tissues: tuple[Tissue, ...]
    words: str


def segmentation(path: Path | None, grid: Grid, inside: BoolArray) -> Segmentation:
    """A segmentation (or none) → its classes in the mask, those with published values first, then by size."""
    if path is None:
        return Segmentation((), "No segmentation of tissues (dseg) was found: all voxels are one class.")
    names = label_names(path)
    if not names:
        return Segmentation(
            (), f"The labels of {path.name} have no names (dseg.tsv): all voxels are one class."
        )
    labels = np.where(inside, labels_on(path, grid), 0)
    found = [Tissue(name, name in CLASSES, np.isin(labels, ids)) for name, ids in _classes(names).items()]
    large = [tissue for tissue in found if np.count_nonzero(tissue.voxels) >= FEWEST]
    order = list(CLASSES)
    large.sort(key=lambda t: (order.index(t.name) if t.known else len(order), -np.count_nonzero(t.voxels)))
    shown = large[:MOST]
    left = f", the largest {MOST} classes" if len(large) > len(shown) else ""
    return Segmentation(tuple(shown), f"Tissues by {path.parent.name}/{path.name}{left}.")


def _classes(names: Mapping[int, str]) -> dict[str, list[int]]:
    """Label → name → the labels of each class; what lies outside the body is left out."""
    from mensura.score.regions import plain_name

    found: dict[str, list[int]] = {}
    for label, name in sorted(names.items()):
        words = "cortex" if name.lower().startswith("ctx") else plain_name(name)
        known = next((one for one, pattern in CLASSES.items() if re.fullmatch(pattern, words)), words)
        if label and known not in ("air", "background", "unknown"):
            found.setdefault(known, []).append(label)
    return found


def find(record: Mapping[str, Any], entities: Mapping[str, str], root: Path | None) -> Path | None:
    """A map's record, its entities and the folder of derivatives → the segmentation: as given, or one of the subject.

    Looked for among these derivatives, then in the folders of derivatives of the raw dataset and beside this one.
    """
    given = record.get("Segmentation")
    if given is not None:
        return Path(given) if Path(given).is_file() else None
    if root is None or "sub" not in entities:
        return None
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    places = dict.fromkeys(place.joinpath(*folders, "anat") for place in _datasets(root))
    return next((path for place in places for path in sorted(place.glob("*_dseg.nii*")) if _fits(path)), None)


def _datasets(root: Path) -> Iterator[Path]:
    """The derivatives themselves, those of the raw dataset, and those in the same folder."""
    yield root
    description = root / "dataset_description.json"
    link = (read_json(description).get("DatasetLinks") or {}).get("raw") if description.is_file() else None
    if isinstance(link, str):
        yield from _inside(root / link / "derivatives")
    if root.resolve().parent.name == "derivatives":
        yield from _inside(root.resolve().parent)


def _inside(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())


def _fits(path: Path) -> bool:
    name = parse(path)
    return name is not None and name.suffix == "dseg" and name.entities.get("space", SPACES[0]) in SPACES


def of(values: NDArray[Any], tissue: Tissue) -> NDArray[Any]:
    """The values of a tissue's voxels that have one."""
    found: NDArray[Any] = values[tissue.voxels]
    return np.asarray(found[np.isfinite(found)])
