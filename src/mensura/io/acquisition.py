"""JSON sidecars → the acquisition record: the only place where degrees become radians."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mensura.scan import GradientEcho, ScanError

Readout = Literal["monopolar", "bipolar"]
CONSUMED = ("EchoTime", "MagneticFieldStrength", "RepetitionTime", "FlipAngle")
READOUT_KEYS = ("ReadoutMode", "MultiEchoReadoutMode", "MultiEchoReadout", "ReadoutPolarity")
BIPOLAR_KEYS = ("BipolarReadout", "Bipolar")


class Sidecar(NamedTuple):
    """The record that applies to an image, and what to call it in messages."""

    name: str
    record: Mapping[str, Any]


def gradient_echo(
    sidecars: Sequence[Sidecar], echo_times: Sequence[float] = (), field_strength: float | None = None
) -> tuple[GradientEcho, tuple[str, ...]]:
    """One sidecar per file, in the order of the echoes → the acquisition record (s, T, rad) and warnings.

    `echo_times` (s) and `field_strength` (T), where given, go before what the sidecars say. ScanError names
    the file and the field that is missing, not a number, or cannot be meant.
    """
    given = tuple(echo_times)
    times = given or echo_times_of(sidecars)
    strength = field_strength if field_strength is not None else field_strength_of(sidecars)
    merged = merge([sidecar.record for sidecar in sidecars])
    name = sidecars[0].name if sidecars and not given else ""
    repetition_time, flip_angle = _number(merged, "RepetitionTime"), _number(merged, "FlipAngle")
    try:
        acquisition = GradientEcho(
            echo_times=times,
            field_strength=strength,
            repetition_time=repetition_time,
            flip_angle=None if flip_angle is None else math.radians(flip_angle),
            readout=readout_of(merged),
            details={key: value for key, value in merged.items() if key not in CONSUMED},
        )
    except ScanError as error:
        raise ScanError(f"{name}: {error}" if name else str(error)) from error
    return acquisition, _doubts(acquisition, sidecars, bool(given))


def echo_times_of(sidecars: Sequence[Sidecar]) -> tuple[float, ...]:
    """The echo times (s) of the sidecars, each one number, or a list for a 4D file."""
    times: list[float] = []
    for name, record in sidecars:
        value = record.get("EchoTime")
        if value is None or value == []:
            raise ScanError(f"{name} has no EchoTime; add it to its JSON file, in seconds")
        times += [
            _checked(name, "EchoTime", item) for item in (value if isinstance(value, list) else [value])
        ]
    if not times:
        raise ScanError(
            "the echo times are not known; give them in seconds, for example --echo-times 0.004 0.008"
        )
    return tuple(times)


def field_strength_of(sidecars: Sequence[Sidecar]) -> float:
    """The field strength (T) that the sidecars agree on."""
    values = {}
    for name, record in sidecars:
        if record.get("MagneticFieldStrength") is not None:
            values[_checked(name, "MagneticFieldStrength", record["MagneticFieldStrength"])] = name
    if len(values) > 1:
        listed = " and ".join(f"{value:g} T ({name})" for value, name in values.items())
        raise ScanError(
            f"the field strengths disagree: {listed}; correct MagneticFieldStrength in the JSON files"
        )
    if not values:
        raise ScanError(_missing_field_strength(sidecars))
    return next(iter(values))


def readout_of(record: Mapping[str, Any]) -> Readout | None:
    """Whether the sidecar calls the readout bipolar or monopolar; None where it does not say."""
    for key in BIPOLAR_KEYS:
        if isinstance(record.get(key), bool):
            return "bipolar" if record[key] else "monopolar"
    words = " ".join(str(record.get(key, "")) for key in READOUT_KEYS).lower()
    if "bipolar" in words:
        return "bipolar"
    return "monopolar" if "monopolar" in words or "unipolar" in words or "flyback" in words else None


def merge(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several records → one; the first that has a key decides."""
    return {key: value for record in reversed(records) for key, value in record.items()}


def _missing_field_strength(sidecars: Sequence[Sidecar]) -> str:
    if not sidecars:
        return "the field strength is not known; give it in tesla, for example --field-strength 3"
    frequency = _number(merge([sidecar.record for sidecar in sidecars]), "ImagingFrequency")
    hint = f" (ImagingFrequency {frequency:g} MHz suggests {frequency / 42.577:.3g})" if frequency else ""
    return f"{sidecars[0].name} has no MagneticFieldStrength; add it to its JSON file, in tesla{hint}"


def _number(record: Mapping[str, Any], key: str) -> float | None:
    """An optional number; what is not one counts as not given."""
    value = record.get(key)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def _checked(name: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScanError(f"{key} of {name} must be a number, not {value!r}; correct its JSON file")
    return float(value)


def _doubts(acquisition: GradientEcho, sidecars: Sequence[Sidecar], given: bool) -> tuple[str, ...]:
    warnings = []
    repetition_time = acquisition.repetition_time
    if repetition_time is not None and not acquisition.echo_times[-1] < repetition_time <= 10:
        warnings.append(
            f"the repetition time of {repetition_time:g} s is not plausible: check RepetitionTime (s)"
        )
    if given and sidecars and all("EchoTime" in sidecar.record for sidecar in sidecars):
        stated = echo_times_of(sidecars)
        if stated != acquisition.echo_times:
            listed = ", ".join(f"{time:g}" for time in stated)
            warnings.append(f"the echo times given are used, not those of the JSON files ({listed} s)")
    if len(acquisition.echo_times) == 1:
        warnings.append(
            "there is a single echo: no phase offset can be removed and R2* cannot be fitted; unless another"
            " inversion is chosen, small spherical means take what they can of it (as with --preset single-echo)"
        )
    return tuple(warnings)
