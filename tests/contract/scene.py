"""A small scene with known physics, on any grid: what every stage of the tables consumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.scan import Grid, Volume

ECHO_TIMES = (0.004, 0.009, 0.014, 0.019)
HZ_PER_PPM = 127.73
SIZES = (1.5, 1.3, 2.1)
UNITS = {
    "mask": "1", "magnitude": "arbitrary", "phase": "rad", "unwrapped_phase": "rad", "chi": "ppm",
    "total_field": "ppm", "local_field": "ppm", "field_std": "ppm", "r2star": "1/s", "reference_region": "1",
}  # fmt: skip


def grid(scale: float = 1.0) -> Grid:
    """Odd and even sizes, voxels of 1.5×1.3×2.1 mm times `scale`, tilted by 30° and 20° about two axes."""
    affine = np.eye(4)
    affine[:3, :3] = _turn(0, 30) @ _turn(1, 20) * np.array(SIZES) * scale
    return Grid((33, 36, 25), affine)


def _turn(axis: int, degrees: float) -> NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    spin = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    spin[i, i], spin[j, j], spin[i, j], spin[j, i] = c, c, -s, s
    return spin


def scene(where: Grid) -> dict[str, Any]:
    """Every artifact of the chain: volumes, echo times (s), and Hz per ppm. It grows with the voxels."""
    found: dict[str, Any] = dict(_scene(where.shape, where.affine.tobytes()))
    volumes = {name: Volume(data, where, UNITS[name]) for name, data in found.items()}
    return {**volumes, "echo_times": ECHO_TIMES, "hz_per_ppm": HZ_PER_PPM}


@lru_cache(maxsize=4)
def _scene(shape: tuple[int, int, int], affine_bytes: bytes) -> dict[str, NDArray[Any]]:
    axes = np.frombuffer(affine_bytes).reshape(4, 4)[:3, :3]
    sizes = np.linalg.norm(axes, axis=0)
    b = (axes / sizes)[2]
    sizes = sizes * (np.prod(SIZES) / np.prod(sizes)) ** (1 / 3)
    mm = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, sizes, strict=True)]
    x, y, z = np.meshgrid(*mm, indexing="ij")
    half = [axis[-1] for axis in mm]
    mask = (x / (0.78 * half[0])) ** 2 + (y / (0.8 * half[1])) ** 2 + (z / (0.76 * half[2])) ** 2 < 1
    chi = np.zeros(shape)
    for cx, cy, cz, radius, value in ((6, 3, 2, 5, 0.1), (-7, -4, -3, 4.5, -0.05), (-3, 8, 5, 3.5, 0.15)):
        chi += value / (1 + np.exp((np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) - radius) / 0.6))
    chi = np.where(mask, chi - chi[mask].mean(), 0)
    local = _field(chi, sizes, b)
    along = x * b[0] + y * b[1] + z * b[2]
    background = 0.02 * along + 0.0006 * (3 * along**2 - (x**2 + y**2 + z**2)) + 0.05
    rng = np.random.default_rng(3)
    times = np.array(ECHO_TIMES)
    tissue = 800 * np.exp(-times * 25) * (1 + 0.15 * np.tanh(x / 10))[..., None]
    signal = np.where(mask[..., None], tissue, 0) * np.exp(
        2j * np.pi * HZ_PER_PPM * (local + background)[..., None] * times
    )
    noise = rng.standard_normal((*shape, len(times), 2)) @ np.array([1, 1j])
    signal = signal + 6.0 * noise
    total = np.where(mask, local + background, 0)
    std = np.where(mask, 1e-3 * (1 + 0.3 * np.tanh(x / 10)), 0)
    unwrapped = 2 * np.pi * HZ_PER_PPM * total[..., None] * times
    fields = {"total_field": total, "local_field": np.where(mask, local, 0), "field_std": std, "chi": chi}
    centre = (x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2 < 0.2**2
    fields["r2star"] = np.where(mask, np.where(centre, 2.0, 25.0), 0)
    images = {"magnitude": np.abs(signal), "phase": np.angle(signal), "unwrapped_phase": unwrapped}
    return {
        "mask": mask,
        "reference_region": centre,
        **{name: a.astype(np.float32) for name, a in {**fields, **images}.items()},
    }


def _field(chi: NDArray[Any], size: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The field (ppm) of susceptibility (ppm), zero-padded to twice the size."""
    shape = [2 * n for n in chi.shape]
    k = np.meshgrid(
        *(np.fft.fftfreq(n, s) for n, s in zip(shape, size, strict=True)), indexing="ij", sparse=True
    )
    squared = sum(q * q for q in k)
    squared[0, 0, 0] = 1
    kernel = 1 / 3 - sum(q * c for q, c in zip(k, b, strict=True)) ** 2 / squared
    kernel[0, 0, 0] = 0
    whole = np.fft.ifftn(kernel * np.fft.fftn(chi, shape, axes=(0, 1, 2))).real
    inner: NDArray[Any] = whole[: chi.shape[0], : chi.shape[1], : chi.shape[2]]
    return inner


def rearranged(volume: Volume, order: Sequence[int], flip: Sequence[int] = ()) -> Volume:
    """The same image with its axes in another order and some of them reversed; its affine says so."""
    data = np.transpose(volume.data, [*order, *range(3, volume.data.ndim)])
    affine = volume.grid.affine.copy()
    affine[:3, :3] = affine[:3, list(order)]
    for axis in flip:
        data = np.flip(data, axis)
        affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
        affine[:3, axis] *= -1
    data = np.ascontiguousarray(data)
    return Volume(data, Grid(data.shape[:3], affine), volume.unit)
