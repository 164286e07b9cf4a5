"""How every series of a BIDS dataset is fitted: which model takes it, and what its sidecars tell that model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.io.bids_series import ImageSeries, role_of
from mensura.io.files import read_json
from mensura.pipeline import diffusion_series, field_maps, mp2rage_series, recovery_series
from mensura.pipeline.complex_images import Parts, parts_of
from mensura.pipeline.plan import Plan, Taken, si, told
from mensura.pipeline.recovery_series import Readouts, readouts
from mensura.pipeline.relaxometry import bright, entry, required
from mensura.qmri.models import Model
from mensura.scan import ScanError

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """How a series is fitted: the model; the sidecar's field that varies (degrees become rad); other parameters'
    fields, needed or not (with a ?); the fields that put the images in the model's order, and how many they are.

    Where several fields are joined by |, the first that is there counts. `fixed` are arguments that no sidecar tells;
    `role` is what the fitted image is called where the other shows the anatomy; `plan` is for series that all this
    does not describe.
    """

    model: str
    varies: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    images: int = 0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    role: str = ""
    plan: Callable[[ImageSeries], Plan] | None = None


EXCITATION = "RepetitionTimeExcitation"
PREPARATION = "RepetitionTimePreparation"
EITHER = f"{EXCITATION}|RepetitionTime"
RIGHT_ANGLE = {"flip_angle": np.pi / 2, "scale": 2048 / 180, "zero": 2048.0}
"""How Siemens' rf_map stores the angle of its pulse of 90°."""
SPOILING = {"spoiling_increment": "SpoilingRFPhaseIncrement?", "spoiling_moment": "SpoilingGradientMoment?"}
RULES: Mapping[str, Rule] = {
    "TB1DAM": Rule("double_angle", "FlipAngle", order=("FlipAngle",), images=2),
    "TB1AFI": Rule("actual_flip_angle", EITHER, {"flip_angle": "FlipAngle"}, (EITHER,), 2),
    "TB1EPI": Rule(
        "spin_and_stimulated_echo", "FlipAngle", {"mixing_time": "MixingTime"}, ("FlipAngle", "EchoTime")
    ),
    "TB1TFL": Rule("flip_angle_map", parameters={"flip_angle": "FlipAngle"}, images=1, role="famp"),
    "TB1RFM": Rule("flip_angle_map", fixed=RIGHT_ANGLE, images=1, role="famp"),
    "TB1SRGE": Rule("sa2rage", plan=mp2rage_series.saturation_plan),
    "IRT1": Rule("inversion_recovery", "InversionTime", {"repetition_time": "RepetitionTime?"}),
    "VFA": Rule("variable_flip_angle", "FlipAngle", {"repetition_time": EXCITATION, **SPOILING}),
    "MP2RAGE": Rule("mp2rage", plan=mp2rage_series.plan),
    "MESE": Rule("spin_echo_train", "EchoTime", {"refocusing_angle": "RefocusingFlipAngle?"}),
    "MTR": Rule("mt_ratio", order=("MTState",), images=2),
    **dict.fromkeys(field_maps.SUFFIXES, Rule("fieldmap", plan=field_maps.plan)),
    **dict.fromkeys(("MEGRE", "T2starw"), Rule("r2star", "EchoTime")),
    "dwi": Rule("dti", plan=diffusion_series.plan),
    "MTS": Rule(
        "mt_saturation",
        "FlipAngle",
        {"repetition_times": EXCITATION, **SPOILING},
        ("-MTState", "FlipAngle"),
        3,
    ),
    "MPM": Rule(
        "mpm",
        "EchoTime",
        {"flip_angles": "FlipAngle", "repetition_times": EXCITATION, "mt_states": "MTState", **SPOILING},
        ("MTState", "FlipAngle", "EchoTime"),
    ),
}
"""By BIDS suffix; those of the transmit field first, since others are corrected by them."""
TOLD_BY = {
    "TB1TFL": "tfl_b1map: tenths of a degree, of the nominal FlipAngle",
    "TB1RFM": "rf_map: 0 … 4096 for −180 … 180°, of nominally 90°",
}
LOOK_LOCKER = Rule(
    recovery_series.TRAIN,
    "InversionTime",
    {"repetition_time": f"{PREPARATION}?", "efficiency": "InversionEfficiency?"},
)
"""For IRT1 that is a train of readouts."""
SHORT_TRAIN = 6
"""Spin echoes from which stimulated echoes can be told from T2."""


def suited(series: ImageSeries) -> tuple[Rule, str]:
    """How a series would be fitted, and what keeps it from being so, in a sentence ("": nothing). Reads no image."""
    rule = _rule(series)
    try:
        planned(series)
    except ScanError as error:
        return rule, str(error)
    return rule, ""


def planned(series: ImageSeries, irt1: str = "auto") -> Plan:
    """What the rule for the series makes of its sidecars; `irt1`: what a series of inversion times is fitted by.

    ScanError for what is missing, or does not fit.
    """
    rule = _rule(series, irt1)
    if rule.plan is not None:
        return rule.plan(series)
    records = _ordered(series, rule)
    given, positional = _protocol(series, rule, records)
    images = [path for path, _ in records]
    shown = [path for path in series.images if path not in images]
    model = entry(rule.model)
    said: list[str] = []
    parts = parts_of(series, images, said) if model.takes_phase else None
    read = partial(_taken_whole, parts) if parts else partial(_taken, images, shown or images)
    if rule.role:
        said.append(f"the angle is taken as stored by Siemens' {TOLD_BY[series.suffix]}")
    said += _of_spoiling(rule, records, given)
    if series.suffix == "IRT1":
        said += _of_readouts(readouts(series, irt1), given)
    own = _own_phase(series, rule, records)
    more = [*(parts.others if parts else ()), *(own.phases if own else ())]
    said += [one.words for one in (parts, own) if one]
    field = own.field if own else None
    sources = [*images, *shown, *more]
    return Plan(rule.model, model, sources, read, {**rule.fixed, **given}, positional, said, field=field)


def _own_phase(
    series: ImageSeries, rule: Rule, records: Sequence[tuple[Path, Values]]
) -> field_maps.OwnPhase | None:
    """The echoes of the first contrast whose phase tells the field, where that enters the model."""
    if not entry(rule.model).of_field or rule.varies != "EchoTime":
        return None
    contrast = [[record.get(key) for key in rule.parameters.values()] for _, record in records]
    first = [pair for pair, own in zip(records, contrast, strict=True) if own == contrast[0]]
    return field_maps.own_phase(
        series, [(path, _rank((path, record), "EchoTime", 1)) for path, record in first]
    )


def _taken_whole(parts: Parts) -> Taken:
    """Complex images, and where they have signal."""
    image = parts.read()
    return image, bright(image.data)


def _taken(images: Sequence[Path], shown: Sequence[Path]) -> Taken:
    """The images, and where those that are `shown` have signal."""
    image = nifti.stack(images)
    if shown == images:
        return image, bright(image.data)
    anatomy = nifti.stack(shown)
    nifti.check_same_grid(anatomy, image)
    return image, bright(anatomy.data)


def _rule(series: ImageSeries, irt1: str = "auto") -> Rule:
    if series.suffix == "IRT1" and readouts(series, irt1).model == recovery_series.TRAIN:
        return LOOK_LOCKER
    if series.suffix == "MESE" and len(series.images) < SHORT_TRAIN:
        return Rule("spin_echo", "EchoTime")
    return RULES[series.suffix]


def _ordered(series: ImageSeries, rule: Rule) -> list[tuple[Path, Values]]:
    """Images and sidecars in the order that the model takes them in."""
    records = list(zip(series.images, series.sidecars, strict=True))
    if rule.role:
        records = [(path, record) for path, record in records if role_of(path) == rule.role]
    if rule.images and len(records) != rule.images:
        raise ScanError(
            f"{series.images[0]}: {series.suffix} needs {rule.images} images"
            f"{f' named acq-{rule.role}' if rule.role else ''}, but there are {len(records)}"
        )
    for key in reversed(rule.order or ((rule.varies,) if rule.varies else ())):
        sign = -1 if key.startswith("-") else 1
        records.sort(key=partial(_rank, key=key.removeprefix("-"), sign=sign))
    return records


def _rank(pair: tuple[Path, Values], key: str, sign: int) -> float:
    value = told(*pair, *key.split("|"))
    return sign * float(value[0] if isinstance(value, list) else value)


def _protocol(
    series: ImageSeries, rule: Rule, records: Sequence[tuple[Path, Values]]
) -> tuple[dict[str, Any], list[Any]]:
    """The model's parameters, and what varies, in s and rad."""
    given: dict[str, Any] = {}
    for name, key in rule.parameters.items():
        values = [record.get(key.removesuffix("?")) for _, record in records]
        if any(value is None for value in values):
            if not key.endswith("?"):
                raise ScanError(f"{series.images[0]}: a sidecar has no {key}; add it to the JSON files")
            continue
        every = [si(key.removesuffix("?"), value) for value in values]
        given[name] = tuple(every) if name.endswith("s") or len(set(every)) > 1 else every[0]
        if isinstance(given[name], tuple) and "tuple" not in str(
            entry(rule.model).method.parameters[name].type
        ):
            raise ScanError(
                f"{series.images[0]}: {key} differs between the images ({every}); they are no series"
            )
    if not rule.varies:
        return given, []
    varied = [told(path, record, *rule.varies.split("|")) for path, record in records]
    every = [one for value in varied for one in (value if isinstance(value, list) else [value])]
    return given, [tuple(si(rule.varies, value) for value in every)]


def told_by(name: str, sidecars: Sequence[Path]) -> tuple[dict[str, Any], tuple[float, ...]]:
    """JSON sidecars of a model's images → its parameters and what varies, in s and rad, in the images' order."""
    model = entry(name)
    fits = [
        (suffix, rule)
        for suffix, rule in RULES.items()
        if rule.plan is None
        and (
            rule.model == name
            or (not rule.images and set(required(model)) <= {*rule.parameters} and _same_varied(rule, model))
        )
    ]
    if not fits:
        raise ScanError(f"sidecars do not tell what {name} needs; give its flags (`mensura models {name}`)")
    suffix, rule = next((pair for pair in fits if pair[1].model == name), fits[0])
    records = tuple(read_json(path) for path in sidecars)
    series = ImageSeries(sidecars[0].parent, suffix, "anat", {}, tuple(sidecars), records)
    given, positional = _protocol(series, rule, _ordered(series, rule))
    known = {key: value for key, value in given.items() if key in model.method.parameters}
    return known, tuple(positional[0]) if positional else ()


def _same_varied(rule: Rule, model: Model) -> bool:
    return bool(model.varied) and entry(rule.model).varied == model.varied


def _of_readouts(found: Readouts, given: dict[str, Any]) -> list[str]:
    """What is to be said of a series of inversion times; the time between inversions is that of a single train."""
    if found.model != recovery_series.TRAIN:
        return list(found.remarks)
    if not found.single:
        given.pop("repetition_time", None)
    rest = "full recovery before each inversion" if "repetition_time" not in given else ""
    perfect = "a perfect inversion" if "efficiency" not in given else ""
    assumed = " and ".join(words for words in (perfect, rest) if words)
    return [*found.remarks, *([f"{assumed} is assumed"] if assumed else [])]


def _of_spoiling(rule: Rule, records: Sequence[tuple[Path, Values]], given: Values) -> list[str]:
    """What is to be said of the spoiling of gradient echoes, where the model can correct it."""
    if "spoiling_increment" not in rule.parameters:
        return []
    if any(record.get("SpoilingState") is False for _, record in records):
        return ["SpoilingState is false: T1 is that of spoiled gradient echoes all the same, and wrong"]
    if not given.get("spoiling_increment"):
        return ["the sidecars tell no SpoilingRFPhaseIncrement: spoiling is taken as ideal"]
    known = entry(rule.model).method.parameters
    angle, t2 = np.rad2deg(given["spoiling_increment"]), known["spoiling_t2"].default
    moment = f", gradient moment {given['spoiling_moment']:g} mT s/m" if given.get("spoiling_moment") else ""
    return [
        f"corrected for imperfect spoiling: RF phase increment {angle:.4g}°{moment}, T2 taken as {t2:g} s"
    ]
