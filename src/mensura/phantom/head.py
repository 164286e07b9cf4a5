"""A digital head, drawn anew for every seed or made from a label map, and its gradient-echo scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.anatomy import Labels, random_head, tissue_at
from mensura.phantom.scene import Anatomy
from mensura.phantom.shapes import Points
from mensura.phantom.simulation import Simulation, simulate
from mensura.phantom.tissues import BRAIN, TISSUES, Label, Tissue
from mensura.phantom.vessels import draw_lesions, draw_vessels
from mensura.scan import BoolArray, GradientEcho, Grid, ScanError

MIDDLE = (0.0, -15.0, 6.0)
"""The point of the head (mm) that lies at the centre of the field of view."""
TILT_AXIS = (0.8, 0.6, 0.0)
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
) -> Simulation:
    """Shape, voxel size (mm) and protocol → a scan of the seeded head and its truth.

    `echo_times` and `repetition_time` in s, `flip_angle` in degrees. With `b0_angle` (degrees) the head is
    sampled on a grid tilted by that angle about an axis between left-right and front-back, while B0 stays
    along the scanner's z. `lesions` are names from `vessels.LESIONS`. The rest as in `scanner.simulate`.
    """
    acquisition = GradientEcho(
        tuple(echo_times), field_strength, repetition_time, float(np.radians(flip_angle)), readout
    )
    _check(acquisition, snr, supersampling)
    return simulate(
        head_anatomy(seed, lesions),
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
    if not snr > 0:
        raise ScanError(f"the signal-to-noise ratio {snr:g} must be positive (inf for no noise)")
    if not 1 <= supersampling <= 8:
        raise ScanError(f"a supersampling of {supersampling} is not possible; choose 1 to 8")


def head_anatomy(seed: int = 0, lesions: Sequence[str] = ()) -> Anatomy:
    """Seed → a head: shape, folds, veins and the susceptibility of the nuclei (±10 %) are its own."""
    random = np.random.default_rng([seed, 0])
    head = random_head(random)
    vessels = [*draw_vessels(random, head), *draw_lesions(random, lesions)]
    tissues = dict(TISSUES)
    for label in VARYING:
        factor = 1 + 0.1 * float(random.standard_normal())
        tissues[label] = replace(tissues[label], chi_plus=tissues[label].chi_plus * factor)
    return Anatomy(lambda points: tissue_at(points, head), tissues, vessels, frozenset(BRAIN))


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
    if len(shape) != 3 or len(voxel_size) != 3 or min(shape) < 1 or min(voxel_size) <= 0:
        raise ScanError(
            f"a shape of three sizes and a voxel size of three lengths are needed, not {shape}, {voxel_size}"
        )
    nx, ny, nz = (int(n) for n in shape)
    affine = np.eye(4)
    affine[:3, :3] = _rotation(np.array(TILT_AXIS), np.radians(b0_angle)) * np.asarray(voxel_size, float)
    affine[:3, 3] = np.array(MIDDLE) - affine[:3, :3] @ ((np.array([nx, ny, nz]) - 1) / 2)
    return Grid((nx, ny, nz), affine)


def _cells(points: Points, inverse: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of the voxels in which points (mm) lie."""
    rows = []
    for row in inverse[:3].astype(np.float32):
        rows.append(
            np.rint(points[0] * row[0] + points[1] * row[1] + points[2] * row[2] + row[3]).astype(np.intp)
        )
    return rows


def _rotation(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Rotation matrix about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
