"""Images whose phase counts: complex files, magnitudes and phases, real and imaginary parts → complex images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.io.bids import sidecar_of
from mensura.io.bids_series import ImageSeries, beside, part_of
from mensura.io.phase_scale import to_radians
from mensura.scan import ScanError


def stacked(paths: Sequence[Path], name: str, takes_phase: bool) -> nifti.Image:
    """Files, a model's name and whether it takes complex images → the images. ScanError for complex ones if not."""
    found = next((path for path in paths if nifti.holds_complex(path)), None)
    if found is not None and not takes_phase:
        raise ScanError(f"{found} holds complex values, but the model {name} takes magnitudes; give those")
    return nifti.stack(list(paths), complex_too=found is not None)


def joined(
    image: nifti.Image, others: Sequence[Path], sidecar: Mapping[str, Any] | None
) -> tuple[nifti.Image, list[str]]:
    """Magnitudes and phases with the sidecar of these, or real and imaginary parts (None) → complex images, remarks."""
    other = nifti.stack(list(others))
    nifti.check_same_grid(other, image)
    count, name = other.data.shape[3], "--imaginary" if sidecar is None else "--phase"
    if count != image.data.shape[3]:
        raise ScanError(f"there are {image.data.shape[3]} images but {count} of {name}; give one for each")
    if sidecar is None:
        return replace(image, data=image.data + 1j * other.data), []
    turned = to_radians(other, sidecar)
    remarks = [f"phase: {turned.rule}", *turned.warnings]
    return replace(image, data=image.data * np.exp(1j * turned.data)), remarks


@dataclass(frozen=True)
class Parts:
    """The images of a series, and those of the part that makes them complex, in one order."""

    images: Sequence[Path]
    others: Sequence[Path]
    dataset: Path

    @property
    def words(self) -> str:
        what = "real and imaginary parts" if self._real else "magnitudes and phases"
        return f"complex images are fitted: {what} are there"

    @property
    def _real(self) -> bool:
        return part_of(self.images[0]) == "real"

    def read(self) -> nifti.Image:
        sidecar = None if self._real else sidecar_of(self.dataset, self.others[0])
        return joined(nifti.stack(list(self.images)), self.others, sidecar)[0]


def parts_of(series: ImageSeries, images: Sequence[Path], remarks: list[str]) -> Parts | None:
    """Images of a series → these with their phase, or real parts with their imaginary ones; None for magnitudes alone.

    ScanError for real parts without imaginary ones; magnitudes of which some have phase are said to be fitted alone.
    """
    real = part_of(images[0]) == "real"
    others = [found for path in images if (found := beside(path, "imag" if real else "phase"))]
    if len(others) == len(images):
        return Parts(images, others, series.dataset)
    if real:
        raise ScanError(
            f"{images[0]}: some imaginary part is missing beside the real ones; add the part-imag files"
        )
    if others:
        remarks.append(f"phase is there of {len(others)} of {len(images)} images: magnitudes are fitted")
    return None
