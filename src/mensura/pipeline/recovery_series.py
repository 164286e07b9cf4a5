"""Series of inversion times (IRT1): one inversion for each image, or a train of readouts after one (Look-Locker)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mensura.io.bids_series import ImageSeries
from mensura.scan import ScanError

Record = Mapping[str, Any]
RECOVERY, TRAIN = "inversion_recovery", "look_locker"
CHOICES = ("auto", RECOVERY, TRAIN)
NAMES = ("looklocker", "molli")
"""By which sequences with several readouts after an inversion are called, without their hyphens and spaces."""
TELLING = ("PulseSequenceType", "PulseSequenceDetails", "SequenceName", "ProtocolName", "SeriesDescription")
"""Fields of a sidecar that may hold such a name."""
SMALL = 30.0
"""Degrees: readouts that leave most of the magnetization to the next."""
FEWEST = 4
"""Inversion times from which even spacing says something."""
EVEN = 0.05
"""Share of the spacing by which it may differ."""
DECIDE = (
    "if they are readouts of one train, name them acq-looklocker or add --irt1 look_locker; if each has an inversion "
    "of its own, add --irt1 inversion_recovery"
)


@dataclass(frozen=True)
class Readouts:
    """The model that a series takes, what is to be said of it, and whether it is a single train of even spacing."""

    model: str
    remarks: tuple[str, ...] = ()
    single: bool = False


def readouts(series: ImageSeries, choice: str = "auto") -> Readouts:
    """A series of inversion times → whether it is fitted as inversion recovery or as a train of readouts, and why.

    A train is what its name or sequence calls so; or readouts of 30° and less that follow evenly, all before the next
    inversion, and either at the interval of the excitations (RepetitionTimeExcitation), or as images of one series.
    Without that last proof it is taken as inversion recovery, and it is said how to decide. ScanError for a choice
    that there is not.
    """
    if choice not in CHOICES:
        raise ScanError(f"IRT1 cannot be fitted by {choice!r}; choose from {', '.join(CHOICES)}")
    times = np.sort(
        [float(record["InversionTime"]) for record in series.sidecars if "InversionTime" in record]
    )
    spacing = _spacing(times)
    if choice != "auto":
        return Readouts(choice, (f"fitted as {choice}, as was asked for",), bool(spacing))
    called = _called(series)
    if called:
        return _train(f"{called} says so", bool(spacing) and "molli" not in _plain(called))
    angles = [float(r["FlipAngle"]) for r in series.sidecars if isinstance(r.get("FlipAngle"), int | float)]
    if angles and max(angles) <= SMALL and spacing and times[-1] < _cycle(series.sidecars):
        proof = _proof(series.sidecars, spacing)
        words = f"angles of {max(angles):g}° at most follow evenly by {spacing:.3g} s"
        if proof:
            return _train(f"{words}, {proof}", True)
        return _doubt(words)
    if all(r.get("RepetitionTimeExcitation", np.inf) < _cycle([r]) < np.inf for r in series.sidecars):
        return _doubt("several excitations follow an inversion")
    return Readouts(RECOVERY)


def _train(why: str, single: bool) -> Readouts:
    said = f"taken as a train of readouts after one inversion ({why}): T1 is freed of the readouts"
    return Readouts(TRAIN, (said,), single)


def _doubt(why: str) -> Readouts:
    said = f"{why}, as readouts of one train would: if they are, T1 is that under the readouts, too short; {DECIDE}"
    return Readouts(RECOVERY, (said,))


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _called(series: ImageSeries) -> str:
    """The label or the field of the sidecars that calls the series a train, or ""."""
    label = series.entities.get("acq", "")
    if any(name in _plain(label) for name in NAMES):
        return f"acq-{label}"
    for key in TELLING:
        value = str(series.sidecars[0].get(key, ""))
        if any(name in _plain(value) for name in NAMES):
            return f"{key} {value}"
    return ""


def _spacing(times: Any) -> float:
    """From one time (s) to the next if that is the same everywhere, else 0."""
    if len(times) < FEWEST:
        return 0.0
    steps = np.diff(times)
    mean = float(steps.mean())
    return mean if np.all(np.abs(steps - mean) <= EVEN * mean) else 0.0


def _cycle(records: Sequence[Record]) -> float:
    """From inversion to inversion (s), as far as it is told."""
    told = [r.get("RepetitionTimePreparation", r.get("RepetitionTime")) for r in records]
    return min((float(value) for value in told if isinstance(value, int | float)), default=np.inf)


def _proof(records: Sequence[Record], spacing: float) -> str:
    """What shows that evenly spaced readouts are of one train, or ""."""
    between = [r.get("RepetitionTimeExcitation") for r in records]
    if all(isinstance(b, int | float) and abs(b - spacing) <= EVEN * spacing for b in between):
        return "as RepetitionTimeExcitation does"
    for key in ("SeriesInstanceUID", "SeriesNumber"):
        told = [r.get(key) for r in records]
        if told[0] is not None and all(one == told[0] for one in told):
            return f"in images of one series ({key} {told[0]})"
    return ""
