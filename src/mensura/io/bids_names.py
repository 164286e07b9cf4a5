"""BIDS file names: entities and suffix out of a name, names and URIs out of entities."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

IMAGE_EXTENSIONS = (".nii.gz", ".nii")
ORDER = (
    *(
        "sub",
        "ses",
        "task",
        "acq",
        "ce",
        "trc",
        "stain",
        "rec",
        "dir",
        "run",
        "mod",
        "echo",
        "flip",
        "inv",
        "mt",
    ),
    *(
        "coil",
        "part",
        "proc",
        "hemi",
        "space",
        "split",
        "recording",
        "chunk",
        "seg",
        "res",
        "den",
        "label",
        "model",
        "param",
        "desc",
    ),
)
"""The order of the entities in a name; unknown ones go before `echo`."""


class Name(NamedTuple):
    """A file name taken apart: sub-01_MEGRE.nii.gz → {"sub": "01"}, "MEGRE", ".nii.gz"."""

    entities: dict[str, str]
    suffix: str
    extension: str


class Run(Protocol):
    """What an output path needs of a run."""

    @property
    def entities(self) -> Mapping[str, str]: ...

    @property
    def datatype(self) -> str: ...


def parse(path: str | PathLike[str]) -> Name | None:
    """A path → its entities, suffix and extension; None where the name is not of that form."""
    stem, dot, rest = Path(path).name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if pair.count("-") == 1)
    if len(entities) != len(pairs) or not suffix or "-" in suffix:
        return None
    return Name(entities, suffix, dot + rest)


def join(entities: Mapping[str, str]) -> str:
    """Entities → the front of a file name, in BIDS order: sub-01_acq-fine_run-1."""
    place = {key: position for position, key in enumerate(ORDER)}
    keys = sorted(entities, key=lambda key: (place.get(key, place["echo"] - 0.5), key))
    return "_".join(f"{key}-{entities[key]}" for key in keys)


def output_path(
    out_dir: str | PathLike[str],
    run: Run | None,
    suffix: str,
    *,
    desc: str | None = None,
    part: str | None = None,
    extension: str = ".nii.gz",
) -> Path:
    """A run and what is written → the path of the derivative: OUT/sub-01/anat/sub-01_desc-brain_mask.nii.gz.

    Without a run (images given one by one) the same name without its entities: OUT/desc-brain_mask.nii.gz.
    """
    entities = dict(run.entities) if run else {}
    entities |= {key: value for key, value in (("part", part), ("desc", desc)) if value}
    name = "_".join(piece for piece in (join(entities), suffix) if piece) + extension
    return subject_folder(out_dir, run) / name


def subject_folder(out_dir: str | PathLike[str], run: Run | None) -> Path:
    """Where the images of a run go: OUT/sub-01/[ses-1/]anat (or func); OUT itself without a run."""
    if run is None:
        return Path(out_dir)
    folders = [f"{key}-{run.entities[key]}" for key in ("sub", "ses") if key in run.entities]
    return Path(out_dir, *folders, run.datatype)


def bids_uri(path: str | PathLike[str], dataset: str | PathLike[str], name: str = "raw") -> str:
    """A file of a dataset → "bids:raw:sub-01/anat/…"; a file that lies elsewhere → its path."""
    try:
        return f"bids:{name}:{Path(path).relative_to(dataset).as_posix()}"
    except ValueError:
        return str(path)
