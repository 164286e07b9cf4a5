"""A map as it goes to DICOM, and what all its images say: identifiers, where it came from, how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

import mensura
from mensura.io.dicom import quantities
from mensura.io.dicom.quantities import Concept
from mensura.io.dicom.source import MAKER, Source
from mensura.scan import FloatArray, ScanError

PRIVATE_GROUP = 0x0099
PRIVATE_CREATOR = "MENSURA"
"""Where the whole record of a map lies, as JSON text, in element 01."""
COPIED = (
    *("BodyPartExamined", "PatientPosition", "Laterality", "ProtocolName", "PositionReferenceIndicator"),
    *("FrameOfReferenceUID", "SpecificCharacterSet", "TimezoneOffsetFromUTC"),
)


@dataclass(frozen=True, eq=False)
class Derived:
    """A map: its `name` (a BIDS suffix, with desc before it), values, record (the sidecar) and content's digest.

    `deviation` tells that it is the standard deviation of the quantity.
    """

    name: str
    values: FloatArray
    record: Mapping[str, Any]
    digest: str
    made: datetime
    deviation: bool = False

    @property
    def suffix(self) -> str:
        return self.name.rpartition("_")[2]

    @property
    def quantity(self) -> Concept:
        return quantities.QUANTITIES[quantities.key_of(self.name)]

    @property
    def unit(self) -> Concept:
        return quantities.unit_of(self.name, str(self.record.get("Units", "")))

    @property
    def label(self) -> str:
        """The description of the sidecar, or else the name."""
        return str(self.record.get("Description") or self.name)

    @property
    def ours(self) -> Mapping[str, Any]:
        block = self.record.get("Mensura")
        return block if isinstance(block, Mapping) else {}

    @property
    def method(self) -> str:
        """The model or method that made it, or "" where the record does not tell."""
        return str(self.ours.get("Model") or self.ours.get("Method") or "")

    @property
    def version(self) -> str:
        """Of the program that made the map."""
        return str(self.ours.get("Version") or self.ours.get("Versions", {}).get("mensura") or "unknown")

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value; ScanError for a map without any."""
        finite = self.values[np.isfinite(self.values)]
        if not finite.size:
            raise ScanError(f"{self.name} has no value at all; nothing of it can be written")
        return float(finite.min()), float(finite.max())

    @property
    def window(self) -> tuple[float, float]:
        """Centre and width that show nearly all of the map; below 1 for some, which only LINEAR_EXACT allows."""
        finite = self.values[np.isfinite(self.values) & (self.values != 0)]
        low, high = np.quantile(finite, [0.01, 0.99]).tolist() if finite.size else (0.0, 1.0)
        return (low + high) / 2, max(high - low, 1e-6)


def uid(derived: Derived, source: Source, *parts: str) -> str:
    """An identifier that is the same for the same map, record and source images, and for nothing else."""
    from pydicom.uid import generate_uid

    about = json.dumps(
        [mensura.__version__, derived.name, derived.digest, dict(derived.record)], sort_keys=True
    )
    origin = [str(header.SOPInstanceUID) for header in source.headers]
    return str(generate_uid(entropy_srcs=[MAKER, about, *origin, *parts]))


def describe(image: Any, derived: Derived, source: Source) -> None:
    """Writes what all images of a map share, beside patient and study, into one."""
    head = source.header
    for key in COPIED:
        if head.get(key):
            image[key] = head[key]
    if "BodyPartExamined" not in image and "Laterality" not in image:
        image.Laterality = ""
    image.SeriesDescription = f"{derived.name} ({derived.unit.meaning}) {MAKER}"[:64]
    date, time = derived.made.strftime("%Y%m%d"), derived.made.strftime("%H%M%S")
    image.ContentDate = image.SeriesDate = image.InstanceCreationDate = date
    image.ContentTime = image.SeriesTime = image.InstanceCreationTime = time
    for item in image.ContributingEquipmentSequence:
        if "ContributionDateTime" in item:
            item.ContributionDateTime = date + time
    image.BurnedInAnnotation = "NO"
    image.ImageComments = comments(derived)[:10000]
    block = image.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "UT", json.dumps(derived.record, ensure_ascii=True))


def comments(derived: Derived) -> str:
    """How a map was made, for people: algorithm, reference, parameters, calibration, sources, warnings."""
    ours = derived.ours
    told = {
        "Map": f"{derived.label}, {derived.unit.meaning}",
        "Software": f"{MAKER} {derived.version}",
        "Algorithm": derived.record.get("EstimationAlgorithm"),
        "Reference": derived.record.get("EstimationReference"),
        **{key: ours.get(key) for key in ("Method", "Model", "Parameters", "Calibration", "Warnings")},
        "Distortion correction": derived.record.get("Acquisition", {}).get("NonlinearGradientCorrection"),
        "Sources": derived.record.get("Sources"),
    }
    return ascii_text(
        "\n".join(f"{key}: {_words(value)}" for key, value in told.items() if value not in (None, ""))
    )


def ascii_text(text: str) -> str:
    """Text that any character set can hold: Greek is spelled out, what is left over becomes a question mark."""
    spelled = {
        "χ": "chi",
        "Δ": "Delta",
        "α": "alpha",
        "θ": "theta",
        "→": "->",
        "≥": ">=",
        "×": "x",
        "–": "-",
        "⁻": "-",
    }
    for sign, words in spelled.items():
        text = text.replace(sign, words)
    return text.encode("ascii", "replace").decode()


def sources_of(headers: Sequence[Any]) -> list[Any]:
    """Headers → the items that refer to them as sources."""
    from pydicom.dataset import Dataset

    items = []
    for header in headers:
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        item.PurposeOfReferenceCodeSequence = [coded(quantities.SOURCE_IMAGE)]
        items.append(item)
    return items


def mapping(derived: Derived, values: tuple[float, float], slope: float = 1.0) -> Any:
    """Stored → real-world values, with what they are, how measured, and whether it is their standard deviation.

    `values` are the first and last stored value that is mapped: integers or floating-point numbers.
    """
    from highdicom.pm import RealWorldValueMapping

    found = RealWorldValueMapping(
        lut_label=derived.name.replace("desc-", "").replace("_", " ")[:16],
        lut_explanation=ascii_text(derived.label)[:64],
        unit=coded(derived.unit),
        value_range=values,
        slope=slope,
        intercept=0.0,
        quantity_definition=coded(derived.quantity),
    )
    more = [(quantities.DERIVATION, quantities.STANDARD_DEVIATION)] if derived.deviation else []
    more += [(quantities.MEASUREMENT_METHOD, quantities.method_of(derived.method))] if derived.method else []
    for name, value in more:
        found.QuantityDefinitionSequence.append(_item(name, value))
    return found


def coded(concept: Concept) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.value, concept.scheme, concept.meaning)


def _item(name: Concept, value: Concept) -> Any:
    from highdicom.sr import CodeContentItem

    return CodeContentItem(name=coded(name), value=coded(value))


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
