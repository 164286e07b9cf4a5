"""`mensura rerun`: a map from its record, once more."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from mensura.cli.flags import Parser
from mensura.scan import ScanError

RERUN = """\
Reads the JSON beside a map, checks that its sources and settings are what they were, makes the map again with the
recorded command, and says whether it is the same, bit for bit. Exit codes: 0 the same, 1 it differs, 2 a source is
missing or has changed, or the record is not complete.

examples:
  mensura rerun maps/sub-01/anat/sub-01_Chimap.json
  mensura rerun maps/T1map.json -o again
  mensura rerun maps/T1map.json --directory /data/study
"""
USAGE = "mensura rerun SIDECAR.json [-o DIR]"
REPEATABLE = ("run", "qsm", "fit")


def fill(command: Parser) -> None:
    command.add_argument("sidecar", type=Path, metavar="SIDECAR.json", help="the JSON file beside the map")
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="keep the new maps there")
    command.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where relative paths of the command start (default: as recorded)",
    )
    command.set_defaults(action=_rerun)


def _rerun(arguments: argparse.Namespace) -> int:
    from mensura.pipeline import rerun

    record = rerun.read(arguments.sidecar, arguments.directory)
    again = _parsed(record)
    changed = rerun.check(record, getattr(again, "bids_dir", None))
    if arguments.out:
        _check_apart(arguments.out, again)
    with nullcontext(arguments.out) if arguments.out else tempfile.TemporaryDirectory() as folder:
        _turned(again, Path(folder), record)
        with redirect_stdout(sys.stderr):
            again.action(again)
        verdict = rerun.compare(record, Path(folder))
    for remark in (*changed, *verdict.remarks):
        print(f"note: {remark}")
    print(verdict.words)
    return 0 if verdict.same else 1


def _parsed(record: Any) -> argparse.Namespace:
    """The recorded command as arguments, its paths made absolute."""
    from mensura.cli import parser
    from mensura.cli.maps import converted
    from mensura.io.bids_write import DESCRIPTION

    words = list(record.words)
    if not words or words[0] not in REPEATABLE:
        raise ScanError(f"{record.sidecar}: its record names no command that makes maps; make the map again")
    arguments = parser(words).parse_args(words)
    for name, value in vars(arguments).items():
        setattr(arguments, name, _absolute(value, record.directory))
    if "bids_dir" in arguments and not (arguments.bids_dir / DESCRIPTION).is_file():
        arguments.bids_dir = converted(arguments)
    arguments.command_line = record.command
    return arguments


def _absolute(value: Any, directory: Path) -> Any:
    if isinstance(value, Path):
        return directory / value
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return [_absolute(part, directory) for part in value] if several else value


def _turned(again: argparse.Namespace, folder: Path, record: Any) -> None:
    """The arguments led to another folder, and to no more than the map's own subject and kind."""
    again.force, again.no_report, again.dry_run, again.threads = True, True, False, None
    if "out_dir" not in again:
        again.out = folder
        return
    again.out_dir = folder
    again.participant_label, again.session_label = record.labels("sub"), record.labels("ses")
    again.only = record.only


def _check_apart(out: Path, again: argparse.Namespace) -> None:
    before = again.out_dir if "out_dir" in again else again.out
    if out.resolve() == before.resolve():
        raise ScanError(f"{out} holds the maps that are to be repeated; choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ScanError(f"{out} is not empty; choose a new folder")
