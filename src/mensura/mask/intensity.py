"""Masks from the magnitude's brightness: one volume, its levels, and the receive coils' shading taken out."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mensura.mask.morphology import fill_holes, largest_component, opening
from mensura.methods import Tunable
from mensura.scan import BoolArray, FloatArray, Grid, ScanError


def threshold(
    magnitude: FloatArray | None,
    phase: FloatArray | None,
    grid: Grid,
    *,
    fraction: Annotated[float, Tunable("1", "0 keeps what is above the background, 1 above tissue")] = 0.25,
    radius: Annotated[float, Tunable("mm", "parts thinner than a ball of this radius are removed")] = 2.0,
) -> BoolArray:
    """Magnitude (any unit; echoes by root sum of squares) → mask of the largest bright part, holes filled.

    The threshold lies at `fraction` of the way from the background's to the tissue's level, both found by
    `levels`. Raises ScanError where the magnitude is zero everywhere or nothing is left.
    """
    del phase
    image = combine(needed(magnitude))
    mask = largest_component(opening(bright(image, fraction), grid, radius))
    if not mask.any():
        raise ScanError(
            f"nothing in the magnitude is brighter than {fraction:g} of the tissue and thicker than"
            f" {radius:g} mm; lower the fraction or the radius, or give a mask of your own"
        )
    return fill_holes(mask)


def needed(magnitude: FloatArray | None) -> FloatArray:
    """The magnitude, or ScanError where there is none."""
    if magnitude is None:
        raise ScanError("this mask needs a magnitude; give one, or take the mask method phase_quality")
    return magnitude


def combine(magnitude: FloatArray) -> FloatArray:
    """Magnitude (a fourth axis is echoes) → root sum of squares over echoes, maximum of any echo 1.

    Values that are not finite become 0. Raises ScanError where nothing is left to see.
    """
    image = np.nan_to_num(np.asarray(magnitude, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(image.max(initial=0.0))
    if top <= 0:
        raise ScanError("the magnitude is zero everywhere; give the magnitude image, or a mask of your own")
    image = image * np.float32(1 / top)
    return image if image.ndim == 3 else np.sqrt(np.einsum("...e,...e->...", image, image))


def first_echo(magnitude: FloatArray) -> FloatArray:
    """Magnitude → its first echo, where the dropout near air is least; otherwise as `combine`."""
    return combine(magnitude if magnitude.ndim == 3 else magnitude[..., 0])


def bright(image: FloatArray, fraction: float) -> BoolArray:
    """Combined magnitude → voxels above `fraction` of the way from background to tissue."""
    background, tissue = levels(image)
    return image > background + fraction * (tissue - background)


def levels(image: FloatArray) -> tuple[float, float]:
    """Combined magnitude → typical value of the background and of tissue.

    The means of the two classes that the midpoint between these means divides (Ridler and Calvard 1978,
    10.1109/TSMC.1978.4310039), of values that are not zero, clipped at the 98th percentile of the brighter
    ones (fat, inflow). Where the darker class is above 0.4 of the brighter (a crop that holds tissue only)
    the background is 0.
    """
    steps = tuple(slice(None, None, max(1, n // 100)) for n in image.shape)
    values = image[steps][image[steps] > 0].astype(np.float64)
    if values.size == 0:
        values = image[image > 0].astype(np.float64)
    values = np.minimum(values, np.quantile(values[values >= values.mean()], 0.98))
    cut = float(values.mean())
    for _ in range(50):
        low, high = _mean(values[values < cut]), _mean(values[values >= cut])
        previous, cut = cut, (low + high) / 2
        if abs(cut - previous) <= 1e-5 * high:
            break
    return (low, high) if low < 0.4 * high else (0.0, float(np.median(values)))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


def equalise(image: FloatArray, tissue: BoolArray, grid: Grid, width: float) -> FloatArray:
    """Magnitude → the magnitude over its smooth part in `tissue` (Gaussian of `width` mm): tissue ≈ 1.

    Two rounds: the second leaves out what is brighter than 1.4 or darker than 0.6 of the smooth part.
    """
    if not tissue.any():
        raise ScanError("no tissue was found in the magnitude; give a mask of your own")
    shading = _shading(image, tissue, grid, width)
    kept = tissue & (image < 1.4 * shading) & (image > 0.6 * shading)
    return image / (_shading(image, kept, grid, width) if kept.any() else shading)


def _shading(image: FloatArray, tissue: BoolArray, grid: Grid, width: float) -> FloatArray:
    """The smooth part of the image over tissue, computed on blocks of a quarter of its width."""
    factors = block_factors(grid, width / 4)
    sigma = [width / (size * factor) for size, factor in zip(grid.voxel_size, factors, strict=True)]
    weight = tissue.astype(np.float32)
    total = ndimage.gaussian_filter(shrink(weight, factors), sigma, mode="constant")
    value = ndimage.gaussian_filter(shrink(image * weight, factors), sigma, mode="constant")
    typical = float(np.mean(image[tissue], dtype=np.float64))
    return _enlarge((value + 1e-3 * typical) / (total + 1e-3), image.shape, factors)


def block_factors(grid: Grid, size: float) -> tuple[int, int, int]:
    """How many voxels along each axis make a block of at most `size` mm (at least one)."""
    x, y, z = (
        max(1, min(n, int(size / edge + 1e-6))) for n, edge in zip(grid.shape, grid.voxel_size, strict=True)
    )
    return x, y, z


def shrink(image: FloatArray, factors: tuple[int, int, int]) -> FloatArray:
    """Volume → means over blocks of `factors` voxels; what is left over at the high faces is dropped."""
    fx, fy, fz = factors
    nx, ny, nz = (n // f for n, f in zip(image.shape, factors, strict=True))
    blocks = image[: nx * fx, : ny * fy, : nz * fz].reshape(nx, fx, ny, fy, nz, fz)
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32)  # type: ignore[no-any-return]


def _enlarge(blocks: FloatArray, shape: tuple[int, ...], factors: tuple[int, int, int]) -> FloatArray:
    """Means over blocks → volume of `shape`, linear between the blocks' centres; the inverse of `shrink`."""
    out = blocks
    for axis, (size, factor) in enumerate(zip(shape, factors, strict=True)):
        last = out.shape[axis] - 1
        position = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, last)
        low = np.minimum(position.astype(np.intp), max(last - 1, 0))
        share = np.moveaxis((position - low).astype(np.float32)[:, None, None], 0, axis)
        out = out.take(low, axis) * (1 - share) + out.take(np.minimum(low + 1, last), axis) * share
    return out
