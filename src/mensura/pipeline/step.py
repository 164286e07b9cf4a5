"""Steps: what was computed once, from the same content with the same code, is read back instead.

A step's key is a digest of its name, the code, its resolved parameters and the keys of what it consumes. Its
maps are written as soon as it is done, each with a JSON beside it that holds the key and how the map
came about. A map is reused when that key and the digest of its file are what they should be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from mensura.io.files import digest as file_digest
from mensura.io.files import read_json, write_json
from mensura.io.header import Header
from mensura.io.nifti import read, write
from mensura.methods import Monitor
from mensura.pipeline.record import Product, Record, Run, Task, called, merged, processing, sidecar, step_key
from mensura.scan import Grid, ScanError, Volume

Slices = tuple[slice, slice, slice]
T = TypeVar("T")


class Watcher(Protocol):
    """Hears what is going on; the command line draws its progress bars from it."""

    def begin(self, step: str, method: str) -> None: ...

    def iteration(self, iteration: int, max_iter: int, change: float) -> None: ...

    def end(self, step: str, seconds: float, reused: bool) -> None: ...


class Silent:
    """The watcher that says nothing."""

    def begin(self, step: str, method: str) -> None:
        """Hears that a step begins."""

    def iteration(self, iteration: int, max_iter: int, change: float) -> None:
        """Hears of an iteration of a solver."""

    def end(self, step: str, seconds: float, reused: bool) -> None:
        """Hears that a step is done."""


@dataclass(frozen=True)
class Artifact:
    """Something a step consumes: the key of its content, the raw files it stems from, two ways to ask for it.

    `value()` computes or reads the content when first asked; `history()` lists the records of the steps that
    led to it, without reading an image; `notes()` are warnings that no sidecar holds yet.
    """

    key: str
    value: Callable[[], Any]
    history: Callable[[], tuple[Record, ...]] = tuple
    roots: Mapping[str, str] = field(default_factory=dict)
    notes: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True)
class Outcome:
    """What a step's work returns: volumes by artifact name, and what there is to say about them."""

    volumes: Mapping[str, Volume]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Frame:
    """The box of the full grid that is worked on; maps are zero outside it."""

    grid: Grid
    box: Slices

    def cut(self, volume: Volume) -> Volume:
        """A volume on the full grid → its part inside the box, contiguous."""
        data = np.ascontiguousarray(volume.data[self.box])
        return Volume(data, self.grid.with_shape(data.shape[:3]), volume.unit)

    def fill(self, volume: Volume) -> Volume:
        """A volume on the box → the full grid, zero around it."""
        if volume.data.shape[:3] == self.grid.shape:
            return Volume(volume.data, self.grid, volume.unit)
        data = np.zeros(self.grid.shape + volume.data.shape[3:], dtype=volume.data.dtype)
        data[self.box] = volume.data
        return Volume(data, self.grid, volume.unit)


@dataclass(frozen=True)
class Ledger:
    """Where the steps of one run are written and remembered; without `path` they are only computed.

    `path` maps a product and an extension to a file; `facts` go into every sidecar, and `metadata`, the digests of
    the JSON files that the scan was read with; `frame` is asked for when the first map is written or read.
    """

    path: Callable[[Product, str], Path] | None = None
    header: Header | None = None
    frame: Callable[[], Frame] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    preset: str = ""
    hz_per_ppm: float = 1.0
    force: bool = False
    watcher: Watcher = field(default_factory=Silent)
    writer: Executor | None = None
    pending: list[Future[None]] = field(default_factory=list)
    done: list[Record] = field(default_factory=list)


def step(
    ledger: Ledger, task: Task, inputs: Mapping[str, Artifact], work: Callable[..., Outcome]
) -> dict[str, Artifact]:
    """A task and its inputs → its artifacts, read back where the key is known, else computed and written.

    `work` gets the values of the inputs by name, and `monitor`. Raises what `work` raises, and ScanError when
    a map cannot be written.
    """
    settle(ledger, wait=False)
    key = step_key(task, {name: artifact.key for name, artifact in inputs.items()})
    found = None if ledger.force else known(ledger, task, key)
    if found is None:
        return _compute(ledger, task, key, inputs, work)
    return _reuse(ledger, task, key, inputs, found)


def derived(
    ledger: Ledger, task: Task, inputs: Mapping[str, Artifact], work: Callable[..., Outcome]
) -> dict[str, Artifact]:
    """Like `step` for what is not worth a file: computed when first asked for, never written."""
    key = step_key(task, {name: artifact.key for name, artifact in inputs.items()})
    run = once(lambda: _timed(ledger.watcher, task, inputs, work))
    history = once(lambda: merged(*(a.history() for a in inputs.values()), [processing(task, key, run()[1])]))
    notes = once(lambda: _notes(inputs, run()[1].warnings))
    return {
        name: Artifact(f"{key}:{name}", partial(_pick, run, name), history, _roots(inputs), notes)
        for name in task.products
    }


def once(compute: Callable[[], T]) -> Callable[[], T]:
    """A computation → the same, done when first asked for; the result is kept, its ingredients let go."""
    pending, kept = [compute], list[T]()

    def value() -> T:
        if pending:
            kept.append(pending[0]())
            pending.clear()
        return kept[0]

    return value


def settle(ledger: Ledger, wait: bool = True) -> None:
    """Raise what went wrong in writing so far; `wait` until all is written."""
    for future in [f for f in ledger.pending if wait or f.done()]:
        ledger.pending.remove(future)
        future.result()


def known(ledger: Ledger, task: Task, key: str) -> list[dict[str, Any]] | None:
    """The sidecars of the task's products, if all lie on disk with this key and unaltered."""
    if ledger.path is None:
        return None
    found = []
    for product in task.products.values():
        image, record = ledger.path(product, ".nii.gz"), read_sidecar(ledger.path(product, ".json"))
        ours = record.get("Mensura", {})
        if ours.get("Key") != key or not image.is_file() or file_digest(image) != ours.get("Digest"):
            return None
        found.append(record)
    return found or None


def read_sidecar(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) if path.is_file() else {}
    except ScanError:
        return {}


def _reuse(
    ledger: Ledger, task: Task, key: str, inputs: Mapping[str, Artifact], found: Sequence[Record]
) -> dict[str, Artifact]:
    history = tuple(found[0]["Processing"])
    ledger.watcher.end(task.name, 0.0, True)
    ledger.done.append({**found[0]["Mensura"], "Reused": True})
    return {
        name: Artifact(
            f"{key}:{name}", once(partial(_read, ledger, product)), lambda: history, _roots(inputs)
        )
        for name, product in task.products.items()
    }


def _compute(
    ledger: Ledger, task: Task, key: str, inputs: Mapping[str, Artifact], work: Callable[..., Outcome]
) -> dict[str, Artifact]:
    volumes, run = _timed(ledger.watcher, task, inputs, work)
    run = replace(run, warnings=_notes(inputs, run.warnings))
    history = merged(*(a.history() for a in inputs.values()), [processing(task, key, run)])
    roots, made = _roots(inputs), {}
    for name, product in task.products.items():
        record = sidecar(task, product, key, run, history=history, roots=roots)
        kept = _write(ledger, product, volumes[name], record)
        made[name] = Artifact(f"{key}:{name}", partial(_same, kept), lambda: history, roots)
    ledger.done.append({**record["Mensura"], "Reused": False})
    return made


def _timed(
    watcher: Watcher, task: Task, inputs: Mapping[str, Artifact], work: Callable[..., Outcome]
) -> tuple[Mapping[str, Volume], Run]:
    """The work done, its inputs fetched before the clock starts, the solver's iterations overheard."""
    values = {name: artifact.value() for name, artifact in inputs.items()}
    watcher.begin(task.name, task.method)
    heard: list[tuple[int, int, float]] = []
    start = time.perf_counter()
    outcome = work(**values, monitor=_overhear(heard, watcher))
    seconds = time.perf_counter() - start
    watcher.end(task.name, seconds, False)
    run = Run(seconds, tuple(outcome.warnings), outcome.statistics, _convergence(heard))
    return outcome.volumes, run


def _overhear(heard: list[tuple[int, int, float]], watcher: Watcher) -> Monitor:
    def monitor(iteration: int, max_iter: int, change: float) -> None:
        heard.append((iteration, max_iter, float(change)))
        watcher.iteration(iteration, max_iter, change)

    return monitor


def _convergence(heard: Sequence[tuple[int, int, float]]) -> dict[str, Any] | None:
    """What the monitor heard → its record; a solver that stopped before its last iteration has converged."""
    if not heard:
        return None
    iterations, most, _ = heard[-1]
    return {
        "Iterations": iterations,
        "MaxIterations": most,
        "Converged": iterations < most,
        "History": [float(f"{change:.4g}") for _, _, change in heard],
    }


def _write(ledger: Ledger, product: Product, volume: Volume, record: dict[str, Any]) -> Volume:
    """Queue a map and its sidecar for writing; the volume as it will be read back."""
    if ledger.path is None:
        return volume
    scale = _scale(ledger, product)
    there = Volume(volume.data if scale == 1 else volume.data * scale, volume.grid, product.unit)
    job = partial(_write_pair, ledger, product, there, record)
    if ledger.writer is None:
        job()
    else:
        ledger.pending.append(ledger.writer.submit(job))
    return _inside(ledger, product, there)


def _write_pair(ledger: Ledger, product: Product, volume: Volume, record: dict[str, Any]) -> None:
    """First the map, then its JSON with the map's digest: a pair that agrees is complete."""
    assert ledger.path is not None
    image = ledger.path(product, ".nii.gz")
    whole = ledger.frame().fill(volume) if ledger.frame else volume
    write(image, whole.data, whole.grid, ledger.header)
    describe(ledger, product, record)


def describe(ledger: Ledger, product: Product, record: dict[str, Any]) -> None:
    """The JSON beside a map that has been written."""
    assert ledger.path is not None
    image = ledger.path(product, ".nii.gz")
    record["Mensura"] |= {"Digest": file_digest(image), **called(ledger.command)}
    record["Mensura"] |= {"Metadata": dict(ledger.metadata)} if ledger.metadata else {}
    record["Mensura"] |= {"Preset": ledger.preset} if ledger.preset else {}
    write_json(ledger.path(product, ".json"), {**record, **ledger.facts})


def _read(ledger: Ledger, product: Product) -> Volume:
    assert ledger.path is not None
    image = read(ledger.path(product, ".nii.gz"))
    there = Volume(image.data > 0.5 if product.mask else image.data, image.grid, product.unit)
    return _inside(ledger, product, ledger.frame().cut(there) if ledger.frame else there)


def _inside(ledger: Ledger, product: Product, there: Volume) -> Volume:
    """A volume as it lies on disk → in the unit that is used inside."""
    scale = _scale(ledger, product)
    return Volume(
        there.data if scale == 1 else there.data / scale, there.grid, product.inside or product.unit
    )


def _scale(ledger: Ledger, product: Product) -> np.float32:
    """Disk = scale × inside."""
    return np.float32(ledger.hz_per_ppm if (product.inside, product.unit) == ("ppm", "Hz") else 1.0)


def _same(volume: Volume) -> Volume:
    return volume


def _pick(run: Callable[[], tuple[Mapping[str, Volume], Run]], name: str) -> Volume:
    return run()[0][name]


def _notes(inputs: Mapping[str, Artifact], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(note for a in inputs.values() for note in a.notes()), *more)))


def _roots(inputs: Mapping[str, Artifact]) -> dict[str, str]:
    return {path: digest for artifact in inputs.values() for path, digest in artifact.roots.items()}
