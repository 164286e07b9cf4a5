"""mensura: scans in, physical maps out, each with its uncertainty and the record of how it came about.

`mensura.qsm(phase, magnitude, acquisition)` does the whole job on volumes. Every method of the tables is here
as a flat function on arrays (`mensura.romeo`, `mensura.vsharp`, `mensura.tv` …); `dir(mensura)` lists them.
The rooms (`mensura.io`, `mensura.qsm`, `mensura.phantom` …) are imported when first asked for.
"""

import os as _os
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _ModuleType
from typing import Any as _Any

import mensura.qsm as _qsm_room

__version__ = _version("mensura")

# Before numba starts its threads: idle ones must sleep, not spin (docs/decisions/sleeping-threads.md).
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_RECORDS = ("GradientEcho", "Grid", "ScanError", "Volume")
_ROOMS = ("inverse", "io", "mask", "phantom", "pipeline", "qmri", "report", "scan", "score", "warp")


class _QsmRoom(_ModuleType):
    """The room `mensura.qsm`, which can also be called: the whole job, `mensura.pipeline.memory.qsm`."""

    def __call__(self, *args: _Any, **kwargs: _Any) -> _Any:
        return _import_module("mensura.pipeline.memory").qsm(*args, **kwargs)


_qsm_room.__class__ = _QsmRoom


def __getattr__(name: str) -> _Any:
    if name in _RECORDS:
        return getattr(_import_module("mensura.scan"), name)
    if name in _ROOMS:
        return _import_module(f"mensura.{name}")
    if not name.startswith("_") and name in (methods := _methods()):
        return methods[name].function
    raise AttributeError(f"mensura has no {name!r}; dir(mensura) lists what it has")


def __dir__() -> list[str]:
    return sorted({"__version__", "qsm", *_RECORDS, *_ROOMS, *_methods()})


def _methods() -> dict[str, _Any]:
    """Every method of every table by the name of its function."""
    stages = _import_module("mensura.pipeline.config").stages()
    return {m.path.split(":")[1]: m for stage in stages.values() for m in stage.methods.values()}
