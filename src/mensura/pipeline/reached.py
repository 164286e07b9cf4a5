"""What a protocol can reach, on the terminal and for programs."""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mensura.pipeline.identifiability import LEANS, MOST, UNITS, Answer, Reach, percent, word


def show(answer: Answer) -> None:
    """A row for each sample and SNR, then the warnings."""
    console = Console()
    table = Table("of", "SNR", box=None)
    for name, unit in answer.units.items():
        table.add_column(f"std of {word(name)}{UNITS.get(unit, '')}", justify="right")
        table.add_column("relative", justify="right")
    for row in answer.rows:
        cells = [cell for name in answer.units for cell in _cells(row, name)]
        table.add_row(escape(row.sample), f"{row.snr:g}", *cells)
    console.print(table)
    console.print(
        f"SNR: {answer.snr}; std: the least that any unbiased fit can reach", highlight=False, soft_wrap=True
    )
    for warning in answer.warnings:
        console.print(f"[yellow]outside:[/] {escape(warning)}", highlight=False, soft_wrap=True)


def _cells(row: Reach, name: str) -> tuple[str, str]:
    if not np.isfinite(row.std[name]):
        return "[red]not told[/]", ""
    if not row.truth[name]:
        return f"{row.std[name]:.3g}", ""
    share = row.relative(name)
    colour = "red" if share > MOST else "default"
    return f"{row.std[name]:.3g}", f"[{colour}]{percent(share) if share < 10 else '> 1000 %'}[/]"


def as_json(answer: Answer) -> str:
    """All rows, warnings, limits and units; what is not told is null."""
    question = answer.question
    record = {
        "model": question.model,
        "varied": list(question.varied),
        "parameters": {n: _plain(v) for n, v in question.parameters.items()},
        "units": {**answer.units, "angles": "rad", "times": "s"},
        "snr": answer.snr,
        "limits": {"relative std": MOST, "relative bias": LEANS},
        "rows": [_row(row) for row in answer.rows],
        "warnings": list(answer.warnings),
    }
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)


def _row(row: Reach) -> dict[str, object]:
    return {
        "sample": row.sample,
        "truth": dict(row.truth),
        "snr": row.snr,
        "std": {n: _plain(v) for n, v in row.std.items()},
        "relative": {n: _plain(row.relative(n)) for n in row.std},
        "without_noise": {n: _plain(v) for n, v in row.found.items()},
        "status": row.status.name.lower(),
    }


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value
