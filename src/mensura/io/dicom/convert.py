"""Rows of a plan → a BIDS dataset, written beside its place and moved there once it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np

from mensura.io import nifti
from mensura.io.bids_write import DESCRIPTION, write_bidsignore, write_dataset_description
from mensura.io.dicom.audit import audited
from mensura.io.dicom.diffusion import tables
from mensura.io.dicom.plan import CONVERT, FAULTY, Row
from mensura.io.dicom.privacy import UIDS, cleaned
from mensura.io.dicom.sidecar import sidecar, unrecorded
from mensura.io.dicom.stacks import Stack
from mensura.io.dicom.staging import converted
from mensura.io.files import read_bytes, read_json, write_json, write_text
from mensura.io.nifti import Image
from mensura.io.phase_scale import to_radians
from mensura.io.undistort import Undistortion, undistort_files
from mensura.scan import ScanError

README = """# Converted from DICOM

Made by mensura and dcm2niix. What became of each series stands in `code/`.
"""


UNTIMED = ("dwi", "fmap", "func")
"""Whose volumes are told by a repetition time, or by no time at all."""


@dataclass
class Made:
    """What was written, what was not and why, the sidecar fields that were removed and those that nobody recorded;
    how many images were undistorted."""

    rows: list[Row] = field(default_factory=list)
    removed: dict[str, None] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    farthest: float = 0.0
    undistorted: int = 0

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.action == FAULTY]

    @property
    def written(self) -> list[Row]:
        return [row for row in self.rows if row.action == CONVERT]


def write_dataset(
    rows: Sequence[Row],
    out_dir: Path,
    *,
    plan: Callable[[Sequence[Row]], str],
    keep_uids: bool = False,
    force: bool = False,
    undistortion: Undistortion | None = None,
    tell: Callable[[Row], None] = lambda row: None,
) -> Made:
    """Rows → images and sidecars in a BIDS dataset, new or there already; `plan` makes the text that goes into code/.

    A set of which one image fails is left out as a whole. With `undistortion`, sets are corrected for the nonlinearity
    of the gradients; one that must not be stays as it is, with a remark. ScanError where the folder holds something
    else, or images of these participants, unless `force`.
    """
    out_dir = Path(out_dir).absolute()
    places = sorted({_place(row) for row in rows if row.action == CONVERT})
    _check_target(out_dir, places, force)
    made = Made()
    with _beside(out_dir) as work:

        def write(row: Row) -> list[Path]:
            tell(row)
            return _image(row, work, made, keep_uids)

        for _, members in groupby(sorted(rows, key=lambda row: row.group), key=lambda row: row.group):
            rows_made = _set(list(members), write)
            made.rows += rows_made
            if undistortion is not None:
                _undistort(rows_made, work, made, undistortion)
        if made.written:
            _publish(work, out_dir, sorted({_place(row) for row in made.written}))
            write_text(out_dir / "code" / f"mensura-convert_{_label(places)}.tsv", plan(made.rows))
            _complete(out_dir, made.written)
    return made


def _set(rows: list[Row], write: Callable[[Row], list[Path]]) -> list[Row]:
    """The images of one set, all or none."""
    written: list[Path] = []
    try:
        for row in rows:
            if row.action == CONVERT:
                written += write(row)
    except ScanError as error:
        for path in written:
            path.unlink(missing_ok=True)
        return [
            replace(r, action=FAULTY, note=f"{error}; {r.note}") if r.action == CONVERT else r for r in rows
        ]
    return rows


def _undistort(rows: Sequence[Row], work: Path, made: Made, how: Undistortion) -> None:
    """The images of one set, all or none."""
    images = [work / f"{row.name}.nii.gz" for row in rows if row.action == CONVERT]
    try:
        made.undistorted += undistort_files(images, how)
    except ScanError as error:
        made.remarks.append(f"the gradients' nonlinearity was not corrected: {error}")


def _image(row: Row, work: Path, made: Made, keep_uids: bool) -> list[Path]:
    with TemporaryDirectory(prefix="mensura-dicom-") as folder:
        path, image, found = _converted(row.stack, Path(folder))
        stack, image, apart = audited(row.stack, image)
        made.farthest = max(made.farthest, apart)
        data, remarks = _physical(row, image, found)
        beside, said = tables(stack, path) if row.suffix == "dwi" else ({}, [])
    made.remarks += [f"{row.name}: {remark}" for remark in (*remarks, *said)]
    record, dropped = cleaned(sidecar(row.stack, row.rule, found, row.fields), row.stack.series.identifiers)
    made.removed |= dict.fromkeys(
        key for key in dropped if key not in ("BidsGuess", "RawImage", "ConsistencyInfo")
    )
    if keep_uids:
        record |= _uids(row)
    record |= _timing(row)
    made.lacking[row.name] = unrecorded(record, row.rule)
    target, written = work / f"{row.name}.nii.gz", work / f"{row.name}.json"
    nifti.write(target, data, image.grid, image.header)
    write_json(written, record)
    for end, text in beside.items():
        write_text(work / f"{row.name}{end}", text)
    return [target, written, *(work / f"{row.name}{end}" for end in beside)]


def _converted(stack: Stack, folder: Path) -> tuple[Path, Image, Mapping[str, Any]]:
    """The converter's file, image and record; ScanError that names the series where it left something unreadable."""
    path = converted(stack, folder)
    record = path.with_suffix(".json")
    try:
        return path, nifti.read(path), read_json(record) if record.is_file() else {}
    except ScanError as error:
        raise ScanError(
            f"series {stack.series.number}: dcm2niix made something unreadable of {stack.first.name} and others "
            f"({error}); export the series again, or look whether its images have the same numbers"
        ) from error


def _physical(row: Row, image: Image, found: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Phase in rad, whatever way it was stored; all else as the header scales it."""
    if row.stack.kind != "phase" and "_part-phase_" not in row.name:
        return image.data, ()
    maker = found.get("Manufacturer", row.stack.series.manufacturer)
    phase = to_radians(image, {"Manufacturer": maker})
    if phase.unwrapped or float(np.nanmax(np.abs(phase.data))) > np.pi + 0.01:
        raise ScanError(
            f"series {row.stack.series.number}: its phase goes beyond ±π; name it as a field, not as phase"
        )
    return phase.data, phase.warnings


def _uids(row: Row) -> dict[str, str]:
    series = row.stack.series
    uids = (series.study, series.uid, series.record.get("FrameOfReferenceUID", ""))
    return {key: str(uid) for key, uid in zip(UIDS, uids, strict=True) if uid}


def _timing(row: Row) -> dict[str, Any]:
    """When the volumes of a series in time began, s after the first; from trigger times, or the clock."""
    if row.stack.times < 2 or row.name.split("/")[-2] in UNTIMED:
        return {}
    starts = [min(frame.order[3:5] for frame in volume) for volume in row.stack.volumes]
    triggers, clocks = [start[0] / 1000 for start in starts], [_day(start[1]) for start in starts]
    times = triggers if len(set(triggers)) == len(triggers) else clocks
    if len(set(times)) < len(times):
        return {}
    return {"VolumeTiming": [round(time - times[0], 4) for time in times]}


def _day(clock: float) -> float:
    """HHMMSS.ffffff → seconds since midnight."""
    hours, rest = divmod(clock, 10000)
    minutes, seconds = divmod(rest, 100)
    return hours * 3600 + minutes * 60 + seconds


def _place(row: Row) -> str:
    """sub-01 or sub-01/ses-1."""
    return "/".join(part for part in row.name.split("/")[:-1] if part.startswith(("sub-", "ses-")))


def _label(places: Sequence[str]) -> str:
    return places[0].replace("/", "_") if len(places) == 1 else f"{places[0].replace('/', '_')}-and-others"


def _check_target(out_dir: Path, places: Sequence[str], force: bool) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise ScanError(f"{out_dir} is a file, not a folder; choose another output folder")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not (out_dir / DESCRIPTION).is_file():
        raise ScanError(
            f"{out_dir} holds other things than a BIDS dataset; choose an empty folder, or a new one"
        )
    found = read_json(out_dir / DESCRIPTION).get("DatasetType", "raw")
    if found != "raw":
        raise ScanError(f"{out_dir} holds a {found} BIDS dataset; choose another output folder")
    for place in places:
        subject = out_dir / place.split("/")[0]
        mixed = "/" in place and any(not p.name.startswith("ses-") for p in subject.glob("*"))
        if ((out_dir / place).exists() or mixed) and not force:
            raise ScanError(
                f"{out_dir} holds images of {place} already; give another --participant-label or --session-label, "
                "or --force to replace them"
            )


@contextmanager
def _beside(out_dir: Path) -> Iterator[Path]:
    """A folder on the same disk, gone at the end."""
    work = out_dir.parent / f".{out_dir.name}.{uuid4().hex[:12]}.part"
    try:
        work.mkdir(parents=True)
        yield work
    except OSError as error:
        raise ScanError(
            f"cannot write to {out_dir}: {error.strerror or error}; choose another folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, out_dir: Path, places: Sequence[str]) -> None:
    """Moves finished participants or sessions to their place, each in one step."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for place in places:
        target = out_dir / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(work / f"replaced-{uuid4().hex[:8]}")
        (work / place).rename(target)


def _complete(out_dir: Path, rows: Sequence[Row]) -> None:
    """The files that make a folder a dataset."""
    write_dataset_description(out_dir, name="converted from DICOM", dataset_type="raw")
    ignored = sorted({f"*_{row.suffix}.*" for row in rows if row.suffix == "DCE"})
    if ignored:
        write_bidsignore(out_dir, ignored)
    if not (out_dir / "README").exists():
        write_text(out_dir / "README", README)
    path = out_dir / "participants.tsv"
    lines = read_bytes(path).decode().splitlines() if path.is_file() else ["participant_id"]
    there = {line.split("\t")[0] for line in lines}
    new = [name for name in dict.fromkeys(row.name.split("/")[0] for row in rows) if name not in there]
    rest = ["n/a"] * (len(lines[0].split("\t")) - 1)
    if new or not path.is_file():
        write_text(path, "\n".join([*lines, *("\t".join([name, *rest]) for name in new)]) + "\n")
