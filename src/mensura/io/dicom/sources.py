"""A folder or zip archive → the files in it that may be DICOM; nothing outside of it is ever followed or written."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from shutil import copyfileobj, disk_usage
from tempfile import TemporaryDirectory
from typing import BinaryIO

from mensura.io.files import reading
from mensura.scan import ScanError


@dataclass(frozen=True)
class Source:
    """A file that can be read, and its name as the user knows it."""

    path: Path
    name: str


@dataclass
class Found:
    """The files of a folder or archive, and what was left out (what → how many, with an example)."""

    files: list[Source] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)


@contextmanager
def opened(place: Path) -> Iterator[Found]:
    """A folder, or a .zip (unpacked beside the system's temporary files while in use) → the files in it.

    ScanError where there is no such thing, or the archive is damaged, locked, or reaches outside itself.
    """
    place = Path(place)
    if place.is_dir():
        yield _in_folder(place.resolve())
    elif place.is_file() and zipfile.is_zipfile(place):
        with TemporaryDirectory(prefix="mensura-zip-") as folder:
            yield _unpacked(place, Path(folder))
    elif place.is_file() and _starts_as_archive(place):
        raise ScanError(f"{place} is a zip archive that was cut off; copy or pack it again")
    elif place.exists():
        raise ScanError(f"{place} is neither a folder nor a zip archive; give the folder of DICOM files")
    else:
        raise ScanError(f"{place} does not exist; check the path")


def _starts_as_archive(place: Path) -> bool:
    with reading(place) as file:
        return file.read(4) == b"PK\x03\x04"


def holds_dicom(place: Path) -> bool:
    """Whether a folder or archive is DICOM rather than BIDS: no dataset description, and a DICOM file in it."""
    if place.is_file():
        return zipfile.is_zipfile(place)
    if not place.is_dir() or (place / "dataset_description.json").is_file():
        return False
    return any(is_dicom(source.path) for source in _in_folder(place.resolve()).files)


def is_dicom(path: Path) -> bool:
    """Whether the file, itself or gzipped, has DICM at byte 128."""
    try:
        with unzipped(path) as file:
            return file.read(132)[128:] == b"DICM"
    except (ScanError, OSError, EOFError):
        return False


@contextmanager
def unzipped(path: Path) -> Iterator[BinaryIO]:
    """A file, gzipped or not → its content to read from."""
    import gzip

    with reading(path) as file:
        start = file.read(2)
        file.seek(0)
        if start == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as inner:
                yield inner  # type: ignore[misc]
        else:
            yield file


def _in_folder(root: Path) -> Found:
    found = Found()
    for folder, inner, names in os.walk(root, followlinks=False):
        for name in list(inner):
            if name.startswith(".") or (Path(folder) / name).is_symlink():
                inner.remove(name)
                if not name.startswith("."):
                    found.leave("links to folders, which are not followed", name)
        inner.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith("."):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                found.leave("links that lead out of the folder, which are not followed", name)
            elif path.is_file():
                found.files.append(Source(path, path.relative_to(root).as_posix()))
    return found


def _unpacked(archive: Path, folder: Path) -> Found:
    """The archive's files under numbers, so that no name in it can lead anywhere."""
    found = Found()
    try:
        with zipfile.ZipFile(archive) as opened_archive:
            members = [member for member in opened_archive.infolist() if not member.is_dir()]
            _check(archive, members, folder)
            for number, member in enumerate(members):
                if stat.S_ISLNK(member.external_attr >> 16):
                    found.leave("links in the archive, which are not followed", member.filename)
                    continue
                path = folder / f"{number:06d}"
                with opened_archive.open(member) as packed, open(path, "wb") as out:
                    copyfileobj(packed, out)
                found.files.append(Source(path, member.filename))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise ScanError(f"{archive} cannot be unpacked ({error}); copy or pack it again") from error
    return found


def _check(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise ScanError(
                f"{archive} holds a file that reaches outside the archive ({member.filename}); unpack it "
                "yourself if you trust it, and give the folder"
            )
        if member.flag_bits & 1:
            raise ScanError(f"{archive} is locked by a password; unpack it and give the folder")
    need, free = sum(member.file_size for member in members), disk_usage(folder).free
    if need > free:
        raise ScanError(f"{archive} unpacks to {need / 1e6:.0f} MB but {folder} has {free / 1e6:.0f} MB left")
