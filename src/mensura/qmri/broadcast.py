"""Numbers and arrays that meet in an equation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def floats(*values: ArrayLike) -> list[Any]:
    """Numbers and arrays → arrays of their common floating type, to which plain numbers do not contribute."""
    known = [_weak(v) for v in values]
    common = np.result_type(*known)
    kind = common if np.issubdtype(common, np.floating) else np.dtype(np.float64)
    return [np.asarray(v, kind) for v in known]


def _weak(value: ArrayLike) -> Any:
    """A number (of double precision too, as `np.deg2rad` returns it) as Python's own, or an array."""
    if isinstance(value, int | float):
        return float(value)
    return value if isinstance(value, np.ndarray | np.generic) else np.asarray(value)


def doubles(*values: ArrayLike) -> tuple[tuple[int, ...], Any, list[Any]]:
    """Numbers and arrays → the shape and the floating type they share, and each as a flat array of doubles."""
    spread = np.broadcast_arrays(*floats(*values))
    return spread[0].shape, spread[0].dtype, [a.ravel().astype(np.float64) for a in spread]
