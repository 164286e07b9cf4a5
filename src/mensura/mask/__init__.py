"""Arrays → masks: threshold, phase quality, brain extraction, their robust combination, and morphology.

Every function is here by its name (`mensura.mask.robust(magnitude, phase, grid)`), loaded when asked for.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

_HOMES = {
    "combination": ("robust",),
    "extraction": ("brain",),
    "intensity": ("combine", "threshold"),
    "methods": ("MASKS",),
    "morphology": ("closing", "dilate", "erode", "fill_holes", "largest_component", "opening"),
    "quality": ("coherence", "phase_quality"),
}


def __getattr__(name: str) -> _Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_import_module(f"mensura.mask.{home}"), name)
    raise AttributeError(f"mensura.mask has no {name!r}")


def __dir__() -> list[str]:
    return sorted(name for names in _HOMES.values() for name in names)
