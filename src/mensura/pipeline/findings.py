"""What a stage's result tells: numbers for the record, and warnings in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from mensura.pipeline.step import Artifact, Frame, Outcome
from mensura.qmri.t2star import LONGEST
from mensura.qsm.phase import looks_filtered, phase_sign
from mensura.qsm.quality import offset_left
from mensura.scan import BoolArray, ScanError, Volume
from mensura.score import coverage

Volumes = Mapping[str, Volume]
Artifacts = Mapping[str, Any]

CLEAR = 0.3
"""Correlation beyond which the sign of the field is believed."""
DOUBT = 0.1
"""Negative correlation beyond which the user is told to look."""
DEEP, RICH, ENOUGH, COARSE = 0.09, 98, 50, 0.018
"""Where iron is looked for: distance from the mask's surface, percentile of R2*, least number of voxels, their size;
lengths relative to the cube root of the mask's volume (10 and 2 mm in a human brain)."""
DOUBTFUL = "the sign of the phase may run the other way: check that veins and deep nuclei are bright in χ"
TURNED = "the sign of the phase ran the other way and was turned: veins and iron are now positive"
OFFSET_LEFT = "the echoes disagree with phase ∝ TE: a phase offset was left in, remove it (--offset mcpc3ds)"
FILTERED = "the phase seems to be high-pass filtered: susceptibility will come out too small"


def plain(made: Volumes, used: Artifacts) -> Outcome:
    """A result as it is, with the count of voxels that failed."""
    first = next(iter(made.values())).data
    failed = int(np.isnan(first).sum()) if first.dtype.kind == "f" else 0
    return Outcome(made, {"NaNVoxels": failed} if failed else {})


def mask(made: Volumes, used: Artifacts, warnings: Sequence[str] = ()) -> Outcome:
    """The size of the mask, and what was noticed in the images. ScanError for an empty mask."""
    volume = made["mask"]
    voxels = int(volume.data.sum())
    if voxels == 0:
        raise ScanError("the mask is empty; give a mask of your own (--mask) or another --mask-method")
    if used.get("phase") is not None and looks_filtered(used["phase"].data, volume.data):
        warnings = (*warnings, FILTERED)
    millilitres = voxels * float(np.prod(volume.grid.voxel_size)) / 1000
    return Outcome(made, {"MaskVoxels": voxels, "MaskVolume": round(millilitres, 3)}, warnings)


def field(frame: Artifact, head: Artifact | None, made: Volumes, used: Artifacts) -> Outcome:
    """The total field the right way round: paramagnetic positive, as the field of the head itself tells."""
    inside = used["mask"].data
    relative = made["residual"].data[inside]
    statistics: dict[str, Any] = {
        "MedianResidual": float(np.nanmedian(relative)),
        "ResidualAbove0.3": round(100 * float(np.mean(relative > 0.3)), 2),
    }
    warnings = [OFFSET_LEFT] if _offset_left(made, used) else []
    if head is None:
        return Outcome(made, statistics, warnings)
    sign, correlation = _sign(frame.value(), made["total_field"], inside, head.value())
    clear = abs(correlation) > CLEAR
    statistics |= {"PhaseSign": sign if clear else None, "PhaseSignCorrelation": round(correlation, 3)}
    if sign > 0 or not clear:
        return Outcome(made, statistics, warnings + ([DOUBTFUL] if correlation < -DOUBT else []))
    turned = replace(made["total_field"], data=-made["total_field"].data)
    return Outcome({**made, "total_field": turned}, statistics, [*warnings, TURNED])


def _offset_left(made: Volumes, used: Artifacts) -> bool:
    """Whether the echoes still hold a phase that does not grow with the echo time."""
    return offset_left(
        used["unwrapped_phase"].data,
        made["total_field"].data,
        used["mask"].data,
        echo_times=used["echo_times"],
        hz_per_ppm=used["hz_per_ppm"],
    )


def _sign(frame: Frame, total_field: Volume, inside: BoolArray, head: Volume) -> tuple[int, float]:
    whole = np.full(frame.grid.shape, np.nan, np.float32)
    whole[frame.box] = np.where(inside, total_field.data, np.float32(np.nan))
    return phase_sign(whole, head.data, frame.grid)


def relaxation(made: Volumes, used: Artifacts) -> Outcome:
    """T2* beside R2*: its inverse, and no value where it would be longer than that of pure water; what corrected it."""
    rate, inside = made["r2star"].data, used["mask"].data
    measured = inside & (rate > 1 / LONGEST)
    time = np.where(inside, np.float32(np.nan), np.float32(0))
    time[measured] = 1 / rate[measured]
    statistics: dict[str, Any] = {
        "NaNVoxels": int(np.isnan(rate).sum()),
        "T2starNaNVoxels": int(np.isnan(time).sum()),
        "FieldGradientKnown": "total_field" in used and "hz_per_ppm" in used,
    }
    return Outcome({**made, "t2star": Volume(time, made["r2star"].grid, "s")}, statistics)


def background(made: Volumes, used: Artifacts) -> Outcome:
    """How much of the mask still has a value."""
    after = int(made["mask"].data.sum())
    if after == 0:
        raise ScanError("background removal left no voxel; use smaller radii, or a mask that is thicker")
    return Outcome(
        made, {"Coverage": round(coverage(made["mask"].data, used["mask"].data), 2), "MaskVoxels": after}
    )


def reference(made: Volumes, used: Artifacts) -> Outcome:
    """The mean and SD that the reference region had before its mean was subtracted, and the check on iron."""
    region = made["reference_region"].data & np.isfinite(used["chi"].data)
    values = used["chi"].data[region].astype(np.float64)
    statistics: dict[str, Any] = {
        "ReferenceVoxels": int(region.sum()),
        "ReferenceMean": float(values.mean()),
        "ReferenceSD": float(values.std()),
    }
    share = _paramagnetic_iron(used) if "r2star" in used else None
    if share is None:
        return Outcome(made, statistics)
    statistics["IronAboveMedian"] = round(100 * share, 1)
    return Outcome(made, statistics, [DOUBTFUL] if share < 0.4 else [])


def _paramagnetic_iron(used: Artifacts) -> float | None:
    """The share of the deep voxels of highest R2* whose χ is above the median: veins and iron, so most of them."""
    size = used["mask"].grid.voxel_size
    whole = float(np.count_nonzero(used["mask"].data) * np.prod(size)) ** (1 / 3)
    step = [max(1, int(COARSE * whole / edge)) for edge in size]
    rate, chi, mask = (
        used[n].data[tuple(slice(None, None, s) for s in step)] for n in ("r2star", "chi", "mask")
    )
    inside = np.pad(mask & np.isfinite(rate) & np.isfinite(chi), 1)
    depth = distance_transform_edt(inside, [s * edge for s, edge in zip(step, size, strict=True)])
    deep = depth[1:-1, 1:-1, 1:-1] > DEEP * whole
    if np.count_nonzero(deep) < ENOUGH * 100 / (100 - RICH):
        return None
    rich = deep & (rate > np.percentile(rate[deep], RICH))
    return float(np.mean(chi[rich] > np.median(chi[deep])))
