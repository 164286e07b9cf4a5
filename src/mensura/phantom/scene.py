"""What stands in the scanner: an anatomy sampled on a fine grid, its susceptibility and its shimmed field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mensura.phantom.forward import block_mean
from mensura.phantom.freespace import convolve, dipole_spectrum
from mensura.phantom.shapes import Points, Waves, random_waves
from mensura.phantom.surroundings import HEAD_BOX, Box, add_surroundings
from mensura.phantom.threads import each
from mensura.phantom.tissues import AIR_CHI, Tissue, properties
from mensura.phantom.vessels import Vessel, paint
from mensura.scan import BoolArray, FloatArray, Grid, ScanError

Labels = NDArray[np.uint8]
Pose = NDArray[np.float64]
"""Rigid motion (4×4, mm): where a point of the body at rest lies now."""
TILT_AXIS = (0.8, 0.6, 0.0)
"""About which a tilted field of view is turned: between left-right and front-back."""
ANISOTROPY = 0.016
"""χ along less χ across the fibres of white matter, ppm (measured 0.0136 to 0.0192 by torque, PMC4431960; in vivo
10.1016/j.neuroimage.2012.04.042). Taken as an apparent χ that depends on the direction, not as a tensor."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Anything that can be scanned.

    `tissue_at` takes points (mm, scanner axes) to labels and to whether each point lies in the brain (or
    whatever is shimmed and scored over); it must answer anywhere. `tissues` is the property table that the
    labels index; `vessels` are drawn over the labels in `covered`. `fibres` takes points to the direction of
    the tract there (unit vectors; zero: none). Nothing lies outside `box`; `middle` is the point
    that fields of view are centred on (mm).
    """

    tissue_at: Callable[[Points], tuple[Labels, BoolArray]]
    tissues: Mapping[int, Tissue]
    vessels: Sequence[Vessel] = ()
    covered: frozenset[int] = frozenset()
    fibres: Callable[[Points], Points] | None = None
    box: Box = HEAD_BOX
    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Texture:
    """How a tissue varies within itself: smooth random functions, of standard deviation 1, that move with it."""

    chi: Waves
    relaxation: Waves

    @classmethod
    def draw(cls, seed: int) -> Texture:
        random = np.random.default_rng([seed, 1])
        return cls(random_waves(random, 140, (3, 40)), random_waves(random, 60, (5, 40)))


@dataclass(frozen=True, eq=False)
class Scene:
    """An anatomy in the scanner, in one pose.

    On the voxel grid: `mask` the brain, `chi` the mean susceptibility of a voxel relative to the mean over the
    mask (ppm, 0 outside), `chi_reference` that mean relative to water (ppm), `local_field` the field of `chi`
    alone (ppm). On the `fine` grid: `labels` and `field`, shimmed (ppm). `shim` are the coefficients of the
    harmonics that the shim took out; `body` is the voxel grid in the coordinates of the body at rest.
    """

    anatomy: Anatomy
    grid: Grid
    body: Grid
    fine: Grid
    texture: Texture
    labels: Labels
    mask: BoolArray
    field: FloatArray
    chi: FloatArray
    chi_reference: float
    local_field: FloatArray
    shim: NDArray[np.float64]

    @property
    def factor(self) -> int:
        """Fine voxels along the edge of a voxel."""
        return self.fine.shape[0] // self.grid.shape[0]


def build_scene(
    anatomy: Anatomy,
    grid: Grid,
    *,
    supersampling: int = 2,
    texture: Texture | None = None,
    pose: Pose | None = None,
    shim: NDArray[np.float64] | None = None,
) -> Scene:
    """Anatomy and voxel grid → what the scanner sees.

    Labels are sampled `supersampling` times finer along each axis than the voxels; χ and its field are computed
    on that grid, in free space, with all that lies outside the field of view. The field is shimmed up to second
    order over the brain, or with the coefficients of an earlier `shim`. In another `pose` the body lies
    elsewhere, and its field is computed anew; textures move with it. Raises ScanError where no brain lies on
    the grid.
    """
    body = moved(grid, pose)
    fine, texture = refined(body, supersampling), texture or Texture.draw(0)
    labels, mask = _sample(anatomy, fine, supersampling)
    chi = _susceptibility(anatomy, labels, fine, texture)
    reference = float(chi[_repeat(mask, supersampling)].mean(dtype=np.float64))
    field, local = _fields(anatomy, chi, reference, mask, fine)
    chi = np.where(mask, block_mean(chi, supersampling) - np.float32(reference), np.float32(0))
    shim = _fitted_shim(block_mean(field, supersampling), mask, grid) if shim is None else shim
    _remove_shim(field, shim, refined(grid, supersampling))
    return Scene(
        anatomy, grid, body, fine, texture, labels, mask, field, chi, reference, local, shim
    )  # fmt: skip


def moved(grid: Grid, pose: Pose | None) -> Grid:
    """The grid as the body at rest sees it when the body moves by `pose`: B0 stays where the scanner has it."""
    if pose is None:
        return grid
    return Grid(grid.shape, np.linalg.inv(pose) @ grid.affine, grid.b0_direction)


def refined(grid: Grid, factor: int) -> Grid:
    """The grid whose blocks of `factor`³ voxels are the voxels of `grid`."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (1 / factor - 1) / 2)
    affine[:3, :3] /= factor
    nx, ny, nz = (n * factor for n in grid.shape)
    return Grid((nx, ny, nz), affine, grid.b0_override)


def plane_points(grid: Grid, i: int) -> Points:
    """Coordinates (mm) of the voxels of plane `i` along the first axis."""
    a = grid.affine
    j, k = (np.arange(n, dtype=np.float64) for n in grid.shape[1:])
    rows = [(a[r, 0] * i + a[r, 3] + a[r, 1] * j)[:, None] + (a[r, 2] * k)[None, :] for r in range(3)]
    x, y, z = (row.astype(np.float32) for row in rows)
    return x, y, z


def field_of_view(
    shape: Sequence[int], voxel_size: Sequence[float], middle: Sequence[float], b0_angle: float = 0.0
) -> Grid:
    """Shape, voxel size (mm), middle (mm) → a grid there, tilted against B0 by `b0_angle` (degrees).

    ScanError for sizes that cannot be meant.
    """
    if len(shape) != 3 or len(voxel_size) != 3 or min(shape) < 1 or min(voxel_size) <= 0:
        raise ScanError(
            f"a shape of three sizes and a voxel size of three lengths are needed, not {shape}, {voxel_size}"
        )
    nx, ny, nz = (int(n) for n in shape)
    affine = np.eye(4)
    affine[:3, :3] = rotation(TILT_AXIS, np.radians(b0_angle)) * np.asarray(voxel_size, float)
    affine[:3, 3] = np.asarray(middle) - affine[:3, :3] @ ((np.array([nx, ny, nz]) - 1) / 2)
    return Grid((nx, ny, nz), affine)


def rotation(axis: Sequence[float], angle: float) -> NDArray[np.float64]:
    """Rotation matrix about an axis by an angle in rad (Rodrigues)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def turned(angles: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (rad) about x, then y, then z → their matrix."""
    matrix = np.eye(3)
    for axis, angle in zip(np.eye(3).tolist(), angles, strict=True):
        matrix = rotation(axis, angle) @ matrix
    return matrix


def check_supersampling(factor: int) -> None:
    """ScanError for a supersampling that cannot be meant."""
    if not 1 <= factor <= 8:
        raise ScanError(f"a supersampling of {factor} is not possible; choose 1 to 8")


def on_grid(waves: Waves, grid: Grid) -> FloatArray:
    """A smooth function at the voxels' centres."""
    return np.stack([waves.on_plane(grid.affine, i, grid.shape[1:]) for i in range(grid.shape[0])])


def _sample(anatomy: Anatomy, fine: Grid, factor: int) -> tuple[Labels, BoolArray]:
    """Labels on the fine grid, and the mask of those coarse voxels more than half of which are brain."""
    labels = np.empty(fine.shape, np.uint8)
    mask = np.empty([n // factor for n in fine.shape], bool)

    def plane(i: int) -> None:
        brain = np.empty((factor, *fine.shape[1:]), np.float32)
        for j in range(factor):
            labels[i * factor + j], brain[j] = anatomy.tissue_at(plane_points(fine, i * factor + j))
        mask[i] = block_mean(brain, factor)[0] > 0.5

    each(plane, mask.shape[0])
    if not mask.any():
        raise ScanError("no brain lies in the field of view; choose a larger shape or voxel size")
    covered = np.isin(np.arange(256), list(anatomy.covered))
    paint(labels, fine.affine, anatomy.vessels, covered)
    return labels, mask


def _susceptibility(anatomy: Anatomy, labels: Labels, fine: Grid, texture: Texture) -> FloatArray:
    """χ relative to water (ppm) with texture, on the fine grid."""
    tissues = dict(anatomy.tissues)
    mean, spread = properties("chi", tissues), properties("texture", tissues)
    chi = np.empty(fine.shape, np.float32)
    for i in range(fine.shape[0]):  # matrix products have threads of their own
        chi[i] = mean[labels[i]]
        if spread.any():
            chi[i] += spread[labels[i]] * texture.chi.on_plane(fine.affine, i, fine.shape[1:])
    if anatomy.fibres is not None:
        _add_anisotropy(chi, anatomy.fibres, fine)
    return chi


def _add_anisotropy(chi: FloatArray, fibres: Callable[[Points], Points], fine: Grid) -> None:
    """Adds Δχ·(cos²θ − 1/3), θ the angle between tract and B0, in place: fibres along B0 are less diamagnetic."""
    axes = fine.affine[:3, :3] / np.array(fine.voxel_size)
    b0 = (axes @ np.array(fine.b0_direction)).astype(np.float32)

    def plane(i: int) -> None:
        x, y, z = fibres(plane_points(fine, i))
        along = x * b0[0] + y * b0[1] + z * b0[2]
        chi[i] += np.float32(ANISOTROPY) * (along * along - (x * x + y * y + z * z) / 3)

    each(plane, fine.shape[0])


def _fields(
    anatomy: Anatomy, chi: FloatArray, reference: float, mask: BoolArray, fine: Grid
) -> tuple[FloatArray, FloatArray]:
    """Total field on the fine grid, and the local field (of the mask's sources alone) on the coarse one."""
    spectrum, factor = dipole_spectrum(fine), fine.shape[0] // mask.shape[0]
    inside = np.where(_repeat(mask, factor), chi - np.float32(reference), np.float32(0))
    local = block_mean(convolve(inside, spectrum, fine), factor)
    del inside
    field = convolve(chi - np.float32(AIR_CHI), spectrum, fine)
    table = properties("chi", dict(anatomy.tissues)) - np.float32(AIR_CHI)
    add_surroundings(field, lambda points: table[anatomy.tissue_at(points)[0]], fine, anatomy.box)
    return field, local


def _fitted_shim(field: FloatArray, mask: BoolArray, grid: Grid) -> NDArray[np.float64]:
    """Least-squares coefficients of the harmonics up to second order over the mask."""
    planes = [i for i in range(grid.shape[0]) if mask[i].any()]
    terms = np.concatenate([_harmonics(plane_points(grid, i))[:, mask[i]] for i in planes], axis=1)
    fitted: NDArray[np.float64] = np.linalg.lstsq(
        terms.T.astype(np.float64), field[mask].astype(np.float64), rcond=None
    )[0]
    return fitted


def _remove_shim(field: FloatArray, shim: NDArray[np.float64], fine: Grid) -> None:
    weights = shim.astype(np.float32)

    def plane(i: int) -> None:
        field[i] -= np.tensordot(weights, _harmonics(plane_points(fine, i)), axes=1)

    each(plane, fine.shape[0])


def _harmonics(points: Points) -> FloatArray:
    """Solid harmonics of order 0 to 2 at points, lengths in units of 100 mm."""
    x, y, z = (p * np.float32(0.01) for p in points)
    terms = [np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 2 * z * z - x * x - y * y]
    return np.stack(terms)


def _repeat(mask: BoolArray, factor: int) -> BoolArray:
    """Each voxel as a block of `factor`³ voxels."""
    return mask.repeat(factor, axis=0).repeat(factor, axis=1).repeat(factor, axis=2)
