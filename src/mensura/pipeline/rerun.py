"""The record of a map → the same map once more: are its sources what they were, and does it come out the same?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.files import digest, read_json
from mensura.pipeline.record import code_digest, versions
from mensura.scan import ScanError

RAW = "bids:raw:"


@dataclass(frozen=True)
class Record:
    """What is told of a map: its sidecar, the block that mensura wrote into it, and where its command was given."""

    sidecar: Path
    content: Mapping[str, Any]
    directory: Path

    @property
    def ours(self) -> Mapping[str, Any]:
        block: Mapping[str, Any] = self.content["Mensura"]
        return block

    @property
    def command(self) -> str:
        return str(self.ours["Command"])

    @property
    def words(self) -> Sequence[str]:
        """The command without its first word, which is mensura."""
        return shlex.split(self.command)[1:]

    @property
    def only(self) -> str:
        """What of `mensura run` makes it: "fits" of series, "runs" of gradient echoes, or what stems from both ("")."""
        return "fits" if "Model" in self.ours else "runs" if "Step" in self.ours else ""

    @property
    def image(self) -> Path:
        """The map that the sidecar belongs to."""
        return self.sidecar.with_suffix(".nii.gz")

    @property
    def sources(self) -> Mapping[str, str]:
        """Digests of the files that it was made of, by their BIDS URI or path."""
        found: Mapping[str, str] = self.ours.get("Inputs") or self.ours.get("Digests") or {}
        return found

    def labels(self, key: str) -> list[str]:
        """The subject or sessions of the map and of its sources (B1 may be that of another session), or none."""
        names = [parse(self.image), *map(parse, self.sources)]
        return sorted({name.entities[key] for name in names if name and key in name.entities})


@dataclass(frozen=True)
class Verdict:
    """Whether a map came out the same, in words, and what else is to be known."""

    same: bool
    words: str
    remarks: Sequence[str]


def read(sidecar: Path, directory: Path | None = None) -> Record:
    """A sidecar → its record; ScanError where it lacks what a repetition needs."""
    content = read_json(sidecar)
    block = content.get("Mensura")
    if not isinstance(block, Mapping):
        raise ScanError(
            f"{sidecar} was not written by mensura (it has no block of that name); give a map's JSON file"
        )
    if "Voxels" in content:
        raise ScanError(
            f"{sidecar} holds chosen voxels of a fit, which come with its maps; give a map's JSON file"
        )
    lacking = next((key for key in ("Command", "Digest") if not block.get(key)), None)
    if not lacking and not (block.get("Inputs") or block.get("Digests")):
        lacking = "Digests"
    if lacking:
        raise ScanError(
            f"{sidecar}: its record has no {lacking}, which a repetition needs; make the map again"
        )
    if directory is None and not block.get("Directory"):
        raise ScanError(
            f"{sidecar}: its record does not say where its command was given; add --directory DIR"
        )
    return Record(sidecar, content, (directory or Path(str(block.get("Directory")))).absolute())


def check(record: Record, dataset: Path | None) -> list[str]:
    """What has changed in the JSON files of the sources, whose every word need not matter.

    ScanError where a file is missing, or an image or the settings have changed.
    """
    metadata: Mapping[str, str] = record.ours.get("Metadata", {})
    told = {**record.sources, **record.ours.get("Settings", {}), **metadata}
    changed = []
    for name, before in told.items():
        path = _located(record, name, dataset)
        if path is None:
            continue
        if not path.is_file():
            raise ScanError(
                f"{path}, a source of {record.image.name}, is missing; bring it back, or see --directory"
            )
        if digest(path) != before:
            changed.append(f"{path} has changed since the map was made")
            if name not in metadata:
                raise ScanError(
                    f"{path}, a source of {record.image.name}, has changed since the map was made"
                )
    return changed


def _located(record: Record, name: str, dataset: Path | None) -> Path | None:
    """A source as it is recorded → its file; None for what the same command made on the way and makes again."""
    if name.startswith(RAW):
        if dataset is None:
            raise ScanError(
                f"{record.sidecar}: its sources are of a BIDS dataset that its command does not name"
            )
        return dataset / name.removeprefix(RAW)
    made = dataset is not None and name not in record.ours.get("Settings", {})
    return None if made else _moved(record, Path(name))


def _moved(record: Record, path: Path) -> Path:
    """A recorded path; if the command's folder was moved (--directory), the path within the new one."""
    before = Path(str(record.ours.get("Directory", record.directory)))
    return record.directory / path.relative_to(before) if path.is_relative_to(before) else path


def compare(record: Record, folder: Path) -> Verdict:
    """The map as it came out in a folder, beside the record and the map that it belongs to."""
    made = _again(record, folder)
    if made is None:
        return Verdict(False, f"{record.image.name} did not come out again", _remarks(record, None))
    remarks = _remarks(record, made)
    if digest(made) == record.ours["Digest"]:
        return Verdict(True, f"{record.image.name} came out the same, bit for bit", remarks)
    if not record.image.is_file():
        return Verdict(
            False, f"{record.image.name} came out with another digest, and lies no more beside it", remarks
        )
    return _difference(record, made, remarks)


def _again(record: Record, folder: Path) -> Path | None:
    """The file of that name, in a folder of that name: a series over time has its first volume's maps below its own."""
    found = sorted(
        folder.rglob(record.image.name), key=lambda path: path.parent.name != record.image.parent.name
    )
    return found[0] if found else None


def _difference(record: Record, made: Path, remarks: Sequence[str]) -> Verdict:
    before, now = nifti.read(record.image), nifti.read(made)
    name, unit = record.image.name, record.content.get("Units", "")
    if before.data.shape != now.data.shape or not np.array_equal(before.grid.affine, now.grid.affine):
        return Verdict(False, f"{name} came out on another grid", remarks)
    unequal = (before.data != now.data) & ~(np.isnan(before.data) & np.isnan(now.data))
    if not unequal.any():
        return Verdict(
            True, f"{name} came out with the same values, bit for bit; the file is packed otherwise", remarks
        )
    apart = np.abs(before.data.astype(float) - now.data)[unequal]
    lost = int(np.isnan(apart).sum())
    most = f"by up to {np.nanmax(apart):.3g} {unit}".rstrip() if lost < apart.size else ""
    gone = f"{lost} of them where one has no value" if lost else ""
    how = ", ".join(part for part in (most, gone) if part)
    return Verdict(False, f"{name} differs in {apart.size} of {now.data.size} voxels, {how}", remarks)


def _remarks(record: Record, made: Path | None) -> list[str]:
    """Versions, code and sidecars of the sources that are not what they were; a map that was changed afterwards."""
    before, now = record.ours.get("Versions", {}), versions()
    found = [
        f"{name} was {told}, is now {now[name]}"
        for name, told in before.items()
        if now.get(name, told) != told
    ]
    if record.ours.get("Code", code_digest()) != code_digest():
        found.append("the code of mensura has changed since the map was made")
    if record.image.is_file() and digest(record.image) != record.ours["Digest"]:
        found.append(f"{record.image.name} has been changed since it was made")
    again = read_json(made.with_name(record.sidecar.name)) if made else {}
    for block, words in (("Acquisition", "the acquisition"), ("Parameters", "the parameters")):
        told = record.content.get(block, record.ours.get(block))
        if again and again.get(block, again["Mensura"].get(block)) != told:
            found.append(f"{words} read from the JSON files of the sources are not those recorded")
    if record.ours.get("Key") and again and again["Mensura"].get("Key") != record.ours["Key"]:
        found.append(
            "the code, the acquisition or the parameters of a step have changed since the map was made"
        )
    return found
