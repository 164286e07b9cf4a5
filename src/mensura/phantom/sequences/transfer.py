"""Magnetisation transfer: ratio, saturation, and multi-parameter mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mensura.phantom.materials import Material
from mensura.phantom.sequences.protocol import (
    EchoTime,
    EchoTimes,
    FlipAngle,
    FlipAngles,
    Image,
    Protocol,
    RepetitionTime,
    RepetitionTimes,
    Table,
    check_times,
    decay,
    pair,
    spoiled,
)
from mensura.qmri import equations

PULSE = {
    "MTOffsetFrequency": 2000.0,
    "MTPulseShape": "GAUSSIAN",
    "MTPulseDuration": 0.004,
    "MTNumberOfPulses": 1,
}
"""The reference pulse, one before every excitation, whose effect on each tissue the property table holds."""


class Weighting(NamedTuple):
    """One scan of the set: with or without saturation, flip angle (degrees), TR (s), entity `flip`."""

    saturated: bool
    flip_angle: float
    repetition_time: float
    flip: str


def mtr(
    *, flip_angle: FlipAngle = 8.0, repetition_time: RepetitionTime = 0.030, echo_time: EchoTime = 0.004
) -> Protocol:
    """Two spoiled gradient echoes, one with a saturation pulse off resonance."""
    scans = [Weighting(on, flip_angle, repetition_time, "") for on in (True, False)]
    return _scans("MTR", scans, [echo_time])


def mts(
    *,
    flip_angles: FlipAngles = (6.0, 20.0),
    repetition_times: RepetitionTimes = (0.028, 0.018),
    echo_time: EchoTime = 0.0025,
) -> Protocol:
    """MT- and PD-weighted (first flip angle and TR) and T1-weighted (second) spoiled gradient echoes."""
    return _scans("MTS", _weightings(flip_angles, repetition_times), [echo_time])


def mpm(
    *,
    flip_angles: FlipAngles = (6.0, 21.0),
    repetition_times: RepetitionTimes = (0.025, 0.025),
    echo_times: EchoTimes = (0.0023, 0.0046, 0.0069, 0.0092, 0.0115, 0.0138),
) -> Protocol:
    """MT- and PD-weighted (first flip angle and TR) and T1-weighted (second) multi-echo gradient echoes."""
    return _scans("MPM", _weightings(flip_angles, repetition_times), echo_times)


def _weightings(flip_angles: Sequence[float], repetition_times: Sequence[float]) -> list[Weighting]:
    (low, high), (first, second) = (
        pair(flip_angles, "flip angles"),
        pair(repetition_times, "repetition times"),
    )
    return [
        Weighting(True, low, first, "1"),
        Weighting(False, low, first, "1"),
        Weighting(False, high, second, "2"),
    ]


def _scans(suffix: str, scans: Sequence[Weighting], echo_times: Sequence[float]) -> Protocol:
    """Scans, each with the same echoes → the protocol; echoes run fastest."""
    for scan in scans:
        check_times(echo_times, scan.repetition_time)
    echoes = range(len(echo_times))
    return Protocol(
        "anat",
        suffix,
        [_image(scan, n if len(echoes) > 1 else None, echo_times[n]) for scan in scans for n in echoes],
        {},
        lambda m: np.stack([_signal(m, scan) * decay(m, t) for scan in scans for t in echo_times]),
        tuple(echo_times) * len(scans),
        tuple(shot for shot in range(len(scans)) for _ in echoes),
    )


def _image(scan: Weighting, echo: int | None, echo_time: float) -> Image:
    entities = {} if echo is None else {"echo": str(echo + 1)}
    entities |= {"flip": scan.flip} if scan.flip else {}
    entities["mt"] = "on" if scan.saturated else "off"
    sidecar = spoiled(scan.repetition_time, scan.flip_angle)
    return Image(
        entities,
        {**sidecar, "EchoTime": echo_time, "MTState": scan.saturated, **(PULSE if scan.saturated else {})},
    )


def _signal(m: Material, scan: Weighting) -> Table:
    """At TE = 0."""
    return np.asarray(
        equations.mt_spoiled_gradient_echo(
            np.radians(scan.flip_angle),
            m.density,
            m.t1,
            m.mt_saturation if scan.saturated else np.zeros_like(m.t1),
            repetition_time=scan.repetition_time,
            b1=m.b1,
        )
    )
