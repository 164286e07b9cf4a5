"""`mensura fit` and `mensura models`: series of images to maps of T1, T2, B1 and magnetization transfer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mensura.cli.flags import METAVARS, Parser, described

FIT = """\
Fits a model to every voxel of a series of images: a file for each, or one 4D file. Times are in seconds, angles in
degrees. Of every map comes its standard deviation (desc-std_…), and one status map says why a voxel has no value.

examples:
  mensura fit inversion_recovery --images ti1.nii.gz ti2.nii.gz ti3.nii.gz ti4.nii.gz \\
              --inversion-times 0.05 0.4 1.1 2.5 --repetition-time 5 -o maps
  mensura fit variable_flip_angle --images fa3.nii.gz fa20.nii.gz --flip-angles 3 20 \\
              --repetition-time 0.015 --b1 b1.nii.gz --mask brain.nii.gz -o maps
  mensura fit spin_echo_train --images mese.nii.gz --echo-times 0.01 0.02 0.03 0.04 0.05 0.06 -o maps
"""
MODELS = """\
Every model with what it needs and what it makes; of named models also their parameters.

examples:
  mensura models
  mensura models inversion_recovery
"""
USAGE = "mensura fit MODEL --images FILE … -o DIR [options]"


def fill(command: Parser, words: Sequence[str]) -> None:
    """The flags of the model that is named; without one, those that all share."""
    from mensura.qmri.models import MODELS as TABLE

    command.add_argument("model", metavar="MODEL", help="see `mensura models`")
    command.add_argument("--images", nargs="+", type=Path, required=True, metavar="FILE", help="the series")
    command.add_argument(
        "--mask", type=Path, metavar="FILE", help="voxels to fit (default: where there is signal)"
    )
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the maps")
    command.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: all)")
    command.set_defaults(action=_fit)
    chosen = next((word for word in words if word in TABLE), None)
    if chosen is not None:
        _fill_model(command, TABLE[chosen])


def _fill_model(command: Parser, model: Any) -> None:
    from mensura.pipeline.relaxometry import in_degrees, required

    group = command.add_argument_group("the protocol and the fit", model.method.summary)
    if model.varied:
        unit = "°" if in_degrees(model.varied) else "s"
        group.add_argument(
            _flag(model.varied), dest="varied", nargs="+", type=float, required=True, metavar=unit,
            help=f"of the images, in {'degrees' if unit == '°' else 'seconds'}",
        )  # fmt: skip
    if model.takes_b1:
        group.add_argument("--b1", type=Path, metavar="FILE", help="transmit field: around 1, or in percent")
    if model.takes_phase:
        group.add_argument(
            "--phase", nargs="+", type=Path, default=(), metavar="FILE",
            help="phase of the images, in their order: makes them complex",
        )  # fmt: skip
    for name, parameter in model.method.parameters.items():
        needed = name in required(model)
        group.add_argument(
            _flag(name), dest=f"parameter.{name}", required=needed, default=argparse.SUPPRESS,
            nargs="+" if "tuple" in str(parameter.type) else None,
            metavar=METAVARS.get(parameter.type, "V"),
            help=f"{parameter.help}, {'degrees' if in_degrees(name) else parameter.unit}" if needed
            else described(parameter) + (" [give degrees]" if in_degrees(name) else ""),
        )  # fmt: skip


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _fit(arguments: argparse.Namespace) -> int:
    from mensura.cli.maps import use_threads
    from mensura.pipeline.fitted import show
    from mensura.pipeline.relaxometry import Request, entry, fit_files

    if arguments.threads is not None:
        use_threads(arguments.threads)
    given = vars(arguments)
    entry(arguments.model)
    parameters = {n.removeprefix("parameter."): v for n, v in given.items() if n.startswith("parameter.")}
    request = Request(
        arguments.model,
        arguments.images,
        given.get("varied", ()),
        parameters,
        given.get("b1"),
        arguments.mask,
        arguments.command_line,
        given.get("phase", ()),
    )
    show(fit_files(request, arguments.out), arguments.out)
    return 0


def fill_models(command: Parser) -> None:
    command.add_argument("what", nargs="*", metavar="MODEL", help="models to show with all parameters")
    command.set_defaults(action=_models)


def _models(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.fitted import show_models

    show_models(arguments.what)
    return 0
