"""Files as such: written whole or not at all, JSON records, and the digest of a file's content."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from mensura.scan import ScanError

REMEDIES = {
    errno.ENOSPC: "no space is left on the disk: free some, or choose another output folder",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another output folder",
    errno.EACCES: "permission denied: allow writing there, or choose another output folder",
    errno.EPERM: "permission denied: allow writing there, or choose another output folder",
    errno.EROFS: "the file system is read-only: choose another output folder",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another output folder",
    errno.EEXIST: "a part of that path is a file, not a folder: choose another output folder",
}


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A path → a binary file to write into, which takes the path's place only once it is complete.

    The data go under a temporary name in the same folder (made if need be). Whatever interrupts the writing,
    what lay at `path` before stays as it was and the temporary file is removed. An OSError becomes a
    ScanError that names the folder.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        reason = REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another output folder")
        raise ScanError(f"cannot write {path.name} into {path.parent}: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder → an empty one in it, whose files and folders move into the first once all of them are complete.

    What has the same name there is replaced, and stays as it was where the writing is interrupted; everything else
    stays. Errors as in `atomic`.
    """
    folder = Path(folder).absolute()
    temporary, new = folder / f".{uuid4().hex[:12]}.part", not folder.exists()
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for made in sorted(temporary.iterdir()):
            place = folder / made.name
            if place.exists() and (place.is_dir() or made.is_dir()):
                os.replace(place, temporary / f".{made.name}")
            os.replace(made, place)
    except OSError as error:
        reason = REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another output folder")
        raise ScanError(f"cannot write into {folder}: {reason}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if new:
            with suppress(OSError):
                folder.rmdir()


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Bytes → a file, written whole or not at all."""
    with atomic(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Text → a UTF-8 file, written whole or not at all."""
    write_bytes(path, text.encode())


def read_bytes(path: Path) -> bytes:
    """A file → its content; ScanError where it is missing or cannot be read."""
    with reading(path) as file:
        return file.read()


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A path → the binary file to read from; ScanError where it is missing or cannot be read."""
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        if Path(path).is_symlink():
            raise ScanError(f"{path} links to content that is not here; fetch it (datalad get)") from error
        raise ScanError(f"{path} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise ScanError(f"{path} is a folder where a file is needed; give the file in it") from error
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file → its record; ScanError names the file and the line where it is not readable."""
    try:
        record = json.loads(read_bytes(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ScanError(f"{path} is not text in UTF-8; save it again as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"{error.msg} in line {error.lineno}"
        raise ScanError(f"{path} is not valid JSON: {place}; correct that line") from error
    if not isinstance(record, dict):
        raise ScanError(f"{path} must hold a JSON object (names and values), not a {type(record).__name__}")
    return record


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """A record → a JSON file (order kept, NumPy values accepted, NaN as null), whole or not at all."""
    text = json.dumps(_plain(record), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def digest(path: Path) -> str:
    """A file → 32 hexadecimal digits that change whenever its content does (BLAKE2b, 128 bits)."""
    found = hashlib.blake2b(digest_size=16)
    with reading(path) as file:
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()


def _plain(value: Any) -> Any:
    """Values of NumPy, paths, tuples and mappings → what JSON can hold."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in items]
    return value
