"""What the sidecars of a series say of the scanner and the sequence, for the sidecars of its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS = (
    *(
        "MagneticFieldStrength",
        "ImagingFrequency",
        "Manufacturer",
        "ManufacturersModelName",
        "SoftwareVersions",
    ),
    *("DeviceSerialNumber", "StationName", "InstitutionName", "ReceiveCoilName", "ReceiveCoilActiveElements"),
    *(
        "MRTransmitCoilSequence",
        "CoilCombinationMethod",
        "NonlinearGradientCorrection",
        "GradientDistortionCorrection",
        "B0ShimmingTechnique",
    ),
    *("PulseSequenceType", "MRAcquisitionType", "ScanningSequence", "SequenceVariant", "SpoilingType"),
    *("RepetitionTime", "RepetitionTimeExcitation", "EchoTime", "FlipAngle", "PixelBandwidth"),
)
"""Fields of BIDS that are worth passing on."""


def scanner(sidecars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sidecars of a series' images → those of `FIELDS` in which all of them agree."""
    if not sidecars:
        return {}
    first, *others = sidecars
    return {
        key: first[key] for key in FIELDS if key in first and all(o.get(key) == first[key] for o in others)
    }
