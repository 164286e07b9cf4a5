"""What a scan is: the grid its voxels lie on, the volumes, and the acquisition they came from (SI units)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAMMA_BAR = 42.577478518e6
"""Proton gyromagnetic ratio over 2π, Hz/T (CODATA 2018)."""

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class ScanError(ValueError):
    """An input that cannot be processed; the message names what is wrong and the remedy, in one sentence."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels lie: `shape` (three sizes) and `affine` (4×4, voxel index → scanner mm, RAS+).

    `b0_override` replaces the main field's direction where the affine does not know it (a unit vector is
    made of it; voxel axes).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    b0_override: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or abs(np.linalg.det(affine[:3, :3])) < 1e-9
        ):
            raise ScanError("the affine must be a finite, invertible 4×4 matrix; repair the image header")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ScanError(f"a grid has three sizes of at least one voxel, not {self.shape}")
        if self.b0_override is not None and not (
            len(self.b0_override) == 3
            and np.isfinite(self.b0_override).all()
            and np.linalg.norm(self.b0_override) > 0
        ):
            raise ScanError(f"the B0 direction {self.b0_override} must be three finite numbers, not all zero")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def from_voxel_size(
        cls,
        shape: Sequence[int],
        voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
        b0_direction: Sequence[float] | None = None,
    ) -> Grid:
        """A grid in scanner orientation, centred on the isocentre; `voxel_size` in mm."""
        nx, ny, nz = (int(n) for n in shape)
        affine = np.diag([*map(float, voxel_size), 1.0])
        affine[:3, 3] = -affine[:3, :3] @ ((np.array([nx, ny, nz]) - 1) / 2)
        direction = None if b0_direction is None else _triple(b0_direction)
        return cls((nx, ny, nz), affine, direction)

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel, mm."""
        return _triple(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def b0_direction(self) -> tuple[float, float, float]:
        """Unit vector of B0 in voxel axes: Rᵀ·ẑ with R the affine's columns divided by the voxel size."""
        if self.b0_override is not None:
            direction = np.array(self.b0_override, dtype=float)
        else:
            direction = (self.affine[:3, :3] / np.array(self.voxel_size))[2]
        return _triple(direction / np.linalg.norm(direction))

    def with_shape(self, shape: Sequence[int]) -> Grid:
        """The same axes and voxel size for an array of another shape (its origin is not tracked)."""
        nx, ny, nz = (int(n) for n in shape)
        return replace(self, shape=(nx, ny, nz))

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same shape and the same affine within `tolerance` mm."""
        return self.shape == other.shape and bool(
            np.allclose(self.affine, other.affine, atol=tolerance, rtol=0)
        )


@dataclass(frozen=True, eq=False)
class Volume:
    """An image with its grid and unit; `data` is read-only, its last axis (if a fourth) echo or time."""

    data: NDArray[Any]
    grid: Grid
    unit: str

    def __post_init__(self) -> None:
        if self.data.shape[:3] != self.grid.shape:
            raise ScanError(
                f"data of shape {self.data.shape} does not lie on a grid of shape {self.grid.shape}"
            )
        view = self.data.view()
        view.setflags(write=False)
        object.__setattr__(self, "data", view)


@dataclass(frozen=True)
class GradientEcho:
    """How a (multi-echo) gradient-echo scan was acquired.

    `echo_times` and `repetition_time` in s, `field_strength` in T, `flip_angle` in rad; `details` keeps every
    other field of the sidecar, for the record. Raises ScanError for values that cannot be meant, for example
    echo times in milliseconds.
    """

    echo_times: tuple[float, ...]
    field_strength: float
    repetition_time: float | None = None
    flip_angle: float | None = None
    readout: Literal["monopolar", "bipolar"] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = tuple(float(t) for t in self.echo_times)
        object.__setattr__(self, "echo_times", times)
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))
        if not times or not np.isfinite(times).all() or min(times) <= 0:
            raise ScanError(f"the echo times {_list(times)} must be positive numbers of seconds")
        if max(times) > 0.5:
            raise ScanError(
                f"the echo times {_list(times)} look like milliseconds; give seconds, for example {times[0] / 1e3:g}"
            )
        if any(b <= a for a, b in pairwise(times)):
            raise ScanError(f"the echo times {_list(times)} must increase from echo to echo; sort the echoes")
        if not np.isfinite(self.field_strength) or not 0.01 <= self.field_strength <= 25:
            raise ScanError(
                f"a field strength of {self.field_strength:g} T is not plausible; give tesla, for example 3"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its fields, as the read-only view of `details` cannot be."""
        *others, details = (getattr(self, item.name) for item in fields(self))
        return type(self), (*others, dict(details))

    @property
    def hz_per_ppm(self) -> float:
        """Frequency of one part per million of the field, Hz."""
        return GAMMA_BAR * self.field_strength * 1e-6


def bounding_box(mask: BoolArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """Mask → slices of the smallest box that holds it, wider by `margin` voxels where the volume allows.

    Raises ScanError for an empty mask.
    """
    bounds = []
    for axis, size in enumerate(mask.shape):
        other = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=other))
        if hit.size == 0:
            raise ScanError("the mask is empty; give another mask or lower the threshold of the mask method")
        bounds.append(slice(max(0, int(hit[0]) - margin), min(size, int(hit[-1]) + 1 + margin)))
    return bounds[0], bounds[1], bounds[2]


def _triple(values: ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in np.asarray(values, dtype=float))
    return x, y, z


def _list(times: Sequence[float]) -> str:
    return ", ".join(f"{t:g}" for t in times)
