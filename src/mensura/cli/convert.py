"""`mensura convert`: DICOM to BIDS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mensura.cli.flags import Parser

if TYPE_CHECKING:
    from mensura.io.undistort import Undistortion

USAGE = "mensura convert DICOM BIDS_DIR [options]"
CONVERT = """\
DICOM files (a folder with all that is below it, or a zip) become a BIDS dataset. First a plan is shown: what each
series is, by its sequence parameters, what becomes of it, what is missing and why. Nothing is guessed: what is not
recognised stays in a list. Names, numbers, dates and the like stay out of the BIDS files.

examples:
  mensura convert /data/dicom /data/bids
  mensura convert patient7.zip /data/bids --participant-label 07 --session-label 2
  mensura convert /data/dicom /data/bids --plan-only plan.tsv      # edit plan.tsv, then
  mensura convert /data/dicom /data/bids --plan plan.tsv
  mensura convert /data/dicom /data/bids --gradient-coefficients coeff_AS82.grad
"""


def fill(command: Parser) -> None:
    command.add_argument("source", type=Path, metavar="DICOM", help="folder or zip archive of DICOM files")
    command.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="dataset to make or to add to")
    command.add_argument(
        "--participant-label", nargs="+", default=[], metavar="01", help="one for each person (default: 01)"
    )
    command.add_argument(
        "--session-label", nargs="+", default=[], metavar="1", help="one for each study, in order of time"
    )
    command.add_argument("--plan", type=Path, metavar="TSV", help="carry out this plan, edited by you")
    command.add_argument(
        "--plan-only", type=Path, metavar="TSV", help="write the plan to this file and convert nothing"
    )
    command.add_argument(
        "--keep-uids", action="store_true", help="write identifiers of study and series into the sidecars"
    )
    command.add_argument("--force", action="store_true", help="replace what is there of these participants")
    fill_gradients(command)
    command.set_defaults(action=_convert)


def fill_gradients(command: Parser) -> None:
    """Flags for correcting the gradients' nonlinearity while DICOM is converted."""
    group = command.add_argument_group("nonlinearity of the gradients")
    group.add_argument(
        "--gradient-coefficients",
        type=Path,
        metavar="GRAD",
        help="correct images from DICOM that the scanner did not, by this coefficient file (.grad) of its coil",
    )
    group.add_argument(
        "--gradient-correction",
        choices=("3D", "2D"),
        default="3D",
        help="in all directions, or within each slice: for slices with wide gaps (default: 3D)",
    )
    group.add_argument(
        "--keep-intensities",
        action="store_true",
        help="correct the geometry alone, not the brightness where the image was stretched or compressed",
    )


def undistortion(arguments: argparse.Namespace) -> Undistortion | None:
    """What these flags ask for."""
    from mensura.io.coil_file import read_coil
    from mensura.io.undistort import Undistortion

    if arguments.gradient_coefficients is None:
        return None
    coil = read_coil(arguments.gradient_coefficients)
    return Undistortion(coil, arguments.gradient_correction, not arguments.keep_intensities)


def _convert(arguments: argparse.Namespace) -> int:
    from mensura.io.dicom.plan import Labels
    from mensura.pipeline.conversion import Conversion, convert

    labels = Labels(arguments.participant_label, arguments.session_label)
    return convert(
        Conversion(
            arguments.source,
            arguments.bids_dir,
            labels,
            arguments.plan,
            arguments.plan_only,
            arguments.keep_uids,
            arguments.force,
            undistortion=undistortion(arguments),
        )
    )
