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
from mensura.qsm.uncertainty import Inversion
from mensura.scan import Grid, Volume

SCALE = "length_scale"
"""The name under which the size is recorded, beside the parameters of a step."""
SIGN_LEFT = "sign_left"
"""Recorded with the field where its sign was not checked."""


def recorded(settings: Settings, stage: str) -> dict[str, Any]:
    """A stage's parameters, and what is special of the body: its size, a sign that cannot be checked."""
    own = {SCALE: settings.lengths} if settings.lengths != 1 else {}
    own |= {SIGN_LEFT: True} if stage == "field" and not settings.tissue else {}
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
    given.pop(SIGN_LEFT, None)
    if factor == 1:
        return call(stages()[stage], method, artifacts, given, monitor)
    given = _scaled(stage, method, given, factor)
    grids = [value.grid for value in artifacts.values() if isinstance(value, Volume)]
    shown = {name: _shown(value, factor) for name, value in artifacts.items()}
    made = call(stages()[stage], method, shown, given, monitor)
    return {name: replace(volume, grid=grids[0]) for name, volume in made.items()}


def enlarged(grid: Grid, factor: float) -> Grid:
    """The grid of a body that is `factor` times as large."""
    return Grid(grid.shape, np.diag([factor] * 3 + [1.0]) @ grid.affine, grid.b0_override)


def _scaled(stage: str, method: str, given: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Parameters of a method, those in mm times the factor."""
    units = {p.name: p.unit for p in stages()[stage].method(method).parameters.values()}
    return {n: scaled(value, factor) if units[n] == "mm" else value for n, value in given.items()}


def _shown(value: Any, factor: float) -> Any:
    if isinstance(value, Inversion):
        return replace(value, parameters=_scaled(value.stage, value.name, value.parameters, factor))
    return replace(value, grid=enlarged(value.grid, factor)) if isinstance(value, Volume) else value
