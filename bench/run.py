"""Every method of every stage on digital heads: accuracy, coverage, seconds and memory in one table.

python bench/run.py                         everything (see docs/benchmark.md), into bench/tables/DATE.csv
python bench/run.py --smoke                 two small heads
python bench/run.py --out TABLE.csv         go on with a table: rows that are in it are not computed again
python bench/run.py --dry-run               the conditions, and how long they will take
python bench/run.py --summary TABLE.csv     rankings in Markdown and the figure, from a table
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.course import Plan

HERE = Path(__file__).resolve().parent


def main(words: Sequence[str] | None = None) -> int:
    """Does what the command line asks for; the exit code."""
    arguments = parser().parse_args(words)
    if arguments.summary:
        return summarise(arguments.summary, arguments.figures)
    plan = planned(arguments)
    if arguments.dry_run:
        return foretell(plan)
    return carry_out(plan, arguments.out or default_table(arguments.smoke), arguments.figures)


def planned(arguments: argparse.Namespace) -> Plan:
    """The conditions and rows that the arguments name; ends the program where there are none."""
    from kit.conditions import FULL, SMOKE
    from kit.course import Plan, keys

    there = SMOKE if arguments.smoke else FULL
    unknown = set(arguments.conditions) - {c.name for c in there}
    unknown |= {word for word in arguments.only if not keys(there[0], [word])}
    if unknown:
        parser().error(f"there is no {', '.join(sorted(unknown))}; see --dry-run and `mensura methods`")
    chosen = [c for c in there if not arguments.conditions or c.name in arguments.conditions]
    return Plan(chosen, tuple(arguments.only), arguments.threads, lambda text: print(text, flush=True))


def carry_out(plan: Plan, out: Path, figures: Path) -> int:
    """Computes what the table lacks and sums it up; 130 where that was interrupted."""
    from kit.course import run
    from kit.table import Table

    try:
        table = Table(out)
    except ValueError as error:
        parser().error(str(error))
    try:
        run(plan, table)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. {out} keeps {len(table.rows)} rows; the same command with --out {out} goes on."
        )
        return 130
    return summarise(out, figures)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "bench/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--smoke", action="store_true", help="two small heads, in three minutes")
    made.add_argument("--out", type=Path, metavar="CSV", help="table to write or to go on with")
    made.add_argument("--only", nargs="+", default=[], metavar="STAGE[:METHOD[:INPUT]]", help="only these")
    made.add_argument("--conditions", nargs="+", default=[], metavar="NAME", help="only these")
    made.add_argument("--threads", type=int, default=2, help="threads to use (default: 2)")
    made.add_argument(
        "--dry-run", action="store_true", help="list the conditions and the time they will take"
    )
    made.add_argument("--summary", type=Path, metavar="CSV", help="rankings and figure of a table")
    made.add_argument(
        "--figures", type=Path, default=HERE / "figures", metavar="DIR", help="where figures go"
    )
    return made


def default_table(smoke: bool) -> Path:
    """A table for today."""
    return HERE / "tables" / f"{datetime.now(UTC):%Y-%m-%d}{'-smoke' if smoke else ''}.csv"


def foretell(plan: Plan) -> int:
    """Prints the conditions and how long they will take, going by the newest table."""
    from kit.forecast import forecast

    print(forecast(plan, sorted((HERE / "tables").glob("*.csv"))))
    return 0


def summarise(path: Path, figures: Path) -> int:
    """Prints the rankings of a table and draws its figure."""
    from kit.ranking import markdown
    from kit.table import Table

    table = Table(path)
    print(markdown(table.rows.values()))
    try:
        from kit.drawing import draw
    except ImportError:
        print("\nNo figure: matplotlib is missing (pip install 'mensura[docs]').")
        return 0
    print(f"\n{draw(table.rows.values(), figures / f'{path.stem}.svg')}")
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kernels:
        os.environ["NUMBA_CACHE_DIR"] = kernels  # nothing is compiled yet, so that compiling can be timed
        sys.exit(main())
