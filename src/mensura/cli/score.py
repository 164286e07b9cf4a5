"""`mensura score`: how far a map is from its truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from mensura.cli.flags import Parser

SCORE = """\
How far a map is from its truth: errors, structure and coverage, for the mask and each of its regions. Maps of
susceptibility are scored less their means, for their zero is a convention; other maps as they are. A voxel
without a value (NaN, or exactly 0) is left out and counted. docs/scores.md defines every score.

examples:
  mensura score maps/Chimap.nii.gz truth/Chimap.nii.gz --mask brain.nii.gz --segmentation dseg.nii.gz
  mensura score T1map.nii.gz true_T1map.nii.gz --mask brain.nii.gz --std desc-std_T1map.nii.gz --json
"""
USAGE = "mensura score ESTIMATE TRUTH --mask FILE [options]"


def fill(command: Parser) -> None:
    command.add_argument("estimate", type=Path, help="the map to be judged")
    command.add_argument("truth", type=Path, help="the true map, on the same grid")
    command.add_argument("--mask", type=Path, required=True, metavar="FILE", help="voxels to be judged")
    command.add_argument(
        "--kind", choices=["susceptibility", "relaxometry"], help="of the maps (default: told by their names)"
    )
    regions = command.add_argument_group("regions")
    regions.add_argument("--segmentation", type=Path, metavar="FILE", help="labels of tissues, on the grid")
    regions.add_argument(
        "--labels", type=Path, metavar="TSV", help="index and name of each label (default: its dseg.tsv)"
    )
    regions.add_argument(
        "--regions", nargs="+", default=[], metavar="NAME=N,N", help="labels of a region: deep-grey=10,11,12"
    )
    regions.add_argument(
        "--rim", type=float, default=3.0, metavar="MM", help="width of the mask's rim (default: 3 mm)"
    )
    values = command.add_argument_group("values")
    values.add_argument(
        "--std", type=Path, metavar="FILE", help="the reported standard deviation, to be judged too"
    )
    values.add_argument("--estimate-mask", type=Path, metavar="FILE", help="where the estimate has a value")
    values.add_argument(
        "--zeros", choices=["missing", "value"], default="missing",
        help="what exactly 0 in the estimate means (default: missing)",
    )  # fmt: skip
    values.add_argument(
        "--missing", choices=["excluded", "zero"], default="excluded",
        help="what becomes of voxels without a value (default: excluded)",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the scores: .json or .tsv")
    command.set_defaults(action=_score)


def _score(arguments: argparse.Namespace) -> int:
    from mensura.pipeline import score, scorecard

    given = vars(arguments)
    if arguments.out:
        scorecard.check_suffix(arguments.out)
    card = score.score_files(
        score.Files(**{name: given[name] for name in score.Files.__dataclass_fields__}),
        kind=arguments.kind,
        regions=score.parse_regions(arguments.regions),
        missing=arguments.missing,
        zeros=arguments.zeros == "value",
        rim=arguments.rim,
    )
    if arguments.out:
        scorecard.save(card, arguments.out)
    if arguments.json:
        print(scorecard.as_json(card))
    else:
        scorecard.show(card)
    return 0
