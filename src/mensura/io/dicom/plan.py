"""The plan: one row for each image, what it becomes and why, as a table that can be edited and replayed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mensura.io.bids_names import join, parse
from mensura.io.dicom.frames import Series
from mensura.io.dicom.rules import (
    IGNORED,
    UNKNOWN,
    Rule,
    entities_of,
    label,
    reason,
    rule_for,
    rule_of,
    suffix_of,
)
from mensura.io.dicom.sets import DIRECTION, Set, sets_of
from mensura.io.dicom.sidecar import missing_fields
from mensura.io.dicom.stacks import Stack
from mensura.io.dicom.staging import LOSSY, cannot_decode
from mensura.io.files import read_bytes, write_text
from mensura.scan import ScanError

COLUMNS = ("image", "series", "description", "kind", "slices", "volumes", "echo_time", "inversion_time",
           "flip_angle", "action", "name", "missing", "fields", "note")  # fmt: skip
CONVERT, FAULTY = "convert", "faulty"
ACTIONS = (CONVERT, IGNORED, UNKNOWN, FAULTY)
FOLDERS = ("anat", "fmap", "func", "perf", "dwi")
HELP = """\
# One row for each image. Edit and give back with --plan. action: convert, ignored, unknown or faulty; only what
# says convert is converted, under its name (sub-01/anat/sub-01_echo-1_MEGRE). fields: JSON laid over the sidecar, for
# what is missing. Echo and inversion times in s, flip angles in degrees.
"""


@dataclass(frozen=True, eq=False)
class Row:
    """One image: what becomes of it, and what its sidecar lacks. `group` is common to the images of a set."""

    stack: Stack
    action: str
    name: str = ""
    missing: tuple[str, ...] = ()
    note: str = ""
    group: int = 0
    rule: Rule | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        return self.name.rsplit("_", 1)[-1]


@dataclass(frozen=True)
class Labels:
    """The labels that the user gave: one participant for each person found, one session for each study."""

    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()


def planned(stacks: Sequence[Stack], labels: Labels) -> list[Row]:
    """Stacks → rows. ScanError where several persons are mixed and no label says who is who."""
    rows: list[Row] = []
    for entities, members in _sessions(stacks, labels):
        rows += _session_rows(entities, members, len(rows))
    return rows


def _sessions(stacks: Sequence[Stack], labels: Labels) -> list[tuple[dict[str, str], list[Stack]]]:
    """Stacks by person and study, each with its labels."""
    people: dict[str, list[Stack]] = defaultdict(list)
    for stack in stacks:
        people[stack.series.patient].append(stack)
    subjects = _subject_labels(people, labels.participants)
    found = []
    for patient, subject in subjects.items():
        studies: dict[str, list[Stack]] = defaultdict(list)
        for stack in sorted(people[patient], key=lambda s: s.series.began):
            studies[stack.series.study].append(stack)
        for session, members in zip(_session_labels(studies, labels.sessions), studies.values(), strict=True):
            found.append(({"sub": subject, **({"ses": session} if session else {})}, members))
    return found


def _subject_labels(people: Mapping[str, list[Stack]], given: Sequence[str]) -> dict[str, str]:
    given = [_checked_label("participant", text.removeprefix("sub-")) for text in given]
    names = sorted(people, key=lambda patient: min(s.first.name for s in people[patient]))
    if len(set(given)) != len(given):
        raise ScanError("--participant-label names someone twice; give one label for each person")
    if given and len(given) != len(names):
        raise ScanError(
            f"{len(given)} participant labels were given, but the images are of {len(names)} persons: "
            f"{_examples(people, names)}; give a --participant-label for each, in this order"
        )
    if len(names) > 1 and not given:
        raise ScanError(
            f"the images are of {len(names)} persons, by name and number: {_examples(people, names)}; give a "
            "--participant-label for each, in this order, or convert each folder by itself"
        )
    return dict(zip(names, given or ["01"], strict=True))


def _examples(people: Mapping[str, list[Stack]], names: Sequence[str]) -> str:
    """A file of each person, which tells them apart without telling who they are."""
    shown = [f"{n + 1}. {min(s.first.name for s in people[name])}" for n, name in enumerate(names[:6])]
    return ", ".join(shown) + (" …" if len(names) > 6 else "")


def _session_labels(studies: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    given = [_checked_label("session", text.removeprefix("ses-")) for text in given]
    if given and len(given) != len(studies):
        raise ScanError(
            f"{len(given)} session labels were given, but a person has {len(studies)} studies; give one for each"
        )
    return given or ([""] if len(studies) == 1 else [str(n + 1) for n in range(len(studies))])


def _checked_label(what: str, text: str) -> str:
    if not text or label(text) != text:
        raise ScanError(f"the {what} label {text!r} must consist of letters and digits alone")
    return text


def _session_rows(entities: Mapping[str, str], stacks: Sequence[Stack], start: int) -> list[Row]:
    """The rows of one session, with names that are all different."""
    sets = sets_of(stacks)
    rules = [rule_for(one) for one in sets]
    extra = _told_apart(list(zip(sets, rules, strict=True)))
    rows: list[Row] = []
    for number, (one, rule) in enumerate(zip(sets, rules, strict=True)):
        rows += _set_rows(one, rule, {**entities, **extra[number]}, start + number + 1)
    names = Counter(row.name for row in rows if row.name)
    return [_unnamed(row) if names[row.name] > 1 else row for row in rows]


def _unnamed(row: Row) -> Row:
    """Of two images with one name neither is converted: what tells them apart was not understood."""
    note = f"another image would be called {row.name} as well: give both a name; {row.note}"
    return replace(row, action=UNKNOWN, name="", note=note)


def _told_apart(sets: Sequence[tuple[Set, Rule]]) -> list[dict[str, str]]:
    """What tells sets of one suffix apart: rec for corrections, run for repeats, acq for other protocols."""
    counts = Counter(rule.suffix for _, rule in sets)
    found = []
    for one, rule in sets:
        extra: dict[str, str] = {}
        if counts[rule.suffix] > 1:
            alike = [s for s, r in sets if r.suffix == rule.suffix]
            if len({_protocol(s) for s in alike}) > 1:
                extra["acq"] = (
                    f"s{min(s.first.series.number for s in alike if _protocol(s) == _protocol(one))}"
                )
            extra |= _way(one, alike)
            extra |= {"rec": one.rec} if one.rec and any(s.rec != one.rec for s in alike) else {}
            same = [
                s
                for s in alike
                if _protocol(s) == _protocol(one) and s.rec == one.rec and _way(s, alike) == _way(one, alike)
            ]
            extra |= {"run": str(same.index(one) + 1)} if len(same) > 1 else {}
        found.append(extra)
    return found


def _way(one: Set, alike: Sequence[Set]) -> dict[str, str]:
    """The direction of phase encoding, if it tells sets of one series each apart."""
    ways = {s.first.series.direction for s in alike if s.count(DIRECTION) == 1}
    own = one.first.series.direction
    return {"dir": own} if own and len(ways) > 1 and one.count(DIRECTION) == 1 else {}


def _protocol(one: Set) -> Any:
    first = one.first
    varied = tuple(tuple(one.values(name)) for name in ("echo_time", "inversion_time", "flip_angle"))
    return (one.family.name, first.place[0], first.place[1], first.place[2], first.place[3], varied)


def _set_rows(one: Set, rule: Rule, entities: Mapping[str, str], group: int) -> list[Row]:
    one = replace(one, stacks=tuple(_readable(stack) for stack in one.stacks))
    faults = [stack.fault for stack in one.stacks if stack.fault]
    why = reason(rule, one)
    rows = []
    for stack in one.stacks:
        notes = [*([stack.fault] if stack.fault else []), why, *one.notes, *stack.notes]
        if rule.suffix in (IGNORED, UNKNOWN):
            rows.append(Row(stack, rule.suffix, note="; ".join(notes), group=group, rule=rule))
            continue
        own = entities_of(rule, one, stack)
        if "acq" in own and "acq" in entities:
            own["acq"] = entities["acq"] + own["acq"]
        name = _path({**entities, **own}, rule.datatype, suffix_of(rule, one, stack))
        action = FAULTY if faults else CONVERT
        if faults and not stack.fault:
            notes.insert(0, "another image of the set is faulty")
        fields = _of_set(one, rule, stack)
        lacking = missing_fields(stack, rule, fields)
        rows.append(Row(stack, action, name, lacking, "; ".join(notes), group, rule, fields))
    return rows


def _readable(stack: Stack) -> Stack:
    """The stack, with its fault where its pixels cannot be decoded here, and a note where they lost precision."""
    if stack.series.syntax in LOSSY:
        return replace(stack, notes=(*stack.notes, "LOSSY compression: values are not those of the scanner"))
    fault = cannot_decode(stack.series.syntax)
    return replace(stack, fault=fault) if fault and not stack.fault else stack


def _of_set(one: Set, rule: Rule, stack: Stack) -> dict[str, Any]:
    """Sidecar fields that only the whole set tells."""
    if rule.suffix == "phasediff" and stack.kind == "phase":
        first, second = one.values("echo_time", "mag")
        return {"EchoTime1": first, "EchoTime2": second}
    return {}


def _path(entities: Mapping[str, str], datatype: str, suffix: str) -> str:
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    return "/".join([*folders, datatype, f"{join(entities)}_{suffix}"])


def to_text(rows: Iterable[Row], described: Mapping[Series, str]) -> str:
    """Rows → the plan as text; `described` are the descriptions of the series, cleaned."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        first = row.stack.first
        values = {
            "image": row.stack.key,
            "series": str(row.stack.series.number),
            "description": described[row.stack.series],
            "kind": row.stack.kind,
            "slices": str(len(row.stack.volumes[0])),
            "volumes": str(row.stack.times),
            "echo_time": _value(first.echo_time),
            "inversion_time": _value(first.inversion_time),
            "flip_angle": _value(first.flip_angle),
            "action": row.action,
            "name": row.name,
            "missing": ", ".join(row.missing),
            "fields": "",
            "note": row.note,
        }
        lines.append("\t".join(" ".join(values[column].split()) or "n/a" for column in COLUMNS))
    return HELP + "\n".join(lines) + "\n"


def _value(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def write(path: Path, rows: Iterable[Row], described: Mapping[Series, str]) -> None:
    """Rows → a file."""
    write_text(path, to_text(rows, described))


def replayed(path: Path, rows: Sequence[Row]) -> list[Row]:
    """An edited plan and the rows of the same images → the rows as edited.

    ScanError, with the line, for a column, image, action or name that cannot be used. Images that the plan does
    not name are not converted.
    """
    known = {row.stack.key: row for row in rows}
    edited: list[Row] = []
    for number, values in _table(path):
        place = f"{path}, line {number}"
        row = known.pop(values["image"], None)
        if row is None:
            raise ScanError(
                f"{place}: the image {values['image']} is not among these DICOM files, or is named twice"
            )
        edited.append(_edited(place, row, values))
    rest = [replace(row, action=IGNORED, name="", note="not in the plan") for row in known.values()]
    names = Counter(row.name for row in edited if row.action == CONVERT)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ScanError(
            f"{path} gives two images the name {twice[0]}; tell them apart, for example by run-1 and run-2"
        )
    return [*edited, *rest]


def _table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of the file with their line numbers; n/a is empty."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ScanError(f"{path} is not text in UTF-8; save the plan again as tab-separated text") from error
    numbered = [(n + 1, line.split("\t")) for n, line in enumerate(lines) if line.strip() and line[0] != "#"]
    header = numbered[0][1] if numbered else []
    lacking = [name for name in ("image", "action", "name") if name not in header]
    if lacking:
        raise ScanError(
            f"{path} has no column {', '.join(lacking)}; write a plan with --plan-only and edit that"
        )
    found = []
    for number, cells in numbered[1:]:
        if len(cells) > len(header):
            raise ScanError(
                f"{path}, line {number}: {len(cells)} cells for {len(header)} columns; check the tabs"
            )
        cells += [""] * (len(header) - len(cells))
        values = {
            name: "" if cell.strip() == "n/a" else cell.strip()
            for name, cell in zip(header, cells, strict=True)
        }
        found.append((number, values))
    return found


def _edited(place: str, row: Row, values: Mapping[str, str]) -> Row:
    action, name = values["action"], values["name"]
    if action not in ACTIONS:
        raise ScanError(f"{place}: the action {action!r} is none of {', '.join(ACTIONS)}")
    if action == CONVERT:
        if row.stack.fault:
            raise ScanError(f"{place}: the image cannot be converted: {row.stack.fault}")
        _check_name(place, name)
    given = _fields(place, values.get("fields", ""))
    named = replace(row, action=action, name=name, fields={**row.fields, **_task(name), **given})
    rule = rule_of(named.suffix, row.rule) if name else row.rule
    missing = missing_fields(row.stack, rule, named.fields) if rule is not None and action == CONVERT else ()
    return replace(named, rule=rule, missing=missing)


def _task(name: str) -> dict[str, str]:
    """What the sidecar of a series over time must repeat of its name."""
    taken = parse(name + ".nii.gz") if name else None
    return {"TaskName": taken.entities["task"]} if taken and "task" in taken.entities else {}


def _fields(place: str, text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ScanError(f'{place}: fields must be JSON such as {{"MTState": true}} ({error.msg})') from error
    if not isinstance(record, dict):
        raise ScanError(f'{place}: fields must be a JSON object such as {{"MTState": true}}')
    return record


def _check_name(place: str, name: str) -> None:
    """ScanError unless the name is that of a BIDS image inside its dataset: sub-01/[ses-1/]anat/sub-01_…_suffix."""
    parts = PurePosixPath(name).parts
    taken = parse(name + ".nii.gz") if parts else None
    entities = taken.entities if taken else {}
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    good = "sub" in entities and all(label(text) == text and text for text in entities.values())
    expected = list(parts[:-2]) == folders and len(parts) >= 3 and parts[-2] in FOLDERS
    if not (good and expected and taken and label(taken.suffix) == taken.suffix):
        raise ScanError(
            f"{place}: {name!r} is no name of a BIDS image such as sub-01/anat/sub-01_echo-1_MEGRE"
        )
    if parts[-2] == "func" and "task" not in entities:
        raise ScanError(f"{place}: {name!r} names no task; give one, sub-01/func/sub-01_task-rest_bold")
