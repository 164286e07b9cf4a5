"""The table of results on disk: one row per condition, stage, method and input; rows are only ever added."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from kit.scoring import COLUMNS as SCORES


class Key(NamedTuple):
    """What a row is about."""

    condition: str
    stage: str
    method: str
    input: str


COLUMNS = (
    *Key._fields,
    *(
        "default",
        "status",
        "message",
        "seconds",
        "cpu_seconds",
        "compile_seconds",
        "row_seconds",
        "memory_gb",
    ),
    "memory_of",
    *SCORES,
    *("shape", "voxel_size_mm", "voxels", "brain_voxels", "field_strength_t", "echo_times_s", "snr"),
    *("b0_angle_deg", "lesions", "seed", "base"),
    *(
        "threads",
        "load",
        "cores",
        "processor",
        "python",
        "mensura",
        "numpy",
        "scipy",
        "numba",
        "ducc0",
        "commit",
    ),
    "finished",
)
Row = Mapping[str, str]


class Table:
    """A CSV file: the rows that are in it, by key; `add` appends one and has it on disk at once.

    ValueError for a file with other columns. A last line that was cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Key, Row] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        text = self.path.read_text("utf-8")
        if not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            self.path.write_text(text, "utf-8")
        reader = csv.DictReader(StringIO(text))
        if text and tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{self.path} has other columns than this bench writes; choose another --out")
        for row in reader:
            self.rows[key_of(row)] = row

    def add(self, key: Key, values: Mapping[str, Any]) -> None:
        """Appends a row."""
        row = {name: as_text({**key._asdict(), **values}.get(name)) for name in COLUMNS}
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise KeyError(f"no column for {', '.join(sorted(unknown))}")
        line = StringIO()
        writer = csv.DictWriter(line, COLUMNS, lineterminator="\n")
        if not self.path.exists() or self.path.stat().st_size == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer.writeheader()
        writer.writerow(row)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())
        self.rows[key] = row


def key_of(row: Row) -> Key:
    return Key(*(row[name] for name in Key._fields))


def as_text(value: Any) -> str:
    """A cell: six digits of a number, words without line breaks."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        return " ".join(as_text(part) for part in value)
    return " ".join(str(value).split())


def number(row: Row, name: str) -> float:
    """A cell as a number; not-a-number where there is none."""
    return float(row[name]) if row[name] else float("nan")
