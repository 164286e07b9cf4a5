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
from mensura.io.bids_series import ImageSeries, find_series
from mensura.io.files import digest, read_json
from mensura.pipeline.record import called
from mensura.pipeline.relaxometry import PERCENT, Outcome, bright, described, entry, outcome, write_maps
from mensura.qmri.estimates import Estimates
from mensura.qmri.transmit import onto
from mensura.scan import FloatArray, Grid, ScanError

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """How a series is fitted: the model; the sidecar's field that varies (degrees become rad); other parameters'
    fields, needed or not (with a ?); and the fields that put the images in the model's order."""

    model: str
    varies: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    images: int = 0


EXCITATION = "RepetitionTimeExcitation"
RULES: Mapping[str, Rule] = {
    "TB1DAM": Rule("double_angle", "FlipAngle", order=("FlipAngle",), images=2),
    "TB1AFI": Rule("actual_flip_angle", EXCITATION, {"flip_angle": "FlipAngle"}, (EXCITATION,), 2),
    "IRT1": Rule("inversion_recovery", "InversionTime", {"repetition_time": "RepetitionTime?"}),
    "VFA": Rule("variable_flip_angle", "FlipAngle", {"repetition_time": EXCITATION}),
    "MESE": Rule("spin_echo_train", "EchoTime", {"refocusing_angle": "RefocusingFlipAngle?"}),
    "MTR": Rule("mt_ratio", order=("MTState",), images=2),
    "MTS": Rule("mt_saturation", "FlipAngle", {"repetition_times": EXCITATION}, ("-MTState", "FlipAngle"), 3),
}
"""By BIDS suffix; those of the transmit field first, since others are corrected by them."""
IGNORED = ("*_IEmap.*", "*_offsetmap.*", "*_T1starmap.*", "*_mod-*", "**/anat/*_TB1map.*")
"""Maps that BIDS has no suffix for, or no such name: a second map of a kind, B1 of what is no field map."""
SHORT_TRAIN = 6
"""Spin echoes from which stimulated echoes can be told from T2."""


@dataclass(frozen=True)
class Made:
    """A B1 map: the file, and its values on their grid."""

    path: Path
    values: FloatArray
    grid: Grid


def find(dataset: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[ImageSeries]:
    """The series of a dataset that can be fitted, subject by subject, those of the transmit field first."""
    series = find_series(dataset, [*RULES, "TB1map"], participants=participants, sessions=sessions)
    rank = {suffix: place for place, suffix in enumerate(["TB1map", *RULES])}
    return sorted(series, key=lambda s: (s.place, rank[s.suffix]))


class Fitting:
    """Fits one series after the other; B1 maps, given or made on the way, serve the series of their session."""

    def __init__(self, out_dir: Path, command: str = "", force: bool = False) -> None:
        self.out_dir, self.command, self.force = out_dir, command, force
        self.fields: dict[tuple[str, str], list[Made]] = {}
        self.names: set[tuple[str, str]] = set()

    def fit(self, series: ImageSeries) -> Outcome | None:
        """The maps of a series on disk; None for a B1 map, which is only kept in mind, and for unchanged maps."""
        if series.suffix == "TB1map":
            self._keep(series, series.images[0])
            return None
        began, rule = time.perf_counter(), _rule(series)
        model, records = entry(rule.model), _ordered(series, rule)
        images = [path for path, _ in records]
        given, positional = _protocol(series, rule, records)
        remarks: list[str] = []
        used = self._field(series, remarks) if model.takes_b1 and rule.model != "spin_echo_train" else None
        told = {
            **given,
            **dict(zip([model.varied], positional, strict=False)),
            **({"b1": "map"} if used else {}),
        }
        record = self._record(series, rule.model, told, ([*images, *([used.path] if used else [])], remarks))
        path = self._namer(series, list(model.produces))
        if not self.force and _unchanged(path(next(iter(model.produces)), None, ".json"), record):
            self._remember(series, path)
            return None
        image = nifti.stack(images)
        mask = bright(image.data)
        if used:
            given["b1"] = onto(used.values, used.grid, image.grid)[mask]
        estimates: Estimates = model.method.function(image.data[mask], *positional, **given)
        files = write_maps(estimates, model.produces, (image, mask), record, path)
        self._remember(series, path)
        return outcome(estimates, files, remarks, began)

    def _record(
        self, series: ImageSeries, model: str, parameters: Values, of: tuple[Sequence[Path], Sequence[str]]
    ) -> dict[str, Any]:
        sources, remarks = of
        digests = {bids.bids_uri(path, series.dataset): digest(path) for path in sources}
        told = dict.fromkeys(
            json for image in series.images for json in bids.sidecars_of(series.dataset, image)
        )
        metadata = {bids.bids_uri(path, series.dataset): digest(path) for path in told}
        facts = {**called(self.command), "Digests": digests, "Metadata": metadata, "Warnings": remarks}
        record = described(model, parameters, facts)
        return {**record, "Sources": list(digests), "SkullStripped": False}

    def _namer(self, series: ImageSeries, maps: Sequence[str]) -> Callable[[str, str | None, str], Path]:
        """File names of the series' maps; `mod` tells a map from that of an earlier series."""
        alone, told = (
            _Place({**series.entities, **extra}, series.datatype) for extra in ({}, {"mod": series.suffix})
        )
        places = {name: told if (alone.name, name) in self.names else alone for name in maps}
        self.names |= {(place.name, name) for name, place in places.items()}

        def path(name: str, desc: str | None, extension: str) -> Path:
            return bids.output_path(self.out_dir, places[name], name, desc=desc, extension=extension)

        return path

    def _remember(self, series: ImageSeries, path: Callable[[str, str | None, str], Path]) -> None:
        if series.suffix.startswith("TB1"):
            self._keep(series, path("TB1map", None, ".nii.gz"))

    def _keep(self, series: ImageSeries, path: Path) -> None:
        image = nifti.read(path)
        values = image.data if image.data.ndim == 3 else image.data[..., 0]
        if np.nanmedian(values[values > 0]) > PERCENT:
            values = values / np.float32(100)
        self.fields.setdefault(series.place, []).append(Made(path, values, image.grid))

    def _field(self, series: ImageSeries, remarks: list[str]) -> Made | None:
        """The first B1 map of the session; what was taken is said."""
        there = self.fields.get(series.place, [])
        if not there:
            remarks.append("there is no B1 map in the session: flip angles are taken as nominal")
            return None
        remarks.append(f"corrected by {there[0].path.name}, of the same session, smoothed")
        return there[0]


@dataclass(frozen=True)
class _Place:
    """Where derivatives of a series go."""

    entities: Mapping[str, str]
    datatype: str

    @property
    def name(self) -> str:
        return join(self.entities)


def suited(series: ImageSeries) -> tuple[Rule, str]:
    """How a series would be fitted, and what keeps it from being so, in a sentence ("": nothing). Reads no image."""
    rule = _rule(series)
    try:
        _protocol(series, rule, _ordered(series, rule))
    except ScanError as error:
        return rule, str(error)
    return rule, ""


def _rule(series: ImageSeries) -> Rule:
    if series.suffix == "MESE" and len(series.images) < SHORT_TRAIN:
        return Rule("spin_echo", "EchoTime")
    return RULES[series.suffix]


def _ordered(series: ImageSeries, rule: Rule) -> list[tuple[Path, Values]]:
    """Images and sidecars in the order that the model takes them in."""
    records = list(zip(series.images, series.sidecars, strict=True))
    if rule.images and len(records) != rule.images:
        raise ScanError(
            f"{series.images[0]}: {series.suffix} needs {rule.images} images, but there are {len(records)}"
        )
    for key in reversed(rule.order or ((rule.varies,) if rule.varies else ())):
        sign = -1 if key.startswith("-") else 1
        records.sort(key=partial(_rank, key=key.removeprefix("-"), sign=sign))
    return records


def _rank(pair: tuple[Path, Values], key: str, sign: int) -> float:
    return sign * float(_told(*pair, key))


def _told(path: Path, record: Values, key: str) -> Any:
    if key not in record:
        raise ScanError(f"{path}: its sidecar has no {key}; add it to the JSON file")
    return record[key]


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
        every = [_si(key.removesuffix("?"), value) for value in values]
        given[name] = tuple(every) if name.endswith("s") else every[0]
        if not name.endswith("s") and len(set(every)) > 1:
            raise ScanError(
                f"{series.images[0]}: {key} differs between the images ({every}); they are no series"
            )
    if not rule.varies:
        return given, []
    return given, [tuple(_si(rule.varies, _told(path, record, rule.varies)) for path, record in records)]


def _si(key: str, value: Any) -> float:
    return float(np.deg2rad(value)) if key.endswith("Angle") else float(value)


def _unchanged(sidecar: Path, record: Values) -> bool:
    """Whether the maps were made of the same files, parameters and version."""
    if not sidecar.is_file():
        return False
    before, now = read_json(sidecar).get("Mensura", {}), record["Mensura"]
    same = ("Version", "Code", "Model", "Digests", "Warnings")
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in now["Parameters"].items()}
    return all(before.get(key) == now[key] for key in same) and before.get("Parameters") == plain


def execute(series: Sequence[ImageSeries], fitting: Fitting) -> int:
    """All series → exit code, as `batch.execute`; each is told on the terminal."""
    console = Console(stderr=True)
    ended = set()
    for one in series:
        console.print(f"[bold]{escape(one.name)}[/]", highlight=False)
        try:
            made = fitting.fit(one)
        except ScanError as error:
            ended.add("bad input")
            console.print(f"[red]mensura:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            continue
        except Exception:
            ended.add("failed")
            console.print(escape(traceback.format_exc()), end="", highlight=False)
            continue
        ended.add("done")
        if made is None:
            console.print("  [dim]unchanged, or given[/]")
            continue
        for remark in made.remarks:
            console.print(f"  [yellow]note:[/] {escape(remark)}", highlight=False, soft_wrap=True)
        for name, (low, middle, high) in made.quartiles.items():
            console.print(
                f"  {name:<10} median {middle:.4g}, quartiles {low:.4g} … {high:.4g}", highlight=False
            )
        console.print(
            f"  {made.voxels}; {made.seconds:.1f} s; maps in {escape(str(made.files[0].parent))}",
            highlight=False,
        )
    if ended <= {"done"}:
        return 0
    return 2 if ended == {"bad input"} else 1
