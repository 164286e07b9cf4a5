"""What is known about a step and its maps: the key of its content, and the JSON that lies beside each map."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from platform import python_version
from typing import Any

import mensura
from mensura.io.files import digest as file_digest
from mensura.io.files import write_json
from mensura.io.nifti import Image, write
from mensura.io.scans import json_of

CODE = ("scan.py", "methods.py", "mask", "fit", "inverse", "qmri", "qsm", "pipeline/qsm.py")
"""The sources whose change makes earlier results stale."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Product:
    """How an artifact lies on disk: the parts of its file's name, and its unit there and `inside`."""

    suffix: str
    unit: str
    description: str
    desc: str | None = None
    part: str | None = None
    inside: str | None = None
    mask: bool = False
    skull_stripped: bool = True


@dataclass(frozen=True)
class Task:
    """A step before it runs: its name, what does it, with what parameters, and its products by artifact."""

    name: str
    method: str
    products: Mapping[str, Product]
    algorithm: str = ""
    doi: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What was seen while a task ran: seconds, warnings, statistics, and the convergence of its solver."""

    seconds: float
    warnings: Sequence[str] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    convergence: Mapping[str, Any] | None = None


def digest(content: Any) -> str:
    """Anything that JSON can hold → 32 hex digits that change when it changes."""
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def step_key(task: Task, inputs: Mapping[str, str]) -> str:
    """The key of a task's results: name, method, resolved parameters, code, and the keys of its inputs."""
    return digest([task.name, task.method, task.parameters, code_digest(), inputs])


@cache
def code_digest() -> str:
    """Digest of the version and the sources that decide what the maps look like."""
    root = Path(__file__).resolve().parents[1]
    paths = [p for name in CODE for p in sorted([root / name, *(root / name).rglob("*.py")]) if p.is_file()]
    return digest([mensura.__version__, {str(p.relative_to(root)): p.read_text("utf-8") for p in paths}])


@cache
def versions() -> dict[str, str]:
    """Of mensura, Python and the libraries that compute."""
    ours = {"mensura": mensura.__version__, "python": python_version()}
    return ours | {name: version(name) for name in ("numpy", "scipy", "numba", "ducc0")}


def called(command: str) -> dict[str, Any]:
    """A command line → what a record says of it: the words, where it was given, digests of its settings' file."""
    words = shlex.split(command)
    given = [Path(after) for word, after in pairwise(words) if word == "--config"]
    given += [Path(word.partition("=")[2]) for word in words if word.startswith("--config=")]
    files = {str(path.resolve()): file_digest(path) for path in given if path.is_file()}
    return {"Command": command, "Directory": str(Path.cwd()), **({"Settings": files} if files else {})}


def write_pair(path: Path, volume: Any, like: Image, told: Record) -> None:
    """A map with the geometry of an image (`.nii.gz`), and beside it its JSON, which holds the digest of the map."""
    write(path, volume, like.grid, like.header)
    ours = {**told["Mensura"], "Digest": file_digest(path)}
    write_json(json_of(path), {**told, "Mensura": ours})


def processing(task: Task, key: str, run: Run) -> Record:
    """The line that a task adds to the history of what stems from it."""
    return {
        "Stage": task.name,
        "Method": task.method,
        "Parameters": dict(task.parameters),
        "EstimationAlgorithm": task.algorithm,
        "EstimationReference": reference(task.doi),
        "Seconds": round(run.seconds, 3),
        "Key": key,
    }


def merged(*histories: Iterable[Record]) -> tuple[Record, ...]:
    """Histories → one, each step once, in the order of their first appearance."""
    steps = {record["Key"]: record for history in histories for record in history}
    return tuple(steps.values())


def sidecar(
    task: Task, product: Product, key: str, run: Run, *, history: Sequence[Record], roots: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON beside a map, but for what only the scan knows and the digest of the map itself."""
    return {
        "Description": product.description,
        "Units": product.unit,
        "Sources": list(roots),
        "SkullStripped": product.skull_stripped,
        "EstimationAlgorithm": task.algorithm or task.method,
        "EstimationReference": reference(task.doi),
        "Mensura": {
            "Step": task.name,
            "Method": task.method,
            "Key": key,
            "Parameters": dict(task.parameters),
            "Inputs": dict(roots),
            "Versions": versions(),
            "Seconds": round(run.seconds, 3),
            "Created": datetime.now(UTC).isoformat(timespec="seconds"),
            "Warnings": list(run.warnings),
            "Convergence": run.convergence,
            "Statistics": dict(run.statistics),
        },
        "Processing": list(history),
    }


def reference(doi: str) -> str:
    """A DOI as a link; nothing stays nothing."""
    return f"https://doi.org/{doi}" if doi else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)
