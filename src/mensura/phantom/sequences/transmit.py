"""Transmit field: double angle, actual flip angle, spin and stimulated echoes."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.methods import Tunable
from mensura.phantom.materials import Material
from mensura.phantom.sequences.protocol import (
    EchoTime,
    FlipAngle,
    FlipAngles,
    Image,
    Protocol,
    RepetitionTime,
    RepetitionTimes,
    Table,
    decay,
    described,
    pair,
)
from mensura.qmri import equations


def tb1dam(
    *, flip_angle: FlipAngle = 60.0, echo_time: EchoTime = 0.002, repetition_time: RepetitionTime = 20.0
) -> Protocol:
    """Two fully relaxed gradient echoes, the second of twice the flip angle: the double-angle method."""
    angles = (flip_angle, 2 * flip_angle)

    def signal(m: Material) -> Table:
        both = [equations.double_angle(np.radians(a), m.density, b1=m.b1) for a in angles]
        return np.stack([np.broadcast_to(s, np.broadcast_shapes(s.shape, m.t1.shape)) for s in both]) * decay(
            m, echo_time
        )

    return Protocol(
        "fmap",
        "TB1DAM",
        [Image({"flip": str(n + 1)}, {"FlipAngle": a}) for n, a in enumerate(angles)],
        {**described("double-angle gradient echo", "GR", "3D"), "EchoTime": echo_time,
         "RepetitionTime": repetition_time, "RepetitionTimeExcitation": repetition_time},
        signal,
        (echo_time,) * 2,
        (0, 1),
    )  # fmt: skip


def tb1afi(
    *,
    flip_angle: FlipAngle = 60.0,
    repetition_times: RepetitionTimes = (0.020, 0.100),
    echo_time: EchoTime = 0.0022,
) -> Protocol:
    """Interleaved spoiled gradient echoes of two repetition times: actual flip-angle imaging."""
    times = pair(repetition_times, "repetition times")

    def signal(m: Material) -> Table:
        both = equations.actual_flip_angle(
            m.density,
            m.t1,
            flip_angle=np.radians(flip_angle),
            repetition_times=times,
            b1=m.b1,
        )
        return np.asarray(np.moveaxis(both, -1, 0) * decay(m, echo_time))

    sidecars = [{"RepetitionTime": t, "RepetitionTimeExcitation": t} for t in times]
    return Protocol(
        "fmap",
        "TB1AFI",
        [Image({"acq": f"tr{n + 1}"}, sidecar) for n, sidecar in enumerate(sidecars)],
        {
            **described("actual flip-angle imaging", "GR", "3D"),
            "EchoTime": echo_time,
            "FlipAngle": flip_angle,
        },
        signal,
        (echo_time,) * 2,
        (0, 0),
    )


def tb1epi(
    *,
    flip_angles: FlipAngles = (40.0, 50.0, 60.0, 70.0, 80.0),
    mixing_time: Annotated[float, Tunable("s", "between the second and the third pulse")] = 0.034,
    echo_time: EchoTime = 0.030,
) -> Protocol:
    """Spin and stimulated echoes of pulses α–2α–α for several α; their ratio is cos α."""

    def signal(m: Material) -> Table:
        pairs = [
            equations.spin_and_stimulated_echo(
                np.radians(a), m.density, m.t1, mixing_time=mixing_time, b1=m.b1
            )
            for a in flip_angles
        ]
        return np.asarray(np.moveaxis(np.concatenate(pairs, axis=-1), -1, 0) * np.exp(-echo_time / m.t2))

    images = [
        Image({"echo": str(e + 1), "flip": str(n + 1)}, {"FlipAngle": a, "EchoTime": round(t, 6)})
        for n, a in enumerate(flip_angles)
        for e, t in enumerate((echo_time, echo_time + mixing_time))
    ]
    return Protocol(
        "fmap",
        "TB1EPI",
        images,
        {
            **described("spin and stimulated echo EPI", "EP", "3D"),
            "MixingTime": mixing_time,
            "PhaseEncodingDirection": "j",
            "TotalReadoutTime": 0.0,  # read without distortion
        },
        signal,
        (0.0,) * len(images),
        tuple(n // 2 for n in range(len(images))),
    )
