"""The series of a BIDS dataset that relaxometry knows: which model each takes, its fields, and its maps."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from mensura.io import bids, nifti
from mensura.io.bids_names import join
from mensura.io.bids_series import ImageSeries, find_series
from mensura.io.comparable import differences
from mensura.io.files import digest, read_json
from mensura.methods import Monitor
from mensura.pipeline import field_maps
from mensura.pipeline.density import with_density
from mensura.pipeline.field_choice import (
    STATIC,
    TRANSMIT,
    FieldMap,
    Kind,
    brought,
    choose,
    read_static,
    read_transmit,
)
from mensura.pipeline.fit_rules import RULES, planned
from mensura.pipeline.plan import Plan
from mensura.pipeline.products import PRODUCTS
from mensura.pipeline.record import called
from mensura.pipeline.relaxometry import (
    Outcome,
    described,
    outcome,
    watched,
    write_maps,
)
from mensura.pipeline.scanner import scanner
from mensura.pipeline.screen import bar
from mensura.scan import ScanError

Values = Mapping[str, Any]

OWN = "field_rises"
"""What the phase of a series' own echoes tells its model."""
IGNORED = (
    *("*_IEmap.*", "*_offsetmap.*", "*_T1starmap.*", "*_R2primemap.*", "*_dwimap.*", "*_fieldmap.*"),
    *("*_mod-*", "*_desc-voxels_*", "**/anat/*_TB1map.*"),
)
"""Maps that BIDS has no suffix for, or no such name: a second map of a kind, B1 of what is no field map, a field map
without a magnitude beside; and the chosen voxels."""


def find(dataset: Path, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[ImageSeries]:
    """The series of a dataset that can be fitted, subject by subject, those of fields first.

    Gradient echoes with phase are none: they are mapped by the QSM job.
    """
    chosen: dict[str, Sequence[str]] = {"participants": participants, "sessions": sessions}
    found = find_series(dataset, [*RULES, "TB1map"], **chosen)
    decays = {run.full_name for run in bids.every_run(dataset, **chosen) if run.decay_alone}
    series = [s for s in found if s.suffix not in bids.SUFFIXES["anat"] or s.name in decays]
    rank = {suffix: place for place, suffix in enumerate(["TB1map", *RULES])}
    return sorted(series, key=lambda s: (s.entities["sub"], _kind(s) is None, s.place, rank[s.suffix]))


def _kind(series: ImageSeries) -> Kind | None:
    """What field the series is a map of, if it is one."""
    if series.suffix.startswith("TB1"):
        return TRANSMIT
    return STATIC if series.suffix in field_maps.SUFFIXES else None


class Fitting:
    """Fits one series after the other; maps of fields, given or made on the way, serve the series of their subject."""

    def __init__(
        self,
        out_dir: Path,
        command: str = "",
        force: bool = False,
        *,
        runs: Sequence[bids.MultiEchoRun] = (),
        irt1: str = "auto",
    ) -> None:
        """`runs`: the gradient echoes that are mapped beside, whose maps keep their names; `irt1` as of `planned`."""
        self.out_dir, self.command, self.force, self.irt1 = out_dir, command, force, irt1
        self.fields: dict[str, list[FieldMap]] = {TRANSMIT.name: [], STATIC.name: []}
        self.times: list[tuple[ImageSeries, Path]] = []
        plain = {
            product.suffix for step in PRODUCTS.values() for product in step.values() if not product.desc
        }
        self.names: set[tuple[str, str]] = {(run.name, suffix) for run in runs for suffix in plain}

    def fit(self, series: ImageSeries, monitor: Monitor | None = None) -> Outcome | None:
        """The maps of a series on disk; None for a B1 map, which is only kept in mind, and for unchanged maps."""
        if series.suffix == "TB1map":
            self.fields[TRANSMIT.name].append(read_transmit(series.images[0], series))
            return None
        began, plan = time.perf_counter(), planned(series, self.irt1)
        remarks = [*differences(series.sidecars), *plan.remarks]
        used, times = self._fields(series, plan, remarks), self._times(series, plan, remarks)
        maps = {name: field.path for name, field in used.items()} | ({"t1_map": times} if times else {})
        record = self._record(series, plan, maps, remarks)
        path = self._namer(series, list(plan.model.produces))
        if not self.force and _unchanged(path, list(plan.model.produces), record):
            self._remember(series, path, plan.model.produces)
            return None
        image, mask = plan.read()
        more: dict[str, Any] = {"t1_map": nifti.read(times).data[mask]} if times else {}
        for name, field in used.items():
            more[name], said = brought(name, field.image, image, mask)
            remarks += said
        if plan.field is not None:
            more[OWN], said = brought(OWN, plan.field(mask), image, mask)
            remarks += said
        more |= watched(plan.model, monitor)
        estimates, of_density = with_density(plan.model, plan.estimate((image, mask), more), (image, mask))
        remarks += estimates.notes
        record["Mensura"] |= {"Density": of_density} if of_density else {}
        files = write_maps(estimates, plan.model.produces, (image, mask), record, path)
        self._remember(series, path, plan.model.produces)
        return outcome(estimates, files, [*remarks, *of_density], began)

    def _record(
        self, series: ImageSeries, plan: Plan, maps: Mapping[str, Path], remarks: list[str]
    ) -> dict[str, Any]:
        """What the sidecars tell; `remarks` that are added later are told as well."""
        sources = [*plan.sources, *maps.values()]
        digests, metadata = (
            {bids.bids_uri(path, series.dataset): digest(path) for path in paths}
            for paths in (sources, _sidecars(series))
        )
        varied = dict(zip([plan.model.varied], plan.positional, strict=False))
        own = {OWN: "of its own phase"} if plan.field is not None else {}
        given = {**plan.given, **varied, **dict.fromkeys(maps, "map"), **own}
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

    def _remember(
        self, series: ImageSeries, path: Callable[[str, str | None, str], Path], maps: Collection[str]
    ) -> None:
        kind = _kind(series)
        if kind is not None:
            name, reader = ("TB1map", read_transmit) if kind is TRANSMIT else ("fieldmap", read_static)
            self.fields[kind.name].append(reader(path(name, None, ".nii.gz"), series))
        made = path("T1map", None, ".nii.gz") if "T1map" in maps else None
        if made is not None and made.is_file():
            self.times.append((series, made))

    def _times(self, series: ImageSeries, plan: Plan, remarks: list[str]) -> Path | None:
        """The T1 map that a series is fitted with: one of its session, made before, on its grid, which is said."""
        if not plan.model.takes_t1:
            return None
        grid = nifti.read_grid(plan.sources[0])
        for other, path in self.times:
            if other.place == series.place and nifti.alike(nifti.read_grid(path), grid):
                remarks.append(f"T1 is that of {path.name}")
                return path
        return None

    def _fields(self, series: ImageSeries, plan: Plan, remarks: list[str]) -> dict[str, FieldMap]:
        """The maps of fields that correct the series, if its model can be, by argument; what was taken is said."""
        wanted: dict[str, Kind] = {}
        if plan.model.takes_b1 and plan.name != "spin_echo_train":
            wanted["b1"] = TRANSMIT
        if plan.model.of_field and plan.field is None:
            wanted[plan.model.of_field] = STATIC
        found: dict[str, FieldMap] = {}
        for name, kind in wanted.items():
            maps = self.fields[kind.name]
            mine = [field for field in maps if field.series.entities["sub"] == series.entities["sub"]]
            field, words = choose(mine, series, kind)
            remarks += [words, *(field.remarks if field else ())]
            found |= {name: field} if field else {}
        return found


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
