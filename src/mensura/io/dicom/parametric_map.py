"""A map → a DICOM Parametric Map: the values themselves in floating point, with their quantity and unit as codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mensura.io.dicom.derived import Derived, ascii_text, describe, mapping, uid
from mensura.io.dicom.source import MAKER, Source


def parametric_map(derived: Derived, source: Source, number: int) -> Any:
    """A map and its source → the dataset of a multi-frame image; NaN stays NaN. `number` is that of its series.

    DICOM PS3.3 A.75.
    """
    import highdicom
    from highdicom.pm import ParametricMap

    frames = source.layout.frames
    centre, width = derived.window
    places = [highdicom.PlanePositionSequence("PATIENT", position) for position in frames.positions]
    first, further = _sources(source)
    image = ParametricMap(
        source_images=first,
        further_source_images=further,
        pixel_array=source.layout.cut(derived.values.astype(np.float32)),
        series_instance_uid=uid(derived, source, "pm"),
        series_number=number,
        sop_instance_uid=uid(derived, source, "pm", "1"),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=derived.version,
        device_serial_number=derived.version,
        contains_recognizable_visual_features=not derived.record.get("SkullStripped", False),
        real_world_value_mappings=[mapping(derived, derived.range)],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(centre, width, voi_lut_function="LINEAR_EXACT")
        ],
        pixel_measures=highdicom.PixelMeasuresSequence(frames.spacing, frames.thickness, frames.gap),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", frames.orientation),
        plane_positions=places,
        content_label=derived.suffix.upper()[:16],
        content_description=ascii_text(derived.label)[:64],
    )
    describe(image, derived, source)
    for item in (*image.DimensionOrganizationSequence, *image.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid(derived, source, "pm", "dimension")
    return image


def _sources(source: Source) -> tuple[list[Any], list[Any] | None]:
    """The images of one series, which frames are matched with, and all others; of multi-frame images one alone."""
    own, others = list(source.series[0].headers), [h for series in source.series[1:] for h in series.headers]
    if "NumberOfFrames" in own[0]:
        own, others = [_with_shared_geometry(own[0])], own[1:] + others
    return own, others or None


def _with_shared_geometry(header: Any) -> Any:
    """A multi-frame header whose orientation and spacing, the same in all frames, stand where all share them."""
    from copy import deepcopy

    header = deepcopy(header)
    if "SharedFunctionalGroupsSequence" not in header:
        from pydicom.dataset import Dataset

        header.SharedFunctionalGroupsSequence = [Dataset()]
    shared, frame = header.SharedFunctionalGroupsSequence[0], header.PerFrameFunctionalGroupsSequence[0]
    for key in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if key not in shared:
            shared[key] = frame[key]
    return header
