"""R2* of gradient echoes and T2 of spin echoes of one session, as they lie on disk → R2′ = R2* − 1/T2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mensura import __version__
from mensura.fit import Status
from mensura.io import nifti
from mensura.io.files import digest, staged
from mensura.io.scans import beside
from mensura.pipeline.record import called, code_digest, reference, versions, write_pair
from mensura.scan import FloatArray

SUFFIX = "R2primemap"
"""BIDS has none for it."""
DOI = "10.1002/mrm.1910320610"
ABOUT = {
    None: ("Reversible transverse relaxation rate, R2* − 1/T2", "1/s"),
    "std": ("Standard deviation of the reversible transverse relaxation rate", "1/s"),
    "status": ("Why there is no value: the status of R2*, else that of T2; 0 where there is one", "1"),
}


def derive(
    out_dir: Path, sessions: Iterable[tuple[str, str]], command: str = "", force: bool = False
) -> list[str]:
    """Makes R2′ in every session (participant, session) that has one R2* of gradient echoes and one T2 of spin echoes.

    Says what was made, and where both are there but do not belong together: several of either, or other grids.
    Yablonskiy & Haacke 1994, 10.1002/mrm.1910320610.
    """
    said = []
    for subject, session in sessions:
        folder = Path(out_dir, f"sub-{subject}", *([f"ses-{session}"] if session else []), "anat")
        rates = [
            p
            for p in _maps(folder, "R2starmap")
            if "r2star" in (_about(p).get("Step"), _about(p).get("Model"))
        ]
        times = [p for p in _maps(folder, "T2map") if str(_about(p).get("Model")).startswith("spin_echo")]
        if not rates or not times:
            continue
        name = folder.parent.relative_to(out_dir).as_posix()
        if len(rates) > 1 or len(times) > 1:
            said.append(
                f"{name}: there are {len(rates)} R2* and {len(times)} T2 maps; R2′ was not made, for which "
                "belong together cannot be told"
            )
            continue
        said += _made(rates[0], times[0], out_dir, (command, force))
    return said


def _maps(folder: Path, suffix: str) -> list[Path]:
    """The maps of that kind, without their errors and status."""
    return [p for p in sorted(folder.glob(f"*_{suffix}.nii.gz")) if "_desc-" not in p.name]


def _sibling(path: Path, desc: str | None, suffix: str) -> Path:
    """A map → another with the same entities."""
    stem = path.name.rpartition("_")[0]
    return path.with_name(f"{stem}_{f'desc-{desc}_' if desc else ''}{suffix}.nii.gz")


def _about(path: Path) -> Mapping[str, Any]:
    """What mensura wrote beside a map."""
    found: Mapping[str, Any] = beside(path).get("Mensura", {})
    return found


def _made(rate: Path, time: Path, out_dir: Path, how: tuple[str, bool]) -> list[str]:
    """R2′ of two maps on disk, and what is to be said of it: nothing where it is there already."""
    command, force = how
    first, second = nifti.read(rate), nifti.read(time)
    if not first.grid.matches(second.grid):
        return [
            f"{rate.name} and {time.name} lie on different grids: R2′ was not made; bring one to the other's grid"
        ]
    record = _record((rate, time), out_dir, command)
    out, same = _sibling(rate, None, SUFFIX), ("Digests", "Version", "Code")
    if not force and all(_about(out).get(key) == record["Mensura"][key] for key in same):
        return []
    volumes = reversible(_with_error(rate, first.data), _with_error(time, second.data))
    with staged(out.parent) as folder:
        for (desc, (words, unit)), volume in zip(ABOUT.items(), volumes, strict=True):
            name = _sibling(rate, desc, SUFFIX).name
            write_pair(folder / name, volume, first, {"Description": words, "Units": unit, **record})
    inside = volumes[0][(volumes[0] != 0) & np.isfinite(volumes[0])]
    middle = float(np.median(inside)) if inside.size else float("nan")
    return [f"{out.name}: R2′ of {rate.name} and {time.name}, median {middle:.3g} 1/s"]


def _record(maps: tuple[Path, Path], out_dir: Path, command: str) -> dict[str, Any]:
    """What the sidecars tell: both maps, and the images and JSON files that these were made of."""
    names = [f"bids::{path.relative_to(out_dir).as_posix()}" for path in maps]
    told = [_about(path) for path in maps]
    roots = [ours.get("Inputs") or ours.get("Digests") or {} for ours in told]
    return {
        "Sources": names,
        "EstimationReference": reference(DOI),
        "EstimationAlgorithm": "difference of R2* and 1/T2",
        "SkullStripped": True,
        "Acquisition": beside(maps[0]).get("Acquisition", {}),
        "Mensura": {
            "Version": __version__,
            "Versions": versions(),
            "Code": code_digest(),
            "Created": datetime.now(UTC).isoformat(timespec="seconds"),
            **called(command),
            "Digests": {**dict(zip(names, map(digest, maps), strict=True)), **roots[0], **roots[1]},
            "Metadata": {**told[0].get("Metadata", {}), **told[1].get("Metadata", {})},
        },
    }


def _with_error(path: Path, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A map with its standard deviation and status, where they are there."""
    suffix = path.name.rpartition("_")[2].removesuffix(".nii.gz")
    error, status = (_sibling(path, desc, suffix) for desc in ("std", "status"))
    return (
        values,
        nifti.read(error).data if error.is_file() else np.full_like(values, np.nan),
        nifti.read(status).data if status.is_file() else np.zeros_like(values),
    )


def reversible(
    rate: tuple[FloatArray, FloatArray, FloatArray], time: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, Any]:
    """R2* (1/s) and T2 (s), each with standard deviation and status → R2′ (1/s), its standard deviation and status.

    R2′ = R2* − 1/T2, σ² = σ(R2*)² + (σ(T2)/T2²)². Noise may make it negative. Not a number where one of the two is
    none; 0 outside the mask of either.
    """
    (r2star, rate_error, rate_status), (t2, time_error, time_status) = rate, time
    inside = (r2star != 0) & (t2 != 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(inside, r2star - 1 / t2, 0)
        error = np.where(inside, np.hypot(rate_error, time_error / np.square(t2)), 0)
    status = np.where(inside, np.where(rate_status > 0, rate_status, time_status), 0)
    failed = inside & ~np.isfinite(value)
    status = np.where(failed & (status == 0), np.uint8(Status.NO_SIGNAL), status)
    value, error = (np.where(failed, np.nan, a).astype(np.float32) for a in (value, error))
    return value, error, status.astype(np.uint8)
