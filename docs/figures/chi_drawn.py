"""The pictures of "Why susceptibility is hard"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from chi_measured import NoiseByAngle, Path, Scores
from chi_scene import MAGIC, Array, Case, sphere_field
from drawing import (
    INK,
    LINES,
    SOFT,
    STYLE,
    WIDTH,
    arrow_of_b0,
    cut,
    index_at,
    outside_as_nan,
    scale_bar,
    sheet,
    show,
    sides,
    window,
)
from matplotlib.figure import Figure

from mensura.phantom.tissues import Label
from mensura.scan import BoolArray, FloatArray

FIELD, SUSCEPTIBILITY, PHASE, ERROR = "RdBu_r", "gray", "twilight", "PuOr_r"
CHI = 0.15
"""Susceptibility is shown from −0.15 to 0.15 ppm."""


def styled(draw: Any) -> Any:
    """A drawing function, run in the common style."""

    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(STYLE):
            figure: Figure = draw(*args, **kwargs)
            return figure

    return drawn


@styled
def forward(case: Case) -> Figure:
    """χ → its field → the total field → wrapped, noisy phase of the first and the last echo; two planes."""
    scan, mask, echoes = case.scan, case.scan.mask, case.scan.acquisition.echo_times
    tissue = scan.labels != Label.AIR
    columns: list[tuple[str, Any, str, float, Sequence[str]]] = [
        ("susceptibility χ\nof the brain", outside_as_nan(scan.chi, mask), SUSCEPTIBILITY, CHI, _ends(CHI)),
        ("field of the brain,\n$d*χ$", outside_as_nan(scan.local_field, mask), FIELD, 0.05, _ends(0.05)),
        ("field of all sources,\nshimmed", outside_as_nan(scan.total_field, tissue), FIELD, 0.5, _ends(0.5)),
    ]
    for n in (0, len(echoes) - 1):
        columns.append(
            (f"phase at {1e3 * echoes[n]:.0f} ms", scan.phase[..., n], PHASE, np.pi, ("−π", "0", "π"))
        )
    planes = (("axial", index_at(scan.grid, "axial", 2)), ("sagittal", index_at(scan.grid, "sagittal", 10)))
    images = [[cut(data, plane, index) for _, data, *_ in columns] for plane, index in planes]
    tall = [rows[0].shape[0] / rows[0].shape[1] for rows in images]
    figure = sheet(1.78 * sum(tall) + 1.0)
    top, bottom = 1 - 0.42 / figure.get_figheight(), 0.52 / figure.get_figheight()
    grid = figure.add_gridspec(
        2, 5, left=0.005, right=0.995, top=top, bottom=bottom, wspace=0.03, hspace=0.02, height_ratios=tall
    )
    for c, (title, _, colours, limit, marks) in enumerate(columns):
        for r, (plane, _) in enumerate(planes):
            axes = figure.add_subplot(grid[r, c])
            shown = show(axes, images[r][c], colours, -limit, limit)
            sides(axes, plane)
            if r == 0:
                axes.set_title(title)
        scale_bar(figure, axes, shown, [-limit, 0, limit], "rad" if colours == PHASE else "ppm")
        figure.axes[-1].set_xticks([-limit, 0, limit], marks)
    return figure


def _ends(limit: float) -> Sequence[str]:
    return f"−{limit:g}", "0", f"{limit:g}"


@styled
def dipole(response: FloatArray, kernel: FloatArray) -> Figure:
    """The dipole in space and in k-space, cut through, and its cone in three dimensions."""
    figure = sheet(3.1)
    left, middle = figure.add_axes((0.06, 0.155, 0.25, 0.726)), figure.add_axes((0.41, 0.155, 0.25, 0.726))
    crop, reach = 12, response.shape[0] // 2
    near = response[reach - crop : reach + crop + 1, reach - crop : reach + crop + 1]
    far = crop + 0.5
    shown = left.imshow(
        near.T * 1e3, origin="lower", cmap=FIELD, vmin=-2, vmax=2, extent=(-far, far, -far, far)
    )
    _magic_lines(left, far)
    left.set(title="field $d(r)$ of one voxel", xlabel="voxels across $B_0$", ylabel="voxels along $B_0$")
    _bar_beside(figure, left, shown, [-2, 0, 2], ["−2", "0", "2"])
    left.text(1.02, 1.02, "ppb for 1 ppm", transform=left.transAxes, fontsize=8)
    shown = middle.imshow(
        kernel.T, origin="lower", cmap=FIELD, vmin=-2 / 3, vmax=2 / 3, extent=(-0.5, 0.5, -0.5, 0.5)
    )
    _magic_lines(middle, 0.5)
    middle.set(
        title="kernel $D(k)$", xlabel="$k$ across $B_0$ (per voxel)", ylabel="$k$ along $B_0$ (per voxel)"
    )
    _bar_beside(figure, middle, shown, [-2 / 3, 0, 1 / 3], ["−⅔", "0", "⅓"])
    for axes in (left, middle):
        axes.grid(False)
    figure.text(0.86, 0.905, f"$D=0$ on a double cone, {MAGIC:.1f}° from $B_0$", ha="center")
    _cone(figure.add_axes((0.715, -0.02, 0.29, 0.9), projection="3d"))
    return figure


def _magic_lines(axes: Any, reach: float) -> None:
    across = reach * np.array([-1, 1])
    along = across / np.tan(np.radians(MAGIC))
    for sign in (-1, 1):
        axes.plot(across, sign * along, "--", color=INK, lw=0.9)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))


def _bar_beside(figure: Figure, axes: Any, shown: Any, ticks: list[float], marks: list[str]) -> None:
    axes.apply_aspect()
    box = axes.get_position()
    place = figure.add_axes((box.x1 + 0.006, box.y0, 0.009, box.height))
    bar = figure.colorbar(shown, cax=place)
    bar.set_ticks(ticks, labels=marks)
    bar.outline.set_visible(False)
    place.tick_params(length=0, labelsize=8, pad=2)


def _cone(axes: Any) -> None:
    """The far half of the sphere of directions of k, coloured by D, and the double cone on which D is zero."""
    axes.computed_zorder = False
    polar, around = np.meshgrid(np.linspace(0, np.pi, 181), np.linspace(np.pi / 2, 3 * np.pi / 2, 181))
    colours = mpl.colormaps[FIELD]((1 / 3 - np.cos(polar) ** 2) / (4 / 3) + 0.5)
    shape = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)
    axes.plot_surface(
        *shape, facecolors=colours, rcount=181, ccount=181, shade=False, antialiased=False, zorder=1
    )
    angle, rim = np.radians(MAGIC), np.linspace(-np.pi / 2, np.pi / 2, 91)
    for behind, order in ((True, 2), (False, 3)):
        turn = rim + np.pi * behind
        length, turns = np.meshgrid(np.linspace(0, 1, 2), turn)
        across = [length * np.sin(angle) * f(turns) for f in (np.cos, np.sin)]
        for sign in (-1, 1):
            up = sign * length * np.cos(angle)
            axes.plot_surface(*across, up, color="#F0E442", alpha=0.5, shade=False, lw=0, zorder=order)
            ring = [np.sin(angle) * f(turn) for f in (np.cos, np.sin)]
            axes.plot(*ring, np.full(turn.size, sign * np.cos(angle)), color=INK, lw=1, zorder=order)
    axes.plot([0, 0], [0, 0], [1, 1.45], color=INK, lw=1.3, zorder=5)
    axes.plot([0], [0], [1.45], "^", color=INK, ms=5, zorder=5)
    axes.text(0, 0.1, 1.3, "$B_0$", zorder=6)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1))
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.view_init(elev=14, azim=0)
    axes.set_axis_off()


@styled
def shapes(
    sphere: FloatArray, cylinder: FloatArray, curves: Mapping[str, tuple[Array, Array, Array, Array]]
) -> Figure:
    """Fields of a sphere and a cylinder, cut through; closed forms against the angle, with what was measured."""
    figure = sheet(3.0)
    for x, image, title in ((0.01, sphere, "sphere"), (0.255, cylinder, "cylinder across $B_0$")):
        axes = figure.add_axes((x, 0.165, 0.235, 0.72))
        shown = show(axes, image.T[::-1], FIELD, -1 / 3, 1 / 3)
        axes.set_title(f"field of a {title}")
        arrow_of_b0(axes)
        scale_bar(figure, axes, shown, [-0.3, 0, 0.3], "ppm for χ = 1 ppm")
    axes = figure.add_axes((0.585, 0.17, 0.405, 0.76))
    for colour, (name, (angle, closed, at, measured)) in zip(LINES, curves.items(), strict=False):
        axes.plot(np.degrees(angle), closed, color=colour, label=name)
        axes.plot(np.degrees(at), measured, "o", color=colour, mfc="white", mew=1.2)
    axes.axvline(MAGIC, color=SOFT, lw=0.8, ls=":")
    axes.axhline(0, color=SOFT, lw=0.8)
    axes.text(MAGIC + 1, 0.36, f"{MAGIC:.1f}°", color=SOFT, va="top")
    axes.set(
        xlabel="angle to $B_0$ (degrees)",
        ylabel="field (ppm for χ = 1 ppm)",
        xticks=range(0, 91, 15),
        ylim=(-0.2, 0.38),
    )
    axes.legend(loc="lower left", fontsize=8)
    return figure


@styled
def noise(found: NoiseByAngle) -> Figure:
    """Noise power of χ by angle, for several thresholds, over that of the field; and what the noise looks like."""
    figure, spacing = sheet(6.0), 0.335
    for n, (threshold, chi) in enumerate(found.maps.items()):
        axes = figure.add_axes((0.005 + n * spacing, 0.60, 0.32, 0.36))
        centre = chi.shape[1] // 2
        near = chi[centre - 32 : centre + 32, centre, centre - 24 : centre + 24]
        shown = show(axes, near.T[::-1] * 1e3, SUSCEPTIBILITY, -30, 30)
        axes.set_title(f"noise of χ at threshold {threshold:g}")
        scale_bar(figure, axes, shown, [-30, 0, 30], "ppb")
        if n == 0:
            arrow_of_b0(axes)
    axes = figure.add_axes((0.075, 0.08, 0.915, 0.405))
    exact = np.abs(1 / 3 - np.cos(np.radians(np.linspace(0, 90, 1801))) ** 2)
    axes.plot(
        np.linspace(0, 90, 1801), 1 / np.maximum(exact, 1e-3) ** 2, "--", color=INK, lw=1, label="1/|D|²"
    )
    for colour, threshold in zip(LINES, found.power, strict=False):
        axes.plot(found.angle, found.closed[threshold], color=colour, lw=1.2)
        axes.plot(
            found.angle[1::2],
            found.power[threshold][1::2],
            "o",
            ms=3.2,
            color=colour,
            label=f"threshold {threshold:g}",
        )
    axes.set(yscale="log", xlim=(0, 90), ylim=(1.5, 6e3), xticks=range(0, 91, 15))
    axes.set(xlabel="angle of $k$ to $B_0$ (degrees)", ylabel="noise power of χ over that of the field")
    axes.legend(loc="upper left")
    return figure


@styled
def inversions(case: Case, maps: Mapping[str, FloatArray], found: Mapping[str, Scores]) -> Figure:
    """χ by each method beside the truth, and the errors, on the coronal slice through the calcification."""
    titles = {n: (f"{n}: {s.error:.0f} % off", f"error (cone: {s.cone:.1f} ppb)") for n, s in found.items()}
    return _grid_of_maps(case, maps, titles, (case.local, 0.05))


@styled
def one_step(
    case: Case, maps: Mapping[str, tuple[FloatArray, BoolArray]], found: Mapping[str, Mapping[str, float]]
) -> Figure:
    """χ by two steps and by one from the measured total field, beside the truth, and the errors."""
    titles = {n: (f"{n}: {s['error']:.0f} % off", "error") for n, s in found.items()}
    chi = {n: np.where(kept, x, np.nan).astype(np.float32) for n, (x, kept) in maps.items()}
    return _grid_of_maps(case, chi, titles, (case.total, 0.5))


def _lesion_slice(case: Case, plane: str) -> int:
    centre = np.argwhere(case.calcification)
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    return int(np.rint(centre[:, axis].mean())) if centre.size else case.scan.grid.shape[axis] // 2


def _masked(data: FloatArray, case: Case, plane: str, index: int) -> Any:
    return cut(outside_as_nan(data, case.scan.mask), plane, index)[window(case.scan.mask, plane)]


def _grid_of_maps(
    case: Case,
    maps: Mapping[str, FloatArray],
    titles: Mapping[str, tuple[str, str]],
    field: tuple[FloatArray, float],
) -> Figure:
    """Truth and maps in the upper row; the field that they were made from and their errors in the lower."""
    plane, index = "coronal", _lesion_slice(case, "coronal")
    columns = len(maps) + 1
    image = _masked(case.scan.chi, case, plane, index)
    height = 0.99 * WIDTH / columns * image.shape[0] / image.shape[1]
    figure = sheet(2 * height + 1.0)
    inch = 1 / figure.get_figheight()
    grid = figure.add_gridspec(
        2,
        columns,
        left=0.005,
        right=0.995,
        top=1 - 0.22 * inch,
        bottom=0.55 * inch,
        wspace=0.03,
        hspace=0.2 / height,
    )
    upper, lower = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    grey = show(upper, image, SUSCEPTIBILITY, -CHI, CHI)
    blue = show(lower, _masked(field[0], case, plane, index), FIELD, -field[1], field[1])
    upper.set_title("true χ")
    lower.set_title("measured field")
    sides(upper, plane)
    arrow_of_b0(upper, x=0.03, y=0.76)
    scale_bar(figure, lower, blue, [-field[1], 0, field[1]], "field (ppm)")
    for c, (name, chi) in enumerate(maps.items(), 1):
        difference = chi - case.scan.chi
        difference = difference - np.nanmean(difference[case.scored])
        top, bottom = figure.add_subplot(grid[0, c]), figure.add_subplot(grid[1, c])
        show(top, _masked(chi, case, plane, index), SUSCEPTIBILITY, -CHI, CHI)
        orange = show(bottom, _masked(difference, case, plane, index), ERROR, -CHI, CHI)
        top.set_title(titles[name][0])
        bottom.set_title(titles[name][1])
        if c == 1:
            scale_bar(figure, bottom, grey, [-CHI, 0, CHI], "χ (ppm)")
        if c == 2:
            scale_bar(figure, bottom, orange, [-CHI, 0, CHI], "error of χ (ppm)")
    return figure


@styled
def path(paths: Mapping[str, Path], noise_level: float) -> Figure:
    """Error, streaks and the L-curve of every method, over its regularisation."""
    figure = sheet(3.3)
    grid = figure.add_gridspec(1, 3, left=0.05, right=0.99, top=0.91, bottom=0.155, wspace=0.22)
    error, streak, curve = (figure.add_subplot(grid[0, i]) for i in range(3))
    for colour, (name, p) in zip(LINES, paths.items(), strict=False):
        default = int(np.argmin(np.abs(np.log(p.factor))))
        best = int(np.argmin([s.error for s in p.scores]))
        lines = [
            (error, p.factor, np.array([s.error for s in p.scores])),
            (streak, p.factor, np.array([s.cone for s in p.scores])),
            (curve, p.misfit, p.roughness),
        ]
        for axes, x, y in lines if name != "TKD" else lines[:2]:
            axes.plot(x, y, "-", color=colour, label=name)
            axes.plot(x[default], y[default], "o", ms=5.5, color=colour)
            axes.plot(x[best], y[best], "D", ms=7.5, mfc="none", mew=1.2, color=colour)
    ticks = [1 / 27, 1 / 9, 1 / 3, 1, 3, 9, 27]
    for axes in (error, streak):
        axes.set(xscale="log", xlabel="regularisation, as a multiple of the default")
        axes.set_xticks(ticks, ["1/27", "1/9", "1/3", "1", "3", "9", "27"])
        axes.minorticks_off()
    error.set(title="error of χ (%)", ylim=(0, 110))
    streak.set(title="error in the cone, $|D|<0.1$ (ppb)", ylim=(0, 40))
    curve.axvline(noise_level, color=SOFT, ls=":", lw=1)
    curve.set(xscale="log", yscale="log", ylim=(1, 60), xlabel="field left unexplained (ppb)")
    curve.set(title="L-curve: mean slope of χ (ppb/mm)")
    curve.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    curve.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    curve.minorticks_off()
    curve.text(noise_level * 1.04, 1.1, "noise", color=SOFT)
    error.legend(loc="lower right", ncol=2)
    return figure


@styled
def background(
    case: Case,
    fields: Mapping[str, Any],
    depths: Array,
    levels: Mapping[str, Array],
    errors: Mapping[str, Array],
) -> Figure:
    """The total, background and local field, what a ball's mean leaves of them, and levels and errors by depth."""
    figure = sheet(5.7)
    grid = figure.add_gridspec(1, len(fields), left=0.005, right=0.995, top=0.935, bottom=0.615, wspace=0.03)
    index = index_at(case.scan.grid, "coronal", -5)
    for c, (title, (data, limit)) in enumerate(fields.items()):
        axes = figure.add_subplot(grid[0, c])
        shown = show(axes, _masked(data, case, "coronal", index), FIELD, -limit, limit)
        axes.set_title(title)
        scale_bar(figure, axes, shown, [-limit, 0, limit], "ppm")
        sides(axes, "coronal")
    below = figure.add_gridspec(1, 2, left=0.075, right=0.99, top=0.44, bottom=0.085, wspace=0.2)
    size, error = figure.add_subplot(below[0, 0]), figure.add_subplot(below[0, 1])
    middle = (depths[1:] + depths[:-1]) / 2
    for colour, (name, values) in zip((INK, "#6b7280"), levels.items(), strict=False):
        size.plot(middle, values, "o-", color=colour, label=name)
    size.set(
        yscale="log",
        ylabel="root mean square (ppb)",
        xlabel="depth below the brain's surface (mm)",
        title="fields",
    )
    size.legend()
    error.plot(middle, levels["local field"], "--", color=SOFT, label="local field itself")
    for colour, (name, values) in zip(LINES, errors.items(), strict=False):
        error.plot(middle, values, "o-", color=colour, label=name)
    error.set(
        ylim=(0, 1.25 * error.get_ylim()[1]),
        xlabel="depth below the brain's surface (mm)",
        title="error of the local field (ppb)",
    )
    error.legend()
    return figure


def sphere_picture(size: int = 241, radius: float = 45.0) -> FloatArray:
    """The closed-form field of a sphere of 1 ppm on the central plane (ppm); (across, along)."""
    at = np.arange(size) - size // 2
    across, along = np.meshgrid(at, at, indexing="ij")
    length = np.hypot(across, along)
    angle = np.arctan2(across, along)
    outside = sphere_field(angle, 1.0) * (radius / np.maximum(length, 1e-9)) ** 3
    return np.where(length > radius, outside, 0).astype(np.float32)


def cylinder_picture(size: int = 241, radius: float = 45.0) -> FloatArray:
    """The closed-form field of a cylinder of 1 ppm across B0, on the plane across its axis (ppm)."""
    at = np.arange(size) - size // 2
    across, along = np.meshgrid(at, at, indexing="ij")
    square = np.maximum(across**2 + along**2, 1e-9)
    outside = (radius**2 / (2 * square)) * (along**2 - across**2) / square
    return np.where(square > radius**2, outside, -1 / 6).astype(np.float32)
