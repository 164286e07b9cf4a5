"""The common style of the figures: slices of a head the radiological way round, colours for all eyes, small files."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from mensura.scan import BoolArray, Grid

WIDTH, DPI = 9.0, 200
"""Inches and dots per inch: 1800 dots, shown at 900, so that 9 pt come out as 12.5 pixels."""
MOST = 250_000
"""Bytes of a figure's file."""
INK, SOFT = "#1b1f24", "#6b7280"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which the colour-blind tell apart."""
STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=LINES),
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "mathtext.fontset": "dejavusans",
    "image.interpolation": "nearest",
    "figure.facecolor": "white",
}
PLANES = {
    "sagittal": (0, 1, 2, ("A", "P")),
    "coronal": (1, 0, 2, ("R", "L")),
    "axial": (2, 0, 1, ("R", "L")),
}
"""Plane → the axis it cuts, the axes across and up its image, and what lies at the image's left and right."""


def sheet(height: float) -> Figure:
    """Height in inches → an empty figure in the common style and width."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(WIDTH, height), dpi=DPI)


def save(figure: Figure, path: Path) -> None:
    """A figure → a PNG, of fewer colours where it would be larger than `MOST`; same figure, same bytes."""
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST:
        picture.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)


def cut(array: NDArray[Any], plane: str, index: int) -> NDArray[Any]:
    """A volume in right-anterior-superior axes → the image of one slice, as `imshow` takes it.

    Radiological: the patient's right is on the left; the nose is up in axial slices and on the left in sagittal
    ones; the feet are down.
    """
    axis = PLANES[plane][0]
    slice_: NDArray[Any] = np.take(array, index, axis)[::-1, ::-1].T
    return slice_


def index_at(grid: Grid, plane: str, position: float) -> int:
    """Position of a slice (mm, along the axis that the plane cuts) → its index, for a grid that is not tilted."""
    axis = PLANES[plane][0]
    index = round((position - grid.affine[axis, 3]) / grid.affine[axis, axis])
    return int(np.clip(index, 0, grid.shape[axis] - 1))


def window(mask: BoolArray, plane: str, margin: int = 2) -> tuple[slice, slice]:
    """A mask → rows and columns of the slice images that hold it, with a margin in voxels."""
    _, across, up, _ = PLANES[plane]
    bounds = []
    for axis in (up, across):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        size = mask.shape[axis]
        low, high = max(hit[0] - margin, 0), min(hit[-1] + 1 + margin, size)
        bounds.append(slice(size - high, size - low))  # images run from high to low
    return bounds[0], bounds[1]


def show(axes: Any, image: NDArray[Any], colours: Any, low: float, high: float) -> Any:
    """An image on its axes, without ticks; what is not a number is left white."""
    shown = axes.imshow(image, cmap=colours, vmin=low, vmax=high)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return shown


def sides(axes: Any, plane: str) -> None:
    """What lies at the left and right of the image, in its lower corners."""
    left, right = PLANES[plane][3]
    halo = [withStroke(linewidth=2, foreground="white")]
    for at, letter, align in ((0.02, left, "left"), (0.98, right, "right")):
        axes.text(
            at, 0.02, letter, transform=axes.transAxes, ha=align, va="bottom", fontsize=8, path_effects=halo
        )


def scale_bar(figure: Figure, axes: Any, shown: Any, ticks: Sequence[float], label: str) -> None:
    """A thin horizontal colour scale under axes (0.1 inch below, 0.07 high)."""
    axes.apply_aspect()
    box, inch = axes.get_position(), 1 / figure.get_figheight()
    place = figure.add_axes((box.x0 + 0.1 * box.width, box.y0 - 0.13 * inch, 0.8 * box.width, 0.07 * inch))
    bar = figure.colorbar(shown, cax=place, orientation="horizontal", ticks=list(ticks))
    bar.outline.set_visible(False)
    place.tick_params(length=0, labelsize=8, pad=2)
    place.set_xlabel(label, fontsize=8.5, labelpad=1)


def outside_as_nan(array: NDArray[Any], mask: BoolArray) -> NDArray[Any]:
    return np.where(mask, array, np.nan)


def arrow_of_b0(axes: Any, x: float = 0.07, y: float = 0.72) -> None:
    """An arrow that points along B0 (up)."""
    halo = [withStroke(linewidth=2.5, foreground="white")]
    look = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "path_effects": halo}
    axes.annotate("", (x, y + 0.22), (x, y), xycoords="axes fraction", arrowprops=look)
    axes.text(x + 0.03, y + 0.1, "$B_0$", transform=axes.transAxes, va="center", path_effects=halo)
