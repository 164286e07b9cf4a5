"""A folder or archive of DICOM files → stacks, and all that was noticed on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mensura.io.dicom.frames import Problem, Series
from mensura.io.dicom.headers import read_frames
from mensura.io.dicom.privacy import present, safe
from mensura.io.dicom.sources import opened
from mensura.io.dicom.stacks import Stack, stacks_of
from mensura.scan import ScanError


@dataclass(frozen=True)
class Contents:
    """The stacks of a folder, files that could not be used, and files of other kinds (what → names)."""

    stacks: tuple[Stack, ...]
    problems: tuple[Problem, ...]
    others: Mapping[str, list[str]]
    notes: tuple[str, ...]
    files: int

    @property
    def identifiers(self) -> list[str]:
        """The identifying attributes that the files hold."""
        return present(series.identifiers for series in {stack.series for stack in self.stacks})

    @property
    def descriptions(self) -> dict[Series, str]:
        """What the scanner calls each series, unless that tells who was scanned."""
        return {s.series: safe(s.series.description, s.series.identifiers) for s in self.stacks}


@contextmanager
def contents(place: Path, tell: Callable[[int], None] = lambda count: None) -> Iterator[Contents]:
    """A folder or zip archive → what is in it, as long as the context lasts. ScanError if that is no MR image."""
    with opened(place) as found:
        frames, problems, others = read_frames(found.files, tell)
        stacks, notes = stacks_of(frames)
        if not stacks:
            raise ScanError(f"{place} {_nothing(len(found.files), problems, others)}")
        yield Contents(
            tuple(stacks), tuple(problems), {**found.left_out, **others}, tuple(notes), len(found.files)
        )


def _nothing(files: int, problems: list[Problem], others: Mapping[str, list[str]]) -> str:
    if not files:
        return "holds no file; give the folder of DICOM files"
    kinds = ", ".join(f"{len(names)} of {files} files {kind}" for kind, names in others.items())
    broken = f"{len(problems)} unusable ({problems[0].name}: {problems[0].reason})" if problems else ""
    told = "; ".join(part for part in (kinds, broken) if part)
    return f"holds no MR image that can be read ({told}); give the folder that the scanner exported"
