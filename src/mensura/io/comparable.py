"""Whether images of one set can be compared: distortion and receive profile corrected alike in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOLD = {
    "GradientDistortionCorrection": "images do not lie on one another; export all with the same distortion correction",
    "NonlinearGradientCorrection": "images do not lie on one another; export all with the same distortion correction",
    "PrescanNormalize": "signals cannot be compared; export all with, or all without normalisation",
}


def differences(sidecars: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The records of images that are used together → what makes them hard to compare, a sentence each."""
    found: dict[str, str] = {}
    for key, consequence in TOLD.items():
        values = {str(record.get(key, "not stated")) for record in sidecars}
        if len(values) > 1 and consequence not in found.values():
            found[f"{key} is mixed ({' and '.join(sorted(values))})"] = consequence
    return tuple(f"{what}: {consequence}" for what, consequence in found.items())
