"""Grids and planes: every voxel keeps its place, whichever way the axes run."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from mensura.io.dicom.geometry import LPS, Frames, fitted, overlap, own
from mensura.scan import Grid, ScanError

SHAPE = (5, 4, 3)
TILT = np.array([[0.98, -0.15, 0.1], [0.16, 0.98, -0.08], [-0.09, 0.1, 0.99]])
ORTHOGONAL = np.linalg.qr(TILT)[0]


def grid(axes: tuple[int, ...] = (0, 1, 2), signs: tuple[int, ...] = (1, 1, 1)) -> Grid:
    """An oblique grid whose axes are permuted and turned."""
    affine = np.eye(4)
    affine[:3, :3] = (ORTHOGONAL * [1.5, 2.0, 3.1])[:, list(axes)] * signs
    affine[:3, 3] = -10, 20, 5
    return Grid(SHAPE, affine)


def placed(layout, data: np.ndarray) -> dict[tuple[float, ...], float]:
    """The value at every place (mm, LPS) of a map's frames."""
    frames = layout.frames
    across, down = np.array(frames.orientation[:3]), np.array(frames.orientation[3:])
    found = {}
    for plane, start in zip(layout.cut(data), frames.positions, strict=True):
        for row, column in np.ndindex(plane.shape):
            place = start + row * frames.spacing[0] * down + column * frames.spacing[1] * across
            found[tuple(np.round(place, 4) + 0.0)] = float(plane[row, column])
    return found


def true(where: Grid, data: np.ndarray) -> dict[tuple[float, ...], float]:
    """The same from the affine."""
    affine = LPS @ where.affine
    return {
        tuple(np.round(affine[:3, :3] @ index + affine[:3, 3], 4) + 0.0): float(data[index])
        for index in np.ndindex(where.shape)
    }


CASES = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
DATA = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.mark.parametrize(("axes", "signs"), CASES)
def test_a_map_on_its_own_grid_keeps_every_place(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    where = grid(axes, signs)
    layout = own(where, "map")
    assert placed(layout, DATA) == true(where, DATA)
    across, down = np.array(layout.frames.orientation).reshape(2, 3)
    assert np.cross(across, down) @ (np.diff(layout.frames.positions, axis=0)[0]) > 0


@pytest.mark.parametrize(("axes", "signs"), CASES[::5])
def test_a_map_on_the_planes_of_a_series_keeps_every_place(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    """The planes of one grid, the same voxels stored in another order of axes."""
    first = own(grid(), "source").frames
    turned = np.flip(DATA.transpose(axes), [n for n in range(3) if signs[n] < 0])
    affine = grid().affine[:, [*axes, 3]].copy()
    for n in range(3):
        if signs[n] < 0:
            affine[:3, 3] += affine[:3, n] * (turned.shape[n] - 1)
            affine[:3, n] *= -1
    where = Grid(turned.shape, affine)
    layout = fitted(first, where)
    assert layout is not None
    assert placed(layout, np.ascontiguousarray(turned)) == true(grid(), DATA)


def test_planes_elsewhere_or_of_another_size_do_not_fit() -> None:
    frames = own(grid(), "source").frames
    assert fitted(frames, grid()) is not None
    moved = grid().affine.copy()
    moved[0, 3] += 0.01
    assert fitted(frames, Grid(SHAPE, moved)) is None
    assert overlap(frames, Grid(SHAPE, moved))
    assert fitted(frames, Grid((5, 4, 4), grid().affine)) is None
    far = grid().affine.copy()
    far[:3, 3] += 100
    assert not overlap(frames, Grid(SHAPE, far))


def test_what_dicom_cannot_hold_is_refused() -> None:
    sheared = grid().affine.copy()
    sheared[:3, 0] += 0.2 * sheared[:3, 1]
    with pytest.raises(ScanError, match="right angles"):
        own(Grid(SHAPE, sheared), "map.nii.gz")
    with pytest.raises(ScanError, match="evenly"):
        _ = Frames((1, 0, 0, 0, 1, 0), (1, 1), 1, (2, 2), ((0, 0, 0), (0, 0, 1), (0, 0, 3))).affine
