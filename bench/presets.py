"""What each preset does for the data it is made for: `python bench/presets.py` prints a table (two minutes).

Two heads of 2 mm, from wrapped phase with the true mask: 3 T, SNR 50; 7 T, oblique, all lesions, SNR 30. One echo is
the third of four (`single-echo`) or the last (`epi`); for `rodent` the same images have voxels of 0.2 mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

import mensura
from mensura.phantom.head import simulate_head
from mensura.phantom.lesions import LESIONS
from mensura.phantom.simulation import Simulation
from mensura.scan import Grid, Volume
from mensura.score import nrmse

TENTH = 0.1
EVERY = slice(None)
CASES = {"fast": EVERY, "single-echo": slice(2, 3), "epi": slice(3, 4)}
"""Preset → the echoes that it is given."""


def heads() -> Iterator[tuple[str, Simulation]]:
    common: dict[str, Any] = {"shape": (80, 96, 80), "voxel_size": (2.0, 2.0, 2.0)}
    yield "3 T", simulate_head(**common, seed=7, echo_times=(0.004, 0.012, 0.020, 0.028), snr=50)
    seven: dict[str, Any] = {
        "field_strength": 7.0,
        "echo_times": (0.004, 0.009, 0.014, 0.019),
        "b0_angle": 25.0,
    }
    yield "7 T", simulate_head(**common, **seven, seed=11, snr=30, lesions=tuple(LESIONS))


def off(scan: Simulation, echoes: slice, preset: str | None, scale: float = 1.0) -> float:
    """NRMSE of χ (%) over the true mask less a voxel, for the images with voxels `scale` times as large."""
    affine = scan.grid.affine.copy()
    affine[:3] *= scale
    grid = Grid(scan.grid.shape, affine)
    times = scan.acquisition.echo_times[echoes]
    phase, magnitude = (
        Volume(np.ascontiguousarray(a[..., echoes], np.float32), grid, unit)
        for a, unit in ((scan.phase, "rad"), (scan.magnitude, "arbitrary"))
    )
    settings = {} if preset is None else {"preset": preset}
    mask, acquisition = Volume(scan.mask, grid, "1"), replace(scan.acquisition, echo_times=times)
    maps = mensura.qsm(phase, magnitude, acquisition, mask=mask, settings=settings)
    return nrmse(np.nan_to_num(maps["chi"].data), scan.chi, binary_erosion(scan.mask))


def main() -> None:
    print("| head | preset | default | preset |\n|---|---|---|---|")
    for name, scan in heads():
        for preset, echoes in CASES.items():
            print(
                f"| {name} | {preset} | {off(scan, echoes, None):.1f} | {off(scan, echoes, preset):.1f} |",
                flush=True,
            )
        print(
            f"| {name} | rodent | {off(scan, EVERY, None):.1f} at 2 mm | {off(scan, EVERY, 'rodent', TENTH):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
