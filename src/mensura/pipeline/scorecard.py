"""The scores of one map with what they were made from: as JSON, as TSV, and as tables on the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import mensura
from mensura.io.files import write_json, write_text
from mensura.scan import ScanError
from mensura.score import Calibration, Score

COLUMNS: Mapping[str, str] = {
    "nrmse": "NRMSE",
    "nrmse_detrended": "detrended",
    "bias": "bias",
    "bias_relative": "bias",
    "median_error": "median",
    "rmse": "RMSE",
    "wsd": "wSD",
    "wcv": "wCV",
    "limits": "95 % limits",
    "correlation": "r",
}
"""Scores that every region has, as columns of the first table, with their headings."""
CALIBRATION: Mapping[str, str] = {
    "interval_coverage": "in the 95 %\ninterval",
    "calibration_ratio": "actual over\nreported σ",
    "z_mean": "mean of\nerror/σ",
    "z_spread": "spread of\nerror/σ",
}
"""Those of the second table; expected are 95, 1, 0 and 1."""
SINGLE: Mapping[str, tuple[str, str]] = {
    "offset": ("offset of the whole map", "any"),
    "hfen": ("HFEN", "0"),
    "xsim": ("XSIM", "1"),
    "gradient_error": ("error of the gradient", "0"),
    "linearity_error": ("deep grey: |1 − slope|", "0"),
    "moment_error": ("calcification: moment", "0"),
    "moment_error_relative": ("calcification: moment", "0"),
    "streaks": ("calcification: streaks", "0"),
}
"""Scores that there is one of: what it is called, and its best value."""
BARS = " ▁▂▃▄▅▆▇█"
SUFFIXES = (".json", ".tsv")


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Scores, and how they came about: kind of map and why, its unit, files, voxels asked for, coverage (%)."""

    kind: str
    why: str
    unit: str
    files: Mapping[str, Path]
    voxels: int
    coverage: float
    missing: str
    scores: Sequence[Score]
    calibration: Calibration | None = None
    notes: Sequence[str] = ()

    def record(self) -> dict[str, Any]:
        """Everything, for JSON; null for a score that is not defined or infinite."""
        files = {name: str(path) for name, path in self.files.items()}
        found = self.calibration
        histogram = {"edges": found.edges.tolist(), "shares": found.shares.tolist(),
                     "expected": found.expected.tolist()} if found else None  # fmt: skip
        return {
            "mensura": mensura.__version__,
            "kind": self.kind,
            "why": self.why,
            "unit": self.unit,
            **files,
            "voxels": self.voxels,
            "coverage": self.coverage,
            "missing": self.missing,
            "notes": list(self.notes),
            "scores": [
                asdict(s) | {"value": s.value if math.isfinite(s.value) else None} for s in self.scores
            ],
            "z_histogram": histogram,
        }


def check_suffix(path: Path) -> None:
    """ScanError for a file of scores that would be neither JSON nor TSV."""
    if path.suffix not in SUFFIXES:
        raise ScanError(f"scores are written as .json or .tsv, not as {path.name}; choose one of the two")


def as_json(card: Scorecard) -> str:
    """A card → JSON with everything."""
    return json.dumps(card.record(), indent=2, ensure_ascii=False, allow_nan=False)


def save(card: Scorecard, path: Path) -> None:
    """A card → JSON with everything, or TSV with one score a line, by the name's ending."""
    check_suffix(path)
    if path.suffix == ".json":
        write_json(path, card.record())
        return
    rows = ["name\tregion\tvalue\tunit\tcoverage\tvoxels"]
    for s in card.scores:
        value = "n/a" if math.isnan(s.value) else f"{s.value:.9g}"
        rows.append(f"{s.name}\t{s.region}\t{value}\t{s.unit or 'n/a'}\t{s.coverage:.9g}\t{s.voxels}")
    write_text(path, "\n".join(rows) + "\n")


def show(card: Scorecard) -> None:
    """A card → tables on the terminal, regions as rows."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    for line in _heading(card):
        console.print(line, highlight=False, soft_wrap=True)
    for columns in (COLUMNS, CALIBRATION):
        table = _regional(card.scores, columns)
        if table is not None:
            console.print(table)
    table = _singles(card.scores)
    if table.row_count:
        console.print(table)
    for line in _histogram(card.calibration):
        console.print(line, highlight=False)
    for note in card.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def _heading(card: Scorecard) -> Iterator[str]:
    estimate, truth = (escape(str(card.files[name])) for name in ("estimate", "truth"))
    yield f"[bold]{estimate}[/] against {truth}"
    without = "left out" if card.missing == "excluded" else "counted as 0"
    lost = round(card.voxels * (1 - card.coverage / 100))
    yield f"scored as {card.kind} ({escape(card.why)}), {card.voxels} voxels in {escape(str(card.files['mask']))}"
    yield f"coverage {number(card.coverage, '%')} %: {lost} voxels without a value, {without}"


def _regional(scores: Sequence[Score], columns: Mapping[str, str]) -> Table | None:
    """The table of the scores that every region has; None where there are none."""
    rows = {region: _row(scores, region, columns) for region in dict.fromkeys(s.region for s in scores)}
    names = [name for name in columns if any(name in row for row in rows.values())]
    if not names:
        return None
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("region", no_wrap=True)
    units = {name: unit for row in rows.values() for name, (_, unit) in row.items()}
    for heading in ("voxels", "coverage\n%", *(_heading_of(columns[name], units[name]) for name in names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for region, row in rows.items():
        if row:
            cells = [row[name][0] if name in row else "" for name in names]
            table.add_row(escape(region), row["voxels"][0], row["coverage"][0], *cells)
    return table


def _row(scores: Sequence[Score], region: str, columns: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Column → what stands in it, and its unit; empty for a region that has none of the columns."""
    here = {s.name: s for s in scores if s.region == region}
    row = {name: (number(s.value, s.unit), s.unit) for name, s in here.items() if name in columns}
    if "limit_lower" in here and "limits" in columns:
        ends = (here["limit_lower"], here["limit_upper"])
        row["limits"] = (" … ".join(number(s.value, s.unit) for s in ends), ends[0].unit)
    first = next((s for name, s in here.items() if name in row), None)
    if first is not None:
        row["voxels"] = (str(first.voxels), "")
        row["coverage"] = (number(first.coverage, "%"), "%")
    return row


def _singles(scores: Sequence[Score]) -> Table:
    """The table of the scores that there is one of."""
    table = Table("score", box=None, header_style="bold", pad_edge=False)
    for heading in ("value", "unit", "best", "coverage %"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for s in scores:
        if s.name in SINGLE:
            title, best = SINGLE[s.name]
            unit = "" if s.unit == "1" else s.unit
            table.add_row(title, number(s.value, s.unit), unit, best, number(s.coverage, "%"))
    return table


def _histogram(found: Calibration | None) -> Iterator[str]:
    """Errors in units of σ, found and expected, as bars."""
    if found is not None:
        most = max(found.shares.max(), found.expected.max())
        low, high = f"{found.edges[0]:g}".replace("-", "−"), f"{found.edges[-1]:g}"
        for name, shares in (("found", found.shares), ("expected", found.expected)):
            bars = "".join(BARS[math.ceil(8 * share / most)] for share in shares)
            yield f"errors over σ, {low} … {high}  {name:<8} │{bars}│"


def _heading_of(title: str, unit: str) -> str:
    """A title over its unit, where it has one."""
    return title if unit in ("", "1") else f"{title} {unit}" if "\n" in title else f"{title}\n{unit}"


def number(value: float, unit: str = "") -> str:
    """A value as a person reads it, without its unit: one decimal of %, three digits of all else."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.1f}" if unit == "%" else f"{value if abs(value) > 1e-9 else 0:.3g}"
    return text.replace("-", "−")
