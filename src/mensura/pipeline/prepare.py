"""A scan as read → a scan to work on: finite, as magnitude and phase, a reconstruction's tricks undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mensura.io.scans import Scan
from mensura.qsm.phase import (
    from_real_imaginary,
    has_slice_chop,
    has_slice_jumps,
    is_constant,
    level_slices,
    sanitise,
    undo_slice_chop,
)
from mensura.scan import FloatArray, ScanError

IMAGES = ("phase", "magnitude", "real", "imaginary", "total_field", "local_field")


def prepare(scan: Scan) -> Scan:
    """A scan → the same with NaN and Inf set to 0, as magnitude and phase, level from slice to slice.

    What was done is added to its warnings. Raises ScanError for phase that is zero or constant.
    """
    scan = _polar(_finite(scan))
    if scan.phase is None:
        return scan
    if is_constant(scan.phase):
        raise ScanError(f"{_file(scan)}: the phase is the same in every voxel; export the phase images again")
    if scan.already_unwrapped:
        return _noted(scan, "the phase was unwrapped before; it is used as it is, without offset removal")
    if has_slice_chop(scan.phase, scan.magnitude):
        straight = replace(scan, phase=undo_slice_chop(scan.phase))
        return _noted(straight, "the phase flipped by π from slice to slice; this was undone")
    if has_slice_jumps(scan.phase, scan.magnitude):
        return _levelled(scan, scan.phase)
    return scan


def _levelled(scan: Scan, phase: FloatArray) -> Scan:
    """A scan whose slices had constants of their own, without them."""
    level = replace(scan, phase=level_slices(phase, scan.magnitude))
    lost = "" if phase.shape[3] > 1 else ", and with it the mean field of each slice"
    return _noted(level, f"the phase had another constant in every slice; it was taken off{lost}")


def _finite(scan: Scan) -> Scan:
    """Every image with 0 for what is no number; a field's missing voxels leave the mask as well."""
    clean: dict[str, Any] = {}
    notes = []
    for name in IMAGES:
        image = getattr(scan, name)
        if image is not None:
            clean[name], count = sanitise(image) if not np.isfinite(image).all() else (image, 0)
            if count:
                values = "1 value" if count == 1 else f"{count} values"
                notes.append(f"{values} of the {name.replace('_', ' ')} not finite (NaN, Inf), taken as 0")
    return _noted(replace(scan, **clean), *notes)


def _polar(scan: Scan) -> Scan:
    if scan.real is None or scan.imaginary is None:
        return scan
    magnitude, phase = from_real_imaginary(scan.real, scan.imaginary)
    files = (*scan.sources.get("real", ()), *scan.sources.get("imaginary", ()))
    sources = {"phase": files, "magnitude": files, **scan.sources}
    return replace(scan, magnitude=magnitude, phase=phase, real=None, imaginary=None, sources=sources)


def _file(scan: Scan) -> str:
    return str(next(iter(scan.sources.get("phase", ())), "the scan"))


def _noted(scan: Scan, *notes: str) -> Scan:
    return replace(scan, warnings=(*scan.warnings, *notes))
