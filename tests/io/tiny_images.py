"""Small arrays on an awkward grid, for the tests of reading and writing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SHAPE = (7, 6, 5)
TILT = np.linalg.qr(np.array([[0.9, -0.2, 0.3], [0.15, 0.9, -0.4], [-0.25, 0.3, 0.9]]))[0]
OBLIQUE = np.eye(4)
OBLIQUE[:3] = np.column_stack([TILT * (0.7, 0.7, 2.0), (-40.0, -30.0, -55.0)])
"""Oblique by some 20°, voxels of 0.7×0.7×2 mm."""

SaveImage = Callable[..., Path]


def wrapped_phase(shape: Sequence[int] = (*SHAPE, 3), seed: int = 0) -> np.ndarray:
    """Phase that fills ±π, as noise outside a head does."""
    phase = np.random.default_rng(seed).uniform(-np.pi, np.pi, shape).astype(np.float32)
    phase.flat[0], phase.flat[1] = -np.pi, np.nextafter(np.float32(np.pi), np.float32(0))
    return phase


def patch(path: Path, offset: int, values: np.ndarray) -> None:
    """Overwrites bytes of a NIfTI header."""
    content = bytearray(path.read_bytes())
    content[offset : offset + values.nbytes] = values.tobytes()
    path.write_bytes(content)
