"""The NIfTI header: its bytes → a checked record, and a record → the header of an output file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import Grid, ScanError

Matrix = NDArray[np.float64]
LENGTH = 544
"""Bytes that hold any NIfTI header."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header says beyond shape and affine: how orientation and units are stated and data stored.

    `stored_type` is the type of the stored numbers, or "mixed" for stacked files that differ in type, slope
    or intercept (`slope` and `intercept` are then 1 and 0).
    """

    qform_code: int
    sform_code: int
    qform: Matrix | None
    sform: Matrix | None
    space_unit: str
    time_unit: str
    slope: float
    intercept: float
    stored_type: str

    @property
    def orientation_known(self) -> bool:
        """Whether the file says how its axes lie in the scanner, and so which way B0 points."""
        return self.qform_code > 0 or self.sform_code > 0


def parse(path: Path, start: bytes) -> Any:
    """The first bytes of a NIfTI-1 or NIfTI-2 file → nibabel's header; ScanError for anything else."""
    nibabel = _nibabel()
    if not start:
        raise ScanError(f"{path} is empty; copy or convert it again")
    if start[344:348] == b"ni1\0" or start[4:8] == b"ni2\0":
        raise ScanError(f"{path} is one half of a .hdr/.img pair; convert it to a single .nii.gz file")
    if start[344:348] == b"n+1\0":
        return nibabel.Nifti1Header.from_fileobj(io.BytesIO(start), check=False)
    if start[4:8] == b"n+2\0" and len(start) >= 540:
        return nibabel.Nifti2Header.from_fileobj(io.BytesIO(start), check=False)
    raise ScanError(f"{path} is not a NIfTI image; convert it to .nii.gz, for example with dcm2niix")


def image_shape(path: Path, raw: Any) -> tuple[int, ...]:
    """nibabel's header → three or four sizes; axes of one voxel beyond the third are dropped."""
    count = int(raw["dim"][0])
    shape = [int(n) for n in raw["dim"][1 : 1 + max(count, 0)]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    if not 1 <= count <= 7 or min(shape) < 1:
        dimensions = ", ".join(str(n) for n in raw["dim"])
        raise ScanError(f"{path} has a damaged header (dimensions {dimensions}); convert it again")
    if len(shape) > 4:
        raise ScanError(
            f"{path} has {len(shape)} dimensions ({times(shape)}); give 3D files, or 4D with the echoes last"
        )
    return tuple(shape)


def number_type(path: Path, raw: Any, complex_too: bool = False) -> np.dtype[Any]:
    """nibabel's header → the type of the stored numbers; ScanError for colours, and complex values if not wanted."""
    try:
        dtype: np.dtype[Any] = np.dtype(raw.get_data_dtype())
    except _header_error() as error:
        raise ScanError(f"{path} stores values of an unknown type ({error}); convert it again") from error
    if dtype.kind == "c" and not complex_too:
        raise ScanError(f"{path} holds complex values; save the real and the imaginary part as two files")
    if dtype.kind not in "iufc":
        raise ScanError(f"{path} holds colours, not numbers; give the image itself, not a picture of it")
    return dtype


def header_record(path: Path, raw: Any, complex_too: bool = False) -> Header:
    """nibabel's header → the record; a slope of 0 or NaN means that nothing is to be scaled."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if not math.isfinite(slope) or slope == 0:
        slope, intercept = 1.0, 0.0
    space_unit, time_unit = _units(raw)
    return Header(
        qform_code=max(int(raw["qform_code"]), 0),
        sform_code=max(int(raw["sform_code"]), 0),
        qform=_qform(path, raw),
        sform=np.asarray(raw.get_sform(), dtype=np.float64) if raw["sform_code"] > 0 else None,
        space_unit=space_unit,
        time_unit=time_unit,
        slope=slope,
        intercept=intercept if math.isfinite(intercept) else 0.0,
        stored_type=number_type(path, raw, complex_too).name,
    )


def image_grid(path: Path, raw: Any, shape: Sequence[int]) -> Grid:
    """nibabel's header → the grid: the sform where it is set, else the qform, else the voxel sizes."""
    try:
        return Grid((shape[0], shape[1], shape[2]), raw.get_best_affine())
    except (ScanError, ValueError) as error:
        raise ScanError(f"{path} has no usable affine in its header; convert it again from DICOM") from error


def common_header(headers: Sequence[Header]) -> Header:
    """Headers of stacked files → the first, with the storage of all if they agree on it."""
    storage = {(h.slope, h.intercept, h.stored_type) for h in headers}
    if len(storage) == 1:
        return headers[0]
    return replace(headers[0], slope=1.0, intercept=0.0, stored_type="mixed")


def header_bytes(stored: NDArray[Any], grid: Grid, header: Header | None) -> bytes:
    """The array to store, its grid and the input's header → the 352 bytes that go before the data."""
    out = _nibabel().Nifti1Header(endianness="<")
    out.set_data_dtype(stored.dtype)
    out.set_data_shape(stored.shape)
    out.set_zooms((*grid.voxel_size, *[1.0] * (stored.ndim - 3)))
    out.set_slope_inter(1, 0)
    out["vox_offset"] = 352
    if header is None:
        out.set_xyzt_units("mm", "sec")
        _set_orientation(out, grid.affine, grid.affine, codes=(1, 1))
    else:
        out.set_xyzt_units(header.space_unit, header.time_unit)
        _inherit_orientation(out, grid, header)
    return bytes(out.binaryblock) + b"\0\0\0\0"


def times(shape: Sequence[int]) -> str:
    """A shape → as people write it, 80×80×53."""
    return "×".join(str(n) for n in shape)


def _inherit_orientation(out: Any, grid: Grid, header: Header) -> None:
    """The input's codes and matrices; where the grid is no longer the input's, its affine in their place."""
    codes = (header.qform_code, header.sform_code)
    _set_orientation(out, header.qform, header.sform, codes=codes)
    if not np.allclose(out.get_best_affine(), grid.affine, rtol=0, atol=1e-3 * min(grid.voxel_size)):
        _set_orientation(out, grid.affine, grid.affine, codes=codes if any(codes) else (0, 2))


def _set_orientation(out: Any, qform: Matrix | None, sform: Matrix | None, *, codes: tuple[int, int]) -> None:
    if qform is not None and codes[0] > 0:
        out.set_qform(qform, codes[0])
    if sform is not None and codes[1] > 0:
        out.set_sform(sform, codes[1])


def _qform(path: Path, raw: Any) -> Matrix | None:
    if raw["qform_code"] <= 0:
        return None
    try:
        return np.asarray(raw.get_qform(), dtype=np.float64)
    except (_header_error(), ValueError) as error:
        raise ScanError(f"{path} has a damaged orientation ({error}); convert it again from DICOM") from error


def _units(raw: Any) -> tuple[str, str]:
    try:
        space, time = raw.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return str(space), str(time)


def _nibabel() -> Any:
    import nibabel

    return nibabel


def _header_error() -> type[Exception]:
    from nibabel.spatialimages import HeaderDataError

    return HeaderDataError
