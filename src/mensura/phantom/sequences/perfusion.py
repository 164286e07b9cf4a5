"""A contrast agent that passes and leaks."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from mensura.methods import Tunable
from mensura.phantom.materials import Material
from mensura.phantom.sequences.protocol import (
    EchoTime,
    FlipAngle,
    Image,
    Protocol,
    RepetitionTime,
    Table,
    decay,
    spoiled,
)
from mensura.qmri import equations, kinetics


def dce(
    *,
    volumes: Annotated[int, Tunable("", "time points")] = 40,
    interval: Annotated[float, Tunable("s", "between time points")] = 6.0,
    baseline: Annotated[float, Tunable("s", "before the contrast agent arrives")] = 30.0,
    flip_angle: FlipAngle = 15.0,
    repetition_time: RepetitionTime = 0.005,
    echo_time: EchoTime = 0.0018,
    relaxivity: Annotated[float, Tunable("1/(s mM)", "longitudinal relaxivity of the agent")] = 4.5,
) -> Protocol:
    """Spoiled gradient echoes while a contrast agent passes and leaks, with the population's arterial input."""
    times = interval * np.arange(volumes)
    plasma = kinetics.parker_aif(times, delay=baseline)

    def signal(m: Material) -> Table:
        amount = kinetics.extended_tofts(times, m.ktrans, np.maximum(m.ve, 1e-3), m.vp, plasma=plasma)
        t1 = kinetics.shortened_t1(m.t1[..., None], amount, relaxivity=relaxivity)
        steady = equations.spoiled_gradient_echo(
            np.radians(flip_angle),
            m.density[..., None],
            t1,
            repetition_time=repetition_time,
            b1=m.b1[..., None],
        )
        return np.asarray(np.moveaxis(steady, -1, 0) * decay(m, echo_time))

    return Protocol(
        "perf",
        "DCE",
        [Image() for _ in times],
        {**spoiled(repetition_time, flip_angle), "EchoTime": echo_time, "RepetitionTime": interval,
         "ContrastBolusRelaxivity": relaxivity, "ContrastBolusArrival": baseline},
        signal,
        (echo_time,) * volumes,
        tuple(range(volumes)),
        series=True,
    )  # fmt: skip
