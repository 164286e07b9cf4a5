"""Arrays → masks: threshold, phase quality, brain extraction, their robust combination, and morphology.

Every function is here by its name (`mensura.mask.robust(magnitude, phase, grid)`), loaded when asked for.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from mensura.mask.methods import MASKS

if TYPE_CHECKING:
    from mensura.mask.combination import robust
    from mensura.mask.extraction import brain
    from mensura.mask.intensity import combine, threshold
    from mensura.mask.morphology import (
        closing,
        coverage,
        dilate,
        erode,
        fill_holes,
        largest_component,
        opening,
    )
    from mensura.mask.quality import coherence, phase_quality

_HOMES = {
    "extraction": ("brain",),
    "intensity": ("combine", "threshold"),
    "morphology": (
        "closing",
        "coverage",
        "dilate",
        "erode",
        "fill_holes",
        "largest_component",
        "opening",
    ),
    "quality": ("coherence", "phase_quality"),
    "combination": ("robust",),
}
__all__ = [
    "MASKS",
    "brain",
    "closing",
    "coherence",
    "combine",
    "coverage",
    "dilate",
    "erode",
    "fill_holes",
    "largest_component",
    "opening",
    "phase_quality",
    "robust",
    "threshold",
]


def __getattr__(name: str) -> _Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_import_module(f"mensura.mask.{home}"), name)
    raise AttributeError(f"mensura.mask has no {name!r}")
