"""BIDS datasets: the series of images that relaxometry fits, each a file of its own, and their sidecars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mensura.io.bids import session_folders, sidecar_of
from mensura.io.bids_names import IMAGE_EXTENSIONS, join, parse
from mensura.io.nifti import FilePath

FOLDERS = ("anat", "dwi", "fmap")
WITHIN = ("echo", "flip", "inv", "mt", "part")
"""Entities that tell the images of one series apart."""
COMPLEX = ("IRT1",)
"""Suffixes of which real parts are taken where there are no magnitudes."""
ROLES: Mapping[str, tuple[str, ...]] = {
    "TB1AFI": ("tr1", "tr2"),
    "TB1TFL": ("anat", "famp"),
    "TB1RFM": ("anat", "famp"),
}
"""Suffixes whose images are told apart by how their `acq` begins (the rest of it is the series')."""


@dataclass(frozen=True)
class ImageSeries:
    """The images of one series with their sidecars; `entities` are those that all share, in BIDS order."""

    dataset: Path
    suffix: str
    datatype: str
    entities: Mapping[str, str]
    images: tuple[Path, ...]
    sidecars: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """As in a file name: sub-01_ses-1_VFA."""
        return f"{join(self.entities)}_{self.suffix}"

    @property
    def place(self) -> tuple[str, str]:
        """Subject and session."""
        return self.entities["sub"], self.entities.get("ses", "")


def find_series(
    dataset: FilePath,
    suffixes: Sequence[str],
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
) -> list[ImageSeries]:
    """A BIDS dataset → its series with these suffixes: magnitude images, those without a part, or `COMPLEX` real parts.

    ScanError where the folder is no BIDS dataset or a label is unknown.
    """
    root = Path(dataset).absolute()
    found = []
    for folder in session_folders(root, participants, sessions):
        for datatype in FOLDERS:
            found += _series_in(root, folder / datatype, suffixes)
    return found


def role_of(image: Path) -> str:
    """What an image is in its series, where `acq` tells: tr1 of sub-01_acq-tr1Test_TB1AFI; "" where it does not."""
    name = parse(image)
    roles = ROLES.get(name.suffix, ()) if name else ()
    label = name.entities.get("acq", "") if name else ""
    return next((role for role in roles if label.startswith(role)), "")


def part_of(image: Path) -> str:
    """Of which part an image is: mag (also where its name says nothing), phase, real or imag."""
    name = parse(image)
    return name.entities.get("part", "mag") if name else "mag"


def beside(image: Path, part: str) -> Path | None:
    """A magnitude → the image of another part (phase, real, imag) that belongs to it, if there is one."""
    name = parse(image)
    if name is None:
        return None
    stem = f"{join({**name.entities, 'part': part})}_{name.suffix}"
    found = (image.with_name(stem + extension) for extension in IMAGE_EXTENSIONS)
    return next((path for path in found if path.is_file() and path != image), None)


def _series_in(root: Path, folder: Path, suffixes: Sequence[str]) -> list[ImageSeries]:
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    real: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("sub-*")):
        name = parse(path)
        if name is None or name.extension not in IMAGE_EXTENSIONS or name.suffix not in suffixes:
            continue
        part = part_of(path)
        if part == "mag" or (part == "real" and name.suffix in COMPLEX):
            shared = {key: value for key, value in name.entities.items() if key not in WITHIN}
            rest = shared.get("acq", "").removeprefix(role_of(path))
            shared = {**shared, "acq": rest} if rest else {k: v for k, v in shared.items() if k != "acq"}
            (groups if part == "mag" else real)[join(shared), name.suffix].append(path)
    return [
        ImageSeries(
            root,
            suffix,
            folder.name,
            dict(pair.split("-", 1) for pair in shared.split("_")),
            tuple(paths),
            tuple(sidecar_of(root, path) for path in paths),
        )
        for (shared, suffix), paths in {**real, **groups}.items()
    ]
