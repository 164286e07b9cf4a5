"""How much each voxel's field is trusted, and the noise that a regularisation weight is measured against."""

from __future__ import annotations

import numpy as np

from mensura.scan import BoolArray, FloatArray, ScanError

NOISE_UNIT = 1e-3
"""Regularisation weights are stated for a field noise of 1 ppb (in ppm) and scale with the actual noise."""
MODEL_ERROR = 0.1
"""Share of the field's own size that no discrete model explains; keeps a noise-free field regularised."""
MOST = 4.0
"""Largest squared weight, relative to the median voxel: a few bright voxels must not rule the map."""


def squared(field_std: FloatArray | None, mask: BoolArray) -> FloatArray:
    """Standard deviation of the field (ppm) → squared weights, 1 in the median voxel, 0 outside the mask.

    Voxels without a finite, positive standard deviation get weight 0. ScanError if no voxel has one.
    """
    if field_std is None:
        return mask.astype(np.float32)
    known = mask & np.isfinite(field_std) & (field_std > 0)
    if not known.any():
        raise ScanError(
            "the field's standard deviation is nowhere positive in the mask; leave it out or mend it"
        )
    typical = np.median(field_std[known])
    weight = np.zeros(mask.shape, np.float32)
    weight[known] = np.minimum((typical / field_std[known]) ** 2, MOST)
    return weight


def noise(field_std: FloatArray | None, mask: BoolArray, field: FloatArray) -> float:
    """Effective noise of a (background-free) field in ppm: its median error and its model error, in quadrature."""
    size = 1.4826 * float(np.median(np.abs(field[mask] - np.median(field[mask]))))
    if size == 0:
        size = float(np.std(field[mask], dtype=np.float64))
    known = None if field_std is None else field_std[mask & np.isfinite(field_std)]
    measured = 0.0 if known is None or not known.size else float(np.median(known))
    return float(np.hypot(measured, MODEL_ERROR * size))


def finite(field: FloatArray, weight: FloatArray) -> FloatArray:
    """The field with 0 where it is not finite, whose weight is set to 0 in place."""
    bad = ~np.isfinite(field)
    if not bad.any():
        return field
    weight[bad] = 0
    return np.where(bad, np.float32(0), field)
