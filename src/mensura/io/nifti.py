"""NIfTI files: read into float32 arrays on a grid, and written with the affine and header they came with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io import header as headers
from mensura.io.compression import compressed, decompressed, first_bytes
from mensura.io.files import write_bytes
from mensura.io.header import Header
from mensura.scan import FloatArray, Grid, ScanError

FilePath = str | PathLike[str]


@dataclass(frozen=True, eq=False)
class Image:
    """An image as read: `data` (3D, or 4D with the echo last; slope and intercept applied) on its grid."""

    path: Path
    data: FloatArray
    grid: Grid
    header: Header


def read(path: FilePath, *, complex_too: bool = False) -> Image:
    """A .nii or .nii.gz file → its image, float32 (or complex64, if wanted and stored), C-contiguous, 3D or 4D.

    A slope of 0 or NaN means 1. ScanError for a file that is missing, truncated, not NIfTI, of more than four
    dimensions, of complex (unless `complex_too`) or colour values, or without a usable affine.
    """
    path = Path(path)
    content = decompressed(path)
    raw = headers.parse(path, content[: headers.LENGTH])
    shape = headers.image_shape(path, raw)
    grid, header = headers.image_grid(path, raw, shape), headers.header_record(path, raw, complex_too)
    stored = _stored(path, content, shape, (raw, headers.number_type(path, raw, complex_too)))
    return Image(path, scaled(stored, header.slope, header.intercept), grid, header)


def read_shape(path: FilePath) -> tuple[int, ...]:
    """A NIfTI file → the shape of its image (three or four sizes), from the header alone."""
    path = Path(path)
    return headers.image_shape(path, headers.parse(path, first_bytes(path, headers.LENGTH)))


def read_grid(path: FilePath) -> Grid:
    """A NIfTI file → the grid of its image, from the header alone."""
    path = Path(path)
    raw = headers.parse(path, first_bytes(path, headers.LENGTH))
    return headers.image_grid(path, raw, headers.image_shape(path, raw))


def holds_complex(path: FilePath) -> bool:
    """Whether a NIfTI file stores complex values, from the header alone."""
    path = Path(path)
    raw = headers.parse(path, first_bytes(path, headers.LENGTH))
    return headers.number_type(path, raw, complex_too=True).kind == "c"


def stack(paths: Sequence[FilePath], *, complex_too: bool = False) -> Image:
    """One file per echo, or one 4D file → one 4D image; ScanError names a file that does not fit."""
    if not paths:
        raise ScanError("no image files were given; give at least one .nii or .nii.gz file")
    first = read(paths[0], complex_too=complex_too)
    if len(paths) == 1:
        return replace(first, data=first.data if first.data.ndim == 4 else first.data[..., None])
    _check_single_volume(first)
    data = np.empty((*first.grid.shape, len(paths)), dtype=first.data.dtype)
    data[..., 0] = first.data
    records = [first.header]
    for echo, path in enumerate(paths[1:], start=1):
        image = read(path, complex_too=complex_too)
        _check_single_volume(image)
        check_same_grid(image, first)
        if image.data.dtype != data.dtype:
            raise ScanError(f"{image.path} and {first.path} are complex and real; give images of one kind")
        data[..., echo] = image.data
        records.append(image.header)
    return Image(first.path, data, first.grid, headers.common_header(records))


def alike(grid: Grid, reference: Grid) -> bool:
    """Whether two grids have one shape, and every corner lies within a tenth of a voxel."""
    near = grid.shape == reference.shape and corner_shift(grid, reference) <= 0.1 * min(reference.voxel_size)
    return bool(near)


def check_same_grid(image: Image, reference: Image) -> None:
    """Two images → nothing; ScanError if their shapes differ, or any corner by more than a tenth of a voxel.

    A file that does not state its orientation is compared by its shape alone.
    """
    if image.grid.shape != reference.grid.shape:
        raise ScanError(
            f"{image.path} has shape {headers.times(image.grid.shape)} but {reference.path} has "
            f"{headers.times(reference.grid.shape)}; give images of the same scan, or resample one of them"
        )
    if not (image.header.orientation_known and reference.header.orientation_known):
        return
    shift = corner_shift(image.grid, reference.grid)
    if not alike(image.grid, reference.grid):
        raise ScanError(
            f"{image.path} lies elsewhere than {reference.path} (affines differ by up to {shift:.3g} mm); "
            "give images of the same scan, or resample one of them"
        )


def corner_shift(a: Grid, b: Grid) -> float:
    """Two grids of the same shape → the farthest distance between their corresponding corners, mm."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape])).reshape(3, -1)
    difference = np.asarray(a.affine) - np.asarray(b.affine)
    moved = difference[:3, :3] @ corners + difference[:3, 3:]
    return float(np.linalg.norm(moved, axis=0).max())


def write(path: FilePath, array: NDArray[Any], grid: Grid, header: Header | None = None) -> None:
    """A 3D or 4D array on its grid → a .nii.gz (or .nii) file, written whole or not at all.

    Codes, units and both orientation matrices are those of `header`, the input's; without one, scanner
    coordinates in mm. Booleans and whole numbers of 0…255 are stored as uint8, everything else as float32.
    The bytes depend on the content alone. ScanError when the folder cannot be written to.
    """
    path = Path(path)
    if array.shape[:3] != grid.shape or array.ndim not in (3, 4):
        raise ScanError(
            f"{path.name} cannot hold an array of shape {array.shape} on a grid of shape {grid.shape}"
        )
    stored = _storable(array)
    start = headers.header_bytes(stored, grid, header)
    content = np.empty(len(start) + stored.nbytes, dtype=np.uint8)
    content[: len(start)] = np.frombuffer(start, dtype=np.uint8)
    _copy(stored, content[len(start) :].view(stored.dtype).reshape(stored.shape, order="F"))
    write_bytes(path, compressed(content.data) if path.suffix == ".gz" else content.data)


def _check_single_volume(image: Image) -> None:
    if image.data.ndim != 3:
        raise ScanError(
            f"{image.path} holds {image.data.shape[3]} volumes where one echo is expected; give one 3D file "
            "per echo or a single 4D file, and combine separate coil images first"
        )


def _stored(
    path: Path, content: bytes, shape: tuple[int, ...], header: tuple[Any, np.dtype[Any]]
) -> NDArray[Any]:
    """The numbers as stored, in the order of the file; `header`: nibabel's, and the type of the numbers."""
    raw, dtype = header
    offset = int(raw["vox_offset"]) or int(raw["sizeof_hdr"]) + 4
    needed = offset + math.prod(shape) * dtype.itemsize
    if len(content) < needed:
        raise ScanError(
            f"{path} is truncated ({len(content)} of the {needed} bytes its header promises); "
            "copy or convert it again"
        )
    return np.frombuffer(content, dtype, count=math.prod(shape), offset=offset).reshape(shape, order="F")


def scaled(stored: NDArray[Any], slope: float, intercept: float) -> FloatArray:
    """Stored numbers (Fortran order) → float32 or complex64 (C order), slope and intercept applied."""
    data: Any = np.empty(stored.shape, np.complex64 if np.iscomplexobj(stored) else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        _copy(stored, data)
        if slope != 1:
            data *= np.float32(slope)
        if intercept != 0:
            data += np.float32(intercept)
    return data  # type: ignore[no-any-return]


def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copies between C and Fortran order, plane by plane: three times as fast in 4D as one copy of it all."""
    if source.ndim == 3:
        source, target = source[..., None], target[..., None]
    for volume in range(source.shape[3]):
        for row in range(source.shape[1]):
            target[:, row, :, volume] = source[:, row, :, volume]


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    return np.asarray(array, dtype=np.float32)
