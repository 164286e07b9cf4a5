"""Geometry of the small plots: what the page's SVG templates draw, in units of the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mensura.report.colours import Scale
from mensura.report.text import number
from mensura.scan import FloatArray

WIDTH, HEIGHT = 260.0, 110.0
BINS = 104


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Histogram:
    """How the values are distributed over the display's range; counts beyond it are given as percentages."""

    path: str
    ticks: tuple[Tick, ...]
    median: float
    box: tuple[float, float]
    below: float
    above: float
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True)
class Curve:
    """A falling quantity over iterations on a logarithmic scale."""

    path: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    last: tuple[float, float]
    width: float = 320.0
    height: float = 150.0


def histogram(values: FloatArray, scale: Scale, quartiles: Sequence[float], unit: str = "") -> Histogram:
    """Finite values, the range shown and (25 %, median, 75 %) → the histogram."""
    low, high = scale.low, scale.high
    steps = (values - np.float32(low)) * np.float32(BINS / (high - low))
    counts = np.bincount(np.floor(np.clip(steps, -1, BINS)).astype(np.int16) + 1, minlength=BINS + 2)
    shown = counts[1 : BINS + 1]
    tops = HEIGHT * (1 - shown / max(1, shown.max()))
    step = WIDTH / BINS
    path = f"M0 {HEIGHT:g}" + "".join(f"V{top:.1f}H{(i + 1) * step:g}" for i, top in enumerate(tops))
    first, median, third = (_place(q, low, high) for q in quartiles)
    share = 100.0 / max(1, values.size)
    return Histogram(
        f"{path}V{HEIGHT:g}Z",
        tuple(Tick(_place(at, low, high), label) for at, label in _ticks(low, high, unit)),
        median,
        (first, third),
        float(counts[0] * share),
        float(counts[-1] * share),
    )


def scale_ticks(low: float, high: float, unit: str = "") -> tuple[Tick, ...]:
    """A range → the ticks of its colour bar, placed in %."""
    return tuple(Tick(100 * (at - low) / (high - low), label) for at, label in _ticks(low, high, unit))


def _ticks(low: float, high: float, unit: str) -> list[tuple[float, str]]:
    """Round numbers of a range; of a phase, its ends as multiples of π."""
    if unit != "rad":
        return [(t, number(t)) for t in nice_ticks(low, high, 5)]
    turns = [round(end / np.pi) for end in (low, high)]
    words = [f"{'−' if n < 0 else ''}{abs(n) if abs(n) > 1 else ''}π" for n in turns]
    return [(low, words[0]), (0.0, "0"), (high, words[1])]


def _place(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1) * WIDTH)


def curve(history: Sequence[float]) -> Curve:
    """Relative changes, one for each iteration → the curve; values that are not positive are left out."""
    empty = Curve("", (), (), (0.0, 0.0))
    points = [(i + 1, np.log10(v)) for i, v in enumerate(history) if np.isfinite(v) and v > 0]
    if not points:
        return empty
    bottom = np.floor(min(y for _, y in points))
    top = max(np.ceil(max(y for _, y in points)), bottom + 1)
    end = max(points[-1][0], 2)
    place = [
        ((x - 1) / (end - 1) * empty.width, (top - y) / (top - bottom) * empty.height) for x, y in points
    ]
    decades = range(int(bottom), int(top) + 1, max(1, int(top - bottom) // 4))
    return Curve(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in place),
        tuple(Tick((t - 1) / (end - 1) * empty.width, number(t)) for t in _whole_ticks(end)),
        tuple(Tick((top - d) / (top - bottom) * empty.height, number(10.0**d)) for d in decades),
        place[-1],
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """A range → round numbers in it, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(f for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _whole_ticks(end: int) -> list[int]:
    inner = [round(t) for t in nice_ticks(0, end, 5) if 1 < t <= end and float(t).is_integer()]
    return [1, *inner]
