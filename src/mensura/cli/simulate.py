"""`mensura simulate`: digital bodies through any sequence, with known truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mensura.cli.flags import HelpFormatter, Parser, described
from mensura.methods import Method, Parameter
from mensura.scan import ScanError

STUDY = Method("mensura.phantom.study:write_study", "")
SIMULATE = """\
A digital body with known truth, seen through any sequence, as a BIDS dataset: magnitude and phase with wraps,
receive phase and noise, complete sidecars, and the true maps in derivatives/truth.

examples:
  mensura simulate head /data/head
  mensura simulate head /data/head --sequences MEGRE VFA TB1AFI --seed 1 --field-strength 7 --snr 80
  mensura simulate head /data/head --MEGRE.echo-times 0.005 0.010 0.015 --lesions calcification
  mensura simulate head /data/head --sequences IRT1 --motion 1 --corrupted 1 --sites 3
  mensura simulate vials /data/vials --sequences all --config study.toml
"""
CONFIG = """\
Everything can also stand in a TOML file: seed = 1, sequences = ["VFA"], and below [VFA] flip_angles = [3, 15]."""


def fill(command: Parser) -> None:
    """A command for each body, with the flags of the study, of the body and of every sequence."""
    from mensura.phantom.sequences import SEQUENCES
    from mensura.phantom.study import BODIES

    bodies = command.add_subparsers(metavar="BODY", required=True, parser_class=Parser)
    for name, body in BODIES.items():
        chosen = bodies.add_parser(
            name, formatter_class=HelpFormatter, allow_abbrev=False, description=SIMULATE,
            help=body.summary, usage=f"mensura simulate {name} OUT_DIR [options]",
        )  # fmt: skip
        chosen.add_argument("out_dir", type=Path, help="folder for the BIDS dataset")
        chosen.add_argument(
            "--config", type=Path, metavar="TOML", help="parameters from a file; flags go first"
        )
        _flags(chosen.add_argument_group("the study", CONFIG), STUDY.parameters, "")
        _flags(chosen.add_argument_group(f"the {name}"), _of_body(name), "")
        for sequence, entry in SEQUENCES.items():
            group = chosen.add_argument_group(sequence, entry.summary)
            _flags(group, entry.parameters, f"{sequence}.")
        chosen.set_defaults(action=_simulate, body=name)


def _of_body(name: str) -> dict[str, Parameter]:
    """The settings of the anatomy alone: what it shares with the study is set there."""
    from mensura.phantom.study import BODIES

    own = BODIES[name].anatomy.parameters
    return {key: parameter for key, parameter in own.items() if key not in STUDY.parameters}


def _flags(group: Any, parameters: Mapping[str, Parameter], prefix: str) -> None:
    for name, parameter in parameters.items():
        several = not isinstance(parameter.default, str) and isinstance(parameter.default, Sequence)
        group.add_argument(
            f"--{prefix}{name.replace('_', '-')}",
            dest=f"{prefix}{name}",
            nargs="+" if several else None,
            metavar="V",
            default=argparse.SUPPRESS,
            help=described(parameter),
        )


def _simulate(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.config import convert, nearest, toml_content

    known = dict(_keys(arguments.body))
    file = dict(_flat(toml_content(arguments.config))) if arguments.config else {}
    for key in set(file) - set(known):
        raise ScanError(f"{arguments.config}: unknown key {key!r}{nearest(key, known)}")
    given = {**file, **{key: value for key, value in vars(arguments).items() if key in known}}
    study: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        parameter = known[key]
        section, _, name = key.rpartition(".")
        converted = convert(parameter, value, f"--{key.replace('_', '-')}")
        if not section and name not in STUDY.parameters:
            section = arguments.body
        (settings.setdefault(section, {}) if section else study)[name] = converted
    STUDY.function(arguments.out_dir, arguments.body, **study, settings=settings, report=_say)
    print(f"A digital {arguments.body}, with its truth in derivatives/truth, lies in {arguments.out_dir}")
    return 0


def _say(line: str) -> None:
    print(f"  {line} …", file=sys.stderr, flush=True)


def _keys(body: str) -> Iterator[tuple[str, Parameter]]:
    """Every key that may be set for a body, with its parameter."""
    from mensura.phantom.sequences import SEQUENCES

    yield from STUDY.parameters.items()
    yield from _of_body(body).items()
    for sequence, entry in SEQUENCES.items():
        yield from ((f"{sequence}.{name}", parameter) for name, parameter in entry.parameters.items())


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Sections to keys: {"VFA": {"echo_time": 0.002}} → VFA.echo_time."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", v) for name, v in value.items())
        else:
            yield key, value
