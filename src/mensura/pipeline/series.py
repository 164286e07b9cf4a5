"""A gradient echo repeated over time → susceptibility volume by volume, with one mask, zero and unwrapping.

The first volume goes through the whole chain. Of every other one the change of phase since the first is unwrapped:
it is smooth where the phase itself is not, so that no wrap can come and go, and the coils' offset and the slices'
jumps cancel in it. What is done lies on disk, and an interrupted series goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mensura.io.files import write_json
from mensura.io.nifti import read, write
from mensura.io.series import Moment, SeriesScan, write_series
from mensura.pipeline.config import SPAN, Settings, stages
from mensura.pipeline.job import Job, Result, check_output, ended, ledger_of, region_of, roots_of
from mensura.pipeline.prepare import prepare
from mensura.pipeline.products import PRODUCTS, SERIES
from mensura.pipeline.qsm import Artifacts, maps
from mensura.pipeline.record import Product, Run, Task, merged, processing, sidecar, step_key
from mensura.pipeline.size import do, recorded
from mensura.pipeline.step import Frame, Ledger, Watcher, describe, known, read_sidecar, settle
from mensura.qsm.phase import sanitise
from mensura.scan import BoolArray, FloatArray, Grid, Volume

TURN = np.float32(2 * np.pi)
FOLDER, VOLUMES = "first-volume", "volumes"
"""The maps of the first volume; the volumes that are done, as long as the series is not."""
ALGORITHM = "every volume as the first, its phase unwrapped as the change since the first volume"


@dataclass(frozen=True, eq=False)
class Shared:
    """What all volumes have in common, on the box around the mask."""

    settings: Settings
    frame: Frame
    grid: Grid
    values: Mapping[str, Any]
    region: BoolArray
    sign: float
    wrapped: FloatArray


def process_series(job: Job, series: SeriesScan, watcher: Watcher) -> Result:
    """A series → the maps of its first volume; χ over time, its mean and standard deviation, on disk."""
    start = time.perf_counter()
    scan = prepare(series.first)
    roots = roots_of(job, scan)
    check_output(job, scan, roots)
    with ThreadPoolExecutor(1) as writer:
        ledger = ledger_of(job, scan, watcher, writer)
        first = replace(ledger, path=partial(_first, job), pending=[], done=[])
        found = maps(scan, job.settings, first, roots=roots, reference_region=region_of(job, scan))
        settle(first)
        ledger.done.extend(first.done)
        task = Task("series", "volume_by_volume", SERIES, ALGORITHM, parameters=_parameters(job.settings))
        key = step_key(
            task, {name: found[name].key for name in ("mask", "chi")} | {"volumes": str(series.count)}
        )
        done = None if job.force else known(ledger, task, key)
        if done is not None:
            watcher.end(task.name, 0.0, True)
            ledger.done.append({**done[0]["Mensura"], "Reused": True})
        else:
            _all_volumes(job, series, ledger, task, key, found)
    return ended(job, ledger, start)


def _first(job: Job, product: Product, extension: str) -> Path:
    path = job.path(product, extension)
    return path.parent / FOLDER / path.name


def _parameters(settings: Settings) -> dict[str, Any]:
    """The methods that do each volume, with their parameters; they decide what the series looks like."""
    chain = ("unwrap", "field", *(("background", "dipole") if settings.two_steps else (SPAN,)))
    return {name: {"method": settings.method(name), **recorded(settings, name)} for name in chain}


def _all_volumes(
    job: Job, series: SeriesScan, ledger: Ledger, task: Task, key: str, found: Artifacts
) -> None:
    """Every volume that is not done yet; then the series, its mean and standard deviation."""
    start = time.perf_counter()
    ledger.watcher.begin(task.name, f"{series.count} volumes")
    assert ledger.path is not None
    folder = ledger.path(SERIES["chi"], "").parent / f"{VOLUMES}-{key[:8]}"
    if job.force:
        shutil.rmtree(folder, ignore_errors=True)
    drift = _work_through(job, series, ledger, folder, found)
    frame: Frame = found["frame"].value()
    mask = frame.fill(found["mask"].value())
    mean, deviation = _moments(folder, series.count, ledger)
    volumes = {"chi": mean, "temporal_sd": deviation, "mask": mask.data}
    inside = mask.data & np.isfinite(deviation)
    statistics = {
        "Volumes": series.count,
        "TemporalSD": float(np.median(deviation[inside])),
        "PhaseDrift": [round(float(value), 4) for value in drift],
    }
    statistics |= _of_first(ledger)
    seconds = time.perf_counter() - start
    run = Run(seconds, series.first.warnings, statistics)
    history = merged(found["chi"].history(), [processing(task, key, run)])
    for name, product in SERIES.items():
        if name in volumes:
            write(ledger.path(product, ".nii.gz"), volumes[name], frame.grid, ledger.header)
        record = sidecar(task, product, key, run, history=history, roots=found["phase"].roots)
        describe(ledger, product, record)
    ledger.done.append({**record["Mensura"], "Reused": False})
    shutil.rmtree(folder, ignore_errors=True)
    ledger.watcher.end(task.name, seconds, False)


def _of_first(ledger: Ledger) -> dict[str, Any]:
    """What is said of the first volume and holds for all: coverage, reference region, sign."""
    told = [record.get("Statistics") or {} for record in ledger.done]
    names = ("Coverage", "ReferenceVoxels", "ReferenceMean", "ReferenceSD", "PhaseSign")
    return {name: record[name] for record in told for name in names if name in record}


def _work_through(
    job: Job, series: SeriesScan, ledger: Ledger, folder: Path, found: Artifacts
) -> list[float]:
    """Each volume's χ into a file of its own, from where it was left; how far the phase drifted in each."""
    progress = folder / "progress.json"
    drift: list[list[float]] = list(read_sidecar(progress).get("Drift", []))
    shared: Shared | None = None
    for index, moment in enumerate(islice(series.moments(), len(drift), None), start=len(drift)):
        shared = shared or _shared(job, ledger, found, series)
        before = drift[-1] if drift else [0.0] * moment[0].shape[3]
        chi, change = volume_map(shared, moment, before)
        write(_file(folder, index), shared.frame.fill(chi).data, shared.frame.grid, ledger.header)
        drift.append(change)
        write_json(progress, {"Drift": drift})
        ledger.watcher.iteration(index + 1, series.count, 0.0)
    return [change[-1] for change in drift]


def _file(folder: Path, index: int) -> Path:
    return folder / f"volume-{index + 1:05d}.nii"


def _shared(job: Job, ledger: Ledger, found: Artifacts, series: SeriesScan) -> Shared:
    """The first volume's mask, reference region, sign and phase, for all others."""
    frame: Frame = found["frame"].value()
    values = {name: found[name].value() for name in ("mask", "echo_times", "hz_per_ppm")}
    unwrapped = read(_first(job, PRODUCTS["unwrap"]["unwrapped_phase"], ".nii.gz"))
    echoes = unwrapped.data if unwrapped.data.ndim == 4 else unwrapped.data[..., None]
    values["unwrapped_phase"] = frame.cut(Volume(echoes, unwrapped.grid, "rad"))
    signs = [(record.get("Statistics") or {}).get("PhaseSign") for record in ledger.done]
    grid = values["mask"].grid
    region = found["reference_region"].value().data if "reference_region" in found else values["mask"].data
    assert series.first.phase is not None
    wrapped = np.ascontiguousarray(sanitise(series.first.phase)[0][frame.box])
    return Shared(job.settings, frame, grid, values, region, -1.0 if -1 in signs else 1.0, wrapped)


def volume_map(shared: Shared, moment: Moment, before: Sequence[float]) -> tuple[Volume, list[float]]:
    """One volume's phase (rad) and magnitude → its χ (ppm), and the median change of phase (rad) of each echo.

    `before` is that change in the volume before: whole turns are chosen so that the phase goes on from there.
    """
    images = {"phase": moment[0], "magnitude": moment[1]}
    cut = {
        name: Volume(np.ascontiguousarray(sanitise(data)[0][shared.frame.box]), shared.grid, unit)
        for (name, data), unit in zip(images.items(), ("rad", "arbitrary"), strict=True)
        if data is not None
    }
    wrapped = cut.pop("phase").data - shared.wrapped
    change = Volume(wrapped - TURN * np.rint(wrapped / TURN), shared.grid, "rad")
    used = {**shared.values, **cut}
    unwrapped = _do(shared.settings, "unwrap", {**used, "phase": change})["unwrapped_phase"].data
    unwrapped, drift = _continued(unwrapped, shared.values["mask"].data, before)
    used["unwrapped_phase"] = replace(used["unwrapped_phase"], data=used["unwrapped_phase"].data + unwrapped)
    used |= _do(shared.settings, "field", used)
    used["total_field"] = replace(
        used["total_field"], data=np.float32(shared.sign) * used["total_field"].data
    )
    used |= _inverted(shared.settings, used)
    return _referred(used["chi"], used["mask"].data, shared), drift


def _continued(
    change: FloatArray, mask: BoolArray, before: Sequence[float]
) -> tuple[FloatArray, list[float]]:
    """Unwrapped change of phase → the same, less whole turns, so that it goes on from its median before."""
    stack = change if change.ndim == 4 else change[..., None]
    median = np.median(stack[mask], axis=0)
    turns = np.rint((median - np.asarray(before)) / TURN)
    shifted = (stack - (TURN * turns).astype(np.float32)) * mask[..., None]
    return shifted.reshape(change.shape), [float(value) for value in median - TURN * turns]


def _inverted(settings: Settings, used: Mapping[str, Any]) -> dict[str, Volume]:
    if not settings.two_steps:
        return _do(settings, SPAN, used)
    local = _do(settings, "background", used)
    return {**local, **_do(settings, "dipole", {**used, **local})}


def _do(settings: Settings, stage: str, found: Mapping[str, Any]) -> dict[str, Volume]:
    """A stage done by the chosen method on what it takes of what was found."""
    entry, name = stages()[stage], settings.method(stage)
    taken = {n: found[n] for n in entry.consumes if n in found and n in entry.method(name).arguments}
    return do(stage, name, taken, recorded(settings, stage))


def _referred(chi: Volume, mask: BoolArray, shared: Shared) -> Volume:
    """χ less its mean over the first volume's reference region, 0 outside the mask."""
    if shared.settings.method("reference") == "none":
        return chi
    zero = np.float32(np.nanmean(chi.data[shared.region & mask], dtype=np.float64))
    return replace(chi, data=np.where(mask, chi.data - zero, np.float32(0)))


def _moments(folder: Path, count: int, ledger: Ledger) -> tuple[FloatArray, FloatArray]:
    """The volumes on disk → the 4D file, and their mean and standard deviation over time."""
    assert ledger.path is not None
    path = ledger.path(SERIES["chi_series"], ".nii.gz")
    first = read(_file(folder, 0))
    mean: NDArray[np.float64] = np.zeros(first.grid.shape)
    square: NDArray[np.float64] = np.zeros(first.grid.shape)

    def volumes() -> Iterator[FloatArray]:
        for index in range(count):
            data = read(_file(folder, index)).data
            step = data - mean
            mean[...] += step / (index + 1)
            square[...] += step * (data - mean)
            yield data

    write_series(path, volumes(), count, first.grid, ledger.header)
    return mean.astype(np.float32), np.sqrt(square / (count - 1)).astype(np.float32)
