"""What is known of one image of a DICOM file, and of the series that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["mag", "phase", "real", "imag", "field", "made"]
"""Magnitude, phase, real and imaginary part, a field in Hz, or a picture that the scanner computed of others."""
Vector = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """What all images of a series share. `words` are scanning sequence, variant and options, in capitals; `direction`
    is that of the phase encoding of an echo-planar series (AP, PA …), empty where it is not told."""

    uid: str
    study: str
    patient: str
    number: int
    description: str
    protocol: str
    manufacturer: str
    model: str
    words: frozenset[str]
    sequence: str
    dimensions: str
    began: str
    contrast_agent: bool
    times: int
    syntax: str
    identifiers: Mapping[str, str]
    record: Mapping[str, Any]
    multiframe: bool = False
    direction: str = ""

    @property
    def vendor(self) -> str:
        """siemens, philips, ge, uih, canon, or the first word of the manufacturer."""
        return vendor(self.manufacturer)


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One image: where it lies (mm, patient axes), what it shows (s, degrees) and how its numbers are stored."""

    path: Path
    name: str
    number: int
    instance_uid: str
    series: Series
    kind: Kind
    image_type: tuple[str, ...]
    instance: int
    order: tuple[float, ...]
    echo_time: float | None
    inversion_time: float | None
    repetition_time: float | None
    flip_angle: float | None
    transfer: bool | None
    coil: str
    position: Vector
    orientation: Vector
    spacing: Vector
    shape: tuple[int, int]
    scaling: tuple[float, float]
    scale_slope: float | None
    b_value: float

    @property
    def corrected(self) -> str:
        """ND, DIS2D or DIS3D: how far distortion by nonlinear gradients was corrected; empty if not stated."""
        return next((word for word in ("ND", "DIS2D", "DIS3D") if word in self.image_type), "")

    @property
    def normalised(self) -> bool | None:
        """Whether the receive profile was divided out; None where the vendor does not say."""
        if "NORM" in self.image_type:
            return True
        return False if self.series.vendor == "siemens" and self.corrected else None

    @property
    def mosaic(self) -> bool:
        return "MOSAIC" in self.image_type


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, and why."""

    name: str
    reason: str


VENDORS = {
    "siemens": "siemens",
    "philips": "philips",
    "ge": "ge",
    "uih": "uih",
    "united": "uih",
    "canon": "canon",
    "toshiba": "canon",
    "toshiba_mec": "canon",
    "canon_mec": "canon",
}


def vendor(manufacturer: str) -> str:
    words = manufacturer.lower().split()
    return next((VENDORS[word] for word in words if word in VENDORS), words[0] if words else "")
