"""Mosaics: the right voxel in the right place under the right letter, in true proportions."""

from __future__ import annotations

import io
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from derivatives import tilted_grid, write_map
from drawings import Drawn
from PIL import Image

from mensura.report import build
from mensura.report.colours import FAILED, OUTSIDE, Scale, palette
from mensura.report.mosaic import MOST_PIXELS, PLANES, draw, edge_path, lay_out, png
from mensura.report.orient import closest_axes, describe_orientation
from mensura.scan import Grid

SHAPE = (20, 24, 16)


def random_grid(seed: int, tilt_by: float = 25.0) -> Grid:
    """A grid with any of the 48 orders and directions of axes, tilted by up to `tilt_by`°, anisotropic."""
    random = np.random.default_rng(seed)
    order, signs = random.permutation(3), random.choice([-1, 1], 3)
    angles = np.radians(random.uniform(-tilt_by, tilt_by))
    tilt = np.array([[1, 0, 0], [0, np.cos(angles), -np.sin(angles)], [0, np.sin(angles), np.cos(angles)]])
    affine = np.eye(4)
    affine[:3, :3] = (tilt @ np.eye(3)[:, order] * signs) * random.uniform(0.5, 3, 3)
    return Grid(SHAPE, affine)


@pytest.mark.parametrize("seed", range(12))
def test_turning_agrees_with_nibabel(seed: int) -> None:
    import nibabel

    grid = random_grid(seed)
    volume = np.random.default_rng(seed).random(SHAPE, dtype=np.float32)
    reference = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume, grid.affine))
    axes = closest_axes(grid)
    np.testing.assert_array_equal(axes.turn(volume), np.asarray(reference.dataobj))
    np.testing.assert_allclose(axes.sizes(grid), reference.header.get_zooms(), rtol=1e-6)


@pytest.mark.parametrize(("seed", "axis"), list(product(range(4), range(3))))
def test_voxel_index_counts_as_the_file_does(seed: int, axis: int) -> None:
    grid = random_grid(seed)
    axes = closest_axes(grid)
    index = np.indices(SHAPE)[axes.order[axis]]
    turned = np.moveaxis(axes.turn(index), axis, 0)
    assert [axes.voxel_index(axis, k, grid) for k in range(len(turned))] == turned[:, 0, 0].tolist()


def marked(folder: Path, at: tuple[float, float, float], seed: int) -> Drawn:
    """The χ mosaic of a ball at a patient position (fractions of the extent; right, anterior, superior +)."""
    grid = random_grid(seed, tilt_by=8.0)
    index = np.moveaxis(np.indices(SHAPE), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    centred = index - index.reshape(-1, 3).mean(axis=0)
    extent = np.abs(centred).reshape(-1, 3).max(axis=0)
    inside = (np.abs(np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) < np.array(SHAPE) * 0.45).all(-1).T
    chi = np.where((np.abs(centred / extent - np.array(at)) < 0.25).all(axis=-1), 0.2, 0.0)
    write_map(folder, "", "Chimap", chi * inside, grid)
    write_map(folder, "", "desc-brain_mask", inside, grid)
    return Drawn(build(folder).read_text("utf-8"), "chi")


LEFT, FRONT, TOP = (-0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)
RASTERS = {"axial": 0, "coronal": 1, "sagittal": 2}


@pytest.mark.parametrize("seed", [0, 3, 7])
@pytest.mark.parametrize(
    ("at", "plane", "letter"),
    [
        (LEFT, "axial", "L"),
        (LEFT, "coronal", "L"),
        (FRONT, "axial", "A"),
        (FRONT, "sagittal", "A"),
        (TOP, "coronal", "S"),
        (TOP, "sagittal", "S"),
    ],
)
def test_a_marker_lies_on_the_side_that_its_letter_names(
    tmp_path: Path, at: tuple[float, float, float], plane: str, letter: str, seed: int
) -> None:
    drawn = marked(tmp_path, at, seed)
    which = RASTERS[plane]
    raster, image = drawn.rasters[which], drawn.images[which]
    names = drawn.root.findall("g")[which].findall("text[@class='slice']")
    tiles = np.split(raster, len(names), axis=1)
    tile = max(tiles, key=lambda t: int((t > 200).sum()))
    rows, columns = np.nonzero(tile > 200)
    assert rows.size
    width, height = float(image.get("width") or 0) / len(names), float(image.get("height") or 0)
    shown = np.array([(columns.mean() + 0.5) / tile.shape[1], (rows.mean() + 0.5) / tile.shape[0]])
    left, top = float(image.get("x") or 0), float(image.get("y") or 0)
    distance = {}
    for place in ("left", "right", "top", "bottom"):
        text, x, y = drawn.label(which, place)
        distance[text] = float(np.linalg.norm(shown - [(x - left) / width, (y - top) / height]))
    assert min(distance, key=lambda name: distance[name]) == letter


def test_the_convention_is_radiological() -> None:
    sides = {plane.name: plane.labels for plane in PLANES}
    assert sides == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


@pytest.mark.parametrize("size", [(1.0, 1.0, 3.0), (0.7, 2.0, 0.7)])
def test_proportions_are_true_for_anisotropic_voxels(size: tuple[float, float, float]) -> None:
    grid = tilted_grid((30, 30, 12), size, angle=15.0)
    layout = lay_out(np.ones(grid.shape, bool), grid)
    extents = np.array(grid.shape) * np.array(grid.voxel_size)
    for strip in layout.strips:
        assert strip.tile_width == pytest.approx(extents[strip.plane.across])
        assert strip.tile_height == pytest.approx(extents[strip.plane.up])


def test_planes_are_stacked_without_overlap() -> None:
    grid = tilted_grid((30, 20, 12), (1.0, 2.0, 3.0))
    layout = lay_out(np.ones(grid.shape, bool), grid)
    for above, below in pairwise(layout.strips):
        gap = below.top - (above.top + above.tile_height)
        assert 0 < gap < 0.01 * layout.width
    last = layout.strips[-1]
    assert last.top + last.tile_height == pytest.approx(layout.height)
    assert max(strip.width for strip in layout.strips) == pytest.approx(layout.width)
    assert all(strip.left >= 0 and strip.left + strip.width <= layout.width for strip in layout.strips)


def test_slices_lie_in_the_mask_and_stay_within_it() -> None:
    grid = Grid.from_voxel_size((40, 40, 40))
    mask = np.zeros(grid.shape, bool)
    mask[10:30, 12:20, 5:15] = True
    for strip in lay_out(mask, grid).strips:
        others = tuple(a for a in range(3) if a != strip.plane.normal)
        assert all(mask.any(axis=others)[k] for k in strip.slices)


def test_an_empty_mask_still_has_a_layout() -> None:
    grid = Grid.from_voxel_size((12, 10, 8))
    assert len(lay_out(np.zeros(grid.shape, bool), grid).strips) == 3


def test_fine_matrices_are_thinned_evenly_and_stay_small() -> None:
    grid = Grid.from_voxel_size((500, 600, 200), (0.4, 0.4, 1.2))
    mask = np.zeros(grid.shape, bool)
    mask[5:-5, 5:-5, 5:-5] = True
    layout = lay_out(mask, grid)
    pixels = sum(layout.raster(mask, strip).size for strip in layout.strips)
    assert layout.strides == (2, 2, 1) or layout.strides == (3, 3, 1)
    assert pixels <= 1.02 * MOST_PIXELS


def test_a_scale_reaches_its_ends_and_marks_what_has_no_value() -> None:
    values = np.array([-0.1, 0.2, np.nan, 5.0, -np.inf, 0.05], dtype=np.float32)
    inside = np.array([True, True, True, True, True, False])
    indices = Scale("grey", -0.1, 0.2).indices(values, inside)
    assert indices.tolist() == [2, 255, FAILED, 255, 2, OUTSIDE]
    assert palette("grey")[[2, 255]].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_middle_of_a_diverging_scale_is_neutral() -> None:
    index = Scale("diverging", -10, 10).indices(np.zeros(1, np.float32), np.ones(1, bool))
    red, green, blue = palette("diverging")[int(index[0])].astype(int)
    assert max(red, green, blue) - min(red, green, blue) < 15


def test_the_image_is_a_png_that_others_can_read() -> None:
    indices = np.random.default_rng(0).integers(0, 256, (7, 11)).astype(np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(png(indices, palette("heat")))).convert("RGB"))
    np.testing.assert_array_equal(shown, palette("heat")[indices])


def test_the_outline_encloses_the_mask_and_nothing_else() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:5] = True
    lines = edge_path(mask).replace("M", "\nM").split("\n")[1:]
    assert sorted(lines) == sorted(["M2 1H5", "M2 4H5", "M2 1V4", "M5 1V4"])


def test_only_the_magnitude_carries_the_outline() -> None:
    grid = tilted_grid((16, 16, 10), (1, 1, 2))
    inside = np.ones(grid.shape, bool)
    layout = lay_out(inside, grid)
    values = np.ones(grid.shape, np.float32)
    assert draw(layout, values, inside, Scale("grey", 0, 1)).outlines == ()
    assert len(draw(layout, values, inside, Scale("grey", 0, 1), outline=inside).outlines) == 3


@pytest.mark.parametrize(("angle", "words"), [(0.0, "axial, not tilted"), (30.0, "axial, oblique by 30.0°")])
def test_orientation_in_words(angle: float, words: str) -> None:
    described = describe_orientation(tilted_grid((10, 10, 10), (1, 1, 3), angle))
    assert described == f"{words}; B0 is {angle:.1f}° from the slice normal"
