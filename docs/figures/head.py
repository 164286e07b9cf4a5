"""The pictures of the digital head: `python docs/figures/head.py` writes docs/figures/head.png (about a minute)."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from drawing import STYLE, cut, index_at, save, sheet, show, sides

from mensura.phantom.head import simulate_head
from mensura.phantom.simulation import Simulation

VIEWS = {"axial": 4.0, "coronal": -14.0, "sagittal": 3.0}
"""Where the slices lie, mm."""


def draw(scan: Simulation, path: Path) -> None:
    """Three views of what is recorded (magnitude, phase) and of what is true (χ, T1) → a PNG."""
    bright = float(np.percentile(scan.magnitude[..., 2][scan.mask], 99.5))
    columns = {
        "magnitude, TE 20 ms": (scan.magnitude[..., 2], 0, bright),
        "phase, TE 20 ms, ±π": (scan.phase[..., 2], -np.pi, np.pi),
        "true χ, −0.1 … 0.2 ppm": (scan.chi, -0.1, 0.2),
        "true T1, 0 … 3 s": (scan.truth["T1map"].data, 0, 3),
    }
    with mpl.rc_context(STYLE):
        figure = sheet(8.2)
        axes = figure.subplots(len(VIEWS), len(columns), squeeze=False)
        for row, (plane, place) in zip(axes, VIEWS.items(), strict=True):
            index = index_at(scan.grid, plane, place)
            for frame, (title, (volume, low, high)) in zip(row, columns.items(), strict=True):
                show(frame, cut(volume, plane, index), "gray", low, high)
                if plane == "axial":
                    frame.set_title(title)
            sides(row[0], plane)
        figure.subplots_adjust(0.005, 0.005, 0.995, 0.965, 0.02, 0.02)
        save(figure, path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("head.png")
    draw(simulate_head((164, 205, 205), (1.0, 1.0, 1.0), seed=0), target)
