"""Maps → DICOM files: every kind of image that a map is written as."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mensura.io.dicom.derived import Derived
from mensura.io.dicom.mr_image import mr_images
from mensura.io.dicom.parametric_map import parametric_map
from mensura.io.dicom.source import Source
from mensura.scan import ScanError


def _one(derived: Derived, source: Source, number: int) -> Iterator[Any]:
    yield parametric_map(derived, source, number)


KINDS: Mapping[str, Callable[[Derived, Source, int], Iterator[Any]]] = {"pm": _one, "mr": mr_images}
"""Parametric Map, one file; MR images, a file for each slice."""


def write_map(folder: Path, derived: Derived, source: Source, *, kind: str, number: int) -> list[Path]:
    """A map → the files of one series of that kind in the folder, each checked as DICOM asks on writing.

    ScanError where the source's header does not allow it.
    """
    import pydicom

    folder.mkdir(parents=True, exist_ok=True)
    settings, files = pydicom.config.settings, []
    before = settings.writing_validation_mode
    try:
        settings.writing_validation_mode = pydicom.config.RAISE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for index, image in enumerate(KINDS[kind](derived, source, number), start=1):
                files.append(folder / f"{index:04d}.dcm")
                image.save_as(files[-1], enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(
            f"{derived.name} cannot be written as DICOM after the header of its source "
            f"(series {source.series[0].number}): {error}; correct that header"
        ) from error
    finally:
        settings.writing_validation_mode = before
    return files
