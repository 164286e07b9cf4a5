"""From a run's images to what the page shows: mosaics, histograms, numbers, and what the checks need."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.report.checks import Facts
from mensura.report.colours import Scale
from mensura.report.maps import MAPS, MapKind, in_ppm, prepared, region, shown_scale
from mensura.report.mosaic import Layout, Picture, draw, lay_out
from mensura.report.plots import Histogram, Tick, histogram, scale_ticks
from mensura.report.results import Run
from mensura.report.text import number
from mensura.scan import BoolArray, FloatArray, Grid

BRAIN, LOCAL = "desc-brain_mask", "desc-local_mask"
HIGH_RESIDUAL = 0.3


@dataclass(frozen=True)
class Summary:
    """How a map's values are distributed inside its mask; `failed` voxels (NaN) are only counted."""

    voxels: int
    failed: int
    mean: float
    sd: float
    quartiles: tuple[float, float, float]
    extremes: tuple[float, float]  # first and last percentile


@dataclass(frozen=True)
class Panel:
    """One map on the page."""

    kind: MapKind
    picture: Picture
    scale: Scale
    ticks: tuple[Tick, ...]  # of the colour bar, in %
    remark: str
    summary: Summary | None
    histogram: Histogram | None


@dataclass(frozen=True)
class Measured:
    """All maps of a run, looked at: panels, grid (with B0 as recorded), and the facts for the checks."""

    panels: tuple[Panel, ...]
    grid: Grid
    facts: Facts


@dataclass(frozen=True)
class Frame:
    """What all panels of a run share."""

    grid: Grid
    layout: Layout
    brain: BoolArray | None
    local: BoolArray | None
    field_strength: float | None
    echo_times: tuple[float, ...]


def measure(run: Run) -> Measured:
    """A run → its panels and facts; ScanError for an image that cannot be read or lies on another grid."""
    frame = _frame(run)
    panels: list[Panel] = []
    facts = Facts(run, coverage=_coverage(run, frame))
    for kind, values in _shown(run, frame.grid):
        panel, inside = panel_of(kind, values, frame)
        facts = _noted(facts, panel, values, inside)
        panels.append(panel)
    return Measured(tuple(panels), frame.grid, facts)


def _frame(run: Run) -> Frame:
    """Masks, grid and layout; without a mask, the voxels of the first map that are not zero stand in."""
    first = nifti.read(next(run.images[n] for n in (BRAIN, LOCAL, *run.images) if n in run.images))
    masks: dict[str, BoolArray] = {}
    for name in (BRAIN, LOCAL):
        if name in run.images:
            image = first if run.images[name] == first.path else nifti.read(run.images[name])
            nifti.check_same_grid(image, first)
            masks[name] = image.data > 0.5
    shown = masks.get(BRAIN, masks.get(LOCAL))
    if shown is None:
        shown = np.asarray((first.data if first.data.ndim == 3 else first.data[..., 0]) != 0)
    grid = _with_b0(first.grid, run)
    times = run.acquisition.get("EchoTime") or ()
    return Frame(
        grid,
        lay_out(shown, grid),
        masks.get(BRAIN),
        masks.get(LOCAL),
        run.acquisition.get("MagneticFieldStrength"),
        tuple(np.atleast_1d(times).tolist()),
    )


def _with_b0(grid: Grid, run: Run) -> Grid:
    direction = run.acquisition.get("B0Direction")
    return grid if direction is None else replace(grid, b0_override=tuple(direction))


def _coverage(run: Run, frame: Frame) -> float | None:
    """Percentage of the mask that has a χ value, as recorded, or else as the two masks say."""
    recorded = run.statistic("Coverage")
    if recorded is not None:
        return float(recorded)
    if frame.brain is None or frame.local is None or not frame.brain.any():
        return None
    return float(100.0 * np.count_nonzero(frame.local & frame.brain) / np.count_nonzero(frame.brain))


def _shown(run: Run, grid: Grid) -> Iterator[tuple[MapKind, FloatArray]]:
    """Each map that the run has, as shown; the next image is read while the last one is drawn."""
    names = [name for name in dict.fromkeys(kind.name for kind in MAPS) if name in run.images]
    with ThreadPoolExecutor(1) as reader:
        pending = [reader.submit(nifti.read, run.images[name]) for name in names[:1]]
        for name, following in pairwise([*names, None]):
            image = pending.pop().result()
            if following is not None:
                pending.append(reader.submit(nifti.read, run.images[following]))
            nifti.check_same_grid(image, replace(image, path=Path("the mask"), grid=grid))
            for kind in (k for k in MAPS if k.name == name):
                yield kind, prepared(kind, image.data)


def panel_of(kind: MapKind, values: FloatArray, frame: Frame) -> tuple[Panel, BoolArray]:
    """A map → its panel, and the voxels its numbers come from."""
    shown = region(kind, values, frame.brain, frame.local)
    inside = frame.brain if kind.where == "all" and frame.brain is not None else shown
    found = values[inside]
    known = found[np.isfinite(found)]
    scale = shown_scale(kind, known, frame.field_strength)
    summary = _summary(known, found.size)
    panel = Panel(
        kind,
        draw(frame.layout, values, shown, scale, outline=frame.brain if kind.outline else None),
        scale,
        scale_ticks(scale.low, scale.high, kind.unit),
        _remark(kind, scale, frame),
        summary,
        None if summary is None else histogram(known, scale, summary.quartiles, kind.unit),
    )
    return panel, inside


def _remark(kind: MapKind, scale: Scale, frame: Frame) -> str:
    """What else belongs to the title: the range in ppm, or the echo time."""
    if kind.per_tesla:
        return in_ppm(scale, frame.field_strength)
    if kind.echo is not None and frame.echo_times:
        return f"TE {number(frame.echo_times[kind.echo] * 1e3, 4)} ms"
    return ""


def _summary(known: FloatArray, size: int) -> Summary | None:
    if not known.size:
        return None
    low, first, median, third, high = (float(q) for q in np.quantile(known, [0.01, 0.25, 0.5, 0.75, 0.99]))
    mean, sd = float(known.mean(dtype=np.float64)), float(known.std(dtype=np.float64))
    return Summary(known.size, size - known.size, mean, sd, (first, median, third), (low, high))


def _noted(facts: Facts, panel: Panel, values: FloatArray, inside: BoolArray) -> Facts:
    """The facts, with what one more map tells."""
    key, summary = panel.kind.key, panel.summary
    changes: dict[str, Any] = {}
    if summary is None or summary.failed:
        total = 1 if summary is None else summary.voxels + summary.failed
        share = 100.0 if summary is None else 100.0 * summary.failed / total
        changes["failed"] = {**facts.failed, panel.kind.title: share}
    if summary is not None and summary.sd == 0 and panel.kind.group == "maps":
        changes["constant"] = (*facts.constant, panel.kind.title)
    if key in ("chi_std", "field_error") and summary is not None:
        changes["noise"] = {**facts.noise, panel.kind.unit: summary.quartiles[1]}
    if key == "residual" and summary is not None:
        changes["high_residual"] = float(100.0 * np.mean(values[inside] > HIGH_RESIDUAL))
    if key == "unwrapped":
        changes["jumps"] = _jumps(values, inside)
    return replace(facts, **changes)


def _jumps(phase: FloatArray, inside: BoolArray) -> float | None:
    """Percentage of neighbouring voxels inside the mask whose unwrapped phase differs by more than π."""
    wide = pairs = 0
    for axis in range(3):
        ahead, behind = (
            tuple(s if a == axis else slice(None) for a in range(3)) for s in (slice(1, None), slice(-1))
        )
        both = inside[ahead] & inside[behind]
        wide += int(np.count_nonzero(np.abs(phase[ahead] - phase[behind])[both] > np.pi))
        pairs += int(np.count_nonzero(both))
    return 100.0 * wide / pairs if pairs else None
