"""The processing table (Table 5 of the QSM consensus) and the methods paragraph, citing what ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mensura.report.acquisition import echo_summary
from mensura.report.naming import method_name, parameter_units, sentence, stage_title
from mensura.report.references import citation, dois
from mensura.report.results import Run
from mensura.report.text import duration, listed, mean_sd, number, percent, plain, with_unit
from mensura.scan import Grid

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    number: int
    doi: str
    text: str

    @property
    def link(self) -> str:
        return f"https://doi.org/{self.doi}"


@dataclass(frozen=True)
class StageRow:
    """A line of the processing table."""

    title: str
    method: str
    parameters: tuple[tuple[str, str], ...]
    citations: tuple[int, ...]
    seconds: str


@dataclass(frozen=True)
class Sentence:
    """A sentence of the methods paragraph, with the numbers of the references to print at its end."""

    text: str
    citations: tuple[int, ...] = ()


def references(processing: Sequence[Record]) -> list[Reference]:
    """The processing record → its references, numbered in the order of their first use, each once."""
    found = [doi for entry in processing for doi in dois(entry.get("EstimationReference"))]
    return [Reference(i, doi, citation(doi)) for i, doi in enumerate(dict.fromkeys(found), start=1)]


def stage_rows(processing: Sequence[Record]) -> list[StageRow]:
    """The processing record → the lines of its table, in order."""
    listing = references(processing)
    return [
        StageRow(
            stage_title(entry.get("Stage")),
            str(entry.get("Method", "")),
            _parameters(entry),
            _numbers(entry, listing),
            duration(entry.get("Seconds")),
        )
        for entry in processing
    ]


def referencing(run: Run) -> str | None:
    """How χ was referenced: region and its mean ± SD in ppm before subtraction, or None if not recorded."""
    if run.zero is None:
        return None
    return f"{run.zero.region}: {mean_sd(run.zero.mean, run.zero.sd)} ppm (mean ± SD before subtraction)"


def exclusions(coverage: float | None, failed: Mapping[str, float]) -> str | None:
    """What was left out: coverage of the mask, and by map the share of voxels without a value (both %)."""
    parts = [f"{percent(share)} of the voxels of {title} have no value" for title, share in failed.items()]
    if coverage is not None:
        parts.insert(0, f"{percent(coverage)} of the mask has a χ value")
    return "; ".join(parts) or None


def paragraph(run: Run, grid: Grid | None, coverage: float | None) -> list[Sentence]:
    """A run's records → the methods paragraph, sentence by sentence; only what was recorded is said."""
    listing = references(run.processing)
    stages = [_stage_sentence(entry, listing) for entry in run.processing]
    return [*_scan_sentences(run.acquisition, grid), _toolbox(run), *stages, *_closing(run, coverage)]


def _numbers(entry: Record, listing: Sequence[Reference]) -> tuple[int, ...]:
    wanted = dois(entry.get("EstimationReference"))
    return tuple(sorted(r.number for r in listing if r.doi in wanted))


def _parameters(entry: Record) -> tuple[tuple[str, str], ...]:
    units = parameter_units(entry)
    given = entry.get("Parameters") or {}
    return tuple((name, with_unit(value, units.get(name, ""))) for name, value in given.items())


def _scan_sentences(acquisition: Record, grid: Grid | None) -> list[Sentence]:
    if not acquisition:
        return []
    model = [plain(acquisition[n]) for n in ("Manufacturer", "ManufacturersModelName") if acquisition.get(n)]
    field = acquisition.get("MagneticFieldStrength")
    where = " ".join(["at", f"{number(field)} T"] if field is not None else [])
    scanner = f"({', '.join(model)})" if model else ""
    start = " ".join(part for part in ("Gradient-echo data were acquired", where, scanner) if part)
    details = _details(acquisition, grid)
    return [Sentence(f"{start} with {listed(details)}." if details else f"{start}.")]


def _details(acquisition: Record, grid: Grid | None) -> list[str]:
    times, repetition, flip = (acquisition.get(n) for n in ("EchoTime", "RepetitionTime", "FlipAngle"))
    found = [
        echo_summary(times if isinstance(times, Sequence) else [times]) if times else "",
        f"TR {number(repetition * 1e3, 4)} ms" if repetition else "",
        f"flip angle {number(flip)}°" if flip else "",
        f"voxels of {'×'.join(number(round(v, 3)) for v in grid.voxel_size)} mm³" if grid is not None else "",
        f"{acquisition['Readout']} readout" if acquisition.get("Readout") else "",
    ]
    return [part for part in found if part]


def _toolbox(run: Run) -> Sentence:
    versions = run.noted("Versions") or {}
    ours = f"mensura {versions['mensura']}" if versions.get("mensura") else "mensura"
    others = [f"{name.capitalize()} {versions[name]}" for name in ("python",) if versions.get(name)]
    others += [
        f"{name} {versions[name]}" for name in ("numpy", "scipy", "numba", "ducc0") if versions.get(name)
    ]
    preset = f", preset {run.noted('Preset')}" if run.noted("Preset") else ""
    return Sentence(f"The data were processed with {ours}{f' ({listed(others)})' if others else ''}{preset}.")


def _stage_sentence(entry: Record, listing: Sequence[Reference]) -> Sentence:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _parameters(entry))
    method = method_name(entry.get("Method")) + (f" ({settings})" if settings else "")
    template = sentence(entry.get("Stage"), entry.get("Method"))
    return Sentence(template.replace("{method}", method), _numbers(entry, listing))


def _closing(run: Run, coverage: float | None) -> list[Sentence]:
    found = []
    reference = referencing(run)
    if reference is not None:
        found.append(Sentence(f"The reference region was the {reference[0].lower()}{reference[1:]}."))
    if coverage is not None:
        found.append(Sentence(f"Susceptibility values cover {percent(coverage)} of the mask."))
    return found
