"""Mosaics: slices of a volume in three planes, as palette images with labels, in millimetres.

Radiological convention: the patient's right is on the image's left, as if seen from the feet or the face;
sagittal slices look to the right with the face on the left. Pixels are voxels: nothing is interpolated here.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.report.colours import Scale, palette
from mensura.report.orient import Axes, closest_axes
from mensura.scan import BoolArray, Grid

CONVENTION = "radiological: the patient's right is on the left of axial and coronal slices"
MARGIN = 0.06  # of the mask's longest side, around it: room for the labels
MOST_PIXELS = 800_000  # of a mosaic; finer matrices are shown every second (third, …) voxel
GAP = 0.004  # of the mosaic's width, between the planes
FLAT = 3  # slices of a slab that is shown in its own plane alone: fewer than these
LETTER = 0.0135  # of the mosaic's width: size of the labels


@dataclass(frozen=True)
class Plane:
    """One of the three planes, in right–anterior–superior axes; both run towards the image's top left."""

    name: str
    normal: int
    across: int
    up: int
    labels: str  # at the left, right, top and bottom of the image
    letter: str  # how slice positions are called


PLANES = (
    Plane("axial", 2, 0, 1, "RLAP", "IS"),
    Plane("coronal", 1, 0, 2, "RLSI", "PA"),
    Plane("sagittal", 0, 1, 2, "APSI", "LR"),
)


@dataclass(frozen=True)
class Strip:
    """The slices of one plane side by side: where they lie on the mosaic (mm), and which voxels they show."""

    plane: Plane
    slices: tuple[int, ...]  # along the plane's normal, anatomical axes
    names: tuple[str, ...]  # what is written under each
    left: float
    top: float
    tile_width: float
    tile_height: float

    @property
    def width(self) -> float:
        return self.tile_width * len(self.slices)


@dataclass(frozen=True)
class Layout:
    """Which slices every mosaic of a report shows, found once from the mask so that maps can be compared."""

    axes: Axes
    box: tuple[slice, slice, slice]  # in anatomical axes
    strides: tuple[int, int, int]
    strips: tuple[Strip, ...]
    width: float
    height: float

    @property
    def letter(self) -> float:
        """Size of the labels, mm."""
        return LETTER * self.width

    def raster(self, volume: NDArray[Any], strip: Strip) -> NDArray[Any]:
        """A volume in voxel axes → the strip's tiles side by side (rows, columns)."""
        turned = self.axes.turn(volume)
        return np.concatenate([self._tile(turned, strip.plane, k) for k in strip.slices], axis=1)

    def _tile(self, turned: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
        where: list[Any] = [slice(b.start, b.stop, s) for b, s in zip(self.box, self.strides, strict=True)]
        where[plane.normal] = index
        tile: NDArray[Any] = turned[tuple(where)]
        return tile[::-1, ::-1].T


def lay_out(mask: BoolArray, grid: Grid, counts: tuple[int, int, int] = (6, 6, 5)) -> Layout:
    """A mask and its grid → the layout: `counts` axial, coronal and sagittal slices spread over the mask.

    Of a slab of one or two slices only the plane of the slices is shown, with room for two.
    """
    axes = closest_axes(grid)
    sizes = axes.sizes(grid)
    turned = axes.turn(mask if mask.any() else np.ones_like(mask))
    spans = [_span(turned, axis) for axis in range(3)]
    box = _box(spans, sizes, turned.shape)
    extents = [(b.stop - b.start) * s for b, s in zip(box, sizes, strict=True)]
    shown, counts = _planes(spans, counts)
    whole = max(extents[p.across] * counts[PLANES.index(p)] for p in shown)
    strips, top = [], 0.0
    for plane in shown:
        slices = _spread(spans[plane.normal], counts[PLANES.index(plane)])
        names = tuple(_name(axes, grid, plane, k) for k in slices)
        left = (whole - extents[plane.across] * len(slices)) / 2
        strips.append(Strip(plane, slices, names, left, top, extents[plane.across], extents[plane.up]))
        top += extents[plane.up] + GAP * whole
    return Layout(axes, box, _strides(box, sizes, counts), tuple(strips), whole, top - GAP * whole)


def _planes(
    spans: list[tuple[int, int]], counts: tuple[int, int, int]
) -> tuple[list[Plane], tuple[int, int, int]]:
    """The planes that are shown, and how many slices of each there is room for."""
    thin = [stop - start < FLAT for start, stop in spans]
    wanted = [p for p in PLANES if counts[PLANES.index(p)]]
    flat = [p for p in wanted if thin[p.across] or thin[p.up]]
    if not flat or len(flat) == len(wanted):
        return wanted, counts
    x, y, z = (0 if p in flat or not n else min(n, 2) for p, n in zip(PLANES, counts, strict=True))
    return [p for p in wanted if p not in flat], (x, y, z)


def _span(mask: BoolArray, axis: int) -> tuple[int, int]:
    others = tuple(a for a in range(3) if a != axis)
    found = np.flatnonzero(mask.any(axis=others))
    return int(found[0]), int(found[-1]) + 1


def _box(
    spans: list[tuple[int, int]], sizes: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    longest = max((stop - start) * size for (start, stop), size in zip(spans, sizes, strict=True))
    margins = [max(1, round(MARGIN * longest / size)) for size in sizes]
    x, y, z = (
        slice(max(0, start - margin), min(length, stop + margin))
        for (start, stop), margin, length in zip(spans, margins, shape, strict=True)
    )
    return x, y, z


def _strides(
    box: tuple[slice, slice, slice], sizes: tuple[float, float, float], counts: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Steps in voxels along each axis, as even in mm as can be, that keep a mosaic within MOST_PIXELS."""
    for coarser in count(1):
        x, y, z = (max(1, int(coarser * min(sizes) / size + 1e-6)) for size in sizes)
        across = [(b.stop - b.start) / step for b, step in zip(box, (x, y, z), strict=True)]
        pixels = sum(across[p.across] * across[p.up] * n for p, n in zip(PLANES, counts, strict=True))
        if pixels <= MOST_PIXELS:
            return x, y, z
    raise AssertionError("unreachable: the pixels fall with every step")


def _spread(span: tuple[int, int], most: int) -> tuple[int, ...]:
    """Slices between 14 % and 86 % of the span, each once."""
    start, stop = span
    positions = start + (stop - start - 1) * np.linspace(0.14, 0.86, most)
    return tuple(sorted({int(p) for p in np.round(positions)}))


def _name(axes: Axes, grid: Grid, plane: Plane, index: int) -> str:
    """The slice in the file's own indices, counted from 0: "k 84"."""
    axis = axes.order[plane.normal]
    return f"{'ijk'[axis]} {axes.voxel_index(plane.normal, index, grid)}"


@dataclass(frozen=True)
class Picture:
    """What the page draws: the strips as images, and the outline of a mask over them as paths (or none)."""

    layout: Layout
    images: tuple[str, ...]  # data URIs, one for each strip
    outlines: tuple[Outline, ...]
    background: str


@dataclass(frozen=True)
class Outline:
    """The edge of a mask in pixels of a raster, as the `d` of an SVG path, and that raster's size."""

    path: str
    columns: int
    rows: int


def draw(
    layout: Layout, values: NDArray[Any], inside: BoolArray, scale: Scale, *, outline: BoolArray | None = None
) -> Picture:
    """A volume, where it has values, and its colour scale → the mosaic."""
    images, outlines = [], []
    for strip in layout.strips:
        indices = scale.indices(layout.raster(values, strip), layout.raster(inside, strip))
        images.append(data_uri(png(indices, palette(scale.name))))
        if outline is not None:
            edge = layout.raster(outline, strip)
            outlines.append(Outline(edge_path(edge), edge.shape[1], edge.shape[0]))
    return Picture(layout, tuple(images), tuple(outlines), scale.background)


def edge_path(mask: BoolArray) -> str:
    """A raster mask → the lines between its inside and outside, as an SVG path in pixels."""
    padded = np.pad(mask, 1)
    level = [f"M{a} {y}H{b}" for y, a, b in _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    upright = [f"M{x} {a}V{b}" for x, a, b in _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)]
    return "".join(level + upright)


def _runs(edges: BoolArray) -> list[tuple[int, int, int]]:
    """Rows of edges → (row, start, stop) of each unbroken run."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    stops = np.nonzero(steps == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))


def png(indices: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Palette indices (rows, columns) and 256 colours → the bytes of a PNG file."""
    rows, columns = indices.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)
    lines[:, 1:] = indices
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """Bytes → a URI that holds them, for images without a file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
