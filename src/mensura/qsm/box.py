"""Methods work on the box that holds the mask: what lies outside costs time and memory and tells nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from mensura.scan import Grid, ScanError, bounding_box

P = ParamSpec("P")
R = TypeVar("R")


def on_box(method: Callable[P, R]) -> Callable[P, R]:
    """A method (image, mask, grid, *, …) → the same method, computed on the mask's bounding box.

    Every argument that is an array on the mask's voxels is cut to the box, every array that comes back is put
    into zeros of the full shape. Raises ScanError for an empty mask, or an image of another shape.
    """

    @wraps(method)
    def boxed(*args: P.args, **kwargs: P.kwargs) -> R:
        image, mask, grid, *rest = cast(tuple[Any, ...], args)
        if image.shape[:3] != mask.shape or grid.shape != mask.shape:
            raise ScanError(
                f"the image {image.shape}, the mask {mask.shape} and the grid {grid.shape} do not fit"
            )
        box = bounding_box(mask)

        def cut(value: Any) -> Any:
            fits = isinstance(value, np.ndarray) and value.shape[:3] == mask.shape
            return np.ascontiguousarray(value[box]) if fits else value

        small = cut(mask)
        found = method(
            cut(image), small, grid.with_shape(small.shape), *rest, **{k: cut(v) for k, v in kwargs.items()}
        )
        if isinstance(found, tuple):
            return cast(R, tuple(_put_back(part, box, grid) for part in found))
        return cast(R, _put_back(found, box, grid))

    return boxed


def _put_back(part: Any, box: tuple[slice, slice, slice], grid: Grid) -> Any:
    whole = np.zeros(grid.shape + part.shape[3:], part.dtype)
    whole[box] = part
    return whole
