"""DICOM → BIDS: the plan is shown, carried out, and told about on the terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from mensura.io.bids_names import parse
from mensura.io.dicom.convert import Made, write_dataset
from mensura.io.dicom.plan import CONVERT, FAULTY, Labels, Row, planned, replayed, to_text
from mensura.io.dicom.plan import write as write_plan
from mensura.io.dicom.privacy import UIDS
from mensura.io.dicom.reading import Contents, contents
from mensura.io.dicom.rules import IGNORED, UNKNOWN
from mensura.io.undistort import Undistortion
from mensura.scan import ScanError

WIDE = 200
MANY = 4
"""Files of one kind from which on only some are named."""
STYLES = {CONVERT: "green", FAULTY: "red", UNKNOWN: "yellow", IGNORED: "dim"}


@dataclass(frozen=True)
class Conversion:
    """What is to be converted, where to, under which labels; `plan` is replayed, `plan_only` written instead;
    with `show_only` nothing is written at all; `undistortion` corrects the gradients' nonlinearity."""

    source: Path
    out_dir: Path
    labels: Labels = field(default_factory=Labels)
    plan: Path | None = None
    plan_only: Path | None = None
    keep_uids: bool = False
    force: bool = False
    show_only: bool = False
    undistortion: Undistortion | None = None


def convert(wish: Conversion) -> int:
    """Carries it out → exit code: 0 all is well, 1 something could not be converted, 2 nothing could."""
    console = _console()
    with (
        _bar(console, "reading headers") as bar,
        contents(wish.source, lambda count: bar(completed=count)) as found,
    ):
        bar(visible=False)
        rows = planned(found.stacks, wish.labels)
        if wish.plan is not None:
            rows = replayed(wish.plan, rows)
        _show_plan(console, rows, found)
        if wish.show_only:
            return 0
        if wish.plan_only is not None:
            write_plan(wish.plan_only, rows, found.descriptions)
            console.print(
                f"The plan is in {wish.plan_only}: edit it and give it back with --plan", soft_wrap=True
            )
            return 0
        if not any(row.action == CONVERT for row in rows):
            raise ScanError(f"nothing in {wish.source} can be converted; see the plan above")
        made = _carried_out(wish, rows, found, bar)
        _show_made(console, made, found, wish)
    if not made.written:
        return 2
    in_vain = wish.undistortion is not None and made.undistorted == 0
    return 1 if made.failed or found.problems or in_vain else 0


def _console() -> Console:
    """The terminal, or a file with lines wide enough for the plan."""
    console = Console(stderr=True)
    return console if console.is_terminal else Console(stderr=True, width=max(console.width, WIDE))


def _carried_out(wish: Conversion, rows: Sequence[Row], found: Contents, bar: _bar) -> Made:
    made = write_dataset(
        rows,
        wish.out_dir,
        plan=partial(to_text, described=found.descriptions),
        keep_uids=wish.keep_uids,
        force=wish.force,
        undistortion=wish.undistortion,
        tell=lambda row: bar(visible=True, description=row.name.rsplit("/", 1)[-1], total=None),
    )
    bar(visible=False)
    return made


class _bar:
    """A line on the terminal that says how far it is; silent where the terminal is a file."""

    def __init__(self, console: Console, what: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(what, total=None)

    def __enter__(self) -> _bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, **state: object) -> None:
        self.progress.update(self.task, **state)  # type: ignore[arg-type]


def _show_plan(console: Console, rows: Sequence[Row], found: Contents) -> None:
    """A line for each set: its series, its images, what becomes of them, what is missing, and why."""
    table = Table("series", "description", "images", "becomes", "missing", "why", box=None)
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    for members in groups.values():
        for action in dict.fromkeys(row.action for row in members):
            _add(table, [row for row in members if row.action == action], found)
    console.print(table)
    faults: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        if row.action != IGNORED and row.stack.fault:
            faults[row.stack.fault][str(row.stack.series.number)] = None
    for fault, numbers in faults.items():
        console.print(
            f"[red]faulty:[/] series {_some(list(numbers))}: {escape(fault)}", highlight=False, soft_wrap=True
        )
    for kind, names in found.others.items():
        console.print(f"left out: {len(names)} {kind} ({_some(names)})", highlight=False, soft_wrap=True)
    for problem in found.problems[: MANY + 1]:
        console.print(
            f"[red]unusable:[/] {escape(problem.name)}: {escape(problem.reason)}",
            highlight=False,
            soft_wrap=True,
        )
    if len(found.problems) > MANY + 1:
        console.print(f"[red]unusable:[/] {len(found.problems) - MANY - 1} more files")
    for note in found.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def _add(table: Table, rows: Sequence[Row], found: Contents) -> None:
    numbers = dict.fromkeys(str(row.stack.series.number) for row in rows)
    kinds = Counter(row.stack.kind for row in rows)
    action = rows[0].action
    becomes = "" if action not in (CONVERT, FAULTY) else pattern([row.name for row in rows])
    missing = dict.fromkeys(name for row in rows for name in row.missing)
    notes = dict.fromkeys(row.note for row in rows)
    table.add_row(
        _some(list(numbers)),
        escape(found.descriptions[rows[0].stack.series]),
        ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        f"[{STYLES[action]}]{escape(becomes) if action == CONVERT else f'{action}: not converted'}[/]",
        ", ".join(missing),
        escape(" | ".join(list(notes)[:2])),
    )


def pattern(names: Sequence[str]) -> str:
    """Names of one set → one: sub-01/anat/sub-01_echo-{1…32}_part-{mag,phase}_MEGRE."""
    folders = {name.rsplit("/", 1)[0] for name in names}
    taken = [name for name in (parse(name.rsplit("/", 1)[-1] + ".nii.gz") for name in names) if name]
    keys = dict.fromkeys(key for name in taken for key in name.entities)
    pieces = []
    for key in keys:
        values = list(dict.fromkeys(name.entities[key] for name in taken if key in name.entities))
        pieces.append(f"{key}-{_range(values)}")
    suffixes = list(dict.fromkeys(name.suffix for name in taken))
    return f"{'|'.join(sorted(folders))}/{'_'.join([*pieces, _range(suffixes)])}"


def _range(values: Sequence[str]) -> str:
    if len(values) == 1:
        return values[0]
    numbers = all(value.isdigit() for value in values)
    return f"{{{values[0]}…{values[-1]}}}" if numbers else f"{{{','.join(values)}}}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MANY]) + (f" … {names[-1]}" if len(names) > MANY else "")


def _show_made(console: Console, made: Made, found: Contents, wish: Conversion) -> None:
    say = partial(console.print, highlight=False, soft_wrap=True)
    for row in _first_of_sets(made.failed):
        say(f"[red]not converted:[/] {escape(row.name or row.stack.key)}: {escape(row.note)}")
    for remark in made.remarks:
        say(f"[yellow]note:[/] {escape(remark)}")
    waiting = [row for row in made.rows if row.action == UNKNOWN]
    if waiting:
        say(
            f"[yellow]unknown:[/] {len(waiting)} images stay in DICOM; name them in a plan (--plan-only) if need be"
        )
    if not made.written:
        say(f"nothing could be converted; {wish.out_dir} is as it was")
        return
    lacking = Counter(key for names in made.lacking.values() for key in names)
    if lacking:
        say(f"not recorded by the scanner: {', '.join(lacking)}")
    removed = [*found.identifiers, *_only(made.removed, found), *(() if wish.keep_uids else UIDS)]
    say(f"left out of the BIDS files, since it may identify a person: {', '.join(removed)}")
    if wish.undistortion is not None:
        say(
            f"{made.undistorted} images were corrected for the gradients' nonlinearity ({wish.undistortion.coil.name})"
        )
    apart = max(made.farthest, 1e-6)
    say(
        f"{len(made.written)} images are in {wish.out_dir}, each within {apart:.0e} mm of where DICOM puts it"
    )


def _only(removed: Iterable[str], found: Contents) -> list[str]:
    """Sidecar fields that go by other names than the DICOM attributes told already."""
    return [name for name in removed if name not in found.identifiers and not name.endswith("UID")]


def _first_of_sets(rows: Sequence[Row]) -> list[Row]:
    first: dict[int, Row] = {}
    for row in rows:
        first.setdefault(row.group, row)
    return list(first.values())
