"""`mensura identifiability`: what standard deviation a protocol can reach, of tissues, vials or any values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from mensura.cli.fit import fill_parameters, fill_varied, flag, flat, named, parameters_in
from mensura.cli.flags import Parser
from mensura.scan import ScanError

IDENTIFIABILITY = """\
Before the scan: the standard deviation of T1, T2, B1 … that a protocol can reach at best (Cramér and Rao's bound), of
your own values, of brain tissues, or of the spheres of the NIST/ISMRM phantom. Whatever lies outside what the protocol
tells gets a line of warning with what would help. Times are in seconds, angles in degrees. SNR is the signal of the
strongest image over the standard deviation of the noise.

examples:
  mensura identifiability inversion_recovery --inversion-times 0.05 0.4 1.1 2.5 --t1 0.3 0.8 1.5 --snr 50 100
  mensura identifiability variable_flip_angle --flip-angles 3 20 --repetition-time 0.015 --tissues cortex csf
  mensura identifiability inversion_recovery --inversion-times 0.035 0.1 0.3 0.8 --phantom nist --json
  mensura identifiability variable_flip_angle --protocol sub-01_flip-1_VFA.json sub-01_flip-2_VFA.json
"""
USAGE = "mensura identifiability MODEL [the protocol] [true values] [options]"
TISSUES = ("white matter", "cortex", "putamen", "caudate")
PHANTOMS = {"nist": 2, "nist1": 1}
"""The phantom and its version."""
OF_TISSUES = {"t1", "t2", "r2star", "mtsat"}
CHOICES = ("likelihood",)
"""Of the fit, what changes how much the images tell."""


def fill(command: Parser) -> None:
    """The flags of the model that is named: its protocol and its true values."""
    command.add_argument("model", metavar="MODEL", help="see `mensura models`")
    command.add_argument(
        "--snr", nargs="+", type=float, default=[50.0], metavar="X",
        help="signal of the strongest image over the standard deviation of the noise (default: 50)",
    )  # fmt: skip
    command.add_argument(
        "--known",
        nargs="+",
        default=[],
        metavar="NAME",
        help="true values that need not be found, as b1 from a map",
    )
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    chosen = named(command.words)
    if chosen is not None:
        _fill_model(command, chosen)
    whose = command.add_argument_group(
        "whose values", "where none is given: white matter, cortex, putamen, caudate"
    )
    whose.add_argument("--tissues", nargs="+", metavar="NAME", help="as csf, 'white matter' or white_matter")
    whose.add_argument(
        "--phantom", choices=list(PHANTOMS), help="all spheres (nist1: serial numbers up to 0042)"
    )
    whose.add_argument(
        "--field-strength", type=float, default=3.0, metavar="T", help="of tissues and phantom (default: 3)"
    )
    whose.add_argument(
        "--temperature", type=float, default=20.0, metavar="°C", help="of the phantom (default: 20)"
    )
    command.set_defaults(action=_identifiability)


def _fill_model(command: Parser, model: Any) -> None:
    from mensura.pipeline.identifiability import images_of
    from mensura.qmri.models import MODELS

    images = images_of(next(name for name, entry in MODELS.items() if entry is model))
    group = command.add_argument_group("the protocol", model.method.summary)
    group.add_argument(
        "--protocol", nargs="+", metavar="VALUE|JSON",
        help="what varies from image to image, or the JSON sidecars of the images",
    )  # fmt: skip
    if model.varied:
        fill_varied(group, model, needed=False)
    parameters = model.method.parameters
    of_fit = [n for n in parameters if n in images.protocol or n in images.truth or n in CHOICES]
    fill_parameters(group, model, of_fit, told=True)
    truth = command.add_argument_group("true values", "every combination is told")
    for name, usual in images.truth.items():
        if name not in parameters and name != "m0":
            words = " ".join(f"{v:g}" for v in usual)
            truth.add_argument(
                flag(name), dest=f"truth.{name}", nargs="+", type=float, default=argparse.SUPPRESS, metavar="X",
                help=f"default: {words}{', or those of tissues' if name in OF_TISSUES else ''}",
            )  # fmt: skip


def _identifiability(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.identifiability import Question, answer, images_of, question_of
    from mensura.pipeline.reached import as_json, show

    given = vars(arguments)
    images_of(arguments.model)
    truth = {n.removeprefix("truth."): v for n, v in given.items() if n.startswith("truth.")}
    varied, parameters = question_of(
        arguments.model,
        given.get("protocol") or (),
        flat(given.get("varied") or []),
        parameters_in(arguments),
    )
    found = answer(
        Question(
            arguments.model, varied, parameters, _samples(arguments, truth), arguments.snr, arguments.known
        )
    )
    if arguments.json:
        print(as_json(found))
    else:
        show(found)
    return 0


def _samples(arguments: argparse.Namespace, truth: Mapping[str, Sequence[float]]) -> Mapping[str, Any]:
    """The named samples with what the user gave of the rest; without any, the user's values or usual tissues."""
    from mensura.pipeline.identifiability import combined, within

    samples: dict[str, Mapping[str, float]] = {}
    if arguments.phantom:
        samples |= _spheres(arguments)
    if arguments.tissues:
        samples |= _tissues(arguments.tissues, arguments.field_strength)
    if not samples and not OF_TISSUES & set(truth):
        samples = _tissues(TISSUES, arguments.field_strength)
    return within(arguments.model, samples, truth) or combined(arguments.model, truth)


def _spheres(arguments: argparse.Namespace) -> dict[str, Mapping[str, float]]:
    from mensura.phantom.system_phantom import Plate, reference

    plates: tuple[Plate, ...] = ("Ni", "Mn")
    found: dict[str, Mapping[str, float]] = {}
    for plate in plates:
        told = reference(plate, PHANTOMS[arguments.phantom], arguments.field_strength, arguments.temperature)
        for place in range(14):
            found[f"{plate}-{place + 1}"] = {"t1": float(told.t1[place]), "t2": float(told.t2[place])}
    return found


def _tissues(names: Sequence[str], field_strength: float) -> dict[str, Mapping[str, float]]:
    from mensura.phantom.labels import Label
    from mensura.phantom.tissues import TISSUES as TABLE
    from mensura.phantom.tissues import at_field

    found: dict[str, Mapping[str, float]] = {}
    for name in names:
        label = Label.__members__.get(name.upper().replace(" ", "_").replace("-", "_"))
        if label is None or label is Label.AIR:
            known = ", ".join(one.name.lower() for one in Label if one is not Label.AIR)
            raise ScanError(f"there is no tissue {name!r}; choose from {known}")
        tissue = TABLE[label]
        found[name] = {
            "t1": at_field(tissue.t1, field_strength),
            "t2": at_field(tissue.t2, field_strength),
            "r2star": 1 / at_field(tissue.t2, field_strength) + at_field(tissue.r2prime, field_strength),
            "mtsat": 100 * tissue.mt_saturation,
        }
    return found
