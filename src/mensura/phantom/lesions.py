"""Lesions that can be asked for: lumpy balls, some inside others, drawn as thick, short tubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mensura.phantom.labels import Label
from mensura.phantom.shapes import Triple
from mensura.phantom.tubes import Path, Vessel
from mensura.scan import ScanError

WHITE = frozenset({Label.WHITE_MATTER, Label.CORPUS_CALLOSUM, Label.PLAQUE_RIM})
"""What a plaque grows over; the vein that it surrounds stays."""
SOLID = frozenset(
    {Label.CORTEX, Label.WHITE_MATTER, Label.CSF, Label.VEIN, Label.OEDEMA, Label.TUMOUR, Label.TUMOUR_CORE}
)


@dataclass(frozen=True)
class Lump:
    """A ball with bulges: centre and radius (mm), how far it is drawn out along a direction (mm).

    `layers` are what it is made of, from outside: label and radius as a share of the lump's. It grows over
    the labels in `over` (None: any part of the brain).
    """

    centre: Triple
    radius: float
    layers: tuple[tuple[Label, float], ...]
    stretch: Triple = (0.0, 0.0, 0.0)
    over: frozenset[int] | None = None


_PLAQUE = ((Label.MS_PLAQUE, 1.0),)
_RIMMED = ((Label.PLAQUE_RIM, 1.0), (Label.MS_PLAQUE, 0.68))
_TUMOUR = ((Label.OEDEMA, 1.75), (Label.TUMOUR, 1.0), (Label.TUMOUR_CORE, 0.62))
LESIONS: dict[str, tuple[Lump, ...]] = {
    "calcification": (Lump((24.0, -34.0, 26.0), 3.2, ((Label.CALCIFICATION, 1.0),)),),
    "haemorrhage": (Lump((-27.0, -44.0, 24.0), 5.0, ((Label.HAEMORRHAGE, 1.0),)),),
    "plaque": (
        Lump((21.0, -8.0, 28.0), 3.6, _PLAQUE, (3.5, 0.0, 3.5), WHITE),
        Lump((-22.0, -24.0, 27.0), 4.6, _RIMMED, (-3.0, 0.0, 3.0), WHITE),
        Lump((-19.0, 12.0, 25.0), 3.2, _PLAQUE, (-3.0, 1.0, 2.5), WHITE),
        Lump((30.0, -46.0, 20.0), 3.2, _RIMMED, (2.0, -2.0, 1.0), WHITE),
        Lump((-38.0, -30.0, 30.0), 2.6, _PLAQUE, (0.0, 2.0, 0.0), WHITE),
    ),
    "tumour": (Lump((30.0, 26.0, 30.0), 11.0, _TUMOUR, (3.0, 4.0, 2.0), SOLID),),
}
"""Name of a lesion → its lumps."""


def draw_lesions(random: np.random.Generator, names: Sequence[str]) -> list[Vessel]:
    """Names out of `LESIONS` → their lumps, a shape of its own for each; ScanError for an unknown name."""
    unknown = sorted(set(names) - set(LESIONS))
    if unknown:
        raise ScanError(f"there is no lesion {unknown[0]!r}; choose from {', '.join(LESIONS)}")
    own = dict(zip(LESIONS, random.spawn(len(LESIONS)), strict=True))
    return [layer for name in LESIONS if name in names for layer in _layers(LESIONS[name], own[name])]


def _layers(lumps: Sequence[Lump], random: np.random.Generator) -> list[Vessel]:
    """Concentric tubes round a random path through each lump: the bulges of all its layers agree."""
    drawn = []
    for lump in lumps:
        bulges = 0.45 * lump.radius * random.uniform(-1, 1, (6, 3))
        along = np.linspace(-1, 1, 6)[:, None] * np.array(lump.stretch)
        path = np.asarray(np.array(lump.centre) + bulges + along, np.float32)
        drawn += [_layer(lump, path, label, share) for label, share in lump.layers]
    return drawn


def _layer(lump: Lump, path: Path, label: Label, share: float) -> Vessel:
    over = frozenset({Label.WHITE_MATTER, Label.CORPUS_CALLOSUM}) if label is Label.OEDEMA else lump.over
    return Vessel(path, (share - 0.25) * lump.radius, label, over)
