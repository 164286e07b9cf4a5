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
report.html leads to a page for every map: its range, its values by tissue, and the curves of chosen voxels.

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
COMPLEX = {
    "phase": "phase of the images, in their order: makes them complex",
    "imaginary": "imaginary parts of the images, which are then the real parts",
}
USAGE = "mensura fit MODEL --images FILE … -o DIR [options]"


def fill(command: Parser) -> None:
    """The flags of the model that is named; without one, those that all share."""
    command.add_argument("model", metavar="MODEL", help="see `mensura models`")
    command.add_argument("--images", nargs="+", type=Path, required=True, metavar="FILE", help="the series")
    command.add_argument(
        "--mask", type=Path, metavar="FILE", help="voxels to fit (default: where there is signal)"
    )
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the maps")
    command.add_argument(
        "--field-strength", type=float, metavar="T",
        help="for the report: published values at this field (default: the images' sidecars)",
    )  # fmt: skip
    command.add_argument(
        "--segmentation",
        type=Path,
        metavar="FILE",
        help="for the report: labels of tissues, with their dseg.tsv",
    )
    command.add_argument("--no-report", action="store_true", help="write no HTML report")
    command.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: all)")
    command.set_defaults(action=_fit)
    chosen = named(command.words)
    if chosen is not None:
        _fill_model(command, chosen)


def named(words: Sequence[str]) -> Any:
    """The model that the command line names, or None. ScanError for a first word that is none."""
    from mensura.pipeline.relaxometry import entry
    from mensura.qmri.models import MODELS as TABLE

    chosen = next((TABLE[word] for word in words if word in TABLE), None)
    return entry(words[1]) if chosen is None and len(words) > 1 and not words[1].startswith("-") else chosen


def _fill_model(command: Parser, model: Any) -> None:
    group = command.add_argument_group("the protocol and the fit", model.method.summary)
    if model.varied:
        fill_varied(group, model, needed=True)
    if model.takes_b1:
        group.add_argument("--b1", type=Path, metavar="FILE", help="transmit field: around 1, or in percent")
    if model.of_field:
        help = "static field in Hz, 0 where it is unknown, on the grid of the images"
        group.add_argument("--field-map", type=Path, metavar="FILE", help=help)
    if model.takes_t1:
        group.add_argument("--t1-map", type=Path, metavar="FILE", help="T1 of each voxel, in seconds")
    if model.takes_phase:
        for name, help in COMPLEX.items():
            group.add_argument(f"--{name}", nargs="+", type=Path, default=(), metavar="FILE", help=help)
    fill_parameters(group, model, list(model.method.parameters))


def fill_varied(group: Any, model: Any, needed: bool) -> None:
    """The flag of what varies from image to image."""
    from mensura.pipeline.relaxometry import unit_of

    unit = unit_of(model.varied)
    words = {"°": "degrees", "s": "seconds"}.get(unit, unit)
    group.add_argument(
        flag(model.varied), dest="varied", nargs="+", type=_numbers, required=needed, metavar=unit,
        help=f"of the images, in {words}, or a file of them",
    )  # fmt: skip


def fill_parameters(group: Any, model: Any, names: Sequence[str], *, told: bool = False) -> None:
    """Flags of the model's parameters; none is needed if they may be `told` elsewhere."""
    from mensura.pipeline.relaxometry import in_degrees, required

    for name, parameter in model.method.parameters.items():
        if name not in names:
            continue
        needed = name in required(model)
        group.add_argument(
            flag(name), dest=f"parameter.{name}", required=needed and not told, default=argparse.SUPPRESS,
            nargs="+" if "tuple" in str(parameter.type) else None,
            type=_numbers if "tuple" in str(parameter.type) else str,
            metavar=METAVARS.get(parameter.type, "V"),
            help=f"{parameter.help}, {'degrees' if in_degrees(name) else parameter.unit}" if needed
            else described(parameter) + (" [give degrees]" if in_degrees(name) else ""),
        )  # fmt: skip


def _numbers(word: str) -> list[float]:
    """A number, or a file of numbers."""
    from mensura.io.files import read_bytes

    try:
        return [float(word)]
    except ValueError:
        pass
    if not Path(word).is_file():
        raise argparse.ArgumentTypeError(f"{word!r} is neither a number nor a file of numbers")
    try:
        return [float(piece) for piece in read_bytes(Path(word)).decode().split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word} holds something else than numbers: {error}") from None


def flat(value: Any) -> Any:
    """Numbers that were given one by one, or by the file."""
    return [n for one in value for n in one] if isinstance(value, list) else value


def parameters_in(arguments: argparse.Namespace) -> dict[str, Any]:
    """The model's parameters that were given."""
    given = vars(arguments)
    return {n.removeprefix("parameter."): flat(v) for n, v in given.items() if n.startswith("parameter.")}


def flag(name: str) -> str:
    """As on the command line."""
    return f"--{name.replace('_', '-')}"


def _fit(arguments: argparse.Namespace) -> int:
    from mensura.cli.maps import use_threads
    from mensura.pipeline.fitted import fit_watched
    from mensura.pipeline.relaxometry import Request, entry

    if arguments.threads is not None:
        use_threads(arguments.threads)
    given = vars(arguments)
    entry(arguments.model)
    request = Request(
        arguments.model,
        arguments.images,
        flat(given.get("varied", [])),
        parameters_in(arguments),
        given.get("b1"),
        arguments.mask,
        arguments.command_line,
        t1=given.get("t1_map"),
        field_map=given.get("field_map"),
        field_strength=arguments.field_strength,
        segmentation=arguments.segmentation,
        **{name: given.get(name, ()) for name in COMPLEX},
    )
    fit_watched(request, arguments.out)
    if not arguments.no_report:
        from mensura import report

        print(f"report in {report.build(arguments.out)}")
    return 0


def fill_models(command: Parser) -> None:
    command.add_argument("what", nargs="*", metavar="MODEL", help="models to show with all parameters")
    command.set_defaults(action=_models)


def _models(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.fitted import show_models

    show_models(arguments.what)
    return 0
