"""What the figures of "Why susceptibility is hard" are made of: a head, its scan, and fields known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, map_coordinates

from mensura.phantom.forward import block_mean, dipole_field
from mensura.phantom.head import simulate_head
from mensura.phantom.simulation import Simulation
from mensura.phantom.tissues import Label
from mensura.qsm import field, kernels, offset, unwrap
from mensura.scan import BoolArray, FloatArray, Grid

Array = NDArray[np.float64]
MAGIC = float(np.degrees(np.arccos(np.sqrt(1 / 3))))
"""The angle to B0 at which the dipole's field, and its kernel, pass through zero (degrees)."""
SHAPE, VOXEL, SEED = (128, 148, 128), (1.5, 1.5, 1.5), 3


@dataclass(frozen=True, eq=False)
class Case:
    """A scanned head with its field as measured from the wrapped, noisy echoes (ppm).

    `total` and `std` are the fitted field and its standard deviation, `local` the fitted field less the true
    background: what a flawless background removal would leave. `scored` is the brain less one voxel, `depth`
    the distance from the brain's surface (mm).
    """

    scan: Simulation
    total: FloatArray
    std: FloatArray
    local: FloatArray
    scored: BoolArray
    depth: FloatArray

    @property
    def background(self) -> FloatArray:
        """The true field of all sources outside the brain (ppm)."""
        difference: FloatArray = self.scan.total_field - self.scan.local_field
        return difference

    @property
    def calcification(self) -> BoolArray:
        found: BoolArray = (self.scan.labels == Label.CALCIFICATION) & self.scan.mask
        return found


def scanned_head(shape: Sequence[int] = SHAPE, voxel: Sequence[float] = VOXEL, seed: int = SEED) -> Case:
    """Shape, voxel size (mm), seed → a head with a calcification, scanned at 3 T, and its measured field."""
    scan = simulate_head(shape, voxel, seed=seed, lesions=("calcification",))
    mask, grid = scan.mask, scan.grid
    known: dict[str, Any] = {"magnitude": scan.magnitude, "echo_times": scan.acquisition.echo_times}
    phase = offset.mcpc3ds(scan.phase, mask, grid, **known)
    unwrapped = unwrap.romeo(phase, mask, grid, **known)
    total, std, _, _ = field.nonlinear(unwrapped, mask, grid, **known, hz_per_ppm=scan.acquisition.hz_per_ppm)
    local = np.where(mask, total - (scan.total_field - scan.local_field), np.float32(0))
    local = np.where(mask, local - np.median(local[mask] - scan.local_field[mask]), np.float32(0))
    depth = distance_transform_edt(mask, sampling=grid.voxel_size).astype(np.float32)
    return Case(scan, total, std, local.astype(np.float32), binary_erosion(mask), depth)


def unit_response(size: int = 65) -> FloatArray:
    """The field (ppm) around one voxel of 1 ppm, on the central plane that holds B0: (across, along)."""
    chi = np.zeros((size, size, size), np.float32)
    middle = size // 2
    chi[middle, middle, middle] = 1
    plane: FloatArray = dipole_field(chi, Grid.from_voxel_size(chi.shape))[:, middle, :]
    return plane


def kernel_plane(size: int = 129) -> FloatArray:
    """D(k) on the central plane that holds B0, from −Nyquist to Nyquist along both axes: (across, along)."""
    half = kernels.dipole((size, size, size), Grid.from_voxel_size((size, size, size)))[:, 0, :]
    upper = np.fft.fftshift(half, axes=0)
    return np.concatenate([upper[::-1, :0:-1], upper], axis=1)


def sphere_field(angle: Array, distance: float) -> Array:
    """Angle to B0 (rad), distance in radii → field outside a sphere of 1 ppm (ppm): (3cos²θ − 1) / (3 r³)."""
    return np.asarray((3 * np.cos(angle) ** 2 - 1) / (3 * distance**3))


def cylinder_field(angle: Array) -> Array:
    """Angle of the axis to B0 (rad) → field inside a long cylinder of 1 ppm (ppm): (3cos²θ − 1) / 6."""
    return np.asarray((3 * np.cos(angle) ** 2 - 1) / 6)


def cylinder_outside(angle: Array, distance: float) -> Array:
    """Angle of the axis to B0 (rad), distance in radii → field beside a cylinder of 1 ppm, on B0's side (ppm)."""
    return np.asarray(np.sin(angle) ** 2 / (2 * distance**2))


def measured_sphere(angle: Array, distance: float, size: int = 72, radius: float = 12.0) -> Array:
    """As `sphere_field`, read off the field that the package computes for a sphere made of voxels."""
    grid = Grid.from_voxel_size((size, size, size))
    outside = dipole_field(_ball(size, radius), grid)
    middle, reach = (size - 1) / 2, distance * radius
    at = [middle + reach * np.sin(angle), np.full(angle.shape, middle), middle + reach * np.cos(angle)]
    return np.asarray(map_coordinates(outside.astype(np.float64), at, order=3))


def measured_cylinder(
    angle: Array, distance: float, size: int = 48, length: int = 192, radius: float = 6.0
) -> tuple[Array, Array]:
    """As `cylinder_field` and `cylinder_outside`, for a cylinder made of voxels along the third axis."""
    disc = block_mean(_disc(4 * size, 4 * radius)[:, :, None].repeat(4, 2), 4)
    chi = np.repeat(disc, length, axis=2)
    middle = (size - 1) / 2
    inside, beside = [], []
    for turn in angle:
        direction = (float(np.sin(turn)), 0.0, float(np.cos(turn)))
        plane = dipole_field(chi, Grid.from_voxel_size(chi.shape, b0_direction=direction))[..., length // 2]
        inside.append(float(plane[disc[..., 0] == 1].mean()))
        beside.append(float(map_coordinates(plane, [[middle + distance * radius], [middle]], order=3)[0]))
    return np.array(inside), np.array(beside)


def _ball(size: int, radius: float, fine: int = 2) -> FloatArray:
    at = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    square = at[:, None, None] ** 2 + at[None, :, None] ** 2 + at[None, None, :] ** 2
    return block_mean((square <= radius**2).astype(np.float32), fine)


def _disc(size: int, radius: float) -> FloatArray:
    at = np.arange(size) - (size - 1) / 2
    return (at[:, None] ** 2 + at[None, :] ** 2 <= radius**2).astype(np.float32)
