"""How far χ is from the truth: `python bench/accuracy.py [NAME …]` prints one table per digital head.

Scored by NRMSE (%, demeaned) over the true brain mask eroded by one voxel; voxels without a value count as zero, and
coverage says how many there are. "mensura run" is the whole command on files, with the mask that it makes itself;
all other rows start from arrays and the true mask. Two heads are drawn by mensura; the third carries the folds of a
real brain (needs ../shared/data). Every row uses one set of defaults. Those were chosen looking at the heads
"straight" (at 1 and 2 mm) and "real-folds" (2 mm), never at "unseen".
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from mensura.cli import main
from mensura.io import nifti
from mensura.phantom.dataset import write_scan
from mensura.phantom.head import head_grid, simulate_head
from mensura.phantom.simulation import Simulation, simulate
from mensura.qsm import background, dipole, field, offset, unwrap
from mensura.qsm.medi import medi
from mensura.qsm.single_step import smv_tv
from mensura.scan import GradientEcho, Grid
from mensura.score import coverage, nrmse

LABELS = Path(__file__).resolve().parents[2] / "shared/data/head_labels_hrgt/hrgt_icbm_2009a_nls_3t.nii.gz"
MM1, SHAPE = (1.0, 1.0, 1.0), (164, 205, 205)


def real_folds() -> Simulation:
    """The head around a segmented real brain, scanned at 1 mm."""
    import nibabel as nib

    from mensura.phantom.head import head_around

    image = nib.load(LABELS)
    labels = np.asarray(image.dataobj)[:, :, :, 0, 6].astype(np.uint8)
    acquisition = GradientEcho((0.004, 0.012, 0.020, 0.028), 3.0, 0.035, float(np.radians(15)))
    anatomy = head_around(labels, Grid(labels.shape, image.affine), seed=1)
    return simulate(
        anatomy, head_grid(SHAPE, MM1), acquisition, snr=50, seed=1, supersampling=2, phase_offset=1.5
    )


HEADS: dict[str, Callable[[], Simulation]] = {
    "unseen": lambda: simulate_head(SHAPE, MM1, seed=21),
    "straight": lambda: simulate_head(SHAPE, MM1, seed=0),
    "oblique": lambda: simulate_head(SHAPE, MM1, seed=0, b0_angle=30),
    "anisotropic": lambda: simulate_head((228, 270, 100), (0.7, 0.7, 2.0), seed=0),
    "real-folds": real_folds,
    "lesions-7T": lambda: simulate_head(
        SHAPE, MM1, seed=11, field_strength=7, echo_times=(0.004, 0.009, 0.014, 0.019),
        lesions=("calcification", "haemorrhage"),
    ),
    "noisy": lambda: simulate_head(SHAPE, MM1, seed=12, snr=20),
}  # fmt: skip


def rows(scan: Simulation) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """What it starts from, the method, χ, and where it has a value."""
    mask, grid, times = scan.mask, scan.grid, scan.acquisition.echo_times
    known: dict[str, Any] = {"magnitude": scan.magnitude, "echo_times": times}
    hz = scan.acquisition.hz_per_ppm
    yield "wrapped phase", "**mensura run**, its own mask", *whole_command(scan)
    phase = offset.mcpc3ds(scan.phase, mask, grid, **known)
    fitted, std, _ = field.nonlinear(
        unwrap.romeo(phase, mask, grid, **known), mask, grid, **known, hz_per_ppm=hz
    )
    yield "wrapped phase", "defaults, true mask", smv_tv(fitted, mask, grid, field_std=std), mask
    local, kept = background.vsharp(fitted, mask, grid)
    yield (
        "wrapped phase",
        "same field, V-SHARP + weighted TV",
        dipole.tv(local, kept, grid, field_std=std),
        kept,
    )
    single = unwrap.romeo(scan.phase, mask, grid, individual=True, **known)
    plain, _, _ = field.linear(single, mask, grid, echo_times=times, hz_per_ppm=hz)
    local, kept = background.vsharp(plain, mask, grid)
    yield (
        "wrapped phase",
        "plain: per-echo unwrapping, linear fit, V-SHARP, unweighted TV",
        dipole.tv(local, kept, grid),
        kept,
    )
    total, true_local = scan.total_field * mask, scan.local_field * mask
    yield "true total field", "one step (smv_tv)", smv_tv(total, mask, grid), mask
    for remove in (background.vsharp, background.pdf, background.lbv):
        local, kept = remove(total, mask, grid)
        yield "true total field", f"{remove.__name__} + TV", dipole.tv(local, kept, grid), kept
    for invert in (dipole.tv, medi, dipole.tikhonov, dipole.tkd):
        more = {"magnitude": scan.magnitude} if invert is medi else {}
        yield "true local field", invert.__name__, invert(true_local, mask, grid, **more), mask


def whole_command(scan: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """χ and its mask from `mensura run` on the scan written as a BIDS dataset."""
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw", Path(folder) / "out"
        write_scan(raw, scan)
        if main(["run", str(raw), str(out), "participant"]) != 0:
            raise SystemExit("mensura run failed")
        stem = out / "sub-01" / "anat" / "sub-01"
        return nifti.read(f"{stem}_Chimap.nii.gz").data, nifti.read(f"{stem}_desc-local_mask.nii.gz").data > 0


def table(name: str) -> None:
    scan = HEADS[name]()
    inside = binary_erosion(scan.mask)
    print(f"\n### {name}\n\n| from | method | NRMSE % | coverage % |\n|---|---|---|---|", flush=True)
    for start, method, chi, kept in rows(scan):
        error = nrmse(np.where(kept, chi, 0), scan.chi, inside)
        print(f"| {start} | {method} | {error:.1f} | {coverage(kept, inside):.1f} |", flush=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or HEADS:
        table(chosen)
