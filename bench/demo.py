"""`make demo`: a small digital head, its maps, and how far χ is from the truth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mensura.cli import main
from mensura.io import nifti
from mensura.mask.morphology import erode
from mensura.score import coverage, nrmse

SHAPE, VOXEL = ("80", "96", "80"), ("2", "2", "2")


def demo(folder: Path) -> int:
    """Simulate, map, compare; the exit code of the mapping."""
    head, maps = folder / "head", folder / "maps"
    if not (head / "derivatives" / "truth").is_dir():
        print("A digital head is being simulated …", flush=True)
        main(["simulate", "head", str(head), "--seed", "1", "--shape", *SHAPE, "--voxel-size", *VOXEL])
    code = main(["run", str(head), str(maps), "participant"])
    if code == 0:
        print(compared(head, maps))
    return code


def compared(head: Path, maps: Path) -> str:
    """Where the results lie, and the error of χ over the whole brain mask less one voxel."""
    truth, mine = (root / "sub-01" / "anat" / "sub-01" for root in (head / "derivatives" / "truth", maps))
    brain = nifti.read(f"{truth}_desc-brain_mask.nii.gz")
    inside = erode(brain.data > 0, brain.grid, max(brain.grid.voxel_size))
    chi, true = (nifti.read(f"{stem}_Chimap.nii.gz").data for stem in (mine, truth))
    valued = nifti.read(f"{mine}_desc-local_mask.nii.gz").data > 0
    error = nrmse(np.where(valued, chi, 0), true, inside)
    return "\n".join(
        (
            "",
            f"maps    {mine.parent}",
            f"report  {maps / 'sub-01.html'}",
            f"truth   {truth.parent}",
            f"χ is {error:.0f} % off the truth (root mean square, demeaned, over the brain less one voxel; "
            f"a map of zeros scores 100 %), with a value in {coverage(valued, inside):.1f} % of these voxels.",
        )
    )


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
