"""How fast and how right the fitter is: voxels per second against scipy's curve_fit, and heads with known T1, T2, B1.

python bench/fit.py speed      voxels per second, with standard errors, and the ratio to curve_fit
python bench/fit.py truth      median error in the brain of a digital head at SNR 100, and what of it is noise
python bench/fit.py files      seconds from the files of a head of 1 mm to those of its T1 maps, and the report

--voxel-size 1                 the head of `truth` at 1 mm instead of 2
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from mensura.io import nifti
from mensura.qmri import b1, equations, gradients, mt, t1, t2, t2star
from mensura.qmri.density import proton_density
from mensura.qmri.epg import spin_echo_train
from mensura.qmri.estimates import Estimates
from mensura.qmri.mpm import multi_parameter
from mensura.qmri.transmit import onto

VOXELS = 400_000
PEERS = 300
TI = np.array([0.03, 0.1, 0.25, 0.5, 0.9, 1.5, 2.5, 4.0])
ANGLES = np.deg2rad([2, 4, 6, 9, 12, 16, 20, 26])
ECHOES = 0.012 * np.arange(1, 9)
TRAIN = 0.01 * np.arange(1, 33)
SNR = 100.0
FIELD_OF_VIEW = (160.0, 192.0, 160.0)
"""mm; the brain fits."""

Case = tuple[str, np.ndarray, Callable[[np.ndarray], Estimates], Callable[..., Any] | None, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("speed", "truth", "files"), default="speed")
    parser.add_argument("--voxel-size", type=float, default=2.0, help="mm, of the head of `truth`")
    given = parser.parse_args()
    {"speed": speed, "truth": partial(truth, given.voxel_size), "files": files}[given.what]()


def speed() -> None:
    print(
        "| model | points | voxels/s | curve_fit, voxels/s | ratio | curve_fit in bounds, voxels/s | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, signals, fitted, peer, start in cases():
        free = [-np.inf] * len(start), [np.inf] * len(start)
        ours = [*free[0][1:], t1.SHORTEST], [*free[1][1:], t1.LONGEST]
        few = signals[:PEERS]
        peers = [partial(by_peer, peer, few, start, bounds) for bounds in (free, ours)] if peer else []
        mine, *theirs = middling([partial(fitted, signals), *peers])
        rate, rates = len(signals) / mine, [PEERS / seconds for seconds in theirs]
        words = " | ".join(f"{one:.0f} | {rate / one:.0f}" for one in rates) or " | | | "
        print(f"| {name} | {signals.shape[1]} | {rate:.0f} | {words} |", flush=True)


def middling(calls: list[Callable[[], Any]]) -> list[float]:
    """The middle one of seven runs (s) of each, in turns, after a first that compiles and fills the memory."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(8):
        for call, taken in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    return [sorted(taken[1:])[3] for taken in seconds]


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    long, short = rng.uniform(0.3, 3, (VOXELS, 1)), rng.uniform(0.03, 0.2, (VOXELS, 1))

    def noisy(clean: np.ndarray) -> np.ndarray:
        return clean + 0.02 * np.abs(clean).max(axis=1, keepdims=True) * rng.standard_normal(clean.shape)

    few = slice(None, VOXELS // 10)
    trains = 1000 * spin_echo_train(
        1.0, short[few, 0], t1=1.0, echo_spacing=0.01, echoes=32, b1=rng.uniform(0.6, 1, VOXELS // 10)
    )
    return [
        (
            "inversion recovery (3 parameters)",
            noisy(1000 * (1 - 1.9 * np.exp(-TI / long))),
            lambda s: t1.inversion_recovery(s, tuple(TI), polarity="signed"),
            lambda _, a, b, t: a + b * np.exp(-TI / t),
            [1000, -2000, 1.0],
        ),
        (
            "variable flip angle (2)",
            noisy(equations.spoiled_gradient_echo(ANGLES, 1000.0, long, repetition_time=0.015)),
            lambda s: t1.variable_flip_angle(s, tuple(ANGLES), repetition_time=0.015),
            lambda _, m, t: equations.spoiled_gradient_echo(ANGLES, m, t, repetition_time=0.015),
            [1000, 1.0],
        ),
        (
            "spin echo (2)",
            noisy(1000 * np.exp(-ECHOES / short)),
            lambda s: t2.spin_echo(s, tuple(ECHOES)),
            lambda _, m, t: m * np.exp(-ECHOES / t),
            [1000, 0.08],
        ),
        ("spin echo train, EPG (3)", noisy(trains), lambda s: t2.spin_echo_train(s, tuple(TRAIN)), None, []),
    ]


def by_peer(
    model: Callable[..., Any],
    signals: np.ndarray,
    start: list[float],
    bounds: tuple[list[float], list[float]],
) -> None:
    for one in signals:
        try:
            curve_fit(model, np.arange(signals.shape[1]), one, p0=start, bounds=bounds)
        except RuntimeError:
            continue


def files() -> None:
    """Four flip angles of a head of 1 mm, in the brain and wherever there is signal: the middle one of three runs."""
    from mensura.phantom.study import write_study

    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder), sequences=("VFA",), voxel_size=(1.0,), seed=5)
        images = sorted(Path(folder).glob("sub-01/anat/*_VFA.nii.gz"))
        about = [json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text()) for path in images]
        command = [
            sys.executable, "-m", "mensura", "fit", "variable_flip_angle", "--images", *map(str, images),
            "--flip-angles", *(str(a["FlipAngle"]) for a in about),
            "--repetition-time", str(about[0]["RepetitionTimeExcitation"]),
        ]  # fmt: skip
        brain = next(Path(folder).rglob("*desc-brain_mask.nii.gz"))
        for where, mask in (("brain", ["--mask", str(brain)]), ("all signal", [])):
            seconds = []
            for run in range(3):
                out, began = Path(folder) / f"{where}-{run}", time.perf_counter()
                subprocess.run([*command, *mask, "-o", str(out)], check=True, capture_output=True)
                seconds.append(time.perf_counter() - began)
            voxels = np.count_nonzero(nifti.read(out / "T1map.nii.gz").data)
            print(
                f"{where}: {voxels} voxels in {sorted(seconds)[1]:.1f} s, with {len(list(out.glob('*.nii.gz')))} maps"
            )


def truth(voxel_size: float) -> None:
    """A digital head at SNR 100 through eight sequences; the median error of every map in the brain, in %.

    Beside it, the median size of normal noise with the fit's own standard deviations: no fit that takes every voxel
    for itself and leans to no side can fall below it.
    """
    from mensura.phantom.study import write_study

    sequences = ("IRT1", "VFA", "MESE", "TB1AFI", "TB1DAM", "MTS", "MPM", "MEGRE")
    with tempfile.TemporaryDirectory() as folder:
        write = partial(
            write_study, shape=[round(n / voxel_size) for n in FIELD_OF_VIEW], voxel_size=(voxel_size,),
            snr=SNR, seed=5,
        )  # fmt: skip
        write(Path(folder) / "study", sequences=sequences, settings={"VFA": {"flip_angles": (3, 6, 12, 18)}})
        eight = {"echo_times": tuple(0.005 * np.arange(1, 9)), "repetition_time": 0.045}
        write(Path(folder) / "longer", sequences=("MEGRE",), settings={"MEGRE": eight})
        study, longer = Study(Path(folder) / "study"), Study(Path(folder) / "longer")
        print(f"{voxel_size:g} mm, {len(study.pure)} voxels, {100 * study.pure.mean():.0f} % of them pure\n")
        print(
            "| map | from | median error, % | bias, % | of noise alone, % | in pure voxels | bias there "
            "| of noise alone there | without a value, % |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for name, source, found in [*fitted(study), *decaying(longer)]:
            told = errors(study, name, found)
            words = " | ".join(f"{value:.2f}" if np.isfinite(value) else "" for value in told)
            print(f"| {name} | {source} | {words} | {100 * np.mean(~np.isfinite(found.maps[name][0])):.1f} |")


def errors(study: Study, name: str, found: Estimates) -> list[float]:
    """Median size of the error, median error, median size that noise alone gives (%): in the brain, in pure voxels."""
    true, (values, spread) = study.true(name), found.maps[name]
    known = (true > 0) & np.isfinite(values)
    normal = np.random.default_rng(0).standard_normal(len(true))
    told: list[float] = []
    for where in (known, known & study.pure):
        off = 100 * (values[where] / true[where] - 1)
        noise = 100 * spread[where] / values[where] * normal[where]
        told += [float(np.median(x)) for x in (abs(off), off, abs(noise))]
    return told


class Study:
    """The files of a simulated subject, in the voxels of the brain."""

    def __init__(self, folder: Path) -> None:
        self.subject = folder / "sub-01"
        self.truth = folder / "derivatives" / "truth" / "sub-01"
        brain = nifti.read(next(self.truth.rglob("*desc-brain_mask.nii.gz")))
        self.mask, self.grid = brain.data > 0, brain.grid
        self.pure = self.true("purity") > 0.99

    def true(self, name: str) -> np.ndarray:
        path = next(self.truth.rglob(f"sub-01_{name}.nii.gz"))
        return nifti.read(path).data[self.mask].astype(float)

    def rises(self) -> np.ndarray:
        """By how much the true field rises across each voxel, Hz."""
        path = next(self.truth.rglob("sub-01_desc-total_fieldmap.nii.gz"))
        return gradients.rises(nifti.read(path).data.astype(np.float32), self.mask)

    def smoothed(self, b1: np.ndarray) -> np.ndarray:
        volume = np.zeros(self.mask.shape, np.float32)
        volume[self.mask] = b1
        return onto(volume, self.grid, self.grid)[self.mask]

    def series(self, suffix: str, part: str = "") -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Signals (n, images) and sidecars, in the order of the entities."""
        found = [p for p in self.subject.rglob(f"*_{suffix}.nii.gz") if part in p.name]
        found.sort(key=lambda p: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", p.name)])
        images = [nifti.read(path).data[self.mask] for path in found]
        sidecars = [
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text()) for path in found
        ]
        return np.stack(images, 1), sidecars


def noise_of(signals: np.ndarray) -> float:
    """Standard deviation of a channel: mean of the brightest image over the SNR, as `write_study` means it."""
    return float(np.abs(signals).mean(axis=0).max() / SNR)


Row = tuple[str, str, Estimates]
"""The map, what it comes from, and all that came with it."""


def fitted(study: Study) -> list[Row]:
    """Every map with the sequence and the corrections that it comes from."""
    field = study.true("TB1map").astype(np.float32)
    fields = transmit_fields(study)
    mapped = multi(study, field)
    return [
        *fields,
        *longitudinal(
            study, {"true B1": field, **{source: b.maps["TB1map"][0] for _, source, b in fields[:2]}}
        ),
        *transverse(study, field),
        ("MTsat", "MTS, true B1", saturated(study, field)),
        *((name, "MPM, true B1", mapped) for name in ("R1map", "T1map", "MTsat", "PDmap")),
        ("R2starmap", "MPM", mapped),
        ("R2starmap", "MPM, true static field", multi(study, field, study.rises())),
        *decaying(study),
    ]


def transmit_fields(study: Study) -> list[Row]:
    afi, about = study.series("TB1AFI")
    times = tuple(a["RepetitionTimeExcitation"] for a in about)
    angle = float(np.deg2rad(about[0]["FlipAngle"]))
    by_afi = b1.actual_flip_angle(afi, times, flip_angle=angle, noise=noise_of(afi))
    dam, about = study.series("TB1DAM")
    angles = tuple(np.deg2rad([a["FlipAngle"] for a in about]))
    by_dam = b1.double_angle(dam, angles, noise=noise_of(dam))
    smooth = study.smoothed(by_afi.maps["TB1map"][0])
    return [
        ("TB1map", "AFI", by_afi),
        ("TB1map", "AFI, smoothed", by_afi.derived("TB1map", smooth, np.full(len(afi), np.nan))),
        ("TB1map", "double angle", by_dam),
    ]


def longitudinal(study: Study, fields: dict[str, np.ndarray]) -> list[Row]:
    signals, about = study.series("VFA")
    angles = tuple(np.deg2rad([a["FlipAngle"] for a in about]))
    fit = partial(
        t1.variable_flip_angle, signals, angles, noise=noise_of(signals),
        repetition_time=about[0]["RepetitionTimeExcitation"],
    )  # fmt: skip
    recovery, about = study.series("IRT1", "part-mag")
    phase, _ = study.series("IRT1", "part-phase")
    times, noise = tuple(a["InversionTime"] for a in about), noise_of(recovery)
    turned = recovery * np.exp(1j * phase)
    return [
        *(("T1map", f"VFA, {source}", fit(b1=field)) for source, field in fields.items()),
        ("T1map", "VFA, no B1", fit()),
        ("T1map", "inversion recovery, magnitudes", t1.inversion_recovery(recovery, times, noise=noise)),
        ("T1map", "inversion recovery, complex", t1.inversion_recovery(turned, times, noise=noise)),
    ]


def transverse(study: Study, field: np.ndarray) -> list[Row]:
    echoes, about = study.series("MESE")
    times, noise = tuple(a["EchoTime"] for a in about), noise_of(echoes)
    return [
        ("T2map", "spin echo train, B1 fitted", t2.spin_echo_train(echoes, times, noise=noise)),
        ("T2map", "spin echo train, true B1", t2.spin_echo_train(echoes, times, b1=field, noise=noise)),
        ("T2map", "plain decay", t2.spin_echo(echoes, times, noise=noise)),
    ]


def decaying(study: Study) -> list[Row]:
    """R2* with and without what the gradient of the true static field dephases."""
    echoes, about = study.series("MEGRE", "part-mag")
    times = tuple(a["EchoTime"] for a in about)
    fit = partial(t2star.effective_decay, echoes, times, noise=noise_of(echoes))
    name = f"MEGRE, {len(times)} echoes to {1000 * times[-1]:.0f} ms"
    return [
        ("R2starmap", name, fit()),
        ("R2starmap", f"{name}, true static field", fit(field_rises=study.rises())),
    ]


def saturated(study: Study, field: np.ndarray) -> Estimates:
    signals, about = study.series("MTS")
    order = sorted(range(3), key=lambda i: (not about[i]["MTState"], about[i]["FlipAngle"]))
    return mt.magnetization_transfer_saturation(
        signals[:, order], tuple(np.deg2rad([about[i]["FlipAngle"] for i in order])),
        repetition_times=tuple(about[i]["RepetitionTimeExcitation"] for i in order), b1=field,
        noise=noise_of(signals),
    )  # fmt: skip


def multi(study: Study, field: np.ndarray, rises: np.ndarray | None = None) -> Estimates:
    """Multi-parameter maps, with the proton density inside the true brain."""
    signals, about = study.series("MPM")
    made = multi_parameter(
        signals, tuple(a["EchoTime"] for a in about), b1=field, field_rises=rises,
        flip_angles=tuple(np.deg2rad([a["FlipAngle"] for a in about])),
        repetition_times=tuple(a["RepetitionTimeExcitation"] for a in about),
        mt_states=tuple(int(a["MTState"]) for a in about), noise=noise_of(signals),
    )  # fmt: skip
    m0, t1_map = (np.full(study.mask.shape, np.nan, np.float32) for _ in range(2))
    m0[study.mask], t1_map[study.mask] = made.maps["M0map"][0], made.maps["T1map"][0]
    density = proton_density(m0, t1_map, study.mask, study.grid).percent[study.mask]
    return made.derived("PDmap", density, np.full_like(density, np.nan))


if __name__ == "__main__":
    main()
