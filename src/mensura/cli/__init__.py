"""The command line: arguments in, calls out. Flags for stages and methods come from the tables."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mensura import __version__
from mensura.cli import check, convert, export, fit, identifiability, maps, rerun, score, simulate
from mensura.cli.flags import HelpFormatter, Parser
from mensura.scan import ScanError

DESCRIPTION = """\
From MRI scans, DICOM or BIDS, to maps in physical units: susceptibility (χ), R2*, T2* and the field; T1, T2, B1, MT,
proton density, diffusion; each with its uncertainty, and a report of how they came about.
"""
EXAMPLES = """\
examples:
  mensura run /data/bids /data/maps participant
      every multi-echo gradient echo of a BIDS dataset
  mensura convert /data/dicom /data/bids
      DICOM to BIDS first, with a plan that can be edited
  mensura qsm --phase p1.nii.gz p2.nii.gz --magnitude m1.nii.gz m2.nii.gz \\
              --echo-times 0.004 0.008 --field-strength 3 -o maps
      the same for NIfTI files
  mensura fit inversion_recovery --images ir.nii.gz --inversion-times 0.05 0.4 1.1 2.5 -o maps
      T1, T2, B1 or MT maps of a series of images; `mensura models` lists what can be fitted
  mensura check /data/bids
      what of a dataset can be mapped, and what its protocol is to be minded for
  mensura export maps --dicom dicom --source scan/dicom
      maps as DICOM, in the study of the scan that they were made of
  mensura rerun maps/sub-01/anat/sub-01_Chimap.json
      repeats a map from its record and says whether it comes out the same, bit for bit
  mensura methods
      every method and parameter, with defaults, units and references
  mensura simulate head /data/head
      a digital head with known truth, as a BIDS dataset
  mensura score maps/Chimap.nii.gz truth/Chimap.nii.gz --mask brain.nii.gz
      how far a map is from its truth

`mensura COMMAND --help` explains a command. Exit codes: 0 all is well, 1 a run failed, 2 bad input or usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Arguments → exit code: 0 done, 1 a run failed, 2 bad input or usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        arguments = parser(words).parse_args(words)
        arguments.command_line = shlex.join(["mensura", *words])
        code: int = arguments.action(arguments)
        return code
    except ScanError as error:
        print(f"mensura: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "mensura: interrupted; what was finished is kept, the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def parser(words: Sequence[str]) -> Parser:
    """The parser for these arguments; the flags of the tables are added only where they are asked for."""
    top = _parser(Parser, prog="mensura", description=DESCRIPTION, epilog=EXAMPLES)
    top.add_argument("--version", action="version", version=f"mensura {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, (help_line, description, fill) in COMMANDS.items():
        command = _parser(
            commands.add_parser, name, usage=USAGE.get(name), description=description, help=help_line
        )
        if name == chosen:
            command.words = words
            fill(command)
    return top


def _parser(make: Callable[..., Parser], *args: Any, **kwargs: Any) -> Parser:
    return make(*args, formatter_class=HelpFormatter, allow_abbrev=False, **kwargs)


def _fill_methods(command: Parser) -> None:
    command.add_argument(
        "what", nargs="*", metavar="WHAT", help="a stage, a method (dipole.medi), presets, or all"
    )
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.set_defaults(action=_methods)


def _methods(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.listing import as_json, show

    if arguments.json:
        print(as_json())
    else:
        show(arguments.what)
    return 0


USAGE = {
    "run": "mensura run BIDS_DIR OUT_DIR participant [options]",
    "qsm": "mensura qsm --phase FILE … --magnitude FILE … --echo-times S … --field-strength T -o DIR [options]",
    "methods": "mensura methods [WHAT …] [--json]",
    "fit": fit.USAGE,
    "convert": convert.USAGE,
    "identifiability": identifiability.USAGE,
    "score": score.USAGE,
    "check": check.USAGE,
    "export": export.USAGE,
    "rerun": rerun.USAGE,
}
METHODS = """\
Every stage with its methods, in short; of a stage or method also parameters, defaults, units and references.

examples:
  mensura methods                  every stage, method and preset, a line each
  mensura methods dipole           the methods of a stage
  mensura methods dipole.tv        one method with its parameters
  mensura methods presets          what the presets set, and why
  mensura methods all              everything
"""
COMMANDS: dict[str, tuple[str, str, Callable[[Parser], None]]] = {
    "run": ("map every run of a BIDS dataset", maps.RUN, maps.fill_run),
    "qsm": ("map one scan given as NIfTI files", maps.QSM, maps.fill_qsm),
    "convert": ("make a BIDS dataset of DICOM files", convert.CONVERT, convert.fill),
    "methods": ("list methods, parameters and presets", METHODS, _fill_methods),
    "fit": ("map T1, T2, B1 or MT from a series of images", fit.FIT, fit.fill),
    "identifiability": (
        "tell what a protocol can reach, before the scan",
        identifiability.IDENTIFIABILITY,
        identifiability.fill,
    ),
    "models": ("list the models of `fit`", fit.MODELS, fit.fill_models),
    "check": ("say what of a BIDS dataset can be mapped", check.CHECK, check.fill),
    "export": ("write maps as DICOM", export.EXPORT, export.fill),
    "rerun": ("repeat a map from its record", rerun.RERUN, rerun.fill),
    "score": ("say how far a map is from its truth", score.SCORE, score.fill),
    "simulate": ("make a scan with known truth", simulate.SIMULATE, simulate.fill),
}
