"""One run from files to files: its picklable description, the function that does it, and how it ended."""

from __future__ import annotations

import math
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from mensura.io import bids
from mensura.io.files import digest as file_digest
from mensura.io.nifti import read, read_shape
from mensura.io.scans import Scan, json_of
from mensura.io.series import SeriesScan
from mensura.pipeline.config import Settings
from mensura.pipeline.prepare import prepare
from mensura.pipeline.products import IGNORED, PRODUCTS
from mensura.pipeline.qsm import Roots, maps
from mensura.pipeline.record import Product
from mensura.pipeline.step import Artifact, Ledger, Silent, Watcher, read_sidecar, settle
from mensura.scan import ScanError, Volume

PROGRAM_BYTES = 400_000_000
COMPILER_BYTES = 500_000_000
BYTES_PER_VOXEL = 170
BYTES_PER_ECHO_VOXEL = 26
"""Peak memory as measured: program, compiler on first use, what solvers hold of a voxel, what images do."""


@dataclass(frozen=True)
class Job:
    """What to do, before anything is read: how to `load` the scan, and where its maps go."""

    name: str
    load: Callable[[], Scan | SeriesScan]
    out_dir: Path
    run: bids.MultiEchoRun | None = None
    settings: Settings = field(default_factory=Settings)
    force: bool = False
    command: str = ""
    reference_region: Path | None = None

    @property
    def group(self) -> tuple[Path, str | None, str | None]:
        """What shares a report: the output folder, the subject and the session."""
        return (
            (self.out_dir, None, None)
            if self.run is None
            else (self.out_dir, self.run.subject, self.run.session)
        )

    def path(self, product: Product, extension: str = ".nii.gz") -> Path:
        """The file that holds a product."""
        suffix = product.suffix
        if suffix == "MEGRE" and self.run is not None:
            suffix = self.run.suffix
        return bids.output_path(
            self.out_dir, self.run, suffix, desc=product.desc, part=product.part, extension=extension
        )


@dataclass(frozen=True)
class Result:
    """How a job ended: a row of the summary table."""

    name: str
    status: Literal["done", "bad input", "failed"]
    seconds: float
    message: str = ""
    computed: int = 0
    reused: int = 0
    warnings: tuple[str, ...] = ()
    details: str = ""


def process(job: Job, watcher: Watcher | None = None) -> Result:
    """A job → its maps on disk, unchanged ones reused. ScanError for input that cannot be used."""
    start = time.perf_counter()
    loaded = job.load()
    first = loaded.first if isinstance(loaded, SeriesScan) else loaded
    job = replace(job, settings=job.settings.suited(first.acquisition))
    if isinstance(loaded, SeriesScan):
        from mensura.pipeline.series import process_series

        return process_series(job, loaded, watcher or Silent())
    scan = prepare(loaded)
    roots = roots_of(job, scan)
    check_output(job, scan, roots)
    with ThreadPoolExecutor(1) as writer:
        ledger = ledger_of(job, scan, watcher or Silent(), writer)
        maps(scan, job.settings, ledger, roots=roots, reference_region=region_of(job, scan))
        settle(ledger)
    return ended(job, ledger, start)


def ledger_of(job: Job, scan: Scan, watcher: Watcher, writer: Executor) -> Ledger:
    """Where the steps of a job are written and remembered; its folder made a dataset if the scan is of one."""
    if job.run is not None:
        bids.write_dataset_description(job.out_dir, name="mensura maps", raw=job.run.dataset)
        bids.write_bidsignore(job.out_dir, IGNORED)
    return Ledger(
        path=job.path,
        header=scan.header,
        facts={"Acquisition": acquisition_facts(scan)},
        metadata=_metadata(job, scan),
        command=job.command,
        preset=job.settings.preset,
        hz_per_ppm=scan.hz_per_ppm if scan.field_strength else 1.0,
        force=job.force,
        watcher=watcher,
        writer=writer,
    )


def ended(job: Job, ledger: Ledger, start: float) -> Result:
    """The row of a job that is done."""
    reused = sum(bool(record["Reused"]) for record in ledger.done)
    warnings = dict.fromkeys(text for record in ledger.done for text in record["Warnings"])
    seconds = time.perf_counter() - start
    return Result(job.name, "done", seconds, "", len(ledger.done) - reused, reused, tuple(warnings))


def attempt(job: Job, watcher: Watcher | None = None) -> Result:
    """Like `process`, but what goes wrong becomes a result as well, so that a batch goes on."""
    start = time.perf_counter()
    try:
        return process(job, watcher)
    except ScanError as error:
        return Result(job.name, "bad input", time.perf_counter() - start, str(error))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return Result(
            job.name, "failed", time.perf_counter() - start, message, details=traceback.format_exc()
        )


def with_readout(
    load: Callable[[], Scan | SeriesScan], readout: Literal["monopolar", "bipolar"] | None
) -> Scan | SeriesScan:
    """A scan as it is loaded, its readout told where it was."""
    scan = load()
    if isinstance(scan, SeriesScan):
        return replace(scan, first=cast(Scan, with_readout(lambda: scan.first, readout)))
    if readout is None or scan.acquisition is None:
        return scan
    return replace(scan, acquisition=replace(scan.acquisition, readout=readout))


def input_shape(given: Mapping[str, Any], series: bool = False) -> tuple[int, ...]:
    """The images of a scan, by name → (x, y, z, echoes), from a header alone; of a `series` a volume counts."""
    several = next((given[name] for name in ("phase", "real") if given[name]), ())
    paths = several or [given["total_field"] or given["local_field"]]
    if paths == [None]:
        raise ScanError("there is no phase; give phase images, real and imaginary parts, or a field")
    shape = read_shape(paths[0])
    return (*shape[:3], shape[3] if len(shape) == 4 and not series else len(paths))


def memory_needed(shape: tuple[int, ...]) -> int:
    """Bytes at the peak for a scan of (x, y, z, echoes), with the kernels to be compiled."""
    voxels = math.prod(shape[:3])
    return (
        PROGRAM_BYTES
        + COMPILER_BYTES
        + voxels * (BYTES_PER_VOXEL + BYTES_PER_ECHO_VOXEL * (shape[3] if len(shape) > 3 else 1))
    )


def disk_needed(shape: tuple[int, ...]) -> int:
    """Bytes that the maps of a scan of (x, y, z, echoes) may take, compressed."""
    return math.prod(shape[:3]) * 4 * (12 + (shape[3] if len(shape) > 3 else 1))


def check_output(job: Job, scan: Scan, roots: Roots) -> None:
    """ScanError if the folder cannot take the maps: no space, no permission, or another scan's maps in it."""
    existing = next(p for p in (job.out_dir, *job.out_dir.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise ScanError(f"{existing} is a file, not a folder; choose another output folder")
    echoes = 1 if scan.phase is None else scan.phase.shape[3]
    need, free = disk_needed((*scan.grid.shape, echoes)), shutil.disk_usage(existing).free
    if free < need:
        raise ScanError(
            f"{existing} has {free / 1e6:.0f} MB left but the maps may take {need / 1e6:.0f} MB; "
            "free some space or choose another output folder"
        )
    if not job.force:
        _refuse_other_scan(job, roots)


def _refuse_other_scan(job: Job, roots: Roots) -> None:
    """Maps of another scan are kept: they share neither a file nor a content with this one's inputs."""
    products = [product for step in PRODUCTS.values() for product in step.values()]
    records = (read_sidecar(job.path(product, ".json")).get("Mensura", {}) for product in products)
    before = {item for record in records for pair in record.get("Inputs", {}).items() for item in pair}
    now = {item for files in roots.values() for pair in files.items() for item in pair}
    if before and not before & now:
        folder = job.path(products[0]).parent
        raise ScanError(f"{folder} holds maps of another scan; choose another output folder, or add --force")


def acquisition_facts(scan: Scan) -> dict[str, Any]:
    """What a sidecar says of the acquisition: BIDS names and units where BIDS has them."""
    acquisition, grid = scan.acquisition, scan.grid
    facts: dict[str, Any] = {
        "MagneticFieldStrength": scan.field_strength,
        "VoxelSize": [round(size, 6) for size in grid.voxel_size],
        "MatrixSize": list(grid.shape),
        "B0Direction": [round(part, 6) for part in grid.b0_direction],
    }
    if acquisition is None:
        return facts
    angle = acquisition.flip_angle
    facts |= {
        "EchoTime": list(acquisition.echo_times),
        "RepetitionTime": acquisition.repetition_time,
        "FlipAngle": None if angle is None else round(math.degrees(angle), 6),
        "Readout": acquisition.readout,
    }
    return {**dict(acquisition.details), **facts}


def region_of(job: Job, scan: Scan) -> Artifact | None:
    """The file of the reference region as an artifact, on the grid of the scan."""
    if job.reference_region is None:
        return None
    image = read(job.reference_region)
    if not image.grid.matches(scan.grid) or image.data.ndim != 3:
        raise ScanError(
            f"{image.path} does not lie on the grid of the scan; make the reference region on its grid"
        )
    key = file_digest(image.path)
    inside = Volume(np.nan_to_num(image.data) != 0, scan.grid, "1")
    return Artifact(key, lambda: inside, roots={str(image.path): key})


def _metadata(job: Job, scan: Scan) -> dict[str, str]:
    """The digests of the JSON files that tell of the scan's images."""
    paths = [path for part in ("phase", "real") for path in scan.sources.get(part, ())]
    beside = [json_of(path) for path in paths if json_of(path).is_file()]
    every = beside if job.run is None else job.run.sidecars()
    return {_named(job, path): file_digest(path) for path in every}


def roots_of(job: Job, scan: Scan) -> Roots:
    """The digests of the scan's files: {"phase": {BIDS URI or path: digest}, …}."""
    return {
        part: {_named(job, path): file_digest(path) for path in paths} for part, paths in scan.sources.items()
    }


def _named(job: Job, path: Path) -> str:
    """A file as records name it: its BIDS URI, or its path."""
    return str(path.resolve()) if job.run is None else bids.bids_uri(path, job.run.dataset)
