"""A table of results → rankings in Markdown: the methods of each stage, and the defaults under each condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from kit.scoring import leading
from kit.table import Row, number

LARGE = 0.7
"""Conditions with at least this share of the most voxels tell what a method costs."""
HEAD = ("method", "from the truth", "chain", "worst", "coverage %", "s", "GB", "compiling s", "failed")
COMMAND_SCORES = (
    "nrmse",
    "nrmse_detrended",
    "hfen",
    "xsim",
    "deep_grey_slope_error",
    "coverage",
    "seconds",
    "memory_gb",
)


def markdown(rows: Iterable[Row]) -> str:
    """The whole summary."""
    found = list(rows)
    if not found:
        return "The table is empty."
    names = [
        n for n in dict.fromkeys(row["stage"] for row in found) if n not in ("simulate", "whole command")
    ]
    parts = [headline(found), command(found), *(stage(found, name) for name in names), defaults(found, names)]
    return "\n\n".join(part for part in parts if part)


def headline(rows: Sequence[Row]) -> str:
    """Where the numbers come from, and what was not computed."""
    last = max(rows, key=lambda row: row["finished"])
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    failed = sum(row["status"] != "done" for row in rows)
    return (
        f"{len(rows)} rows, {failed} failed; {last['finished'][:10]}, mensura {last['mensura']} ({commits}), "
        f"{last['threads']} threads on {last['cores']} cores ({last['processor']}), Python {last['python']}, "
        f"numpy {last['numpy']}, numba {last['numba']}, ducc0 {last['ducc0']}."
    )


def command(rows: Sequence[Row]) -> str:
    """The whole command under each condition."""
    chosen = [row for row in rows if row["stage"] == "whole command"]
    lines = [
        [row["condition"], row["method"], *(cell(row, name) for name in COMMAND_SCORES)] for row in chosen
    ]
    return f"### The whole command\n\n{table(('condition', 'way', *COMMAND_SCORES), lines)}" if lines else ""


def stage(rows: Sequence[Row], name: str) -> str:
    """The methods of a stage, the best first: by the chain from the wrapped phase, or else from the truth."""
    chosen = [row for row in rows if row["stage"] == name]
    lead = leading(name)
    methods = dict.fromkeys(row["method"] for row in chosen)
    ranked = sorted(methods, key=lambda m: distance(_last_known(chosen, m, lead.column), lead.perfect))
    lines = [
        line([row for row in chosen if row["method"] == method], lead.column, lead.perfect)
        for method in ranked
    ]
    return f"### {name}: {lead.label}; {lead.perfect:g} is perfect\n\n{table(HEAD, lines)}"


def line(rows: Sequence[Row], column: str, perfect: float) -> list[str]:
    """One method: means over all conditions, costs at the largest."""
    truth, chain = of(rows, "true", column), of(rows, "chain", column)
    default = any(row["default"] == "yes" for row in rows)
    name = rows[0]["method"]
    costs = largest(rows)
    worst = max(chain or truth, key=lambda value: distance(value, perfect), default=math.nan)
    return [
        f"**{name}**" if default else name,
        short(average(truth)),
        short(average(chain)),
        short(worst),
        short(average(known(rows, "coverage"))),
        *(short(average(known(costs, column))) for column in ("seconds", "memory_gb", "compile_seconds")),
        str(sum(row["status"] != "done" for row in rows) or ""),
    ]


def defaults(rows: Sequence[Row], names: Sequence[str]) -> str:
    """How the default of each stage does under each condition, at the end of the chain before it."""
    conditions = dict.fromkeys(row["condition"] for row in rows)
    at = {
        (row["condition"], row["stage"]): row
        for row in rows
        if row["default"] == "yes" and (row["input"] == "chain" or row["stage"] == "mask")
    }
    lines = [
        [c, *(cell(at[c, n], leading(n).column) if (c, n) in at else "" for n in names)] for c in conditions
    ]
    return f"### The defaults under each condition, chained\n\n{table(('condition', *names), lines)}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells → a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def largest(rows: Sequence[Row]) -> list[Row]:
    """The rows of the largest conditions."""
    most = max(number(row, "voxels") for row in rows)
    return [row for row in rows if number(row, "voxels") >= LARGE * most]


def of(rows: Sequence[Row], source: str, column: str) -> list[float]:
    return known([row for row in rows if row["input"] == source], column)


def known(rows: Sequence[Row], column: str) -> list[float]:
    """The numbers of a column that there are."""
    return [value for row in rows if math.isfinite(value := number(row, column))]


def average(values: Sequence[float], by: Callable[[Sequence[float]], float] = mean) -> float:
    return by(values) if values else math.nan


def distance(value: float, perfect: float) -> float:
    """How far from perfect; what is not known comes last."""
    return abs(value - perfect) if math.isfinite(value) else math.inf


def cell(row: Row, column: str) -> str:
    return short(number(row, column)) if row["status"] == "done" else "failed"


def short(value: float) -> str:
    """Three digits; nothing for what is not known."""
    if not math.isfinite(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def _last_known(rows: Sequence[Row], method: str, column: str) -> float:
    chosen = [row for row in rows if row["method"] == method]
    return average(of(chosen, "chain", column) or of(chosen, "true", column))
