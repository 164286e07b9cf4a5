"""T1-weighted series: variable flip angle, inversion recovery, Look-Locker, MP2RAGE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from mensura.methods import Tunable
from mensura.phantom.materials import Material
from mensura.phantom.sequences.protocol import (
    EFFICIENCY,
    EchoTime,
    FlipAngle,
    FlipAngles,
    Image,
    Protocol,
    RepetitionTime,
    Table,
    check_times,
    decay,
    described,
    gradient_echo,
    pair,
    spoiled,
)
from mensura.qmri import equations

InversionTimes = Annotated[Sequence[float], Tunable("s", "times after the inversion")]
CycleTime = Annotated[float, Tunable("s", "between inversions")]


def vfa(
    *,
    flip_angles: FlipAngles = (2.0, 5.0, 10.0, 18.0),
    repetition_time: RepetitionTime = 0.015,
    echo_time: EchoTime = 0.0025,
) -> Protocol:
    """Spoiled gradient echoes of several flip angles."""
    check_times([echo_time], repetition_time)
    return Protocol(
        "anat",
        "VFA",
        [Image({"flip": str(n + 1)}, {"FlipAngle": a}) for n, a in enumerate(flip_angles)],
        {**spoiled(repetition_time), "EchoTime": echo_time},
        lambda m: np.stack([gradient_echo(m, a, repetition_time) * decay(m, echo_time) for a in flip_angles]),
        (echo_time,) * len(flip_angles),
        tuple(range(len(flip_angles))),
    )


def irt1(
    *,
    inversion_times: InversionTimes = (0.05, 0.2, 0.4, 0.8, 1.6, 3.2),
    repetition_time: RepetitionTime = 6.0,
    echo_time: EchoTime = 0.012,
) -> Protocol:
    """Inversion recovery read by a spin echo, complex."""
    check_times(inversion_times, repetition_time, "inversion time")

    def signal(m: Material) -> Table:
        recovered = equations.inversion_recovery(
            np.reshape(inversion_times, (-1, 1, 1, 1)),
            m.density,
            m.t1,
            efficiency=EFFICIENCY,
            repetition_time=repetition_time,
        )
        return np.asarray(recovered * np.sin(np.pi / 2 * m.b1) * np.exp(-echo_time / m.t2))

    return Protocol(
        "anat",
        "IRT1",
        [Image({"inv": str(n + 1)}, {"InversionTime": t}) for n, t in enumerate(inversion_times)],
        {**described("inversion recovery spin echo", "IR", "2D"), "RepetitionTime": repetition_time,
         "EchoTime": echo_time, "FlipAngle": 90.0},
        signal,
        (0.0,) * len(inversion_times),
        tuple(range(len(inversion_times))),
        ("mag", "phase"),
    )  # fmt: skip


def look_locker(
    *,
    flip_angle: FlipAngle = 6.0,
    first: Annotated[float, Tunable("s", "from inversion to the first readout")] = 0.03,
    interval: Annotated[float, Tunable("s", "between readouts")] = 0.2,
    readouts: Annotated[int, Tunable("", "readouts after each inversion")] = 16,
    cycle_time: CycleTime = 5.0,
    echo_time: EchoTime = 0.002,
) -> Protocol:
    """Many small excitations after one inversion, complex (filed as IRT1, BIDS has no other name)."""
    times = [round(first + interval * n, 6) for n in range(readouts)]
    check_times(times, cycle_time, "readout time")

    def signal(m: Material) -> Table:
        train = equations.look_locker(
            m.density,
            m.t1,
            flip_angle=np.radians(flip_angle),
            readout_times=times,
            cycle_time=cycle_time,
            efficiency=EFFICIENCY,
            b1=m.b1,
        )
        return np.asarray(np.moveaxis(train, -1, 0) * decay(m, echo_time))

    return Protocol(
        "anat",
        "IRT1",
        [Image({"acq": "looklocker", "inv": str(n + 1)}, {"InversionTime": t}) for n, t in enumerate(times)],
        {**described("Look-Locker inversion recovery", "IR", "3D"), "FlipAngle": flip_angle,
         "EchoTime": echo_time, "RepetitionTimeExcitation": interval,
         "RepetitionTimePreparation": cycle_time, "InversionEfficiency": EFFICIENCY},
        signal,
        (echo_time,) * readouts,
        (0,) * readouts,
        ("mag", "phase"),
    )  # fmt: skip


def mp2rage(
    *,
    inversion_times: InversionTimes = (0.7, 2.5),
    flip_angles: FlipAngles = (4.0, 5.0),
    excitation_interval: Annotated[float, Tunable("s", "between excitations of a train")] = 0.0068,
    excitations: Annotated[Sequence[int], Tunable("", "in a train, before and after the centre")] = (72, 104),
    cycle_time: CycleTime = 5.0,
    echo_time: EchoTime = 0.0029,
) -> Protocol:
    """Two trains of gradient echoes after an inversion, complex."""
    times, angles = pair(inversion_times, "inversion times"), pair(flip_angles, "flip angles")
    check_times(inversion_times, cycle_time, "inversion time")
    before, after = (int(n) for n in excitations)

    def signal(m: Material) -> Table:
        both = equations.mp2rage(
            m.density,
            m.t1,
            flip_angles=(np.radians(angles[0]), np.radians(angles[1])),
            inversion_times=times,
            excitation_interval=excitation_interval,
            excitations=(before, after),
            cycle_time=cycle_time,
            efficiency=EFFICIENCY,
            b1=m.b1,
        )
        return np.asarray(np.moveaxis(both, -1, 0) * decay(m, echo_time))

    images = [
        Image({"inv": str(n + 1)}, {"InversionTime": t, "FlipAngle": a})
        for n, (t, a) in enumerate(zip(times, angles, strict=True))
    ]
    return Protocol(
        "anat",
        "MP2RAGE",
        images,
        {**described("MP2RAGE", "GR_IR", "3D"), "EchoTime": echo_time,
         "RepetitionTimeExcitation": excitation_interval, "RepetitionTimePreparation": cycle_time,
         "NumberShots": [before, after],
         "InversionEfficiency": EFFICIENCY},
        signal,
        (echo_time,) * 2,
        (0, 0),
        ("mag", "phase"),
    )  # fmt: skip
