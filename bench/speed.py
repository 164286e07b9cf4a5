"""How long and how much memory: `python bench/speed.py` prints tables. 164×205×205 voxels, 4 echoes, 2 threads.

python bench/speed.py [command] [stages] [methods]      only these parts

The whole command runs as its own process, .nii.gz in and out, twice: with empty kernel caches and with full ones.
Peers run in the same process as the stages that they are compared with. Then every method of background removal and
inversion, with its defaults, on the true fields and their noise: its second run, beside the limit it is held to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from skimage.restoration import unwrap_phase

from mensura.inverse.fft import fast_shape, irfft, pad, rfft
from mensura.methods import call
from mensura.phantom.dataset import write_scan
from mensura.phantom.head import simulate_head
from mensura.phantom.simulation import Simulation
from mensura.qsm import offset, unwrap
from mensura.qsm.dipole.tv import tv
from mensura.qsm.stages import STAGES
from mensura.scan import Volume

SHAPE = (164, 205, 205)
TIMED = ("background", "dipole", "background+dipole", "uncertainty")
LIMITS = {
    "vsharp": 2.5,
    "resharp": 4,
    "lbv": 3,
    "pdf": 20,
    "tkd": 0.4,
    "tikhonov": 0.4,
    "tv": 4,
    "rts": 4,
    "hd_qsm": 8,
    "ndi": 12,
    "ilsqr": 15,
    "medi": 8,
    "nonlinear_tv": 15,
    "tgv_qsm": 25,
    "smv_tv": 10,
}
"""Seconds that a method may take on two cores."""


RUN = """
import sys
from mensura.cli import main
code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def command(raw: Path, out: Path, cache: Path | None) -> tuple[float, float]:
    """Wall seconds and peak GB of `mensura run` (its own peak: getrusage would count this process's memory too)."""
    words = ["run", str(raw), str(out), "participant", "--force", "--threads", "2"]
    environment = os.environ | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    before = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *words], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    return time.perf_counter() - before, int(ended.stdout.split()[-2]) / 2**20


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Shortest of several runs after a first one that compiles."""
    work()
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return min(taken)


def stages(scan: Simulation) -> dict[str, float]:
    mask, grid = scan.mask, scan.grid
    known: dict[str, Any] = {"magnitude": scan.magnitude, "echo_times": scan.acquisition.echo_times}
    phase = scan.phase
    clean = offset.mcpc3ds(phase, mask, grid, **known)
    local = scan.local_field * mask
    masked = np.ma.masked_array(phase[..., 0], ~mask)
    box = np.ascontiguousarray(pad(local, fast_shape(SHAPE)))
    double = local.astype(np.complex128)
    return {
        "offset removal": best(lambda: offset.mcpc3ds(phase, mask, grid, **known)),
        "unwrapping, 4 echoes": best(lambda: unwrap.romeo(clean, mask, grid, **known)),
        "unwrapping, 1 echo": best(lambda: unwrap.unwrap_spatial(phase[..., 0], mask)),
        "peer: skimage unwrap_phase, 1 echo": best(lambda: unwrap_phase(masked, rng=0), 1),
        "one TV inversion": best(lambda: tv(local, mask, grid), 2),
        "FFT and back, float32, padded": best(lambda: irfft(rfft(box), box.shape[2])),
        "peer: scipy rfftn and back, float32": best(
            lambda: scipy.fft.irfftn(scipy.fft.rfftn(local, workers=2), local.shape, workers=2)
        ),
        "peer: scipy fftn and back, complex128": best(
            lambda: scipy.fft.ifftn(scipy.fft.fftn(double, workers=2), workers=2)
        ),
    }


def artifacts(scan: Simulation) -> dict[str, Any]:
    """What the methods from the total field on consume: the truth, with the noise that the echoes allow."""
    times = np.asarray(scan.acquisition.echo_times)
    information = np.sum((scan.magnitude * times) ** 2, axis=3) / scan.sigma**2
    noise = 1 / (2 * np.pi * scan.acquisition.hz_per_ppm * np.sqrt(information))
    images = {
        "mask": (scan.mask, "1"),
        "total_field": (scan.total_field * scan.mask, "ppm"),
        "local_field": (scan.local_field * scan.mask, "ppm"),
        "field_std": (noise * scan.mask, "ppm"),
        "chi": (scan.chi * scan.mask, "ppm"),
        "r2star": (scan.r2star * scan.mask, "1/s"),
        "magnitude": (scan.magnitude, "arbitrary"),
    }
    arrays = {
        name: (a if a.dtype == bool else a.astype(np.float32), unit) for name, (a, unit) in images.items()
    }
    return {name: Volume(a, scan.grid, unit) for name, (a, unit) in arrays.items()}


def methods(scan: Simulation) -> Iterator[tuple[str, float]]:
    """Each method of the timed stages, with its seconds."""
    everything = artifacts(scan)
    for stage in TIMED:
        given = {name: everything[name] for name in STAGES[stage].consumes if name in everything}
        if stage == "dipole":
            given.pop("total_field", None)
        for method in STAGES[stage].methods:
            yield f"{stage}: {method}", best(partial(call, STAGES[stage], method, given), 1)


def commands(scan: Simulation) -> None:
    """The whole command with empty kernel caches and with full ones."""
    with tempfile.TemporaryDirectory() as folder:
        raw, cache = Path(folder) / "raw", Path(folder) / "cache"
        write_scan(raw, scan)
        for name in ("kernels to compile", "kernels compiled"):
            seconds, peak = command(raw, Path(folder) / "out", cache)
            what = f"mensura run, files to files and report, {name} (peak {peak:.2f} GB)"
            print(f"| {what} | {seconds:.1f} |", flush=True)


def report(parts: Sequence[str]) -> None:
    """The parts that are wanted, all if none is named."""
    scan = simulate_head(SHAPE, (1.0, 1.0, 1.0), seed=0)
    load = os.getloadavg()[0]
    print(f"\n{SHAPE} voxels, 4 echoes, {scan.mask.sum() / 1e6:.2f} million in the brain; load {load:.1f}")
    print("\n| what | s |\n|---|---|")
    if not parts or "command" in parts:
        commands(scan)
    if not parts or "stages" in parts:
        for name, seconds in stages(scan).items():
            print(f"| {name} | {seconds:.3f} |", flush=True)
    if not parts or "methods" in parts:
        print("\n| method | s | limit |\n|---|---|---|")
        for name, seconds in methods(scan):
            print(f"| {name} | {seconds:.2f} | {LIMITS.get(name.split(': ')[1], '')} |", flush=True)


if __name__ == "__main__":
    report(sys.argv[1:])
