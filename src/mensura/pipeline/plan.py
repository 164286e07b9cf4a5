"""What is to be done with a series: the model, what the sidecars tell it, and how the images are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.qmri.estimates import Estimates
from mensura.qmri.models import Model
from mensura.scan import BoolArray, FloatArray, ScanError

Taken = tuple[nifti.Image, BoolArray]
"""Images (x, y, z, images) in the model's order, and the voxels to fit."""
NEGATIVE = 0.05
"""Share of negative voxels from which an image is no magnitude; interpolation makes a few."""


@dataclass(frozen=True)
class Plan:
    """A model by its name, the files it is fed, its arguments (s, rad), and what is to be said before it runs.

    `read` reads the images only when maps are made; `estimate` is what is done to them, the model's function on the
    voxels of the mask unless it needs the `whole` image. `field` makes the field (Hz, NaN outside the mask) of the
    phase of their own echoes, where that is there.
    """

    name: str
    model: Model
    sources: Sequence[Path]
    read: Callable[[], Taken]
    given: Mapping[str, Any] = default(default_factory=dict)
    positional: Sequence[Any] = ()
    remarks: Sequence[str] = ()
    whole: Callable[[nifti.Image, BoolArray], Estimates] | None = None
    field: Callable[[BoolArray], nifti.Image] | None = None

    def estimate(self, taken: Taken, more: Mapping[str, Any]) -> Estimates:
        """Images and mask, and what else is given (the transmit field) → the maps."""
        image, mask = taken
        if self.whole is not None:
            return self.whole(image, mask)
        signals = image.data[mask]
        if not self.model.signed:
            _refuse_negative(self.sources, signals)
        made: Estimates = self.model.method.function(signals, *self.positional, **{**self.given, **more})
        return made


def _refuse_negative(paths: Sequence[Path], signals: FloatArray) -> None:
    """ScanError where one of the images (n, images), which should be magnitudes, has negative values."""
    shares = np.mean(signals < 0, axis=0)
    if not np.max(shares, initial=0) > NEGATIVE:
        return
    path = paths[int(np.argmax(shares)) if len(paths) == len(shares) else 0]
    raise ScanError(
        f"{path}: {np.max(shares):.0%} of its voxels are negative, but the model takes magnitudes; give those"
    )


def told(path: Path, record: Mapping[str, Any], *keys: str) -> Any:
    """What the sidecar of an image says under the first of the keys that it has. ScanError if it has none."""
    for key in keys:
        if record.get(key) is not None:
            return record[key]
    raise ScanError(f"{path}: its sidecar has no {keys[0]}; add it to the JSON file")


def si(key: str, value: Any) -> float:
    """A sidecar's number in s or rad."""
    return float(np.deg2rad(value)) if key.endswith(("Angle", "PhaseIncrement")) else float(value)
