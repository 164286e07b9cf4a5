"""A table of results → the figure: accuracy against time, a panel for each stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from kit.ranking import average, known, largest
from kit.scoring import leading
from kit.table import Row, number

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = 3
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mensura",
}
WIDE = 8
MARKERS = {"true": "o", "chain": "D", "files": "s"}
SHARED: Mapping[str, str] = {"whole command": "background+dipole"}
"""A stage that is drawn in another one's panel."""


def draw(rows: Iterable[Row], path: Path) -> Path:
    """Draws the panels, at the largest sizes of the table, into a file (SVG, PNG …); its path."""
    found = [row for row in rows if row["status"] == "done" and row["stage"] != "simulate"]
    done = [row for row in largest(found) if row[leading(row["stage"]).column]] if found else []
    panels: dict[str, list[Row]] = {}
    for row in sorted(done, key=lambda row: row["stage"] in SHARED):
        panels.setdefault(SHARED.get(row["stage"], row["stage"]), []).append(row)
    with plt.rc_context(STYLE):
        count = max(math.ceil(len(panels) / COLUMNS), 1)
        size = (11, 3.1 * count + 0.7)
        figure, grid = plt.subplots(count, COLUMNS, figsize=size, layout="constrained", squeeze=False)
        for axes, (name, chosen) in zip(grid.flat, panels.items(), strict=False):
            panel(axes, name, chosen)
        for axes in list(grid.flat)[len(panels) :]:
            axes.axis("off")
        figure.suptitle(title(done))
        figure.legend(handles=legend(), loc="outside lower center", ncols=4, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return path


def panel(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    """One stage: seconds to the right, distance from perfect upwards, a colour for each method."""
    lead = leading(name)
    for colour, method in zip(COLOURS * 9, dict.fromkeys(row["method"] for row in rows), strict=False):
        axes.plot([], [], "o", color=colour, label=method)
        for source, marker in MARKERS.items():
            chosen = [row for row in rows if (row["method"], row["input"]) == (method, source)]
            if chosen:
                seconds = known(chosen, "seconds")
                errors = [abs(number(row, lead.column) - lead.perfect) for row in chosen]
                inner = "none" if source == "chain" else colour
                axes.plot(seconds, errors, marker, color=colour, alpha=0.4, markersize=3, linewidth=0)
                axes.plot(average(seconds), average(errors), marker, color=colour, mfc=inner, markersize=7)
    errors = [abs(number(row, lead.column) - lead.perfect) for row in rows]
    decorate(axes, name, [number(row, "seconds") for row in rows], errors)


def decorate(axes: Axes, name: str, seconds: Sequence[float], errors: Sequence[float]) -> None:
    """Axes, names and the panel's legend; errors of very different size are drawn in logarithms."""
    lead = leading(name)
    label = lead.label if lead.perfect == 0 else f"{lead.label}: distance from {lead.perfect:g}"
    axes.set_xscale("log")
    axes.set_xlim(max(min(seconds), 1e-4) / 3, max(seconds) * 3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if min(errors) * WIDE > max(errors):
        axes.set_ylim(0, max(errors) * 1.3)
    elif min(errors) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(name, fontweight="bold")
    axes.set_xlabel("s")
    axes.set_ylabel(fill(label, 34))
    axes.legend(fontsize=7.5, frameon=False, loc="best", handletextpad=0.2)


def title(rows: Sequence[Row]) -> str:
    """When, with what, at which sizes."""
    last = max(rows, key=lambda row: row["finished"], default=None)
    if last is None:
        return "No results"
    sizes = " and ".join(dict.fromkeys(row["shape"].replace("x", "×") for row in rows))
    return (
        f"Accuracy against time, {last['finished'][:10]}, mensura {last['mensura']} ({last['commit']}), "
        f"{last['threads']} threads, {sizes} voxels"
    )


def legend() -> list[Line2D]:
    """What the marks mean."""
    look: Any = {"linewidth": 0, "color": "#555555"}
    return [
        Line2D([], [], marker="o", label="given the truth", **look),
        Line2D([], [], marker="D", mfc="none", label="given what the default chain made", **look),
        Line2D([], [], marker="s", label="whole command, files to files", **look),
        Line2D([], [], marker="o", markersize=3, alpha=0.4, label="single conditions", **look),
    ]
