"""The page: one self-contained HTML file for each run, made from the files of its results alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mensura.io.files import write_text
from mensura.report import checks, methods_text
from mensura.report.acquisition import NO_FIELD_FOR, acquisition_rows
from mensura.report.checks import HEADLINES
from mensura.report.fitted import series_in
from mensura.report.mosaic import CONVENTION
from mensura.report.naming import stage_title
from mensura.report.orient import closest_axes
from mensura.report.overview import Group, Link, about, links, write_map_pages, write_overview
from mensura.report.panels import Measured, measure
from mensura.report.plots import Curve, curve
from mensura.report.results import DATATYPES, Run, find_run, folder_of, runs_in, runs_of
from mensura.report.template import render
from mensura.report.text import NOT_RECORDED, duration


def build(source: str | os.PathLike[str], out_html: str | os.PathLike[str] | None = None) -> Path:
    """Results on disk → the report's path.

    `source` is a folder that holds the maps of one run (as `mensura qsm -o` writes it) or fitted maps (as `mensura fit`
    does), or the path that all files of a run begin with (`out/sub-01/anat/sub-01_run-1`). The page goes to `out_html`,
    else beside the maps as `report.html` or `<run>.html`; fitted maps have pages of their own beside it. Each is
    written whole or not at all. ScanError when there are no maps, or when one cannot be read.
    """
    place = Path(source)
    fitted = series_in([place]) if place.is_dir() else []
    if fitted and not runs_in(place):
        target = place / "report.html" if out_html is None else Path(out_html)
        return write_overview(write_map_pages([place], target), target, about(fitted, place))
    run = find_run(place)
    target = run.folder / f"{run.prefix or 'report'}.html" if out_html is None else Path(out_html)
    return _write(run, target, write_map_pages([place], target) if fitted else ())


def build_subject(
    out_dir: str | os.PathLike[str], subject: str, session: str | None = None
) -> tuple[Path, ...]:
    """A BIDS derivatives folder and a subject (and session) → the paths of its reports, one for each run.

    A single run gets `OUT/sub-01[_ses-X].html`; several get their further entities in the name. Every fitted map has a
    page, to which that of the run leads, or, where there is not one run, a page that leads to all. ScanError when there
    are no maps, or when one cannot be read.
    """
    root = Path(out_dir)
    folder = folder_of(root, subject, session)
    places = [folder / kind for kind in DATATYPES]
    fitted = series_in(places)
    runs = runs_of(root, subject, session, needed=not fitted)
    whole = root / f"sub-{subject}{'' if session is None else f'_ses-{session}'}.html"
    groups = write_map_pages(places, whole, root)
    pages = [_write(run, whole if len(runs) == 1 else root / f"{run.prefix}.html", groups) for run in runs]
    if fitted and len(runs) != 1:
        beside = [Link(page.name, _title(run)) for run, page in zip(runs, pages, strict=True)]
        pages.append(write_overview(groups, whole, about(fitted, root), beside))
    return tuple(pages)


def _write(run: Run, target: Path, groups: Sequence[Group] = ()) -> Path:
    write_text(target, render("page.html", {**_content(run, measure(run)), "fitted": links(groups)}))
    return target


def _content(run: Run, measured: Measured) -> dict[str, Any]:
    """Everything the template shows."""
    facts = measured.facts
    found = checks.checks(facts)
    level = checks.overall(found)
    return {
        "title": _title(run),
        "header": _header(run),
        "level": level,
        "headline": HEADLINES[level],
        "checks": found,
        "key_numbers": checks.key_numbers(facts),
        "panels": measured.panels,
        "convention": CONVENTION,
        "angle": closest_axes(measured.grid).angle,
        "stride": max((max(p.picture.layout.strides) for p in measured.panels), default=1),
        "solvers": _solvers(run),
        "acquisition": acquisition_rows(run.acquisition, measured.grid),
        "no_field_for": NO_FIELD_FOR,
        "stages": methods_text.stage_rows(run.processing),
        "references": methods_text.references(run.processing),
        "referencing": methods_text.referencing(run),
        "exclusions": methods_text.exclusions(facts.coverage, facts.failed),
        "paragraph": methods_text.paragraph(run, measured.grid, facts.coverage),
        "provenance": _provenance(run),
    }


def _title(run: Run) -> str:
    entities = run.entities
    if "sub" not in entities:
        return run.folder.resolve().name
    names = {"sub": "Subject", "ses": "session", "acq": "acquisition", "run": "run"}
    return ", ".join(f"{names.get(key, key)} {value}" for key, value in entities.items())


def _header(run: Run) -> dict[str, str]:
    versions = run.noted("Versions") or {}
    created = [str(block["Created"]) for block in run.ours.values() if block.get("Created")]
    preset = run.noted("Preset")
    return ({"Preset": str(preset)} if preset else {}) | {
        "Processed": max(created, default=NOT_RECORDED).replace("T", " ").replace("+00:00", " UTC"),
        "Version": f"mensura {versions.get('mensura', NOT_RECORDED)}",
        "Command": str(run.noted("Command") or NOT_RECORDED),
    }


def _solvers(run: Run) -> list[tuple[str, Mapping[str, Any], Curve]]:
    """Title, record and curve of each step that recorded how its solver converged."""
    found = []
    for step in run.steps:
        record = step.get("Convergence") or {}
        if record.get("History"):
            title = f"{stage_title(step.get('Step'))}: {step.get('Method', '')}"
            found.append((title, record, curve(record["History"])))
    return found


def _provenance(run: Run) -> dict[str, Any]:
    inputs = {
        path: digest for block in run.ours.values() for path, digest in (block.get("Inputs") or {}).items()
    }
    timed = [
        (stage_title(e.get("Stage")), e["Seconds"]) for e in run.processing if e.get("Seconds") is not None
    ]
    longest = max((seconds for _, seconds in timed), default=0) or 1
    return {
        "inputs": inputs,
        "versions": run.noted("Versions") or {},
        "times": [(title, duration(s), 100 * s / longest) for title, s in timed],
        "outputs": [(path.name, run.sidecars.get(name, {})) for name, path in run.images.items()],
    }
