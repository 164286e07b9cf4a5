"""Maps that a fit of files is given beside the images: B1, T1, the static field, all on the images' grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mensura.io import nifti
from mensura.pipeline.field_choice import STATIC, brought, static
from mensura.qmri.models import MODELS, Model
from mensura.qmri.transmit import relative
from mensura.scan import BoolArray, FloatArray, ScanError

Where = tuple[nifti.Image, BoolArray]


def given_maps(
    name: str, maps: Mapping[str, Path | None], where: Where, remarks: list[str]
) -> dict[str, FloatArray]:
    """A model's name, files (b1, t1_map, field_map), images and mask → the model's arguments, in the mask.

    ScanError for a map that the model does not take, of another grid or unit.
    """
    model, given = MODELS[name], dict[str, FloatArray]()
    b1, t1, field = (maps.get(key) for key in ("b1", "t1_map", "field_map"))
    if b1 is not None:
        if not model.takes_b1:
            raise ScanError(f"the model {name} takes no B1 map; leave out --b1")
        given["b1"] = _b1(b1, where, remarks)
    if t1 is not None:
        if not model.takes_t1:
            raise ScanError(f"{t1}: the model takes no T1 map; leave out --t1-map")
        given["t1_map"] = _t1(t1, where)
    if field is not None:
        given |= _static(field, model, where, remarks)
    elif model.of_field == "field_rises":
        remarks.append(f"no field map was given: {STATIC.without}")
    return given


def _read(path: Path, image: nifti.Image) -> nifti.Image:
    given = nifti.read(path)
    nifti.check_same_grid(given, image)
    return given


def _b1(path: Path, where: Where, remarks: list[str]) -> FloatArray:
    """B1 relative to nominal; NaN where it is unknown."""
    image, mask = where
    values = _read(path, image).data.reshape(image.grid.shape)[mask]
    known, said = relative(np.where(values > 0, values, np.nan), f"{path}, in the mask")
    remarks += said
    return known


def _t1(path: Path, where: Where) -> FloatArray:
    """T1 (s)."""
    image, mask = where
    values = _read(path, image).data.reshape(image.grid.shape)
    typical = float(np.median(values[values > 0])) if np.any(values > 0) else 0.0
    if not 0.005 < typical < 10:
        raise ScanError(f"{path}: T1 has a median of {typical:.3g}; give it in seconds")
    return values[mask]


def _static(path: Path, model: Model, where: Where, remarks: list[str]) -> dict[str, FloatArray]:
    """What the model takes of the static field (Hz), by argument."""
    if not model.of_field:
        raise ScanError(f"{path}: the static field does not enter the model; leave out --field-map")
    given = _read(path, where[0])
    values, said = brought(model.of_field, replace(given, data=static(given)), *where)
    remarks += said
    return {model.of_field: values}
