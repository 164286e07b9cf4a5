"""Presets: what to set for data that are not a human brain in 3D, in one table; flags and TOML go first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PRESET = "preset"
"""The key, beside those of the stages, that names a preset."""


@dataclass(frozen=True)
class Preset:
    """What it is for, why it sets what it sets, and its settings by the keys of flags and TOML.

    A parameter takes effect where its method does the stage, by preset, default or choice. `lengths` is the size of
    the body, a human head being 1: it multiplies every default in mm, and methods see the body at human size.
    Without `tissue` nothing is known of the body's own field, and the sign of the phase is left alone. The `note` is
    said of every map made with the preset.
    """

    summary: str
    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    lengths: float = 1.0
    tissue: bool = True
    note: str = ""


SPAN = "background+dipole"
SMALL_BALLS = {SPAN: "smv_medi", f"{SPAN}.smv_medi.radii": (6.0, 3.0)}

PRESETS: Mapping[str, Preset] = {
    "brain": Preset(
        "human brain, 3D, several echoes: the defaults",
        "The defaults were chosen over field strengths, noise, resolutions, angles and lesions.",
    ),
    "fast": Preset(
        "a first look at a human brain",
        "Half the iterations of the one-step inversion; V-SHARP with TKD or Tikhonov saves little more time and "
        "costs far more accuracy.",
        {f"{SPAN}.tfi.max_iter": 20},
    ),
    "body": Preset(
        "abdomen and other soft tissue",
        "There is no brain to extract, so everything whose phase is coherent is kept; a mask of the organ (--mask) is "
        "far better. Fat shifts the field where its share varies, and is not fitted. The background is exactly "
        "harmonic, which bears strong sources at the mask's surface best.",
        {"mask": "phase_quality", "mask.phase_quality.quality": 0.7, SPAN: "tgv_qsm"},
        note="fat shifts the field and is not fitted: where its share varies, χ is biased",
    ),
    "phantom": Preset(
        "vials in a container",
        "There is no brain to extract and no tissue to refer to: all that gives signal is mapped. Strong vials drown "
        "the field of the whole, so the sign of the phase is left alone. The background is exactly harmonic.",
        {"mask": "threshold", SPAN: "tgv_qsm"},
        tissue=False,
    ),
    "rodent": Preset(
        "mouse and rat, voxels of 0.05 to 0.3 mm",
        "A rat's brain is a ninth and a mouse's a fourteenth of ours in length, so every length is a tenth; brain "
        "extraction is for human heads, so all that is bright is kept, and a mask of the brain (--mask) is better.",
        {"mask": "threshold"},
        lengths=0.1,
    ),
    "single-echo": Preset(
        "one echo, whose phase offset cannot be told from the field",
        "The coils' offset stays in the field; it is smooth but not harmonic, so that only small balls take it out.",
        SMALL_BALLS,
    ),
    "epi": Preset(
        "EPI and 2D multi-slice with one long echo, also over time (--time-series)",
        "As for a single echo; signal has vanished near air, so the phase must be more coherent to be kept.",
        SMALL_BALLS | {"mask.robust.quality": 0.6},
    ),
}
"""Every preset; docs/presets.md has what each was measured with."""
