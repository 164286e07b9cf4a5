"""Methods and their weights are made for human heads; a smaller body is shown to them at the size of one.

The physics allows it: a dipole's field has no length of its own, so that the same shape at a tenth of the size has the
same field. Parameters in mm stay those of the real body wherever they are set or recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mensura.methods import Monitor, call
from mensura.pipeline.config import Settings, scaled, stages
from mensura.scan import Grid, Volume

SCALE = "length_scale"
"""The name under which the size is recorded, beside the parameters of a step."""


def recorded(settings: Settings, stage: str) -> dict[str, Any]:
    """A stage's parameters, and the size of the body where it is not that of a human head."""
    own = {SCALE: settings.lengths} if settings.lengths != 1 else {}
    return settings.resolved(stage) | own


def do(
    stage: str,
    method: str,
    artifacts: Mapping[str, Any],
    parameters: Mapping[str, Any],
    monitor: Monitor | None = None,
) -> dict[str, Volume]:
    """`methods.call` with the parameters as `recorded`, at the size that the method is made for."""
    given = dict(parameters)
    factor = 1 / given.pop(SCALE, 1.0)
    if factor == 1:
        return call(stages()[stage], method, artifacts, given, monitor)
    units = {p.name: p.unit for p in stages()[stage].method(method).parameters.values()}
    given |= {name: scaled(value, factor) for name, value in given.items() if units[name] == "mm"}
    grids = [value.grid for value in artifacts.values() if isinstance(value, Volume)]
    shown = {name: _shown(value, factor) for name, value in artifacts.items()}
    made = call(stages()[stage], method, shown, given, monitor)
    return {name: replace(volume, grid=grids[0]) for name, volume in made.items()}


def _shown(value: Any, factor: float) -> Any:
    if not isinstance(value, Volume):
        return value
    grid = value.grid
    larger = Grid(grid.shape, np.diag([factor] * 3 + [1.0]) @ grid.affine, grid.b0_override)
    return replace(value, grid=larger)
