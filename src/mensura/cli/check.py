"""`mensura check`: what of a dataset can be mapped, before anything is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mensura.cli.flags import Parser

CHECK = """\
Says of every acquisition of a BIDS dataset whether it can be mapped, what each missing field prevents, and what of the
protocol is to be minded: echo times, readout, partial Fourier, distortion correction, normalisation. Ends with the
table that the QSM consensus asks papers for (https://doi.org/10.1002/mrm.30006). Exit codes: 0 all can be mapped,
1 some cannot, 2 none can.

examples:
  mensura check bids
  mensura check bids --participant-label 01 --json
"""
USAGE = "mensura check BIDS_DIR [--json]"
CONSENSUS = "https://doi.org/10.1002/mrm.30006"
SIGNS = {"good": "[green]✓[/]", "look": "[yellow]![/]", "bad": "[red]✗[/]"}


def fill(command: Parser) -> None:
    command.add_argument("bids_dir", type=Path, help="the BIDS dataset")
    command.add_argument(
        "--participant-label", nargs="+", default=[], metavar="01", help="only these subjects"
    )
    command.add_argument("--session-label", nargs="+", default=[], metavar="1", help="only these sessions")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.set_defaults(action=_check)


def _check(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.check import acquisitions
    from mensura.report.acquisition import acquisition_rows

    found = acquisitions(arguments.bids_dir, arguments.participant_label, arguments.session_label)
    tables = [acquisition_rows(one.record, one.grid) for one in found]
    if arguments.json:
        print(
            json.dumps(_plain(arguments.bids_dir, found, tables), indent=2, ensure_ascii=False, default=str)
        )
    else:
        _show(found, tables)
    usable = [one.usable for one in found]
    return 0 if all(usable) else 1 if any(usable) else 2


def _plain(dataset: Path, found: Sequence[Any], tables: Sequence[Any]) -> dict[str, Any]:
    return {
        "dataset": str(dataset),
        "table_of": CONSENSUS,
        "acquisitions": [
            {
                "name": one.name,
                "usable": one.usable,
                "makes": list(one.makes),
                "findings": [{"level": finding.level, "text": finding.text} for finding in one.findings],
                "table": {row.item: row.value for row in rows},
            }
            for one, rows in zip(found, tables, strict=True)
        ],
    }


def _show(found: Sequence[Any], tables: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for one in found:
        what = f"makes {', '.join(one.makes)}" if one.usable else "[red]cannot be processed[/]"
        console.print(f"[bold]{escape(one.name)}[/]  {what}")
        for finding in one.findings:
            console.print(f"  {SIGNS[finding.level]} {escape(finding.text)}")
    console.print(f"{sum(one.usable for one in found)} of {len(found)} acquisitions can be processed.")
    groups: dict[Any, list[str]] = {}
    for one, rows in zip(found, tables, strict=True):
        if one.gradient_echo or not any(other.gradient_echo for other in found):
            groups.setdefault(tuple(rows), []).append(one.name)
    for rows, names in groups.items():
        _table(console, rows, names)


def _table(console: Any, rows: Sequence[Any], names: Sequence[str]) -> None:
    """The acquisition table of one protocol; what a paper must state is marked."""
    from rich.markup import escape
    from rich.table import Table

    from mensura.report.acquisition import NO_FIELD_FOR
    from mensura.report.text import NOT_RECORDED

    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    table = Table("item", "value", title=f"Acquisition of {escape(', '.join(names[:3]))}{more}", box=None)
    for row in rows:
        missing = f"[{'red' if row.essential else 'dim'}]{NOT_RECORDED}[/]"
        table.add_row(
            f"{row.item}{' *' if row.essential else ''}", missing if row.value is None else escape(row.value)
        )
    console.print(table)
    console.print(f"* a paper must state it ({CONSENSUS}). {NO_FIELD_FOR[:1].upper()}{NO_FIELD_FOR[1:]}")
