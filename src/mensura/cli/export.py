"""`mensura export`: maps to DICOM."""

from __future__ import annotations

import argparse
from pathlib import Path

from mensura.cli.flags import Parser

EXPORT = """\
Writes the maps of a folder as DICOM, into the study and frame of reference of the scan that they were made of: as
Parametric Maps (floating-point values, with quantity and unit as codes) and as MR images (whole numbers with a rescale
slope) for viewers that show no Parametric Maps. docs/export.md says what is in them.

examples:
  mensura export maps --dicom dicom --source scan/dicom
  mensura export maps --dicom dicom --source scan/dicom --participant-label 01 --session-label 2
  mensura export maps --dicom dicom --source scan/dicom --maps Chimap desc-std_Chimap --as pm
"""
USAGE = "mensura export OUT_DIR --dicom DIR --source DICOM_DIR [options]"


def fill(command: Parser) -> None:
    command.add_argument("out_dir", type=Path, help="folder of maps, as `run`, `qsm` or `fit` wrote it")
    command.add_argument(
        "--dicom", type=Path, required=True, metavar="DIR", help="folder for the DICOM files"
    )
    command.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="DICOM_DIR",
        help="DICOM images that the maps were made of",
    )
    command.add_argument(
        "--as", dest="kinds", nargs="+", choices=["pm", "mr"], default=["pm", "mr"],
        help="Parametric Map, MR images (default: both)",
    )  # fmt: skip
    command.add_argument(
        "--maps", nargs="+", default=[], metavar="NAME", help="only these (Chimap, desc-total_fieldmap …)"
    )
    command.add_argument(
        "--participant-label", default="", metavar="01", help="of a folder with several subjects"
    )
    command.add_argument(
        "--session-label", default="", metavar="1", help="of a subject with several sessions"
    )
    command.set_defaults(action=_export)


def _export(arguments: argparse.Namespace) -> int:
    from mensura.pipeline.export import Request, export

    request = Request(
        arguments.out_dir,
        arguments.dicom,
        arguments.source,
        tuple(dict.fromkeys(arguments.kinds)),
        arguments.maps,
        arguments.participant_label,
        arguments.session_label,
    )
    for one in export(request):
        print(f"{one.about}; {one.files} files in {one.folder}")
    return 0
