"""The whole job on volumes, in memory: what `mensura.qsm(...)` calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.header import Header
from mensura.io.scans import Scan
from mensura.pipeline.config import settings as read_settings
from mensura.pipeline.prepare import prepare
from mensura.pipeline.qsm import maps
from mensura.pipeline.step import Artifact, Ledger, Silent, Watcher
from mensura.scan import GradientEcho, Grid, ScanError, Volume

UNITS = {"phase": "rad", "magnitude": "arbitrary", "mask": "1", "total_field": "ppm", "local_field": "ppm"}
NO_HEADER = Header(0, 0, None, None, "mm", "sec", 1.0, 0.0, "float32")


def qsm(
    phase: Volume | Scan | None = None,
    magnitude: Volume | None = None,
    acquisition: GradientEcho | None = None,
    *,
    mask: Volume | None = None,
    total_field: Volume | None = None,
    local_field: Volume | None = None,
    reference_region: Volume | None = None,
    settings: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> dict[str, Volume]:
    """Phase (rad) and magnitude, echoes last, and how they were acquired → maps by name, on the same grid.

    The maps: `chi` (ppm), `chi_std`, `mask` and, as far as the input allows, `total_field`, `field_std`,
    `local_field` (ppm), `residual`, `unwrapped_phase` (rad), `r2star` (1/s), `r2star_std`, `t2star` (s).
    Instead of phase and magnitude, a scan as `mensura.io` reads it will do. Enter later in the chain with a
    `total_field` or `local_field` (ppm); bring a `mask`. `settings` choose methods and parameters by the keys
    of the command line: {"dipole": "tv", "dipole.tv.weight": 2e-4}. ScanError for input that cannot be used.
    """
    given = {"phase": None if isinstance(phase, Scan) else phase, "magnitude": magnitude, "mask": mask}
    given |= {"total_field": total_field, "local_field": local_field}
    volumes = {name: volume for name, volume in given.items() if volume is not None}
    if isinstance(phase, Scan):
        scan = replace(phase, **_arrays(volumes, phase.grid))
    elif not volumes.keys() & {"phase", "total_field", "local_field"}:
        raise ScanError("there is no phase; give phase, a total field or a local field")
    elif phase is not None and acquisition is None:
        raise ScanError("the acquisition is missing; give a GradientEcho with echo times and field strength")
    else:
        scan = _scan(volumes, acquisition)
    flat = dict(settings or {}) | ({"reference": "region"} if reference_region else {})
    ledger = Ledger(watcher=watcher or Silent())
    region = None if reference_region is None else Artifact("", lambda: reference_region)
    chosen = read_settings(flat).suited(scan.acquisition)
    found = maps(prepare(scan), chosen, ledger, roots={}, reference_region=region)
    return _whole(found)


def _whole(found: dict[str, Artifact]) -> dict[str, Volume]:
    """The volumes among the artifacts, on the whole grid."""
    frame = found.pop("frame").value()
    values = {name: artifact.value() for name, artifact in found.items()}
    return {name: frame.fill(value) for name, value in values.items() if isinstance(value, Volume)}


def _scan(volumes: Mapping[str, Volume], acquisition: GradientEcho | None) -> Scan:
    """Volumes as if they had been read."""
    grid = next(iter(volumes.values())).grid
    strength = acquisition.field_strength if acquisition else None
    return Scan(grid, NO_HEADER, acquisition, strength, phase_rule="radians", **_arrays(volumes, grid))


def _arrays(volumes: Mapping[str, Volume], grid: Grid) -> dict[str, Any]:
    """Their arrays, once their units and grids have been checked."""
    for name, volume in volumes.items():
        if volume.unit != UNITS[name]:
            raise ScanError(
                f"the {name} is in {volume.unit!r} but must be in {UNITS[name]!r}; convert it first"
            )
        if not volume.grid.matches(grid):
            raise ScanError(f"the {name} lies on another grid than the rest; resample it")
    return {name: _array(name, volume) for name, volume in volumes.items()}


def _array(name: str, volume: Volume) -> NDArray[Any]:
    """The array as the chain wants it: echoes last for phase and magnitude, bool for the mask."""
    if name == "mask":
        return np.asarray(volume.data != 0)
    data = np.ascontiguousarray(volume.data, dtype=np.float32)
    return data[..., None] if name in ("phase", "magnitude") and data.ndim == 3 else data
