"""The course that every method is put through: which rows there are, and how a row comes about."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numba

from kit import measuring
from kit.conditions import TINY, Condition
from kit.inputs import Chain, Source, Truth, apply, order, upstream
from kit.measuring import Measured, measure, timed
from kit.scoring import Case, command_scores, leading, scores
from kit.table import Key, Row, Table
from mensura.io import nifti
from mensura.phantom.dataset import write_scan
from mensura.phantom.simulation import Simulation
from mensura.pipeline.config import stages

Results = Iterator[tuple[Key, dict[str, Any]]]
SIMULATE, COMMAND = "simulate", "whole command"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "mensura run": (),
    "without edges": ("--background+dipole", "smv_tv"),
    "two steps": ("--background", "vsharp", "--dipole", "tv"),
    "plain": (
        *("--unwrap.romeo.individual", "true", "--field", "linear"),
        *("--background", "vsharp", "--dipole", "tkd"),
    ),
}
"""Ways through the whole chain: the defaults, these without the magnitude's edges, the usual two steps, and the
simplest of everything that is sound."""
RUN = """
import sys
from mensura.cli import main
code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


@dataclass(frozen=True)
class Plan:
    """What to do: conditions, the rows that are wanted (see `keys`; all if empty), threads to use."""

    conditions: Sequence[Condition]
    only: Sequence[str] = ()
    threads: int = 2
    say: Callable[[str], None] = print
    compiling: dict[tuple[str, str], float] = field(default_factory=dict)


def keys(condition: Condition, only: Sequence[str] = ()) -> list[Key]:
    """The rows of a condition in the order in which they are computed; `only` names stage[:method[:input]]."""
    entries = [(SIMULATE, "head", "seed"), *((COMMAND, name, "files") for name in COMMANDS)]
    for stage in order(stages()):
        sources = ("true", "chain") if upstream(stage) else ("true",)
        entries += [(stage, method, source) for method in stages()[stage].methods for source in sources]
    wanted = [e for e in entries if not only or {":".join(e[:n]) for n in (1, 2, 3)} & set(only)]
    return [Key(condition.name, *entry) for entry in wanted]


def missing(plan: Plan, table: Table) -> list[tuple[Condition, list[Key]]]:
    """The rows that are still to be computed, by condition."""
    found = [(c, [key for key in keys(c, plan.only) if key not in table.rows]) for c in plan.conditions]
    return [(condition, wanted) for condition, wanted in found if wanted]


def run(plan: Plan, table: Table) -> int:
    """Computes the rows that the table lacks, each written as soon as it is there; how many were computed."""
    numba.set_num_threads(plan.threads)
    left = missing(plan, table)
    if not left:
        return 0
    warm_up(plan, (key[1:] for _, wanted in left for key in wanted))
    clock = _Clock(sum(c.voxels * len(wanted) for c, wanted in left))
    gc.collect()
    gc.freeze()  # what is there by now stays, and need not be looked through before every row
    try:
        for condition, wanted in left:
            for key, values in results(condition, wanted, plan):
                table.add(key, values)
                plan.say(f"{clock.after(condition.voxels)}  {described(table.rows[key])}")
    finally:
        gc.unfreeze()
    return sum(len(wanted) for _, wanted in left)


def warm_up(plan: Plan, wanted: Iterable[tuple[str, ...]]) -> None:
    """Calls on a tiny head what is to be timed; what the first call took longer than another is compiling."""
    plan.say("Every method is called once on a tiny head, so that its kernels are compiled …")
    before = time.perf_counter()
    scan, plan.compiling[SIMULATE, "head"] = _first(TINY.scan)
    head = Head(scan, plan.threads)
    for stage, method, source in sorted(dict.fromkeys(wanted), key=lambda entry: entry[0] == COMMAND):
        with suppress(Exception):
            if method == next(iter(COMMANDS)):
                head.command(method)
            elif source in head.sources:
                given = head.sources[source].given(stage)
                _, seconds = _first(partial(apply, stage, method, given))
                plan.compiling[stage, method] = plan.compiling.get((stage, method), 0) + seconds
    head.close()
    plan.say(f"… in {time.perf_counter() - before:.0f} s.")


def _first(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a first call, and how many seconds longer than the second it took."""
    first, second = measure(work, 1), measure(work, 1)
    return first.result, max(first.seconds - second.seconds, 0)


def results(condition: Condition, wanted: Sequence[Key], plan: Plan) -> Results:
    """The rows of one condition, one after the other; of a head that cannot be made, only that it cannot."""
    try:
        made = measure(condition.scan, 1)
    except Exception as error:
        yield (
            Key(condition.name, SIMULATE, "head", "seed"),
            {**facts(condition, plan.threads), **failure(error)},
        )
        return
    with closing(Head(made.result, plan.threads)) as head:
        for key in wanted:
            compiling = plan.compiling.get((key.stage, key.method))
            known = {"brain_voxels": int(head.scan.mask.sum()), "compile_seconds": compiling}
            yield key, {**facts(condition, plan.threads), **known, **result(key, head, made)}


def result(key: Key, head: Head, made: Measured) -> dict[str, Any]:
    """What a row says: costs and accuracy, or what went wrong."""
    before = time.perf_counter()
    try:
        found = _costs(made) if key.stage == SIMULATE else outcome(key, head)
        values = {"status": "done", **found}
    except Exception as error:
        values = failure(error)
    spent = time.perf_counter() - before + (made.seconds if key.stage == SIMULATE else 0)
    return {**values, "row_seconds": spent}


class Head:
    """A simulated scan, and what the rows of a condition share: inputs, and the scan's files."""

    def __init__(self, scan: Simulation, threads: int) -> None:
        self.scan, self.threads = scan, threads
        self.sources: dict[str, Source] = {"true": Truth(scan), "chain": Chain(scan)}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def files(self) -> Path:
        """A folder with the scan as a BIDS dataset in `raw`, written when first needed."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
            write_scan(Path(self._folder.name) / "raw", self.scan)
        return Path(self._folder.name)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def command(self, name: str) -> dict[str, Any]:
        """The whole command, from the scan's files to the files of its maps, as a process of its own."""
        out = self.files / name.replace(" ", "-")
        words = ["run", str(self.files / "raw"), str(out), "participant", "--threads", str(self.threads)]
        program = [sys.executable, "-c", RUN, *words, *COMMANDS[name]]
        seconds, cpu, ended = timed(partial(subprocess.run, program, capture_output=True, text=True))
        if ended.returncode:
            raise RuntimeError((ended.stderr.strip() or "no message").splitlines()[-1])
        stem = out / "sub-01" / "anat" / "sub-01"
        chi, kept = (nifti.read(f"{stem}_{end}.nii.gz").data for end in ("Chimap", "desc-local_mask"))
        memory = int(ended.stdout.split()[-2]) / 2**20
        costs = {"seconds": seconds, "cpu_seconds": cpu, "memory_gb": memory, "memory_of": "process"}
        return {**costs, **command_scores(self.scan, chi, kept > 0)}


def outcome(key: Key, head: Head) -> dict[str, Any]:
    """What a row says of costs and accuracy."""
    if key.stage == COMMAND:
        return {"default": "no" if COMMANDS[key.method] else "yes", **head.command(key.method)}
    return tried(key, head.sources[key.input])


def failure(error: Exception) -> dict[str, Any]:
    """What a row says when something went wrong."""
    return {"status": "failed", "message": f"{type(error).__name__}: {error}"}


def tried(key: Key, source: Source) -> dict[str, Any]:
    """One method of one stage: its costs and scores."""
    given = source.given(key.stage)
    taken = measure(partial(apply, key.stage, key.method, given))
    default = key.method == stages()[key.stage].default
    if default and isinstance(source, Chain):
        source.keep(key.stage, taken.result)
    found = scores(Case(key.stage, given, taken.result, source))
    return {"default": "yes" if default else "no", **_costs(taken), **found}


def _costs(taken: Measured) -> dict[str, Any]:
    kind = None if taken.memory is None else "increment"
    times = {"seconds": taken.seconds, "cpu_seconds": taken.cpu_seconds}
    return {**times, "memory_gb": taken.memory, "memory_of": kind}


def facts(condition: Condition, threads: int) -> dict[str, Any]:
    """The condition, and where and when it was run."""
    return {
        "shape": "x".join(map(str, condition.shape)),
        "voxel_size_mm": condition.voxel_size,
        "voxels": condition.voxels,
        "field_strength_t": condition.field_strength,
        "echo_times_s": condition.echo_times,
        "snr": condition.snr,
        "b0_angle_deg": condition.b0_angle,
        "lesions": condition.lesions,
        "seed": condition.seed,
        "base": condition.base,
        "threads": threads,
        "load": os.getloadavg()[0],
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **measuring.environment(),
    }


def described(row: Row) -> str:
    """A row in a line."""
    name = f"{row['condition']:<18} {row['stage']:<18} {row['method']:<14} {row['input']:<6}"
    if row["status"] != "done":
        return f"{name} {row['status']}: {row['message'][:80]}"
    lead = leading(row["stage"])
    score = f"{lead.label} {float(row[lead.column]):.3g}" if row[lead.column] else ""
    return f"{name} {float(row['seconds']):8.2f} s  {score}"


class _Clock:
    """Share of the work that is done, and the time that is left if a voxel keeps costing the same."""

    def __init__(self, work: int) -> None:
        self.work, self.done, self.start = work, 0, time.perf_counter()

    def after(self, voxels: int) -> str:
        self.done += voxels
        passed = time.perf_counter() - self.start
        left = passed * (self.work - self.done) / self.done
        return f"{100 * self.done / self.work:5.1f} %, about {left / 60:4.1f} min left"
