"""Geometry of the plots of fitted maps: values of each tissue against published bands, and the curves of voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.report.colours import Scale
from mensura.report.plots import Tick, nice_ticks
from mensura.report.published import Band
from mensura.report.text import number, thousands, with_error

ROW_WIDTH, ROW_HEIGHT, TALL = 460.0, 30.0, 90.0
BINS = 92
WIDTH, HEIGHT = 300.0, 170.0
ROOM = 0.06
"""Of the range of the signal, left free above and below."""

Values = NDArray[Any]


@dataclass(frozen=True)
class BandBox:
    """A published band in the drawing: where it begins, and how wide it is (0: a line)."""

    tissue: str
    at: float
    width: float


@dataclass(frozen=True)
class Row:
    """How the values of one tissue lie in the range of the map."""

    name: str
    path: str
    median: float
    bands: tuple[BandBox, ...]
    numbers: Mapping[str, str]
    height: float
    width: float = ROW_WIDTH


@dataclass(frozen=True)
class VoxelPlot:
    """One voxel: data, rejected points, curve and its interval, in units of the drawing."""

    why: str
    caption: str
    estimate: str
    dots: tuple[tuple[float, float], ...]
    crosses: tuple[tuple[float, float], ...]
    curve: str
    interval: str
    zero: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str
    width: float = WIDTH
    height: float = HEIGHT


def row(name: str, values: Values, scale: Scale, bands: Sequence[Band], tall: bool = False) -> Row:
    """Finite values of a tissue, the map's range and the bands to draw behind → the row."""
    height = TALL if tall else ROW_HEIGHT
    counts, _ = np.histogram(np.clip(values, scale.low, scale.high), BINS, (scale.low, scale.high))
    if not tall:
        counts[[0, -1]] = np.minimum(counts[[0, -1]], counts[1:-1].max(initial=1))
    tops = height * (1 - 0.94 * counts / max(1, counts.max()))
    step = ROW_WIDTH / BINS
    path = "".join(f"V{top:.1f}H{(i + 1) * step:.5g}" for i, top in enumerate(tops))
    low, median, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return Row(
        name,
        f"M0 {height:g}{path}V{height:g}Z",
        _across(median, scale),
        tuple(_box(band, scale) for band in bands),
        {
            "median": number(median),
            "quartiles": f"{number(low)} to {number(high)}",
            "published": ", ".join(_words(band) for band in bands) if not tall else "",
            "voxels": thousands(values.size),
        },
        height,
    )


def _across(value: float, scale: Scale) -> float:
    return float(np.clip((value - scale.low) / (scale.high - scale.low), 0, 1) * ROW_WIDTH)


def _box(band: Band, scale: Scale) -> BandBox:
    start, stop = _across(band.low, scale), _across(band.high, scale)
    return BandBox(band.tissue, start, stop - start)


def _words(band: Band) -> str:
    return number(band.low) if band.low == band.high else f"{number(band.low)} to {number(band.high)}"


def band_words(band: Band) -> str:
    """A band → "white matter 0.788 to 0.888"."""
    return f"{band.tissue} {_words(band)}"


def row_ticks(scale: Scale) -> tuple[Tick, ...]:
    """The ticks below the rows."""
    return tuple(Tick(_across(t, scale), number(t)) for t in nice_ticks(scale.low, scale.high, 6))


@dataclass(frozen=True)
class Window:
    """The ranges of a plot's axes."""

    left: float
    right: float
    bottom: float
    top: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A point → where it is drawn."""
        across = (x - self.left) / (self.right - self.left)
        return across * WIDTH, (self.top - y) / (self.top - self.bottom) * HEIGHT

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Points → the `d` of a path; what lies far outside is drawn at the window's edge."""
        span = self.top - self.bottom
        inside = np.clip(ys, self.bottom - span, self.top + span)
        placed = [self.place(x, y) for x, y in zip(xs, inside, strict=True)]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)


def voxel_plot(voxel: Mapping[str, Any], record: Mapping[str, Any], units: Mapping[str, str]) -> VoxelPlot:
    """A chosen voxel, the record it stands in, and the unit of each map → its plot."""
    xs = np.asarray(record["Points"], float)
    ys = np.array([np.nan if v is None else v for v in voxel["Data"]], float)
    weights = np.asarray(voxel.get("Weights") or np.ones(ys.size), float)
    curve = voxel.get("Curve") or {}
    window = _window(xs, ys, curve)
    points = [(window.place(x, y), w > 0) for x, y, w in zip(xs, ys, weights, strict=True) if np.isfinite(y)]
    unit = record["Varied"]["Units"].replace("deg", "°")
    name = record["Varied"]["Name"]
    return VoxelPlot(
        str(voxel["Why"]),
        "voxel " + ", ".join(str(i) for i in voxel["Index"]),
        _estimate(voxel, units),
        tuple(place for place, kept in points if kept),
        tuple(place for place, kept in points if not kept),
        window.line(curve["Points"], curve["Signal"]) if curve else "",
        _interval(curve, window),
        window.place(0, 0)[1] if window.bottom < 0 < window.top else None,
        tuple(Tick(window.place(t, 0)[0], number(t)) for t in _x_ticks(window, name)),
        tuple(Tick(window.place(0, t)[1], number(t)) for t in nice_ticks(window.bottom, window.top, 4)),
        f"{name}, {unit}" if unit else name,
    )


def _x_ticks(window: Window, name: str) -> list[float]:
    ticks = nice_ticks(window.left, window.right, 5)
    return [t for t in ticks if t.is_integer()] if name in ("image", "point") else ticks


def _window(xs: Values, ys: Values, curve: Mapping[str, Any]) -> Window:
    """Room for all points and the curve; the interval may be cut off."""
    across = np.concatenate([xs, curve.get("Points") or []])
    up = np.concatenate([ys[np.isfinite(ys)], curve.get("Signal") or [], [0.0]])
    left, right = float(across.min()), float(across.max())
    if "Points" not in curve:
        left, right = left - 0.1 * (right - left or 1), right + 0.1 * (right - left or 1)
    bottom, top = float(up.min()), float(up.max())
    room = ROOM * (top - bottom or 1)
    return Window(left, right, bottom - (room if bottom < 0 else 0), top + room)


def _interval(curve: Mapping[str, Any], window: Window) -> str:
    """The polygon between both ends of the interval; none where they are not known."""
    low, high = curve.get("Low") or [None], curve.get("High") or [None]
    if None in low or None in high:
        return ""
    there = window.line(curve["Points"], high)
    back = window.line(curve["Points"][::-1], low[::-1])
    return f"{there}L{back[1:]}Z"


def _estimate(voxel: Mapping[str, Any], units: Mapping[str, str]) -> str:
    """Values ± standard deviations with units, or why there are none."""
    if all(value is None for value in voxel["Values"].values()):
        return f"no value: {voxel['Ended']}"
    found = []
    for name, value in voxel["Values"].items():
        unit = units.get(name, "")
        shown = with_error(value, voxel["StandardDeviations"].get(name))
        found.append(f"{name.removesuffix('map')} {shown} {unit}".strip())
    return ", ".join(found)
