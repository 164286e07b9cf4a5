"""MP2RAGE → T1 and SA2RAGE → B1, by the table that the sequence's own timings make."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Status
from mensura.methods import Tunable
from mensura.qmri import equations
from mensura.qmri.choices import Noise, known_noise
from mensura.qmri.estimates import Estimates, columns, ended
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]

SHORTEST, LONGEST, VALUES = 0.05, 5.0, 2000
LEVELS = 41
"""Of B1, between which T1 is interpolated."""
LEAST_B1, MOST_B1 = 0.1, 2.0
"""Of the table of SA2RAGE."""


def mp2rage(
    signals: FloatArray,
    *,
    inversion_times: Annotated[tuple[float, float], Tunable("s", "of the centres of the two trains")],
    flip_angles: Annotated[tuple[float, float], Tunable("rad", "of the two trains")],
    excitation_interval: Annotated[float, Tunable("s", "from excitation to excitation in a train")],
    excitations: Annotated[tuple[int, int], Tunable("1", "of a train, before its centre and from it on")],
    cycle_time: Annotated[float, Tunable("s", "from inversion to inversion")],
    efficiency: Annotated[float, Tunable("1", "of the inversion")] = 0.96,
    b1: FloatArray | None = None,
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, 2; signed) of both inversion times, or the uniform image (n, 1; −0.5…0.5) → T1 (s) and that image.

    UNI = S1 S2/(S1² + S2²) does not know M0, T2* or the receive field; it falls with T1 between two turning points,
    and there the table of the sequence's own timings is read backwards, at each voxel's B1. The error needs both
    signals and the noise. Outside the falling part there is no T1.

    Marques et al. 2010, doi:10.1016/j.neuroimage.2009.10.002; B1: Marques & Gruetter 2013,
    doi:10.1371/journal.pone.0069294. Raises ScanError for timings that do not fit, or an image that is not uniform.
    """
    data = columns(signals, 1, 2)
    both = data.shape[1] == 2
    uniform = np.asarray(
        equations.mp2rage_uniform(data[:, 0], data[:, 1]) if both else data[:, 0], np.float64
    )
    if np.nanmax(np.abs(uniform), initial=0) > 0.5001:
        raise ScanError("the uniform image goes beyond ±0.5; scale it (vendors store 0…4095 for −0.5…0.5)")
    relative = np.ones(len(data)) if b1 is None else np.asarray(b1, np.float64)
    finite = relative[np.isfinite(relative)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (1.0, 1.0)
    levels = np.linspace(low, high, LEVELS) if high > low else np.array([low])
    times = np.geomspace(SHORTEST, LONGEST, VALUES)
    made = equations.mp2rage(
        1.0, times[None], flip_angles=flip_angles, inversion_times=inversion_times,
        excitation_interval=excitation_interval, excitations=excitations, cycle_time=cycle_time,
        efficiency=efficiency, b1=levels[:, None],
    )  # fmt: skip
    table = np.asarray(equations.mp2rage_uniform(made[..., 0], made[..., 1]), np.float64)
    t1, slope = _read(uniform, relative, (levels, times, table))
    status = ended(data, np.isfinite(t1))
    status[~np.isfinite(relative)] = Status.NO_SIGNAL
    spread = _spread(data, known_noise(noise))
    seen = np.where(status == Status.NO_SIGNAL, np.nan, 1)
    return Estimates.closed(status, T1map=(t1, spread / np.abs(slope))).derived(
        "UNIT1", seen * uniform, seen * spread
    )


def sa2rage(
    signals: FloatArray,
    *,
    inversion_times: Annotated[
        tuple[float, float], Tunable("s", "from the saturation to both trains' centres")
    ],
    flip_angles: Annotated[tuple[float, float], Tunable("rad", "of the two trains")],
    excitation_interval: Annotated[float, Tunable("s", "from excitation to excitation in a train")],
    excitations: Annotated[tuple[int, int], Tunable("1", "of a train, before its centre and from it on")],
    cycle_time: Annotated[float, Tunable("s", "from saturation to saturation")],
    saturation_flip_angle: Annotated[float, Tunable("rad", "nominal angle of the saturation")] = np.pi / 2,
    t1: Annotated[float, Tunable("s", "of the tissue, which matters little")] = 1.5,
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, 2; the first signed) of the two trains after a saturation → B1 relative to nominal, with its error.

    The sequence is MP2RAGE's with cos(b1·angle) of the magnetization left in place of −efficiency; S1/S2 falls with B1,
    through 0 where the saturation is complete, and is read backwards between its turning points.
    Eggenschwiler et al. 2012, doi:10.1002/mrm.23145. Raises ScanError for timings that do not fit.
    """
    data = columns(signals, 2)
    b1 = np.linspace(LEAST_B1, MOST_B1, VALUES)
    made = equations.mp2rage(
        1.0, t1, flip_angles=flip_angles, inversion_times=inversion_times,
        excitation_interval=excitation_interval, excitations=excitations, cycle_time=cycle_time,
        efficiency=-np.cos(b1 * saturation_flip_angle), b1=b1,
    )  # fmt: skip
    values, levels = _falling(b1, made[:, 0] / made[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = data[:, 0] / data[:, 1]
        spread = (known_noise(noise) or np.nan) / np.abs(data[:, 1]) * np.sqrt(1 + ratio**2)
    found, slope = _at(ratio, (values, levels))
    return Estimates.closed(ended(data, np.isfinite(found)), TB1map=(found, spread / np.abs(slope)))


def _spread(data: Doubles, noise: float | None) -> Doubles:
    """Standard deviation of the uniform image, to first order."""
    if data.shape[1] != 2 or noise is None:
        return np.full(len(data), np.nan)
    one, two = np.square(data).T
    with np.errstate(divide="ignore", invalid="ignore"):
        spread: Doubles = noise * np.abs(two - one) / (one + two) ** 1.5
    return spread


def _read(uniform: Doubles, b1: Doubles, table: tuple[Doubles, Doubles, Doubles]) -> tuple[Doubles, Doubles]:
    """T1 and dUNI/dT1 of every voxel, between the tables of the two nearest levels of B1."""
    levels, times, values = table
    columns = [_falling(times, row) for row in values]
    if levels.size == 1:
        return _at(uniform, columns[0])
    place = np.clip((np.nan_to_num(b1) - levels[0]) / (levels[1] - levels[0]), 0, levels.size - 1)
    below = np.minimum(place.astype(int), levels.size - 2)
    t1, slope = np.full(len(uniform), np.nan), np.full(len(uniform), np.nan)
    for level in np.unique(below):
        which = below == level
        share = place[which] - level
        (one, bent), (other, other_bent) = (_at(uniform[which], columns[level + i]) for i in (0, 1))
        t1[which], slope[which] = one + share * (other - one), bent + share * (other_bent - bent)
    return t1, slope


def _falling(times: Doubles, uniform: Doubles) -> tuple[Doubles, Doubles]:
    """The part of a table between its largest and its smallest value after that, in rising order of UNI."""
    top = int(np.argmax(uniform))
    bottom = top + int(np.argmin(uniform[top:]))
    return uniform[top : bottom + 1][::-1], times[top : bottom + 1][::-1]


def _at(uniform: Doubles, column: tuple[Doubles, Doubles]) -> tuple[Doubles, Doubles]:
    values, times = column
    if values.size < 3:
        return np.full(len(uniform), np.nan), np.full(len(uniform), np.nan)
    t1 = np.interp(uniform, values, times, left=np.nan, right=np.nan)
    return t1, np.interp(uniform, values, np.gradient(values, times))
