"""The command line: arguments in, calls out. Flags for stages and methods come from the tables."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter

from mensura import __version__
from mensura.methods import Method, Parameter
from mensura.scan import ScanError

METAVARS = {float: "X", int: "N", bool: "YES|NO"}
WRITE_HEAD = "mensura.phantom.dataset:write_head"
SCAN_FLAGS = (
    *("phase", "magnitude", "real", "imaginary", "echo_times", "field_strength"),
    *("total_field", "local_field", "field_unit", "b0_direction"),
)
DESCRIPTION = """\
From a multi-echo gradient echo to maps of susceptibility (χ), R2*, T2* and the field, each with its
uncertainty, and a report of how they came about.
"""
EXAMPLES = """\
examples:
  mensura run /data/bids /data/maps participant
      every multi-echo gradient echo of a BIDS dataset
  mensura qsm --phase p1.nii.gz p2.nii.gz --magnitude m1.nii.gz m2.nii.gz \\
              --echo-times 0.004 0.008 --field-strength 3 -o maps
      the same for NIfTI files
  mensura methods
      every method and parameter, with defaults, units and references
  mensura simulate head /data/head
      a digital head with known truth, as a BIDS dataset

`mensura COMMAND --help` explains a command. Exit codes: 0 all is well, 1 a run failed, 2 bad input or usage.
"""
RUN = """\
A BIDS App: finds every MEGRE and T2starw run with phase (or real and imaginary parts), maps each, and writes
BIDS derivatives and one report per subject. What is there already and has not changed is not computed again.

examples:
  mensura run bids maps participant --participant-label 01 02
  mensura run bids maps participant --dry-run
  mensura run bids maps participant --background vsharp --dipole medi
  mensura run bids maps participant --config run.toml
"""
QSM = """\
The same job for NIfTI files: one 3D file per echo, or one 4D file. Enter later in the chain with a mask, a
total field or a local field. The maps go to the output folder: Chimap.nii.gz (ppm), R2starmap.nii.gz (1/s) …
and report.html.

examples:
  mensura qsm --phase phase.nii.gz --magnitude mag.nii.gz --echo-times 0.004 0.008 0.012 \\
              --field-strength 7 -o maps
  mensura qsm --total-field field.nii.gz --mask mask.nii.gz --field-strength 3 -o maps
  mensura qsm --local-field local.nii.gz --field-unit ppm --mask mask.nii.gz --dipole tv -o maps
"""
STAGE_HELP = """\
By default background removal and dipole inversion are one step (background+dipole); naming --background or
--dipole makes them two. Every parameter can also stand in the TOML file: [dipole] method = "tv", and below
[dipole.tv] weight = 2e-4."""


class Parser(argparse.ArgumentParser):
    """Errors in one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


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
            fill(command)
    return top


class HelpFormatter(RawDescriptionRichHelpFormatter):
    """Colours, descriptions as they are written, and headings that are not Shouted."""

    group_name_formatter = str
    text_markup = help_markup = False


def _parser(make: Callable[..., Parser], *args: Any, **kwargs: Any) -> Parser:
    return make(*args, formatter_class=HelpFormatter, allow_abbrev=False, **kwargs)


def _fill_run(command: Parser) -> None:
    command.add_argument("bids_dir", type=Path, help="the BIDS dataset")
    command.add_argument("out_dir", type=Path, help="folder for the derivatives")
    command.add_argument("level", choices=["participant"], help="level of the analysis")
    command.add_argument(
        "--participant-label", nargs="+", default=[], metavar="01", help="only these subjects"
    )
    command.add_argument("--session-label", nargs="+", default=[], metavar="1", help="only these sessions")
    command.set_defaults(action=_run)
    _fill_common(command)


def _fill_qsm(command: Parser) -> None:
    files: dict[str, Any] = {"nargs": "+", "type": Path, "default": [], "metavar": "FILE"}
    scan = command.add_argument_group("the scan")
    scan.add_argument("--phase", **files, help="phase: a file per echo, or one 4D file")
    scan.add_argument("--magnitude", **files, help="magnitude, the same echoes")
    scan.add_argument("--real", **files, help="real part, instead of magnitude and phase")
    scan.add_argument("--imaginary", **files, help="imaginary part")
    scan.add_argument(
        "--echo-times", nargs="+", type=float, default=[], metavar="S", help="echo times in seconds"
    )
    scan.add_argument("--field-strength", type=float, metavar="T", help="in tesla")
    scan.add_argument(
        "--b0-direction", nargs=3, type=float, metavar=("X", "Y", "Z"), help="of B0 in voxel axes"
    )
    scan.add_argument(
        "--readout", choices=["monopolar", "bipolar"], help="of the echoes (default: found out)"
    )
    enter = command.add_argument_group("enter later in the chain")
    enter.add_argument(
        "--mask", dest="mask_file", type=Path, metavar="FILE", help="your own mask, instead of one made here"
    )
    enter.add_argument("--total-field", type=Path, metavar="FILE", help="total field, instead of phase")
    enter.add_argument("--local-field", type=Path, metavar="FILE", help="local field, background removed")
    enter.add_argument(
        "--field-unit", choices=["Hz", "ppm"], default="Hz", help="of these fields (default: Hz)"
    )
    region = "voxels whose mean becomes zero (the method region of --reference)"
    enter.add_argument("--reference-region", type=Path, metavar="FILE", help=region)
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the maps")
    command.set_defaults(action=_qsm)
    _fill_common(command)


def _fill_common(command: Parser) -> None:
    how = command.add_argument_group("how to run")
    how.add_argument(
        "--config", type=Path, metavar="TOML", help="methods and parameters from a file; flags go first"
    )
    how.add_argument("--dry-run", action="store_true", help="say what would be done and the memory it needs")
    how.add_argument("--force", action="store_true", help="compute everything again, replace what is there")
    how.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: all)")
    how.add_argument("--no-report", action="store_true", help="write no HTML report")
    _fill_stages(command)


def _fill_stages(command: Parser) -> None:
    """A flag for each stage's method and for each parameter of each method."""
    from mensura.pipeline.config import flag, stages

    command.add_argument_group("methods and parameters", STAGE_HELP)
    for name, stage in stages().items():
        group = command.add_argument_group(name, stage.summary)
        group.add_argument(flag(name), dest=name, metavar="METHOD", default=argparse.SUPPRESS,
                           help=f"{', '.join(stage.methods)} (default: {stage.default})")  # fmt: skip
        for method, entry in stage.methods.items():
            for key, parameter in entry.parameters.items():
                full = f"{name}.{method}.{key}"
                group.add_argument(
                    f"--{full}",
                    dest=full,
                    metavar=METAVARS.get(parameter.type, "V"),
                    default=argparse.SUPPRESS,
                    help=_help(parameter),
                )


def _fill_methods(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.set_defaults(action=_methods)


def _fill_simulate(command: Parser) -> None:
    command.add_argument("what", choices=["head"], help="what to simulate")
    command.add_argument("out_dir", type=Path, help="folder for the BIDS dataset")
    for name, parameter in Method(WRITE_HEAD, "").parameters.items():
        several = not isinstance(parameter.default, str) and isinstance(parameter.default, Sequence)
        command.add_argument(f"--{name.replace('_', '-')}", nargs="+" if several else None, metavar="V",
                             default=argparse.SUPPRESS, help=_help(parameter))  # fmt: skip
    command.set_defaults(action=_simulate)


def _help(parameter: Parameter) -> str:
    """The parameter's help with its default and unit."""
    default = parameter.default
    words = (
        default
        if isinstance(default, str) or not isinstance(default, Sequence)
        else " ".join(map(str, default))
    )
    unit = f" {parameter.unit}" if parameter.unit not in ("", "1") else ""
    return f"{parameter.help} (default: {words if words != '' else 'none'}{unit})".replace("%", "%%")


def _run(arguments: argparse.Namespace) -> int:
    from mensura.io import bids
    from mensura.pipeline.job import Job

    settings = _prepare(arguments)
    runs = bids.find_runs(
        arguments.bids_dir, participants=arguments.participant_label, sessions=arguments.session_label
    )
    jobs = [
        Job(
            run.name,
            partial(bids.load, run),
            arguments.out_dir,
            run,
            settings,
            arguments.force,
            arguments.command_line,
        )
        for run in runs
    ]
    if arguments.dry_run:
        return _plan(jobs, [bids.shape(run) for run in runs])
    return _execute(arguments, jobs)


def _qsm(arguments: argparse.Namespace) -> int:
    from mensura.io.scans import load_nifti
    from mensura.pipeline.job import Job, input_shape, with_readout

    settings = _prepare(arguments)
    given = {name: getattr(arguments, name) for name in SCAN_FLAGS}
    load = partial(with_readout, partial(load_nifti, **given, mask=arguments.mask_file), arguments.readout)
    job = Job(
        arguments.out.name,
        load,
        arguments.out,
        settings=settings,
        force=arguments.force,
        command=arguments.command_line,
        reference_region=arguments.reference_region,
    )
    if arguments.dry_run:
        return _plan([job], [input_shape(given)])
    return _execute(arguments, [job])


def _methods(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.listing import as_json, show

    if arguments.json:
        print(as_json())
    else:
        show()
    return 0


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


def _prepare(arguments: argparse.Namespace) -> Any:
    """Threads set; the settings of the TOML file with the flags laid over them."""
    from mensura.pipeline.config import known_keys, overlaid, read_toml
    from mensura.pipeline.config import settings as checked

    if arguments.threads is not None:
        _use_threads(arguments.threads)
    file = read_toml(arguments.config) if arguments.config else {}
    keys = set(known_keys())
    flags = {key: value for key, value in vars(arguments).items() if key in keys}
    if getattr(arguments, "reference_region", None):
        flags.setdefault("reference", "region")
    return checked(overlaid(file, flags), str(arguments.config) if file and not flags else "the settings")


def _use_threads(count: int) -> None:
    import numba

    most: int = getattr(numba.config, "NUMBA_NUM_THREADS")  # noqa: B009 (set at run time)
    if not 1 <= count <= most:
        raise ScanError(f"--threads {count} is not possible here; choose 1 to {most}")
    numba.set_num_threads(count)


def _plan(jobs: Sequence[Any], shapes: Sequence[Any]) -> int:
    from mensura.pipeline.listing import show_plan

    show_plan(jobs, shapes)
    return 0


def _execute(arguments: argparse.Namespace, jobs: Sequence[Any]) -> int:
    from mensura.pipeline.batch import execute

    return execute(jobs, None if arguments.no_report else _report)


def _report(job: Any) -> Sequence[Path]:
    """The pages of a job's subject, or of its folder."""
    from mensura import report

    if job.run is None:
        return [report.build(job.out_dir)]
    return report.build_subject(job.out_dir, job.run.subject, job.run.session)


USAGE = {
    "run": "mensura run BIDS_DIR OUT_DIR participant [options]",
    "qsm": "mensura qsm --phase FILE … --magnitude FILE … --echo-times S … --field-strength T -o DIR [options]",
}
METHODS = "Every stage, method and parameter with its default, unit and reference, from the one table."
SIMULATE = """\
A digital head with known truth as a BIDS dataset: brain, air-filled sinuses, phase offset of the receive
coils, wraps and noise. The true maps lie in derivatives/truth.

example:
  mensura simulate head head --seed 1 --field-strength 3 --echo-times 0.004 0.012 0.020 0.028 --snr 50
"""
COMMANDS: dict[str, tuple[str, str, Callable[[Parser], None]]] = {
    "run": ("map every run of a BIDS dataset", RUN, _fill_run),
    "qsm": ("map one scan given as NIfTI files", QSM, _fill_qsm),
    "methods": ("list all methods and parameters", METHODS, _fill_methods),
    "simulate": ("make a scan with known truth", SIMULATE, _fill_simulate),
}
