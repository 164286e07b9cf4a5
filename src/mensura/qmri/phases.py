"""Complex images of a recovery: whether their phases belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TURNED = 0.1
"""rad by which images may be turned against each other: beyond, complex fits miss T1 by more than magnitudes do."""
APART = 0.1
"""Share of the energy that may lie beside the line through 0 that all its images belong on; noise makes as much
at an SNR of 4."""


def together(signals: Any) -> tuple[Any, tuple[str, ...]]:
    """Signals (n, m) → the same, or magnitudes where the phases of complex ones differ between images, and a remark.

    The line of a voxel has half the phase of Σ s². Images are turned by half the phase of the sum of s² over all
    voxels, each freed of its line: noise does not show in it. Phases that differ without order lie beside the line.
    """
    data = np.asarray(signals)
    if not np.iscomplexobj(data):
        return signals, ()
    known = np.where(np.isfinite(data), data, 0).astype(np.complex128)
    freed = known * np.exp(-0.5j * np.angle(np.sum(known**2, axis=1, keepdims=True)))
    turned, beside = _turned(freed), _beside(freed)
    if turned <= TURNED and beside <= APART:
        return signals, ()
    return np.abs(data), (
        f"the phases differ between the images (by {turned:.2f} rad, {beside:.0%} of the signal lies beside one line): "
        "magnitudes are fitted",
    )


def _turned(freed: NDArray[np.complex128]) -> float:
    """Root mean square of the images' turns, weighted by their energy."""
    turns = np.angle(np.sum(freed**2, axis=0)) / 2
    weight = np.sum(np.abs(freed) ** 2, axis=0)
    return float(np.sqrt(np.sum(weight * turns**2) / max(weight.sum(), 1e-300)))


def _beside(freed: NDArray[np.complex128]) -> float:
    """Share of all energy that is imaginary: voxels without signal hardly count."""
    return float(np.sum(freed.imag**2) / max(np.sum(np.abs(freed) ** 2), 1e-300))
