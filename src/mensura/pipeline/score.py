"""Files → scores: reads the maps, checks that they fit, finds out what they are, and names the regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io import nifti
from mensura.io.bids_names import parse
from mensura.io.files import read_json
from mensura.io.labels import label_names
from mensura.io.nifti import Image
from mensura.pipeline.scorecard import Scorecard
from mensura.scan import BoolArray, ScanError
from mensura.score import Calibration, Segmentation, calibration, groups, relaxometry, susceptibility
from mensura.score.record import Missing, Pair
from mensura.score.regions import Groups

KINDS = ("susceptibility", "relaxometry")
UNITS = {"Chimap": "ppm", "T1map": "s", "T2map": "s", "T2starmap": "s",
         "R1map": "1/s", "R2map": "1/s", "R2starmap": "1/s"}  # fmt: skip
"""Of maps without a sidecar."""
SAME_UNIT = {"s^-1": "1/s", "s-1": "1/s", "sec": "s", "seconds": "s", "milliseconds": "ms", "msec": "ms"}


@dataclass(frozen=True)
class Files:
    """What is compared: the maps and the mask, and what may go with them."""

    estimate: Path
    truth: Path
    mask: Path
    segmentation: Path | None = None
    labels: Path | None = None
    std: Path | None = None
    estimate_mask: Path | None = None

    def given(self) -> dict[str, Path]:
        """Name → path of those that were given."""
        return {name: path for name, path in vars(self).items() if path is not None}


def score_files(
    files: Files,
    *,
    kind: str | None = None,
    regions: Groups | None = None,
    missing: Missing = "excluded",
    zeros: bool = False,
    rim: float = 3.0,
) -> Scorecard:
    """Files of maps on one grid → their scores.

    `kind` is told by the truth's name if not given. `regions` (name → labels) replace or join those that the
    labels' names tell. A voxel that is exactly 0 in the estimate has no value, as everywhere outside the mask
    of a map, unless `zeros` are values or a mask of the estimate is given. ScanError for maps on different
    grids, of different units, or of a kind that cannot be told.
    """
    truth = _volume(files.truth)
    estimate, mask = _on_grid(files.estimate, truth), _on_grid(files.mask, truth).data > 0
    unit, suffix = _common_unit(files), _suffix(files.truth)
    kind, why = (kind, "as asked") if kind else _guessed(suffix, unit, files.truth)
    valued, notes = _valued(estimate, mask, files, zeros)
    std = _on_grid(files.std, truth).data if files.std else None
    maps = (estimate.data, truth.data, mask)
    common: dict[str, Any] = {"segmentation": _segmentation(files, truth, kind, regions or {}), "std": std}
    common |= {"valued": valued, "missing": missing}
    if kind == "susceptibility":
        scores = susceptibility(*maps, truth.grid.voxel_size, rim=rim, **common)
    else:
        scores = relaxometry(*maps, unit, **common)
    pair = Pair.of(*maps, valued=valued, missing=missing)
    return Scorecard(
        kind,
        why,
        unit,
        files.given(),
        voxels=int(np.count_nonzero(pair.asked)),
        coverage=scores[0].coverage,
        missing=missing,
        scores=scores,
        calibration=_calibration(pair.centred() if kind == "susceptibility" else pair, std),
        notes=notes + _unknown(mask, truth),
    )


def parse_regions(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """["deep-grey=10,11", …] → region → labels; ScanError names the word that is not of that form."""
    found: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, equals, labels = word.partition("=")
        pieces = [piece.strip() for piece in labels.split(",") if piece.strip()]
        if not (name and equals and pieces) or not all(piece.isdigit() for piece in pieces):
            raise ScanError(f"the region {word!r} is not understood; write for example deep-grey=10,11,12")
        found[name] = tuple(map(int, pieces))
    return found


def _volume(path: Path) -> Image:
    image = nifti.read(path)
    if image.data.ndim != 3:
        raise ScanError(f"{path} holds {image.data.shape[3]} volumes; give a map, which has one")
    return image


def _on_grid(path: Path, truth: Image) -> Image:
    image = _volume(path)
    nifti.check_same_grid(image, truth)
    return image


def _suffix(path: Path) -> str:
    name = parse(path)
    return name.suffix if name else path.name.partition(".")[0].split("_")[-1]


def _unit(path: Path) -> str:
    """The unit that the sidecar states, or that goes with the name; empty where neither tells."""
    sidecar = path.with_name(path.name.partition(".")[0] + ".json")
    told = str(read_json(sidecar).get("Units", "")).strip() if sidecar.is_file() else ""
    return SAME_UNIT.get(told.lower(), told)


def _common_unit(files: Files) -> str:
    """The unit of both maps; ScanError where their sidecars disagree."""
    told = {path: unit for path in (files.estimate, files.truth, files.std) if path and (unit := _unit(path))}
    if len(set(told.values())) > 1:
        listed = " and ".join(f"{path} in {unit}" for path, unit in told.items())
        raise ScanError(f"maps of different units cannot be compared: {listed}; convert them to one unit")
    return next(iter(told.values()), UNITS.get(_suffix(files.truth), ""))


def _guessed(suffix: str, unit: str, path: Path) -> tuple[str, str]:
    """What kind of map it is, and what told so."""
    if suffix == "Chimap":
        return KINDS[0], "its name ends in Chimap"
    if unit == "ppm" and not suffix.endswith("map"):
        return KINDS[0], "its unit is ppm"
    if suffix.endswith("map") or suffix in ("MTsat", "UNIT1"):
        return KINDS[1], f"its name ends in {suffix}"
    raise ScanError(f"the name of {path} does not tell what it maps; say --kind {' or --kind '.join(KINDS)}")


def _valued(estimate: Image, mask: BoolArray, files: Files, zeros: bool) -> tuple[BoolArray, list[str]]:
    """Where the estimate may have a value, and what is to be said of it."""
    if files.estimate_mask:
        return _on_grid(files.estimate_mask, estimate).data > 0, []
    if zeros:
        return np.ones(estimate.data.shape, bool), []
    count = int(np.count_nonzero(mask & (estimate.data == 0)))
    said = f"{count} voxels of the mask are exactly 0 in the estimate: without a value, unless --zeros value"
    return estimate.data != 0, [said] if count else []


def _unknown(mask: BoolArray, truth: Image) -> list[str]:
    count = int(np.count_nonzero(mask & ~np.isfinite(truth.data)))
    return (
        [f"the truth has no value in {count} voxels of the mask, which were not asked for"] if count else []
    )


def _segmentation(files: Files, truth: Image, kind: str, regions: Groups) -> Segmentation | None:
    """The labels, and the regions they make: as asked, else by their names."""
    if files.segmentation is None:
        if regions or files.labels:
            raise ScanError("regions and labels need a segmentation; give it with --segmentation")
        return None
    data = _on_grid(files.segmentation, truth).data
    if not np.array_equal(data, np.rint(data)):
        raise ScanError(f"{files.segmentation} holds fractions, not labels; give a map of whole numbers")
    labels = data.astype(np.int32)
    names = label_names(files.segmentation, files.labels)
    if kind == "relaxometry":
        present = [int(n) for n in np.unique(labels) if n]
        return Segmentation(labels, {names.get(n, f"label {n}"): (n,) for n in present} | dict(regions))
    found = groups(names) | dict(regions)
    if not found:
        raise ScanError(
            f"no names of tissues are known for the labels of {files.segmentation}; give them with "
            "--labels dseg.tsv, or say which are which, for example --regions deep-grey=10,11,12"
        )
    return Segmentation(labels, found)


def _calibration(pair: Pair, std: NDArray[Any] | None) -> Calibration | None:
    return None if std is None else calibration(pair.estimate, pair.truth, std, pair.scored)
