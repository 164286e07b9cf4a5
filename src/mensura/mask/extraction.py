"""Brain extraction from a gradient-echo magnitude, by a surface that grows from inside the brain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mensura.mask import surface
from mensura.mask.intensity import block_factors, bright, equalise, first_echo, needed, shrink, threshold
from mensura.mask.morphology import closing, dilate, erode, fill_holes, largest_component
from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

COARSE = 2.5
"""Largest edge of the blocks that the surface sees, mm."""
EXTENSION = 30.0
"""By how much a slab that cuts the head on both sides is continued, mm."""
SHADING = 30.0
"""Smoothness of the coils' shading that is taken out, mm."""
CHOICES = tuple((level, radius) for level in (0.75, 0.6, 0.4) for radius in (9.0, 12.0))
"""Levels (brain ≈ 1) and balls (mm) that the brain's thick part is sought with."""
SKIN = 8.0
"""The brain lies deeper than this under the skin, mm."""
SMALLEST = 5e4
"""Smallest volume of a brain's thick part, mm³."""


def brain(
    magnitude: FloatArray | None,
    phase: FloatArray | None,
    grid: Grid,
    *,
    fractional_intensity: Annotated[
        float, Tunable("1", "local threshold from background (0) to brain (1): larger, smaller brain")
    ] = 0.55,
    margin: Annotated[float, Tunable("mm", "how far the brain may reach beyond its thick part")] = 6.0,
) -> BoolArray:
    """Magnitude (any unit; of several echoes the first, with the least dropout) → mask of the brain.

    A sphere of triangles inside the brain grows until it meets the brain's edge: each vertex moves so that
    the surface is evenly spaced, smooth, and has brain but nothing dark beneath it (`surface.grow`). All
    lengths are mm, so voxels may have any shape. For human heads. A slab that cuts the head on both sides is
    continued for the purpose; where there is no skull (extracted already), all that is bright is the brain.

    Raises ScanError where the magnitude is zero or no brain is found.

    Smith 2002, 10.1002/hbm.10062. Differs from the paper in that the coils' shading is taken out first; that
    the sphere starts in the brain's thick part (`_Core`), not at the head's centre of gravity; that the
    surface stays within `margin` of that part; and that it grows with few vertices first, then with many.
    """
    del phase
    magnitude = needed(magnitude)
    view = _coarse_view(first_echo(magnitude), grid)
    core, image = _core_and_image(view)
    if core is None:
        return _everything(magnitude, grid)
    seen = np.where(_reach(image, core, view.grid, margin), image, np.float32(0))
    mesh = _grown(seen, core, view.grid, fractional_intensity)
    moved = surface.Mesh(mesh.vertices + view.origin, mesh.faces, mesh.rings)
    mask = largest_component(surface.inside(moved, grid.shape, grid.voxel_size))
    return mask if mask.any() else _not_found()


def _not_found() -> BoolArray:
    raise ScanError(
        "no brain was found in the magnitude; take the mask method threshold, or give a mask of your own"
    )


def _everything(magnitude: FloatArray, grid: Grid) -> BoolArray:
    """What an earlier extraction left above zero, if it did so; else all that is bright."""
    tissue = threshold(magnitude, None, grid)
    support = fill_holes(largest_component(first_echo(magnitude) > 0))
    return support if np.count_nonzero(support) < 1.3 * np.count_nonzero(tissue) else tissue


@dataclass(frozen=True)
class _View:
    """The image in blocks, their grid, and the first block's centre (mm from the first voxel's centre)."""

    image: FloatArray
    grid: Grid
    origin: NDArray[np.float64]


def _coarse_view(image: FloatArray, grid: Grid) -> _View:
    factors = block_factors(grid, COARSE)
    blocks = shrink(image, factors)
    size = np.array(grid.voxel_size) * factors
    cut = [min(pair) > 0.5 for pair in filled_faces(bright(blocks, 0.3))]
    added = np.where(cut, np.ceil(EXTENSION / size), 0).astype(int)
    blocks = np.pad(blocks, [(n, n) for n in added], mode="edge")
    origin = (np.array(factors) - 1) / 2 * grid.voxel_size - added * size
    return _View(blocks, Grid.from_voxel_size(blocks.shape, size.tolist()), origin)


def filled_faces(tissue: BoolArray) -> list[tuple[float, float]]:
    """Mask of tissue → for each axis the area in its first and last plane, relative to its largest plane."""
    found = []
    for axis in range(3):
        area = np.count_nonzero(tissue, axis=tuple(a for a in range(3) if a != axis))
        largest = max(int(area.max()), 1)
        found.append((int(area[0]) / largest, int(area[-1]) / largest))
    return found


def _core_and_image(view: _View) -> tuple[BoolArray | None, FloatArray]:
    """The thick part of the brain (None where no skull surrounds it), and the image with brain ≈ 1."""
    tissue = bright(view.image, 0.3)
    rim = dilate(~fill_holes(closing(tissue, view.grid, 20.0)), view.grid, SKIN)
    image = equalise(view.image, tissue, view.grid, SHADING)
    found = [_Core.found(image, rim, view.grid, choice) for choice in CHOICES]
    best = _chosen(found)
    if best.volume < SMALLEST:
        _not_found()
    if not best.sound and max(found, key=lambda core: core.volume).leak > 0.15:
        return None, image
    image = equalise(view.image, best.mask, view.grid, SHADING)
    core = _Core.found(image, rim, view.grid, best.choice).mask
    core = core if core.any() else best.mask
    return core, image * (1 / np.float32(np.median(image[core])))


@dataclass(frozen=True)
class _Core:
    """A candidate for the brain's thick part: the largest bright part, less bridges that no ball fits into.

    `choice` is the least brightness (brain ≈ 1) and the ball's radius (mm). `roundness` is the volume over
    that of the ellipsoid of the same second moments (at most 1): leaks through the skull or down the neck
    lower it. `leak` is the share that lies just under the skin.
    """

    mask: BoolArray
    choice: tuple[float, float]
    volume: float
    roundness: float
    leak: float

    @property
    def sound(self) -> bool:
        return self.roundness > 0.92 and self.leak < 0.03

    @classmethod
    def found(cls, image: FloatArray, rim: BoolArray, grid: Grid, choice: tuple[float, float]) -> _Core:
        level, radius = choice
        even = fill_holes((image > level) & (image < 1.4))
        mask = dilate(largest_component(erode(even, grid, radius)), grid, radius)
        if not mask.any():
            return cls(mask, choice, 0.0, 0.0, 1.0)
        size = np.array(grid.voxel_size)
        position = np.argwhere(mask) * size
        volume = float(len(position) * np.prod(size))
        spread = np.linalg.det(np.cov(position.T) + np.diag(size**2) / 12)
        roundness = volume / float(4 / 3 * np.pi * 5**1.5 * np.sqrt(spread))
        return cls(mask, choice, volume, roundness, np.count_nonzero(mask & rim) / len(position))


def _chosen(found: Sequence[_Core]) -> _Core:
    """Of the sound candidates that are not much smaller than the largest one the first; else the roundest."""
    sound = [core for core in found if core.sound]
    enough = 0.8 * max((core.volume for core in sound), default=0.0)
    return next((core for core in sound if core.volume > enough), max(found, key=lambda core: core.roundness))


def _reach(image: FloatArray, core: BoolArray, grid: Grid, margin: float) -> BoolArray:
    """Where the surface may go: tissue connected to the core within the margin, and one voxel more."""
    tissue = (dilate(core, grid, margin) & (image > 0.5) & (image < 1.6)) | core
    return dilate(fill_holes(largest_component(tissue)), grid, 1.01 * max(grid.voxel_size))


def _grown(image: FloatArray, core: BoolArray, grid: Grid, fraction: float) -> surface.Mesh:
    """Image (brain ≈ 1) → the surface, grown from half the core's radius (mm from the first block)."""
    size = np.array(grid.voxel_size)
    dark, light = (float(q) for q in np.quantile(image, [0.02, 0.98]))
    levels = (dark, dark + 0.1 * (min(light, 1.5) - dark), float(np.median(image[core])))
    radius = (0.75 / np.pi * np.count_nonzero(core) * float(np.prod(size))) ** (1 / 3)
    centre = np.argwhere(core).mean(axis=0) * size
    ball = surface.icosphere(3)
    mesh = surface.Mesh(centre + ball.vertices * radius / 2, ball.faces, ball.rings)
    mesh = surface.refine(surface.grow(mesh, image, grid.voxel_size, levels, fraction))
    return surface.grow(mesh, image, grid.voxel_size, levels, fraction)
