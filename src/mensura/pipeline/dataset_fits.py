"""The series of a BIDS dataset that relaxometry knows: which model each takes, its B1, and its maps as derivatives."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from mensura.io import bids, nifti
from mensura.io.bids_names import join
from mensura.io.bids_series import ImageSeries, find_series, role_of
from mensura.io.comparable import differences
from mensura.io.files import digest, read_json
from mensura.methods import Monitor
from mensura.pipeline import diffusion_series, field_maps, mp2rage_series
from mensura.pipeline.density import with_density
from mensura.pipeline.plan import Plan, Taken, si, told
from mensura.pipeline.products import PRODUCTS
from mensura.pipeline.record import called
from mensura.pipeline.relaxometry import (
    Outcome,
    bright,
    described,
    entry,
    outcome,
    refuse_negative,
    required,
    watched,
    write_maps,
)
from mensura.pipeline.scanner import scanner
from mensura.pipeline.screen import bar
from mensura.pipeline.transmit_choice import TransmitField, brought, choose, read_field
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
    **dict.fromkeys(("phasediff", "phase1", "fieldmap"), Rule("fieldmap", plan=field_maps.plan)),
    "dwi": Rule("dti", plan=diffusion_series.plan),
    "MTS": Rule("mt_saturation", "FlipAngle", {"repetition_times": EXCITATION}, ("-MTState", "FlipAngle"), 3),
    "MPM": Rule(
        "mpm",
        "EchoTime",
        {"flip_angles": "FlipAngle", "repetition_times": EXCITATION, "mt_states": "MTState"},
        ("MTState", "FlipAngle", "EchoTime"),
    ),
}
"""By BIDS suffix; those of the transmit field first, since others are corrected by them."""
TOLD_BY = {
    "TB1TFL": "tfl_b1map: tenths of a degree, of the nominal FlipAngle",
    "TB1RFM": "rf_map: 0 … 4096 for −180 … 180°, of nominally 90°",
}
IGNORED = (
    *("*_IEmap.*", "*_offsetmap.*", "*_T1starmap.*", "*_R2primemap.*", "*_dwimap.*", "*_fieldmap.*"),
    *("*_mod-*", "*_desc-voxels_*", "**/anat/*_TB1map.*"),
)
"""Maps that BIDS has no suffix for, or no such name: a second map of a kind, B1 of what is no field map, a field map
without a magnitude beside; and the chosen voxels."""
SHORT_TRAIN = 6
"""Spin echoes from which stimulated echoes can be told from T2."""


def find(dataset: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[ImageSeries]:
    """The series of a dataset that can be fitted, subject by subject, those of the transmit field first."""
    series = find_series(dataset, [*RULES, "TB1map"], participants=participants, sessions=sessions)
    rank = {suffix: place for place, suffix in enumerate(["TB1map", *RULES])}
    return sorted(series, key=lambda s: (s.entities["sub"], not _of_b1(s), s.place, rank[s.suffix]))


def _of_b1(series: ImageSeries) -> bool:
    return series.suffix.startswith("TB1")


class Fitting:
    """Fits one series after the other; B1 maps, given or made on the way, serve the series of their subject."""

    def __init__(
        self, out_dir: Path, command: str = "", force: bool = False, runs: Sequence[bids.MultiEchoRun] = ()
    ) -> None:
        """`runs`: the gradient echoes that are mapped beside, whose maps keep their names."""
        self.out_dir, self.command, self.force = out_dir, command, force
        self.fields: list[TransmitField] = []
        plain = {
            product.suffix for step in PRODUCTS.values() for product in step.values() if not product.desc
        }
        self.names: set[tuple[str, str]] = {(run.name, suffix) for run in runs for suffix in plain}

    def fit(self, series: ImageSeries, monitor: Monitor | None = None) -> Outcome | None:
        """The maps of a series on disk; None for a B1 map, which is only kept in mind, and for unchanged maps."""
        if series.suffix == "TB1map":
            self.fields.append(read_field(series.images[0], series))
            return None
        began, plan = time.perf_counter(), _plan(series)
        remarks = [*differences(series.sidecars), *plan.remarks]
        used = self._field(series, plan, remarks)
        record = self._record(series, plan, used, remarks)
        path = self._namer(series, list(plan.model.produces))
        if not self.force and _unchanged(path, list(plan.model.produces), record):
            self._remember(series, path)
            return None
        image, mask = plan.read()
        if plan.whole is None:
            refuse_negative(plan.model, plan.sources, image.data[mask])
        more: dict[str, Any] = {}
        if used:
            more["b1"], said = brought(used, image, mask)
            remarks += said
        more |= watched(plan.model, monitor)
        estimates, of_density = with_density(plan.model, plan.estimate((image, mask), more), (image, mask))
        record["Mensura"] |= {"Density": of_density} if of_density else {}
        files = write_maps(estimates, plan.model.produces, (image, mask), record, path)
        self._remember(series, path)
        return outcome(estimates, files, [*remarks, *of_density], began)

    def _record(
        self, series: ImageSeries, plan: Plan, used: TransmitField | None, remarks: list[str]
    ) -> dict[str, Any]:
        """What the sidecars tell; `remarks` that are added later are told as well."""
        sources = [*plan.sources, *([used.path] if used else [])]
        digests, metadata = (
            {bids.bids_uri(path, series.dataset): digest(path) for path in paths}
            for paths in (sources, _sidecars(series))
        )
        varied = dict(zip([plan.model.varied], plan.positional, strict=False))
        given = {**plan.given, **varied, **({"b1": "map"} if used else {})}
        facts = {**called(self.command), "Digests": digests, "Metadata": metadata, "Warnings": remarks}
        record = described(plan.name, given, facts, plan.model)
        return {
            **record,
            "Sources": list(digests),
            "SkullStripped": False,
            "Acquisition": scanner(series.sidecars),
        }

    def _namer(self, series: ImageSeries, maps: Sequence[str]) -> Callable[[str, str | None, str], Path]:
        """File names of the series' maps; `mod` tells a map from that of an earlier series."""
        alone, told = (
            _Place({**series.entities, **extra}, series.datatype) for extra in ({}, {"mod": series.suffix})
        )
        places = {name: told if (alone.name, name) in self.names else alone for name in maps}
        self.names |= {(place.name, name) for name, place in places.items()}

        def path(name: str, desc: str | None, extension: str) -> Path:
            *pairs, suffix = name.split("_")
            own = dict(pair.split("-", 1) for pair in pairs)
            place = _Place({**places[name].entities, **own}, places[name].datatype)
            return bids.output_path(self.out_dir, place, suffix, desc=desc, extension=extension)

        return path

    def _remember(self, series: ImageSeries, path: Callable[[str, str | None, str], Path]) -> None:
        if _of_b1(series):
            self.fields.append(read_field(path("TB1map", None, ".nii.gz"), series))

    def _field(self, series: ImageSeries, plan: Plan, remarks: list[str]) -> TransmitField | None:
        """The B1 map that corrects the series, if its model can be; what was taken is said."""
        if not plan.model.takes_b1 or plan.name == "spin_echo_train":
            return None
        mine = [field for field in self.fields if field.series.entities["sub"] == series.entities["sub"]]
        field, words = choose(mine, series)
        remarks += [words, *(field.remarks if field else ())]
        return field


@dataclass(frozen=True)
class _Place:
    """Where derivatives of a series go."""

    entities: Mapping[str, str]
    datatype: str

    @property
    def name(self) -> str:
        return join(self.entities)


def _sidecars(series: ImageSeries) -> list[Path]:
    """The JSON files that tell of the series' images, each once."""
    found = (json for image in series.images for json in bids.sidecars_of(series.dataset, image))
    return list(dict.fromkeys(found))


def suited(series: ImageSeries) -> tuple[Rule, str]:
    """How a series would be fitted, and what keeps it from being so, in a sentence ("": nothing). Reads no image."""
    rule = _rule(series)
    try:
        _plan(series)
    except ScanError as error:
        return rule, str(error)
    return rule, ""


def _plan(series: ImageSeries) -> Plan:
    """What the rule for the series makes of its sidecars. ScanError for what is missing, or does not fit."""
    rule = _rule(series)
    if rule.plan is not None:
        return rule.plan(series)
    records = _ordered(series, rule)
    given, positional = _protocol(series, rule, records)
    images = [path for path, _ in records]
    shown = [path for path in series.images if path not in images]
    read = partial(_taken, images, shown or images)
    said = [f"the angle is taken as stored by Siemens' {TOLD_BY[series.suffix]}"] if rule.role else []
    said += _of_spoiling(rule, records, given)
    if series.suffix == "IRT1" and all({EXCITATION, PREPARATION} <= set(record) for _, record in records):
        said.append(
            "several readouts follow an inversion: T1 is that under the readouts, shorter than without them"
        )
    return Plan(
        rule.model, entry(rule.model), [*images, *shown], read, {**rule.fixed, **given}, positional, said
    )


def _taken(images: Sequence[Path], shown: Sequence[Path]) -> Taken:
    """The images, and where those that are `shown` have signal."""
    image = nifti.stack(images)
    if shown == images:
        return image, bright(image.data)
    anatomy = nifti.stack(shown)
    nifti.check_same_grid(anatomy, image)
    return image, bright(anatomy.data)


def _rule(series: ImageSeries) -> Rule:
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
    return sign * float(told(*pair, *key.split("|")))


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
    return given, [
        tuple(si(rule.varies, told(path, record, *rule.varies.split("|"))) for path, record in records)
    ]


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


def _unchanged(path: Callable[[str, str | None, str], Path], maps: Sequence[str], record: Values) -> bool:
    """Whether the maps were made of the same files, parameters and version."""
    sidecar = path(maps[0], None, ".json")
    if not sidecar.is_file() or not any(path(name, "voxels", ".json").is_file() for name in maps):
        return False
    before, now = read_json(sidecar).get("Mensura", {}), record["Mensura"]
    same, said = ("Version", "Code", "Model", "Digests"), now["Warnings"]
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in now["Parameters"].items()}
    alike = all(before.get(key) == now[key] for key in same) and before.get("Parameters") == plain
    return alike and before.get("Warnings", [])[: len(said)] == said


def execute(series: Sequence[ImageSeries], fitting: Fitting) -> int:
    """All series → exit code, as `batch.execute`; each is told on the terminal."""
    console = Console(stderr=True)
    ended = {_told_of(console, one, fitting) for one in series}
    if ended <= {"done"}:
        return 0
    return 2 if ended == {"bad input"} else 1


def _told_of(console: Console, series: ImageSeries, fitting: Fitting) -> str:
    """A series fitted and told of → how it ended."""
    console.print(f"[bold]{escape(series.name)}[/]", highlight=False)
    try:
        with bar(console, "fit", series.suffix) as monitor:
            made = fitting.fit(series, monitor)
    except ScanError as error:
        console.print(f"[red]mensura:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return "bad input"
    except Exception:
        console.print(escape(traceback.format_exc()), end="", highlight=False)
        return "failed"
    if made is None:
        console.print("  [dim]unchanged, or given[/]")
        return "done"
    for remark in made.remarks:
        console.print(f"  [yellow]note:[/] {escape(remark)}", highlight=False, soft_wrap=True)
    for name, (low, middle, high) in made.quartiles.items():
        console.print(f"  {name:<10} median {middle:.4g}, quartiles {low:.4g} … {high:.4g}", highlight=False)
    console.print(
        f"  {made.voxels}; {made.seconds:.1f} s; maps in {escape(str(made.files[0].parent))}",
        highlight=False,
    )
    return "done"
