"""The table of the mask methods."""

from __future__ import annotations

from collections.abc import Mapping

from mensura.methods import Method, Stage

MASKS = Stage(
    "find the voxels to work in",
    {"magnitude": "arbitrary", "phase": "rad"},
    {"mask": "1"},
    {
        "robust": Method("mensura.mask.combination:robust", "10.1002/hbm.10062"),
        "brain": Method("mensura.mask.extraction:brain", "10.1002/hbm.10062"),
        "phase_quality": Method("mensura.mask.quality:phase_quality", "10.1002/mrm.28563"),
        "threshold": Method("mensura.mask.intensity:threshold", "10.1109/TSMC.1978.4310039"),
    },
)
"""The mask methods, each f(magnitude, phase, grid, *, tunables) → mask; the first is the default."""

STAGES: Mapping[str, Stage] = {"mask": MASKS}
