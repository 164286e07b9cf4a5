"""Trains of echoes: multi-echo gradient echo, Dixon, dual-echo field map, multi-echo spin echo."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from mensura.methods import Tunable
from mensura.phantom.materials import Material
from mensura.phantom.sequences.protocol import (
    EchoTimes,
    FlipAngle,
    Image,
    PixelBandwidth,
    Protocol,
    RepetitionTime,
    Table,
    check_times,
    decayed,
    described,
    echo_image,
    gradient_echo,
    named,
    spoiled,
)
from mensura.qmri import epg
from mensura.scan import ScanError


def megre(
    *,
    echo_times: EchoTimes = (0.004, 0.012, 0.020, 0.028),
    repetition_time: RepetitionTime = 0.035,
    flip_angle: FlipAngle = 15.0,
    readout: Annotated[
        Literal["monopolar", "bipolar"], Tunable("", "polarity of the readouts")
    ] = "monopolar",
    pixel_bandwidth: PixelBandwidth = 400.0,
) -> Protocol:
    """Multi-echo spoiled gradient echo: magnitude and wrapped phase."""
    check_times(echo_times, repetition_time)
    band = {"PixelBandwidth": pixel_bandwidth} if pixel_bandwidth else {}
    return Protocol(
        "anat",
        "MEGRE",
        [echo_image(n, t) for n, t in enumerate(echo_times)],
        {**spoiled(repetition_time, flip_angle), "ReadoutMode": readout, **band},
        lambda m: decayed(m, echo_times, gradient_echo(m, flip_angle, repetition_time)),
        tuple(echo_times),
        (0,) * len(echo_times),
        ("mag", "phase"),
        pixel_bandwidth,
        readout == "bipolar",
    )


def dixon(
    *,
    echo_times: EchoTimes = (0.0012, 0.0022, 0.0032, 0.0042, 0.0052, 0.0062),
    repetition_time: RepetitionTime = 0.009,
    flip_angle: FlipAngle = 3.0,
    pixel_bandwidth: PixelBandwidth = 1500.0,
) -> Protocol:
    """Short, closely spaced gradient echoes for water and fat (filed as MEGRE, BIDS has no other name)."""
    scan = megre(
        echo_times=echo_times,
        repetition_time=repetition_time,
        flip_angle=flip_angle,
        pixel_bandwidth=pixel_bandwidth,
    )
    return named(scan, {"acq": "dixon"})


def fieldmap(
    *,
    echo_times: EchoTimes = (0.00492, 0.00738),
    repetition_time: RepetitionTime = 0.4,
    flip_angle: FlipAngle = 60.0,
) -> Protocol:
    """Two gradient echoes, magnitude and phase of each: the field map of a functional study."""
    check_times(echo_times, repetition_time)
    if len(echo_times) != 2:
        raise ScanError(f"a field map has two echo times, not {len(echo_times)}; take MEGRE for more")
    images = [
        Image(
            {},
            {"EchoTime": t, "B0FieldIdentifier": "fieldmap"},
            {"mag": f"magnitude{n + 1}", "phase": f"phase{n + 1}"},
        )
        for n, t in enumerate(echo_times)
    ]
    return Protocol(
        "fmap",
        "fieldmap",
        images,
        spoiled(repetition_time, flip_angle),
        lambda m: decayed(m, echo_times, gradient_echo(m, flip_angle, repetition_time)),
        tuple(echo_times),
        (0, 0),
        ("mag", "phase"),
    )


def mese(
    *,
    echo_spacing: Annotated[float, Tunable("s", "between echoes")] = 0.010,
    echoes: Annotated[int, Tunable("", "number of echoes")] = 16,
    refocusing_angle: FlipAngle = 180.0,
    repetition_time: RepetitionTime = 3.0,
) -> Protocol:
    """Multi-echo spin echo whose refocusing pulses are as strong as B1 makes them (extended phase graph)."""
    times = [round(echo_spacing * (n + 1), 6) for n in range(echoes)]
    check_times(times, repetition_time)

    def signal(m: Material) -> Table:
        train = epg.spin_echo_train(
            m.density * (1 - np.exp(-repetition_time / m.t1)),
            m.t2,
            t1=m.t1,
            echo_spacing=echo_spacing,
            echoes=echoes,
            refocusing_angle=np.radians(refocusing_angle),
            b1=m.b1,
        )
        return np.moveaxis(train, -1, 0)

    described_as = described("multi-echo spin echo", "SE", "2D")
    return Protocol(
        "anat",
        "MESE",
        [echo_image(n, t) for n, t in enumerate(times)],
        {**described_as, "RepetitionTime": repetition_time, "FlipAngle": 90.0,
         "RefocusingFlipAngle": refocusing_angle},
        signal,
        (0.0,) * echoes,
        (0,) * echoes,
    )  # fmt: skip
