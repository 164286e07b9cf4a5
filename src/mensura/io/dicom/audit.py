"""Converted images are held against their DICOM files: where every voxel lies, and what it is worth."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.dicom.frames import Frame
from mensura.io.dicom.stacks import Stack
from mensura.io.dicom.staging import whole
from mensura.io.nifti import Image
from mensura.scan import FloatArray, Grid, ScanError

NEAR = 1e-3
"""mm by which a corner of the image may be elsewhere than DICOM says."""
LOOK = "look at its files with dcm2niix"
CLOSE = {"phase": 1e-3}
LIKE = 1e-4
"""Part of the largest value by which values may differ; in phase more, for its slopes are rounded (3142 mrad for π)."""
Flips = tuple[bool, bool, bool]


def audited(stack: Stack, image: Image) -> tuple[Stack, Image, float]:
    """A stack and what was made of it → the stack with its volumes in the image's order, the image, and the farthest
    distance of a corner from where DICOM puts it (mm).

    Where the scaling changes from slice to slice, or is that of a map of Philips, which the converter does not follow,
    the values are those of the DICOM files. ScanError if a corner is off by more than `NEAR`, or the middle slice is
    not what its file says.
    """
    first = stack.first
    expected = _of_mosaic(first) if first.mosaic else stack.affine()
    _check_shape(stack, image)
    flips, distance = _orientation(expected, np.asarray(image.grid.affine), image.grid.shape)
    if distance > NEAR:
        raise ScanError(
            f"series {stack.series.number}: the converted image lies {distance:.3g} mm from where {first.name} "
            "puts it; export the series again, or look at its positions"
        )
    if first.mosaic:
        return stack, image, distance
    if any(stack.b_values):
        stack = _in_order(stack, image, flips)
    scaled = {(frame.scaling, frame.scale_slope) for frame in stack.frames}
    if len(scaled) > 1 or (_is_map(first) and first.scale_slope):
        header = replace(image.header, slope=1.0, intercept=0.0, stored_type="float32")
        return stack, replace(image, data=_filled(stack, image, flips), header=header), distance
    _check_values(stack, image, flips)
    return stack, image, distance


def _check_shape(stack: Stack, image: Image) -> None:
    """ScanError unless the image has the voxels and volumes of the stack; the tiles of a mosaic are not counted."""
    first, (columns, rows, slices) = stack.first, image.grid.shape
    if not first.mosaic and ((rows, columns) != first.shape or slices != len(stack.volumes[0])):
        raise ScanError(
            f"series {stack.series.number} became {columns}×{rows}×{slices} voxels, not "
            f"{first.shape[1]}×{first.shape[0]}×{len(stack.volumes[0])}; {LOOK}"
        )
    volumes = 1 if image.data.ndim == 3 else image.data.shape[3]
    if volumes != stack.times:
        raise ScanError(f"series {stack.series.number} became {volumes} volumes, not {stack.times}; {LOOK}")


def _in_order(stack: Stack, image: Image, flips: Flips) -> Stack:
    """Diffusion-weighted volumes, which the converter may sort by their weighting, in its order: by the middle slices,
    each divided by its size, since scalings may differ. The stack as it is, where these do not tell the order."""
    middle = len(stack.volumes[0]) // 2
    ours = list(_decoded([volume[middle] for volume in stack.volumes]))
    if any(values is None for values in ours):
        return stack
    made = _as_stored(image.data, flips)[:, :, middle].reshape(-1, stack.times).T
    alike = _units(np.stack([values.T.ravel() for values in ours if values is not None])) @ _units(made).T
    order = np.argmax(alike, axis=0)
    if len(set(order)) < stack.times or alike.max(axis=0).min() < 1 - LIKE:
        return stack
    return replace(stack, volumes=tuple(stack.volumes[place] for place in order))


def _units(rows: NDArray[Any]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = rows.astype(np.float64)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    return values


def affine_errors(stack: Stack, grid: Grid) -> float:
    """A stack and the grid of what was made of it → the farthest distance between their corners (mm)."""
    return _orientation(stack.affine(), np.asarray(grid.affine), grid.shape)[1]


def _orientation(dicom: NDArray[Any], made: NDArray[Any], shape: tuple[int, ...]) -> tuple[Flips, float]:
    """How axes run against those of DICOM, and how far corners lie apart at most."""
    ends = np.array(list(itertools.product(*[(0, size - 1) for size in shape])), float)
    found = []
    for flips in itertools.product((False, True), (False, True), (False, True)):
        turned = np.where(flips, np.array(shape) - 1 - ends, ends)
        apart = (turned @ dicom[:3, :3].T + dicom[:3, 3]) - (ends @ made[:3, :3].T + made[:3, 3])
        found.append((float(np.linalg.norm(apart, axis=1).max()), flips))
    distance, flips = min(found)
    return flips, distance


def physical(frame: Frame, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Stored numbers → what they stand for, by the header; those of Philips also by its own scale slope.

    (stored·slope + intercept) / (slope·scale slope) compares between images of one scan; without the scale slope,
    stored·slope + intercept does not (Chenevert et al. 2014, doi:10.1593/tlo.13811). Maps that the scanner made hold
    stored·slope + intercept of their unit.
    """
    slope, intercept = frame.scaling
    values = pixels.astype(np.float64) * slope + intercept
    return values / (slope * frame.scale_slope) if frame.scale_slope and not _is_map(frame) else values


def _is_map(frame: Frame) -> bool:
    return frame.kind in ("field", "made")


def _check_values(stack: Stack, image: Image, flips: Flips) -> None:
    volume, middle = stack.volumes[-1], len(stack.volumes[-1]) // 2
    expected = next(_decoded(volume[middle : middle + 1]))
    if expected is None:
        return
    data = image.data if image.data.ndim == 3 else image.data[..., -1]
    made = _as_stored(data, flips)[:, :, middle].T
    largest = max(float(np.abs(expected).max()), 1e-30)
    apart = float(np.abs(made - expected).max()) / largest
    if apart > CLOSE.get(stack.kind, LIKE):
        raise ScanError(
            f"series {stack.series.number}: values of the converted image differ by {100 * apart:.3g} % from those of "
            f"{volume[middle].name}; the scaling in its header contradicts itself, export it again"
        )


def _as_stored(data: NDArray[Any], flips: Flips) -> NDArray[Any]:
    """The volume (a view) with its axes running as in DICOM: column, row, slice."""
    return data[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1, :: -1 if flips[2] else 1]


def _filled(stack: Stack, image: Image, flips: Flips) -> FloatArray:
    """The values of the DICOM files, each by its own scaling, in the order of the image."""
    data = np.empty_like(image.data)
    for time, volume in enumerate(stack.volumes):
        target = _as_stored(data if data.ndim == 3 else data[..., time], flips)
        for place, values in enumerate(_decoded(volume)):
            if values is None:
                raise ScanError(f"{volume[place].name} cannot be decoded; export it uncompressed")
            target[:, :, place] = values.T
    return data


def _decoded(frames: Sequence[Frame]) -> Iterator[NDArray[np.float64] | None]:
    """The values of frames; None where pydicom has no decoder."""
    path, pixels = None, None
    for frame in frames:
        if frame.path != path:
            path = frame.path
            try:
                pixels = whole(path).pixel_array
            except (NotImplementedError, RuntimeError, ValueError, AttributeError):
                pixels = None
        if pixels is None:
            yield None
        else:
            yield physical(frame, pixels[frame.number] if pixels.ndim == 3 else pixels)


def _of_mosaic(frame: Frame) -> NDArray[np.float64]:
    """Column, row and slice of the first tile → mm (RAS), by nibabel's reading of the Siemens header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import dicomwrappers

        wrapped: Any = dicomwrappers.wrapper_from_data(whole(frame.path))  # type: ignore[no-untyped-call]
    affine = np.asarray(wrapped.affine, np.float64)
    return np.diag([-1.0, -1, 1, 1]) @ affine[:, [1, 0, 2, 3]]
