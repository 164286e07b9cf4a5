"""Seconds, memory, and where they were measured."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ENOUGH, MOST = 1.0, 3
LIBRARIES = ("mensura", "numpy", "scipy", "numba", "ducc0")


@dataclass(frozen=True)
class Measured:
    """A result, the wall and processor seconds that it took, and by how much memory rose meanwhile (GB)."""

    result: Any
    seconds: float
    cpu_seconds: float
    memory: float | None


def measure(work: Callable[[], Any], most: int = MOST) -> Measured:
    """Calls `work`, again (up to `most` times) while all calls together took less than a second; the shortest counts.

    The memory is the first call's: peak resident set less what was resident before, so the result is in it.
    """
    gc.collect()
    before = _resident() if _forget_peak() else None
    seconds, cpu, result = timed(work)
    memory = None if before is None else max(_peak() - before, 0) / 2**20
    total, calls = seconds, 1
    while total < ENOUGH and calls < most:
        again, cpu_again, _ = timed(work)
        total, calls = total + again, calls + 1
        seconds, cpu = min((seconds, cpu), (again, cpu_again))
    return Measured(result, seconds, cpu, memory)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds (of all threads and of processes that ended meanwhile), and the result."""
    before, cpu = time.perf_counter(), _processor_seconds()
    result = work()
    return time.perf_counter() - before, _processor_seconds() - cpu, result


def _processor_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _forget_peak() -> bool:
    """Gives free memory back and sets the process's peak to what it holds now, where the system can (Linux)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        CLEAR.write_text("5")
    except (OSError, AttributeError):
        return False
    return True


def _resident() -> int:
    return _kilobytes("VmRSS")


def _peak() -> int:
    return _kilobytes("VmHWM")


def _kilobytes(name: str) -> int:
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith(name)).split()[1])


@cache
def environment() -> dict[str, str]:
    """What the numbers may depend on."""
    return {
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "processor": _processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "commit": commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str:
    """The commit of the code, with a + where files of the package were changed since."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        ended = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return ended.stdout.strip()

    changed = git("status", "--porcelain", "--", "src")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
