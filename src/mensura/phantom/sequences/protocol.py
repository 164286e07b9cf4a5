"""What a sequence is: its signals, its timing, and how its images are filed. And the parts that many share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mensura.methods import Tunable
from mensura.phantom.materials import Material
from mensura.qmri import equations
from mensura.scan import ScanError

Table = NDArray[Any]
"""Complex signals (volume, label, texture, B1)."""
EchoTimes = Annotated[Sequence[float], Tunable("s", "echo times")]
EchoTime = Annotated[float, Tunable("s", "echo time")]
RepetitionTime = Annotated[float, Tunable("s", "time between excitations")]
RepetitionTimes = Annotated[Sequence[float], Tunable("s", "time between excitations, one of each scan")]
FlipAngle = Annotated[float, Tunable("deg", "nominal flip angle")]
FlipAngles = Annotated[Sequence[float], Tunable("deg", "nominal flip angles, one of each scan")]
PixelBandwidth = Annotated[
    float,
    Tunable("Hz", "bandwidth of a voxel, by which fat is displaced along the first axis; 0: not at all"),
]
EFFICIENCY = 0.96
"""Share of the magnetisation that an adiabatic inversion turns over."""


@dataclass(frozen=True, eq=False)
class Image:
    """How one volume is filed: the entities of its name, its own sidecar fields, and (for field maps) the
    suffix of each of its parts."""

    entities: Mapping[str, str] = field(default_factory=dict)
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    suffixes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Protocol:
    """A sequence with its settings.

    `signal` takes a material to complex signals (volume, label, texture, B1) without the field's phase, which
    grows over `phase_times` (s; 0 for a spin echo); volumes of the same number in `shots` are acquired
    together. `parts` of the images are written to BIDS `datatype`, `suffix`; a `series` goes into one 4D file.
    """

    datatype: str
    suffix: str
    images: Sequence[Image]
    sidecar: Mapping[str, Any]
    signal: Callable[[Material], Table]
    phase_times: Sequence[float]
    shots: Sequence[int]
    parts: Sequence[str] = ("mag",)
    pixel_bandwidth: float = 0.0
    bipolar: bool = False
    series: bool = False


def gradient_echo(m: Material, flip_angle: float, repetition_time: float) -> Table:
    """A material's steady-state spoiled gradient echo at TE = 0 (flip angle in degrees)."""
    return np.asarray(
        equations.spoiled_gradient_echo(
            np.radians(flip_angle), m.density, m.t1, repetition_time=repetition_time, b1=m.b1
        )
    )


def decay(m: Material, echo_time: float) -> Table:
    """What is left of a material's gradient echo after a time (s): R2*, and for fat the turning of its peaks."""
    left = np.exp(-echo_time * m.r2star)
    if m.is_fat:
        return np.asarray(left * equations.fat_modulation(np.asarray(echo_time), m.field_strength))
    return np.asarray(left)


def decayed(m: Material, echo_times: Sequence[float], signal: Table) -> Table:
    """A signal (label, texture, B1) at TE = 0 → the same at each echo time (volume, label, texture, B1)."""
    return np.stack([signal * decay(m, t) for t in echo_times])


def described(name: str, family: str, dimensions: str) -> dict[str, Any]:
    """The sidecar fields that name a sequence: in words, by its DICOM family, 2D or 3D."""
    return {"PulseSequenceType": name, "ScanningSequence": family, "MRAcquisitionType": dimensions}


def spoiled(repetition_time: float, flip_angle: float | None = None) -> dict[str, Any]:
    """The sidecar fields of a spoiled 3D gradient echo."""
    return {
        **described("spoiled gradient echo", "GR", "3D"),
        "SequenceVariant": "SP",
        "SpoilingState": True,
        "SpoilingType": "COMBINED",
        "RepetitionTime": repetition_time,
        "RepetitionTimeExcitation": repetition_time,
        **({} if flip_angle is None else {"FlipAngle": flip_angle}),
    }


def echo_image(n: int, echo_time: float) -> Image:
    """How echo `n` (from 0) is filed."""
    return Image({"echo": str(n + 1)}, {"EchoNumber": n + 1, "EchoTime": echo_time})


def named(protocol: Protocol, entities: Mapping[str, str]) -> Protocol:
    """The protocol with further entities in the names of all its images."""
    images = [replace(image, entities={**entities, **image.entities}) for image in protocol.images]
    return replace(protocol, images=images)


def pair(values: Sequence[float], what: str) -> tuple[float, float]:
    """Two numbers out of a setting; ScanError for more or fewer."""
    if len(values) != 2:
        raise ScanError(f"two {what} are needed, not {len(values)}; give exactly two numbers")
    return float(values[0]), float(values[1])


def check_times(times: Sequence[float], repetition_time: float, what: str = "echo time") -> None:
    """ScanError for times that are not positive and rising, or do not fit into the repetition time (all s)."""
    if not times or not min(times) > 0 or any(b <= a for a, b in pairwise(times)):
        raise ScanError(f"the {what}s {', '.join(f'{t:g}' for t in times)} s must be positive and increase")
    if not max(times) < repetition_time <= 30:
        raise ScanError(
            f"the repetition time {repetition_time:g} s must be longer than the last {what} ({max(times):g} s), "
            "and at most 30 s"
        )
