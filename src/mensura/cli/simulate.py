"""`mensura simulate`: scans with known truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mensura.cli.flags import Parser, described
from mensura.methods import Method

WRITE_HEAD = "mensura.phantom.dataset:write_head"
SIMULATE = """\
A digital head with known truth as a BIDS dataset: brain, air-filled sinuses, phase offset of the receive
coils, wraps and noise. The true maps lie in derivatives/truth.

example:
  mensura simulate head head --seed 1 --field-strength 3 --echo-times 0.004 0.012 0.020 0.028 --snr 50
"""


def fill(command: Parser) -> None:
    command.add_argument("what", choices=["head"], help="what to simulate")
    command.add_argument("out_dir", type=Path, help="folder for the BIDS dataset")
    for name, parameter in Method(WRITE_HEAD, "").parameters.items():
        several = not isinstance(parameter.default, str) and isinstance(parameter.default, Sequence)
        command.add_argument(f"--{name.replace('_', '-')}", nargs="+" if several else None, metavar="V",
                             default=argparse.SUPPRESS, help=described(parameter))  # fmt: skip
    command.set_defaults(action=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.config import convert

    write_head = Method(WRITE_HEAD, "")
    given = vars(arguments)
    values = {
        name: convert(parameter, given[name], f"--{name.replace('_', '-')}")
        for name, parameter in write_head.parameters.items()
        if name in given
    }
    write_head.function(arguments.out_dir, **values)
    print(f"A digital head, with its truth in derivatives/truth, lies in {arguments.out_dir}")
    return 0
