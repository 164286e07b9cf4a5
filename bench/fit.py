"""How fast and how right the fitter is: voxels per second against scipy's curve_fit, and heads with known T1, T2, B1.

python bench/fit.py speed      voxels per second, with standard errors, and the ratio to curve_fit
python bench/fit.py truth      median error in the brain of a digital head at SNR 100
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from mensura.io import nifti
from mensura.qmri import b1, equations, mt, t1, t2
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

Case = tuple[str, np.ndarray, Callable[[np.ndarray], Estimates], Callable[..., Any] | None, list[float]]


def main() -> None:
    {"speed": speed, "truth": truth}[sys.argv[1] if len(sys.argv) > 1 else "speed"]()


def speed() -> None:
    print(
        "| model | points | voxels/s | curve_fit, voxels/s | ratio | curve_fit in bounds, voxels/s | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, signals, fitted, peer, start in cases():
        fitted(signals[:2000])
        began = time.perf_counter()
        fitted(signals)
        rate = len(signals) / (time.perf_counter() - began)
        free = [-np.inf] * len(start), [np.inf] * len(start)
        ours = [*free[0][1:], t1.SHORTEST], [*free[1][1:], t1.LONGEST]
        beside = [rate_of_peer(peer, signals, start, bounds) for bounds in (free, ours)] if peer else []
        words = " | ".join(f"{one:.0f} | {rate / one:.0f}" for one in beside) or " | | | "
        print(f"| {name} | {signals.shape[1]} | {rate:.0f} | {words} |", flush=True)


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


def rate_of_peer(
    model: Callable[..., Any],
    signals: np.ndarray,
    start: list[float],
    bounds: tuple[list[float], list[float]],
) -> float:
    began = time.perf_counter()
    for one in signals[:PEERS]:
        try:
            curve_fit(model, np.arange(signals.shape[1]), one, p0=start, bounds=bounds)
        except RuntimeError:
            continue
    return PEERS / (time.perf_counter() - began)


def truth() -> None:
    """A digital head at SNR 100 through seven sequences; the median error of every map in the brain, in %."""
    from mensura.phantom.study import write_study

    sequences = ("IRT1", "VFA", "MESE", "TB1AFI", "TB1DAM", "MTS", "MPM")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"VFA": {"flip_angles": (3.0, 6.0, 12.0, 18.0)}}
        write_study(
            Path(folder), sequences=sequences, shape=(80, 96, 80), voxel_size=(2.0,), snr=100, seed=5,
            settings=settings,
        )  # fmt: skip
        study = Study(Path(folder))
        print("| map | from | median error, % | bias, % | in pure voxels | bias there | without a value, % |")
        print("|---|---|---|---|---|---|---|")
        for name, source, found in fitted(study):
            values = found.maps[name][0]
            off = values / np.where(study.true(name) > 0, study.true(name), np.nan) - 1
            told = [
                f(100 * x)
                for x in (off, off[study.pure])
                for f in (lambda x: np.nanmedian(abs(x)), np.nanmedian)
            ]
            words = " | ".join(f"{value:.2f}" for value in told)
            print(f"| {name} | {source} | {words} | {100 * np.mean(~np.isfinite(values)):.1f} |")


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


def fitted(study: Study) -> list[tuple[str, str, Estimates]]:
    """Every map with the sequence and the corrections that it comes from."""
    afi, about = study.series("TB1AFI")
    times = tuple(a["RepetitionTimeExcitation"] for a in about)
    by_afi = b1.actual_flip_angle(afi, times, flip_angle=np.deg2rad(about[0]["FlipAngle"]))
    dam, about = study.series("TB1DAM")
    by_dam = b1.double_angle(dam, tuple(np.deg2rad([a["FlipAngle"] for a in about])))
    field = study.true("TB1map").astype(np.float32)
    smooth = by_afi.derived(
        "TB1map", study.smoothed(by_afi.maps["TB1map"][0]), np.zeros(len(afi), np.float32)
    )
    angles, about = study.series("VFA")
    flip = tuple(np.deg2rad([a["FlipAngle"] for a in about]))
    tr = about[0]["RepetitionTimeExcitation"]
    recovery, about_ir = study.series("IRT1", "part-mag")
    inversions = tuple(a["InversionTime"] for a in about_ir)
    echoes, about_te = study.series("MESE")
    train = tuple(a["EchoTime"] for a in about_te)
    mts, about_mt = study.series("MTS")
    order = sorted(range(3), key=lambda i: (not about_mt[i]["MTState"], about_mt[i]["FlipAngle"]))
    saturation = mt.magnetization_transfer_saturation(
        mts[:, order], tuple(np.deg2rad([about_mt[i]["FlipAngle"] for i in order])),
        repetition_times=tuple(about_mt[i]["RepetitionTimeExcitation"] for i in order), b1=field,
    )  # fmt: skip
    return [
        ("TB1map", "AFI", by_afi),
        ("TB1map", "AFI, smoothed as `mensura run` does", smooth),
        ("TB1map", "double angle", by_dam),
        ("T1map", "VFA, true B1", t1.variable_flip_angle(angles, flip, repetition_time=tr, b1=field)),
        (
            "T1map",
            "VFA, B1 by AFI",
            t1.variable_flip_angle(angles, flip, repetition_time=tr, b1=by_afi.maps["TB1map"][0]),
        ),
        (
            "T1map",
            "VFA, B1 by AFI, smoothed",
            t1.variable_flip_angle(angles, flip, repetition_time=tr, b1=smooth.maps["TB1map"][0]),
        ),
        ("T1map", "VFA, no B1", t1.variable_flip_angle(angles, flip, repetition_time=tr)),
        ("T1map", "inversion recovery", t1.inversion_recovery(recovery, inversions)),
        ("T2map", "spin echo train, B1 fitted", t2.spin_echo_train(echoes, train)),
        ("T2map", "spin echo train, true B1", t2.spin_echo_train(echoes, train, b1=field)),
        ("T2map", "plain decay", t2.spin_echo(echoes, train)),
        ("MTsat", "MTS, true B1", saturation),
        *((name, "MPM, true B1", multi(study, field)) for name in ("R1map", "R2starmap", "MTsat", "PDmap")),
    ]


def multi(study: Study, field: np.ndarray) -> Estimates:
    """Multi-parameter maps, with the proton density inside the true brain."""
    signals, about = study.series("MPM")
    made = multi_parameter(
        signals, tuple(a["EchoTime"] for a in about), b1=field,
        flip_angles=tuple(np.deg2rad([a["FlipAngle"] for a in about])),
        repetition_times=tuple(a["RepetitionTimeExcitation"] for a in about),
        mt_states=tuple(int(a["MTState"]) for a in about),
    )  # fmt: skip
    m0, t1_map = (np.full(study.mask.shape, np.nan, np.float32) for _ in range(2))
    m0[study.mask], t1_map[study.mask] = made.maps["M0map"][0], made.maps["T1map"][0]
    density = proton_density(m0, t1_map, study.mask, study.grid).percent[study.mask]
    return made.derived("PDmap", density, np.full_like(density, np.nan))


if __name__ == "__main__":
    main()
