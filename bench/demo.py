"""`make demo`: a small digital head, its maps, and how far χ is from the truth."""

from __future__ import annotations

import sys
from pathlib import Path

from mensura.cli import main

SHAPE, VOXEL = ("80", "96", "80"), ("2", "2", "2")


def demo(folder: Path) -> int:
    """Simulate, map, compare; the exit code of the mapping."""
    head, maps = folder / "head", folder / "maps"
    if not (head / "derivatives" / "truth").is_dir():
        print("A digital head is being simulated …", flush=True)
        main(["simulate", "head", str(head), "--seed", "1", "--shape", *SHAPE, "--voxel-size", *VOXEL])
    code = main(["run", str(head), str(maps), "participant"])
    if code == 0:
        truth, mine = (root / "sub-01" / "anat" / "sub-01" for root in (head / "derivatives" / "truth", maps))
        print(f"\nmaps    {mine.parent}\nreport  {maps / 'sub-01.html'}\ntruth   {truth.parent}\n")
        main(scoring(mine, truth))
    return code


def scoring(mine: Path, truth: Path) -> list[str]:
    """Stems of the maps and of the truth → the command that says how far χ is off, over the true brain mask."""
    chi, true, brain, tissues = (
        f"{stem}.nii.gz"
        for stem in (f"{mine}_Chimap", f"{truth}_Chimap", f"{truth}_desc-brain_mask", f"{truth}_dseg")
    )
    return ["score", chi, true, "--mask", brain, "--segmentation", tissues]


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
