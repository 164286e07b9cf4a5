"""The picture of docs/vials.md: the five plates of the phantom of vials, and where they lie.

python docs/figures/vials.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from drawing import INK, STYLE, save, scale_bar, sheet, show
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mensura.phantom.tissues import properties
from mensura.phantom.vials import PLANES, WATER, draw_vials, vials_anatomy

STEP, REACH = 0.4, 108.0
LEFT = -18.0
"""A plane (mm) along x that cuts vials of all plates."""
AROUND = ListedColormap(["#ffffff", "#6b7280", "#e3edf5"])
"""Air, plastic, water."""
SHOWN: dict[str, tuple[str, str, str, Any, list[float], str]] = {
    "Ni": ("NiCl$_2$", "t1", "viridis", LogNorm(0.02, 2.5), [0.02, 0.1, 0.5, 2], "T1 (s)"),
    "Mn": ("MnCl$_2$", "t2", "viridis", LogNorm(0.005, 0.7), [0.005, 0.02, 0.1, 0.5], "T2 (s)"),
    "PD": ("H$_2$O in D$_2$O", "density", "cividis", Normalize(0, 1), [0, 0.5, 1], "proton density"),
    "fat": ("oil in gel", "fat_fraction", "magma", Normalize(0, 1), [0, 0.5, 1], "fat fraction"),
    "chi": ("Gd, ferritin, Ca", "chi", "RdBu_r", Normalize(-0.8, 0.8), [-0.8, 0, 0.8], "χ (ppm)"),
}


def main() -> None:
    with mpl.rc_context(STYLE):
        figure = draw()
    save(figure, Path(__file__).with_name("vials.png"))


def draw() -> Figure:
    figure = sheet(6.6)
    axes = figure.subplots(2, 3, gridspec_kw={"hspace": 0.28, "wspace": 0.06})
    figure.subplots_adjust(left=0.02, right=0.98, top=0.95, bottom=0.08)
    tissues = dict(vials_anatomy().tissues)
    for panel, (plate, (title, name, colours, scale, ticks, unit)) in zip(
        axes.flat, SHOWN.items(), strict=False
    ):
        image = labels_on(0, 2, 1, PLANES[plate])
        values = np.where(image > WATER, properties(name, tissues)[image], np.nan)
        background(panel, image)
        shown = panel.imshow(values, cmap=colours, norm=scale)
        panel.set_title(f"{plate}: {title}, y = {PLANES[plate]:+g} mm")
        numbers(panel, plate, values, mpl.colormaps[colours], scale)
        scale_bar(figure, panel, shown, ticks, unit)
        figure.axes[-1].set_xticks(ticks, [f"{t:g}" for t in ticks])
        figure.axes[-1].minorticks_off()
        for at, letter in ((0.02, "R"), (0.98, "L")):
            panel.text(at, 0.02, letter, transform=panel.transAxes, ha="center", color=INK, fontsize=8)
    side(axes.flat[-1])
    return figure


def labels_on(across: int, up: int, through: int, position: float) -> NDArray[np.uint8]:
    """Two axes of the image and the third with its position (mm) → labels; both run from high to low."""
    along = np.arange(REACH, -REACH, -STEP, dtype=np.float32)
    points: dict[int, NDArray[np.float32]] = {}
    points[up], points[across] = np.meshgrid(along, along, indexing="ij")
    points[through] = np.full_like(points[up], position)
    return vials_anatomy().tissue_at((points[0], points[1], points[2]))[0]


def background(panel: Any, image: NDArray[np.uint8]) -> None:
    show(panel, np.minimum(image, WATER), AROUND, 0, WATER)


def pixel(mm: float) -> float:
    return (REACH - mm) / STEP


def numbers(panel: Any, plate: str, values: NDArray[Any], colours: Colormap, scale: Any) -> None:
    """The number of each sphere, in white on dark colours."""
    for vial in (v for v in draw_vials() if v.plate == plate):
        x, z = pixel(vial.centre[0]), pixel(vial.centre[2])
        red, green, blue, _ = colours(scale(values[round(z), round(x)]))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.55
        ink = "white" if dark else INK
        panel.text(x, z, str(vial.sphere), ha="center", va="center_baseline", color=ink, fontsize=7.5)


def side(panel: Any) -> None:
    """All planes seen from the patient's left, front on the left."""
    image = labels_on(1, 2, 0, LEFT)
    background(panel, image)
    spheres = np.where(image > WATER, (image.astype(float) - 1) // 20, np.nan)
    panel.imshow(spheres, cmap="Set2", vmin=1, vmax=8)
    for plate, y in PLANES.items():
        panel.axvline(pixel(y), color=INK, linewidth=0.6, linestyle=":")
        panel.text(pixel(y), pixel(-101 if plate in ("Ni", "Mn", "PD") else 101), plate, ha="center", fontsize=8.5,
                   va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    panel.set_title(f"x = {LEFT:g} mm, front on the left")


if __name__ == "__main__":
    main()
