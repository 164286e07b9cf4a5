"""A digital head, drawn anew for every seed or made from a label map, and its gradient-echo scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.phantom import anatomy, template
from mensura.phantom.anatomy import Head, Labels, random_filling, random_folding, random_head
from mensura.phantom.fields import held, random_warp
from mensura.phantom.lesions import LESIONS
from mensura.phantom.scanner import check_snr
from mensura.phantom.scene import Anatomy, check_supersampling, field_of_view
from mensura.phantom.shapes import Points, random_waves, subset
from mensura.phantom.simulation import Simulation, simulate
from mensura.phantom.tissues import BRAIN, TISSUES, Label, Tissue
from mensura.phantom.tracts import WHITE, tract_directions
from mensura.phantom.vessels import draw_lesions, draw_vessels
from mensura.scan import BoolArray, GradientEcho, Grid, ScanError

MIDDLE = (0.0, -15.0, 6.0)
"""The point of the head (mm) that lies at the centre of the field of view."""
SIZE, SPREAD = 0.93, 0.02
"""A head against the template, which is larger than most, along each axis: mean and standard deviation."""
WARP = ((1.8, 6, (70.0, 180.0)), (0.5, 10, (28.0, 50.0)))
"""How heads deviate from the template beyond that: see `fields.Band`."""
SULCI = (0.12, 10, (25.0, 60.0))
"""How the width of the sulci varies, in units of the template's tissue field (about a millimetre)."""
VARYING = (
    Label.CAUDATE,
    Label.PUTAMEN,
    Label.PALLIDUM,
    Label.THALAMUS,
    Label.RED_NUCLEUS,
    Label.SUBSTANTIA_NIGRA,
    Label.DENTATE,
    Label.VEIN,
)


def simulate_head(
    shape: Sequence[int] = (96, 112, 96),
    voxel_size: Sequence[float] = (2.0, 2.0, 2.0),
    *,
    field_strength: float = 3.0,
    echo_times: Sequence[float] = (0.004, 0.012, 0.020, 0.028),
    repetition_time: float = 0.035,
    flip_angle: float = 15.0,
    readout: Literal["monopolar", "bipolar"] = "monopolar",
    snr: float = 50.0,
    seed: int = 0,
    b0_angle: float = 0.0,
    lesions: Sequence[str] = (),
    supersampling: int = 2,
    phase_offset: float = 1.5,
    base: str = "template",
) -> Simulation:
    """Shape, voxel size (mm) and protocol → a scan of the seeded head and its truth.

    `echo_times` and `repetition_time` in s, `flip_angle` in degrees. With `b0_angle` (degrees) the head is
    sampled on a grid tilted by that angle about an axis between left-right and front-back, while B0 stays
    along the scanner's z. `lesions` and `base` as in `head_anatomy`, the rest as in `simulation.simulate`.
    """
    acquisition = GradientEcho(
        tuple(echo_times), field_strength, repetition_time, float(np.radians(flip_angle)), readout
    )
    _check(acquisition, snr, supersampling)
    return simulate(
        head_anatomy(seed, lesions=lesions, base=base),
        head_grid(shape, voxel_size, b0_angle),
        acquisition,
        snr=snr,
        seed=seed,
        supersampling=supersampling,
        phase_offset=phase_offset,
    )


def _check(acquisition: GradientEcho, snr: float, supersampling: int) -> None:
    tr = acquisition.repetition_time or 0.0
    if not max(acquisition.echo_times) < tr <= 10:
        raise ScanError(
            f"the repetition time {tr:g} s must be longer than the last echo time, and below 10 s"
        )
    check_snr(snr)
    check_supersampling(supersampling)


def head_anatomy(
    seed: int = 0,
    *,
    lesions: Annotated[Sequence[str], Tunable("", f"any of {', '.join(LESIONS)}")] = (),
    base: Annotated[str, Tunable("", "template: real folds; analytic: drawn ones")] = "template",
    tracts: Annotated[bool, Tunable("", "χ of white matter by the direction of its tracts")] = False,
) -> Anatomy:
    """Seed → a head: size, shape, folds, veins and the susceptibility of the nuclei (±10 %) are its own.

    `lesions` are names from `lesions.LESIONS`. With `tracts`, the anatomy knows the direction of its tracts.
    """
    if base not in ("template", "analytic"):
        raise ScanError(f"there is no base {base!r} of a head; choose template or analytic")
    random = np.random.default_rng([seed, 0])
    if base == "analytic":
        head = random_head(random)
        return _anatomy(lambda points: anatomy.tissue_at(points, head), head, random, lesions, tracts)
    brain = template.template()
    head = _varied(random, brain)
    return _anatomy(lambda points: template.tissue_at(points, brain, head), head, random, lesions, tracts)


def head_around(segmentation: Labels, grid: Grid, seed: int = 0, lesions: Sequence[str] = ()) -> Anatomy:
    """Segmentation (1 grey matter, 2 white matter, 3 CSF; 0 elsewhere) in MNI space → a head to be scanned.

    Deep nuclei, vessels, skull, face and air spaces are drawn where a standard brain has them, so the grid's
    affine must lead to MNI coordinates (mm). Raises ScanError where grey or white matter is missing.
    """
    random = np.random.default_rng([seed, 0])
    brain = template.segmented(segmentation, grid)
    head = Head(random_folding(random), *random_filling(random), surface=brain.hull)
    return _anatomy(lambda points: template.tissue_at(points, brain, head), head, random, lesions)


def _varied(random: np.random.Generator, brain: template.Brain) -> Head:
    """Draws how one head deviates from the template."""
    x, y, z = 1 / (SIZE + SPREAD * random.standard_normal(3))
    warp = random_warp(random, WARP, (float(x), float(y), float(z)))
    size, count, lengths = SULCI
    openness = held([(size, random_waves(random, count, lengths))])
    return Head(random_folding(random), *random_filling(random), warp, brain.hull, openness)


def _anatomy(
    tissue_at: Callable[[Points], tuple[Labels, BoolArray]],
    head: Head,
    random: np.random.Generator,
    lesions: Sequence[str],
    tracts: bool = False,
) -> Anatomy:
    """The anatomy with its vessels and lesions and with nuclei whose susceptibility is its own."""
    vessels = [*draw_vessels(random, head), *draw_lesions(random, lesions)]
    tissues = dict(TISSUES)
    for label in VARYING:
        factor = 1 + 0.1 * float(random.standard_normal())
        tissues[label] = replace(tissues[label], chi_plus=tissues[label].chi_plus * factor)

    def fibres(points: Points) -> Points:
        white = np.isin(tissue_at(points)[0], WHITE)
        directions = [np.zeros(points[0].shape, np.float32) for _ in range(3)]
        along = tract_directions(head.displaced(subset(points, white)), head)
        for component, found in zip(directions, along, strict=True):
            component[white] = found
        return directions[0], directions[1], directions[2]

    return Anatomy(
        tissue_at, tissues, vessels, frozenset(BRAIN), fibres if tracts else None, middle=MIDDLE
    )  # fmt: skip


def anatomy_from_labels(
    labels: Labels, grid: Grid, tissues: Mapping[int, Tissue], brain: BoolArray, outside: int = Label.AIR
) -> Anatomy:
    """Label map on a grid, its property table and brain mask → an anatomy that can be scanned on any grid.

    The nearest voxel counts; beyond the map there is `outside`. Raises ScanError for a label without entry.
    """
    missing = sorted(set(np.unique(labels).tolist()) - set(tissues))
    if missing:
        raise ScanError(f"the label {missing[0]} has no entry in the tissue table; add one")
    if labels.shape != grid.shape or brain.shape != grid.shape:
        raise ScanError(
            f"labels {labels.shape} and brain {brain.shape} must have the grid's shape {grid.shape}"
        )
    inverse = np.asarray(np.linalg.inv(grid.affine), np.float64)

    def tissue_at(points: Points) -> tuple[Labels, NDArray[np.bool_]]:
        cells = _cells(points, inverse)
        within = np.logical_and.reduce([(c >= 0) & (c < n) for c, n in zip(cells, grid.shape, strict=True)])
        cells = [np.where(within, c, 0) for c in cells]
        found = np.where(within, labels[tuple(cells)], np.uint8(outside))
        return found, brain[tuple(cells)] & within

    return Anatomy(tissue_at, tissues)


def head_grid(shape: Sequence[int], voxel_size: Sequence[float], b0_angle: float = 0.0) -> Grid:
    """Shape, voxel size (mm), tilt (degrees) → the grid centred on the head."""
    return field_of_view(shape, voxel_size, MIDDLE, b0_angle)


def _cells(points: Points, inverse: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of the voxels in which points (mm) lie."""
    rows = []
    for row in inverse[:3].astype(np.float32):
        rows.append(
            np.rint(points[0] * row[0] + points[1] * row[1] + points[2] * row[2] + row[3]).astype(np.intp)
        )
    return rows
