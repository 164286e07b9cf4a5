"""A stack → a folder that holds its images alone, as the converter reads them; and the converter's run on it."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mensura.io.dicom.sources import unzipped
from mensura.io.dicom.stacks import Stack
from mensura.scan import ScanError

READABLE = {
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91)),
}
"""Transfer syntaxes that dcm2niix reads: native, RLE, JPEG, JPEG-LS, JPEG 2000."""
LOSSY = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91)}
FLAGS = ("-g", "i", "-b", "y", "-ba", "y", "-z", "n", "-x", "i", "-p", "y", "-w", "1", "-f", "image")
"""Own defaults, sidecars without names, no compression, no cropping or turning, floating-point scaling."""
SECONDS = 900


def cannot_decode(syntax: str) -> str:
    """Why images of a transfer syntax cannot be read here; empty if they can."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    if syntax in READABLE:
        return ""
    name = UID(syntax).name
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        return "" if UID(syntax) == "1.2.840.10008.1.2.1.99" else _undecodable(name)
    return "" if decoder.is_available else _undecodable(name)


def _undecodable(name: str) -> str:
    return f"stored as {name}, which nothing here can decode; export it uncompressed, or install a decoder for pydicom"


def converted(stack: Stack, folder: Path) -> Path:
    """A stack and an empty folder → the converter's NIfTI file in it, with its record beside. ScanError if it fails."""
    inside, outside = folder / "in", folder / "out"
    inside.mkdir(parents=True)
    stage(stack, inside)
    for merge in ("2", "y"):
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        said = _run(inside, outside, merge)
        made = sorted(outside.glob("*.nii"))
        if len(made) == 1:
            return made[0]
    what = f"{len(made)} images instead of one" if made else "no image"
    raise ScanError(
        f"dcm2niix made {what} of series {stack.series.number} ({stack.first.name} and others): {_last(said)}; "
        "export the series again, uncompressed"
    )


def _run(inside: Path, outside: Path, merge: str) -> str:
    import dcm2niix

    command = [dcm2niix.bin, *FLAGS, "-m", merge, "-o", str(outside), str(inside)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ScanError(f"dcm2niix has not ended after {SECONDS} s; convert fewer images at once") from error
    except OSError as error:
        raise ScanError(
            f"dcm2niix cannot be started ({error.strerror}); install it again: pip install dcm2niix"
        ) from error
    return done.stdout + done.stderr


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and "seconds" not in line]
    return lines[-1].strip() if len(lines) > 1 else "it said nothing"


def stage(stack: Stack, folder: Path) -> None:
    """Links or copies the stack's images into a folder; files that hold other images as well are taken apart."""
    files: dict[Path, list[int]] = defaultdict(list)
    for frame in stack.frames:
        files[frame.path].append(frame.number)
    for count, (path, numbers) in enumerate(files.items()):
        target = folder / f"{count:06d}.dcm"
        if stack.series.multiframe and len(numbers) < _frames_in(path):
            _subset(path, sorted(numbers), target)
        elif stack.series.syntax not in READABLE:
            _decoded(path, target)
        else:
            _linked(path, target)


def _linked(path: Path, target: Path) -> None:
    with unzipped(path) as file:
        if hasattr(file, "fileobj"):
            with open(target, "wb") as out:
                shutil.copyfileobj(file, out)
            return
    try:
        target.symlink_to(path)
    except OSError:
        shutil.copyfile(path, target)


def _frames_in(path: Path) -> int:
    return int(whole(path, pixels=False).get("NumberOfFrames") or 1)


def whole(path: Path, pixels: bool = True) -> Any:
    """A file → pydicom's data set."""
    from pydicom import dcmread

    with warnings.catch_warnings(), unzipped(path) as file:
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(file.read()), stop_before_pixels=not pixels)


def _decoded(path: Path, target: Path) -> None:
    data = whole(path)
    _decompress(path, data)
    _save(data, target)


def _decompress(path: Path, data: Any) -> None:
    from pydicom.uid import ExplicitVRLittleEndian

    if not data.file_meta.TransferSyntaxUID.is_compressed or data.file_meta.TransferSyntaxUID.is_deflated:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.decompress(generate_instance_uid=False)
    except Exception as error:
        raise ScanError(f"{path.name} cannot be decompressed ({error}); export it uncompressed") from error


def _subset(path: Path, numbers: Sequence[int], target: Path) -> None:
    """A multi-frame file → one with some of its frames."""
    data = whole(path)
    _decompress(path, data)
    size = int(data.Rows) * int(data.Columns) * int(data.BitsAllocated) // 8
    data.PixelData = b"".join(data.PixelData[n * size : (n + 1) * size] for n in numbers)
    groups = data.PerFrameFunctionalGroupsSequence
    data.PerFrameFunctionalGroupsSequence = [groups[n] for n in numbers]
    data.NumberOfFrames = len(numbers)
    _save(data, target)


def _save(data: Any, target: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(target, enforce_file_format=False)
