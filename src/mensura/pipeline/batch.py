"""Many jobs, one after the other: their stages on the terminal, then a table of how each run ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mensura.pipeline.job import Job, Result, attempt
from mensura.pipeline.products import UNREFERENCED
from mensura.pipeline.screen import Screen, drawing

Report = Callable[[Job], Sequence[Path]]
PACKAGE = Path(__file__).resolve().parents[1]


def execute(jobs: Sequence[Job], report: Report | None = None) -> int:
    """Jobs → exit code: 0 all done, 1 a run failed or some were bad input, 2 none could be used.

    `report` makes the pages of a group of runs (a subject's, or a folder's) once they are done.
    """
    console = Console(stderr=True)
    if first_use():
        console.print(
            "First use: the numerical kernels are being compiled, which takes a minute or two, once."
        )
    results: list[Result] = []
    for _, group in groupby(jobs, key=lambda job: job.group):
        members = list(group)
        ended = [_watched(console, job) for job in members]
        results += ended
        if report is not None and any(result.status == "done" for result in ended):
            results.append(_reported(console, members[0], report))
    return _summary(console, jobs, results)


def first_use() -> bool:
    """Whether no compiled kernel of this package is to be found on disk."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(told)] if told else [PACKAGE, Path.home() / ".cache" / "numba"]
    return not any(next(place.rglob("*.nbi"), None) for place in places if place.is_dir())


def _watched(console: Console, job: Job) -> Result:
    """One job, its steps shown as they go."""
    with drawing(console) as progress:
        result = attempt(job, Screen(console, progress, job.name))
    for warning in result.warnings:
        console.print(f"  [yellow]note:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    if result.status == "done":
        console.print(
            f"  maps in {escape(str(job.path(UNREFERENCED).parent))}", highlight=False, soft_wrap=True
        )
    else:
        console.print(f"[red]mensura:[/] {escape(result.message)}", highlight=False, soft_wrap=True)
        console.print(escape(result.details), end="", highlight=False)
    return result


def _reported(console: Console, job: Job, report: Report) -> Result:
    """The pages of a group of runs; a report that fails is a row of the table like a run that does."""
    start = time.perf_counter()
    try:
        pages = report(job)
    except Exception as error:
        console.print(
            f"[red]mensura:[/] the report failed: {escape(str(error))}", highlight=False, soft_wrap=True
        )
        return Result(f"{job.name} report", "failed", time.perf_counter() - start, str(error))
    if pages:
        console.print(f"  {'report':<18} {time.perf_counter() - start:6.1f} s", highlight=False)
    for page in pages:
        console.print(f"  report in {escape(str(page))}", highlight=False, soft_wrap=True)
    return Result(f"{job.name} report", "done", time.perf_counter() - start)


def _summary(console: Console, jobs: Sequence[Job], results: Sequence[Result]) -> int:
    """The table of a batch, and the exit code."""
    if len(jobs) > 1:
        table = Table("run", "ended", "seconds", "computed", "reused", "why")
        for r in results:
            counts = (f"{r.seconds:.1f}", str(r.computed), str(r.reused))
            table.add_row(escape(r.name), r.status, *counts, escape(r.message))
        console.print(table)
    states = {result.status for result in results}
    if states == {"done"}:
        return 0
    return 2 if states == {"bad input"} else 1
