"""How a property of a tissue changes with the field strength."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from math import log

REFERENCE_FIELD = 3.0
Dispersion = float | Mapping[float, float]
"""One value at all fields, or field strength (T) → value: see `at_field`."""


def at_field(value: Dispersion, field_strength: float) -> float:
    """A property's dispersion → its value at a field (T): log-log between the entries and beyond them.

    A single entry means proportional to the field; a number, the same at every field.
    """
    if not isinstance(value, Mapping):
        return float(value)
    fields = sorted(value)
    if len(fields) == 1:
        return value[fields[0]] * field_strength / fields[0]
    i = min(max(bisect(fields, field_strength), 1), len(fields) - 1)
    low, high = fields[i - 1], fields[i]
    slope = log(value[high] / value[low]) / log(high / low)
    return float(value[low] * (field_strength / low) ** slope)


def like(dispersion: Dispersion, at_reference: float) -> Dispersion:
    """A property that changes with the field as another does, from its value at 3 T."""
    if not isinstance(dispersion, Mapping):
        return at_reference
    return {b: v * at_reference / at_field(dispersion, REFERENCE_FIELD) for b, v in dispersion.items()}


def rest(t2star: Mapping[float, float], t2: Mapping[float, float]) -> Dispersion:
    """R2′ = 1/T2* − 1/T2 (1/s), by field strength, from what was measured (s)."""
    return {b: 1 / t2star[b] - 1 / t2[b] for b in t2star}
