"""Colour scales: 256 colours each, two of which say "outside" and "no value"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTSIDE, FAILED, FIRST, LAST = 0, 1, 2, 255
FAILED_COLOUR = (224, 64, 251)

Colour = tuple[int, int, int]

SCALES: dict[str, tuple[Colour, tuple[Colour, ...]]] = {
    # name: (colour outside the mask, colours from low to high)
    "grey": ((0, 0, 0), ((0, 0, 0), (255, 255, 255))),
    "heat": (
        (0, 0, 0),
        (
            (4, 6, 14),
            (52, 22, 78),
            (121, 33, 104),
            (187, 56, 84),
            (232, 101, 49),
            (250, 169, 44),
            (252, 246, 190),
        ),
    ),
    "water": (
        (0, 0, 0),
        (
            (4, 6, 14),
            (14, 40, 82),
            (22, 84, 120),
            (36, 132, 142),
            (88, 180, 148),
            (168, 217, 156),
            (244, 246, 210),
        ),
    ),
    "diverging": (
        (255, 255, 255),
        (
            (11, 48, 96),
            (38, 105, 172),
            (117, 173, 211),
            (226, 231, 235),
            (238, 160, 126),
            (199, 66, 58),
            (99, 6, 30),
        ),
    ),
}


CODED = (
    *(
        (172, 184, 196),
        (60, 64, 72),
        (217, 95, 14),
        (117, 107, 177),
        (222, 45, 38),
        (49, 130, 189),
        (230, 171, 2),
    ),
    *((102, 166, 30), (166, 86, 40), (247, 129, 191)),
)
"""Colours of the codes 0, 1, 2 … of a status map."""


@dataclass(frozen=True)
class Scale:
    """A colour scale over a physical range: values from `low` to `high` get the colours FIRST to LAST."""

    name: str
    low: float
    high: float

    def indices(self, values: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Values → palette indices; values beyond the range take the end colours."""
        steps = (values - np.float32(self.low)) * np.float32((LAST - FIRST) / (self.high - self.low))
        known = np.nan_to_num(steps, nan=0.0, posinf=LAST, neginf=0.0)
        found: NDArray[np.uint8] = (np.clip(known, 0, LAST - FIRST) + (FIRST + 0.5)).astype(np.uint8)
        found[np.isnan(values)] = FAILED
        found[~inside] = OUTSIDE
        return found

    @property
    def stops(self) -> tuple[str, ...]:
        """The colours from low to high, as CSS writes them, evenly spaced."""
        return tuple(css(colour) for colour in SCALES[self.name][1])

    @property
    def background(self) -> str:
        """The colour outside the mask, as CSS writes it."""
        return css(SCALES[self.name][0] if self.name in SCALES else (0, 0, 0))


STATUS = Scale("status", 0, LAST - FIRST)
"""Codes as they are."""


def css(colour: Colour) -> str:
    """A colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


@cache
def palette(name: str) -> NDArray[np.uint8]:
    """The name of a scale → its 256 colours, shape (256, 3)."""
    if name == "status":
        rest = [CODED[-1]] * (LAST - FIRST + 1 - len(CODED))
        return np.array([(0, 0, 0), FAILED_COLOUR, *CODED, *rest], dtype=np.uint8)
    outside, anchors = SCALES[name]
    position = np.linspace(0, len(anchors) - 1, LAST - FIRST + 1)
    channels = [np.interp(position, range(len(anchors)), [c[i] for c in anchors]) for i in range(3)]
    colours = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
    return np.vstack([np.array([outside, FAILED_COLOUR], dtype=np.uint8), colours])
