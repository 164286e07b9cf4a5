"""How long a run will take, going by a table that is there: what a row took, in proportion to the voxels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from kit.conditions import Condition
from kit.course import COMMAND, Plan, keys
from kit.measuring import ENOUGH, MOST
from kit.table import Row, Table, number

WARMING_UP = 90.0
"""Seconds to compile everything."""
COMMAND_START = 2.0
"""Seconds of the whole command that do not depend on the size."""


def forecast(plan: Plan, tables: Sequence[Path]) -> str:
    """The conditions, each with its rows and the minutes that they will take by the newest table (if any)."""
    rows = list(Table(max(tables, key=lambda path: path.stat().st_mtime)).rows.values()) if tables else []
    lines, total = [], WARMING_UP
    for condition in plan.conditions:
        wanted = keys(condition, plan.only)
        seconds = condition_seconds(condition, rows, plan.only)
        total += seconds
        size = "×".join(map(str, condition.shape))
        guess = f"{seconds / 60:5.1f} min" if rows else ""
        lines.append(f"{condition.name:<24} {size:<12} {len(wanted):4} rows  {guess}")
    lines.append(
        f"at most about {total / 60:.0f} minutes" if rows else "no table to tell how long that takes"
    )
    return "\n".join(lines)


def condition_seconds(condition: Condition, rows: Iterable[Row], only: Sequence[str] = ()) -> float:
    """What a condition's rows took at the size nearest to its own, in proportion to the voxels."""
    costs = {(key.stage, key.method, key.input): 0.0 for key in keys(condition, only)}
    nearest: dict[tuple[str, str, str], float] = {}
    for row in rows:
        entry = (row["stage"], row["method"], row["input"])
        ratio = condition.voxels / number(row, "voxels")
        if entry in costs and max(ratio, 1 / ratio) < nearest.get(entry, float("inf")):
            nearest[entry] = max(ratio, 1 / ratio)
            costs[entry] = scaled(row, ratio)
    return sum(costs.values())


def scaled(row: Row, ratio: float) -> float:
    """The seconds of a row on `ratio` times as many voxels: calls (fewer, if long) and all that is around them.

    Where other programs had the cores too, the processor's seconds tell more than the clock's.
    """
    if row["status"] != "done":
        return 0.0
    fixed = COMMAND_START if row["stage"] == COMMAND else 0.0
    once = number(row, "seconds")
    then = fixed + max(once - fixed, 0) * ratio
    around = max(number(row, "row_seconds") - once * calls(once), 0)
    undisturbed = min(number(row, "cpu_seconds") / once, 1.0)
    return (then * calls(then) + around * ratio) * undisturbed


def calls(seconds: float) -> int:
    """How often something is called that takes `seconds`."""
    return max(min(MOST, math.ceil(ENOUGH / max(seconds, 1e-9))), 1)
