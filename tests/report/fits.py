"""Fitted maps on disk to report on: T1 of two flip-angle tissues with spikes, as `mensura fit` leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mensura.io import nifti
from mensura.io.files import write_text
from mensura.pipeline.relaxometry import Request, fit_files
from mensura.qmri import equations
from mensura.scan import Grid

SHAPE = (14, 12, 10)
GRID = Grid.from_voxel_size(SHAPE, (3.0, 3.0, 4.0))
ANGLES = (2.0, 5.0, 9.0, 14.0, 20.0, 27.0)
T1 = {1: 0.84, 2: 1.6}
TABLE = "index\tname\n0\tbackground\n1\tLeft-Cerebral-White-Matter\n2\tctx-lh-insula\n3\tCSF\n"


def labels(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """White matter in one half, cortex in the other, nothing at the rim."""
    made = np.zeros(shape, np.uint8)
    middle = shape[0] // 2
    made[1:middle, 1:-1, 1:-1], made[middle:-1, 1:-1, 1:-1] = 1, 2
    return made


def write_fit(folder: Path, field: float | None = 3.0, segmented: bool = True, seed: int = 0) -> Path:
    """The images in `folder`, the maps in `folder`/out; the mask is all that has a label."""
    tissue, rng = labels(), np.random.default_rng(seed)
    t1 = np.select([tissue == n for n in T1], list(T1.values()), 1.0)[..., None]
    signals = np.asarray(
        equations.spoiled_gradient_echo(np.deg2rad(ANGLES), np.full_like(t1, 5000), t1, repetition_time=0.015)
    )
    signals = signals + 1.5 * rng.standard_normal(signals.shape)
    signals[3, 3:8, 3, 2] *= 1.8
    folder.mkdir(parents=True, exist_ok=True)
    nifti.write(folder / "vfa.nii.gz", signals.astype(np.float32), GRID)
    nifti.write(folder / "mask.nii.gz", tissue > 0, GRID)
    nifti.write(folder / "sub_dseg.nii.gz", tissue, GRID)
    write_text(folder / "sub_dseg.tsv", TABLE)
    request = Request(
        "variable_flip_angle",
        [folder / "vfa.nii.gz"],
        ANGLES,
        {"repetition_time": 0.015, "loss": "tukey"},
        mask=folder / "mask.nii.gz",
        command="mensura fit variable_flip_angle",
        field_strength=field,
        segmentation=folder / "sub_dseg.nii.gz" if segmented else None,
    )
    fit_files(request, folder / "out")
    return folder / "out"
