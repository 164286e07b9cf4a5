"""The chain from a (multi-echo) gradient echo to a susceptibility map, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mensura.io.scans import Scan
from mensura.methods import Monitor
from mensura.pipeline import findings
from mensura.pipeline.config import SPAN, Settings, stages
from mensura.pipeline.products import PRODUCTS
from mensura.pipeline.record import Product, Task, digest
from mensura.pipeline.size import do, enlarged, recorded
from mensura.pipeline.step import Artifact, Frame, Ledger, Outcome, derived, once, step
from mensura.qsm.prior import prior_share
from mensura.qsm.uncertainty import Inversion, explained_field
from mensura.scan import Grid, Volume, bounding_box

MARGIN = 2
"""Voxels around the mask that are kept while working."""

Artifacts = dict[str, Artifact]
Roots = Mapping[str, Mapping[str, str]]


def maps(
    scan: Scan,
    settings: Settings,
    ledger: Ledger,
    *,
    roots: Roots,
    reference_region: Artifact | None = None,
) -> Artifacts:
    """A scan, sanitised → every artifact that can be had from it, each step kept in the ledger.

    `roots` are the digests of the scan's files: {"phase": {file: digest}, …}. Stages whose result was given
    (mask, total field, local field) are left out. Raises ScanError for a scan that cannot be used.
    """
    found = inputs(scan, roots)
    if reference_region is not None:
        found["reference_region"] = reference_region
    if "magnitude" in found:
        found |= _combine(ledger, found)
    found |= _mask(ledger, settings, scan, found)
    head = _head(ledger, settings, found) if settings.tissue else {}
    ledger, found = _framed(ledger, scan.grid, found)
    if "local_field" not in found and "total_field" not in found:
        found |= _total_field(ledger, settings, scan, found | head)
    if "magnitude" in found and "echo_times" in found:
        found |= _relaxation(ledger, settings, found)
    found |= _susceptibility(ledger, settings, found)
    return found | _reference(ledger, settings, found)


def inputs(scan: Scan, roots: Roots) -> Artifacts:
    """A scan → images and acquisition values as artifacts, keyed by the files and what was told of them."""
    told = digest([scan.grid.affine, scan.grid.b0_direction, scan.field_strength, str(scan.acquisition)])
    units = {
        "phase": "rad",
        "magnitude": "arbitrary",
        "mask": "1",
        "total_field": "ppm",
        "local_field": "ppm",
    }
    found = {}
    for name, unit in units.items():
        data, files = getattr(scan, name), roots.get(name, {})
        if data is not None:
            key = digest([name, told, scan.phase_rule, sorted(files.values())])
            found[name] = _image(Volume(data, scan.grid, unit), key, files)
    if scan.acquisition is not None:
        found["echo_times"] = _plain(scan.acquisition.echo_times)
    if scan.field_strength is not None:
        found["hz_per_ppm"] = _plain(scan.hz_per_ppm)
    return found


def _image(volume: Volume, key: str, files: Mapping[str, str]) -> Artifact:
    return Artifact(key, lambda: volume, roots=files)


def _plain(value: Any) -> Artifact:
    return Artifact(digest(value), lambda: value)


def _combine(ledger: Ledger, found: Artifacts) -> Artifacts:
    task = Task("combine", "root_sum_of_squares", PRODUCTS["combine"], "root sum of squares over the echoes")
    return step(ledger, task, {"magnitude": found["magnitude"]}, _root_sum_of_squares)


def _root_sum_of_squares(magnitude: Volume, monitor: Monitor) -> Outcome:
    data = magnitude.data
    combined = np.sqrt(np.einsum("...e,...e->...", data, data)) if data.ndim == 4 else np.abs(data)
    return Outcome({"combined_magnitude": Volume(combined, magnitude.grid, magnitude.unit)})


def _mask(ledger: Ledger, settings: Settings, scan: Scan, found: Artifacts) -> Artifacts:
    """The given mask, or one made of magnitude and phase, or else where the given field is not zero."""
    noted = partial(findings.mask, warnings=(*scan.warnings, *settings.notes))
    if "mask" in found:
        task, images = Task("mask", "given", PRODUCTS["mask"], "given by the user"), {"mask": found["mask"]}
        return step(ledger, task, images, partial(_given_mask, noted))
    if "magnitude" in found or "phase" in found:
        return _stage(ledger, settings, "mask", found, noted)
    field = found.get("total_field") or found["local_field"]
    task = Task("mask", "field", PRODUCTS["mask"], "voxels where the given field is not zero")
    return step(ledger, task, {"mask": field}, partial(_given_mask, noted))


def _given_mask(noted: Any, mask: Volume, monitor: Monitor) -> Outcome:
    inside = mask.data if mask.data.dtype == bool else np.isfinite(mask.data) & (mask.data != 0)
    return noted({"mask": Volume(inside, mask.grid, "1")}, {})  # type: ignore[no-any-return]


def _head(ledger: Ledger, settings: Settings, found: Artifacts) -> Artifacts:
    """Everything that gives signal, on the whole grid: what the sign of the field is checked against."""
    if "combined_magnitude" not in found:
        return {}
    task = Task("head", "threshold", {"head": Product("", "1", "")})
    return derived(
        ledger, task, {"magnitude": found["combined_magnitude"]}, partial(_bright, settings.lengths)
    )


def _bright(size: float, magnitude: Volume, monitor: Monitor) -> Outcome:
    from mensura.mask.intensity import threshold

    inside = threshold(magnitude.data, None, magnitude.grid, radius=2.0 * size)
    return Outcome({"head": Volume(inside, magnitude.grid, "1")})


def _framed(ledger: Ledger, grid: Grid, found: Artifacts) -> tuple[Ledger, Artifacts]:
    """From here on only the box around the mask is worked on."""
    mask = found["mask"]
    frame = once(lambda: Frame(grid, bounding_box(mask.value().data, MARGIN)))
    images = ("phase", "magnitude", "mask", "total_field", "local_field", "reference_region")
    found["frame"] = Artifact("", frame)
    cut = {name: _cut(found[name], frame) for name in images if name in found}
    rest = {name: artifact for name, artifact in found.items() if name not in images}
    return replace(ledger, frame=frame), rest | cut


def _cut(artifact: Artifact, frame: Any) -> Artifact:
    return replace(artifact, value=once(lambda: frame().cut(artifact.value())))


def _total_field(ledger: Ledger, settings: Settings, scan: Scan, found: Artifacts) -> Artifacts:
    """Phase → total field: bipolar correction, coil offset, unwrapping, fit over the echoes."""
    count = len(found["echo_times"].value())
    found = dict(found)
    noted = partial(findings.field, found["frame"], found.get("head"))
    if scan.already_unwrapped:
        found["unwrapped_phase"] = found["phase"]
        return _stage(ledger, settings, "field", found, noted)
    if count > 2 and scan.acquisition is not None and scan.acquisition.readout != "monopolar":
        found |= _bipolar(ledger, scan, found)
    if count > 1:
        found |= _derived_stage(ledger, settings, "offset", found)
    found |= _stage(ledger, settings, "unwrap", found)
    return _stage(ledger, settings, "field", found, noted)


def _bipolar(ledger: Ledger, scan: Scan, found: Artifacts) -> Artifacts:
    """Even and odd echoes brought together where the readout alternates, as told or as the phase shows."""
    told = scan.acquisition is not None and scan.acquisition.readout == "bipolar"
    products = {"phase": Product("", "rad", "")}
    task = Task(
        "bipolar", "told" if told else "detected", products, "even and odd echoes of alternating readouts"
    )
    names = ("phase", "magnitude", "mask", "echo_times")
    images = {name: found[name] for name in names if name in found}
    return derived(ledger, task, images, partial(_brought_together, told))


def _brought_together(
    told: bool,
    phase: Volume,
    mask: Volume,
    echo_times: tuple[float, ...],
    monitor: Monitor,
    magnitude: Volume | None = None,
) -> Outcome:
    from mensura.qsm.phase import correct_bipolar, is_bipolar

    size = None if magnitude is None else magnitude.data
    if not told and not is_bipolar(phase.data, size, mask.data, echo_times):
        return Outcome({"phase": phase})
    data = correct_bipolar(phase.data, size, mask.data, echo_times=echo_times)
    note = "the readout is bipolar; the phase of even and odd echoes was brought together"
    return Outcome({"phase": Volume(data, phase.grid, "rad")}, {}, [note])


def _relaxation(ledger: Ledger, settings: Settings, found: Artifacts) -> Artifacts:
    """Magnitude of several echoes → R2* and T2*, corrected by the gradient of the total field where there is one."""
    if len(found["echo_times"].value()) < 2:
        return {}
    return _stage(ledger, settings, "r2star", found, findings.relaxation)


def _susceptibility(ledger: Ledger, settings: Settings, found: Artifacts) -> Artifacts:
    """Total or local field → susceptibility, in one step unless background or dipole were chosen by name."""
    made: Artifacts = {}
    if "local_field" in found or settings.two_steps:
        if "local_field" not in found:
            made = _stage(ledger, settings, "background", found, findings.background)
        return made | _inverted(ledger, settings, "dipole", found | made)
    made = _inverted(ledger, settings, SPAN, found)
    task = Task(
        "explained field", "forward_model", PRODUCTS["explained field"], "field of the susceptibility map"
    )
    return made | step(ledger, task, {"chi": made["chi"], "mask": found["mask"]}, _explained)


def _inverted(ledger: Ledger, settings: Settings, stage: str, found: Artifacts) -> Artifacts:
    """Susceptibility, what of it the prior filled in and, where the field's noise is known, its standard deviation."""
    made = _stage(ledger, settings, stage, found)
    task = Task("prior share", "cone", PRODUCTS["prior share"], "share of energy where the dipole is weak")
    share = step(
        ledger, task, {"chi": made["chi"], "mask": found["mask"]}, partial(_prior_share, settings.lengths)
    )
    if "field_std" not in found:
        return made | share
    parameters = settings.resolved(stage)
    inversion = Inversion(stage, settings.method(stage), parameters)
    how = Artifact(digest([stage, inversion.method, parameters]), lambda: inversion)
    return made | share | _stage(ledger, settings, "uncertainty", found | made | {"inversion": how})


def _prior_share(size: float, chi: Volume, mask: Volume, monitor: Monitor) -> Outcome:
    share = prior_share(chi.data, mask.data, enlarged(chi.grid, 1 / size))
    return Outcome({"prior_share": Volume(share, chi.grid, "1")})


def _explained(chi: Volume, mask: Volume, monitor: Monitor) -> Outcome:
    """The local field that belongs to a map made in one step, and the voxels that have a value."""
    valued = Volume(mask.data & np.isfinite(chi.data), chi.grid, "1")
    field = Volume(explained_field(chi.data, mask.data, chi.grid), chi.grid, "ppm")
    return findings.background({"local_field": field, "mask": valued}, {"mask": mask})


def _reference(ledger: Ledger, settings: Settings, found: Artifacts) -> Artifacts:
    """The zero of susceptibility; R2*, where there is one, tells whether the map is the right way round."""
    task = _task(settings, "reference", PRODUCTS["reference"])
    chosen = _consumed(settings, "reference", found)
    chosen |= {"r2star": found["r2star"]} if "r2star" in found else {}
    return step(ledger, task, chosen, partial(_work, "reference", task, findings.reference))


def _stage(
    ledger: Ledger, settings: Settings, stage: str, found: Artifacts, noted: Any = findings.plain
) -> Artifacts:
    """A stage of the table done by the chosen method on what it consumes of what was found."""
    task, chosen = _task(settings, stage, PRODUCTS[stage]), _consumed(settings, stage, found)
    return step(ledger, task, chosen, partial(_work, stage, task, noted))


def _derived_stage(ledger: Ledger, settings: Settings, stage: str, found: Artifacts) -> Artifacts:
    """The same for a stage whose result is not worth a file."""
    products = {name: Product("", unit, "") for name, unit in stages()[stage].produces.items()}
    task = _task(settings, stage, products)
    return derived(
        ledger, task, _consumed(settings, stage, found), partial(_work, stage, task, findings.plain)
    )


def _task(settings: Settings, stage: str, products: Mapping[str, Product]) -> Task:
    name = settings.method(stage)
    method = stages()[stage].method(name)
    return Task(stage, name, products, method.summary, method.doi, recorded(settings, stage))


def _consumed(settings: Settings, stage: str, found: Artifacts) -> Artifacts:
    """What the chosen method takes of what was found."""
    taken = stages()[stage].method(settings.method(stage)).arguments
    return {name: found[name] for name in stages()[stage].consumes if name in found and name in taken}


def _work(stage: str, task: Task, noted: Any, monitor: Monitor, **artifacts: Any) -> Outcome:
    volumes = do(stage, task.method, artifacts, task.parameters, monitor)
    return noted(volumes, artifacts)  # type: ignore[no-any-return]
