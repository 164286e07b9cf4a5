"""Phase images as stored → radians, by explicit rules tried in a fixed order; the rule applied is recorded.

The range that counts is the one that the header or the vendor states. The extremes of the data decide only
between known ways of storing, never the scale itself: a constant outside the head must not change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mensura.io.nifti import Image
from mensura.io.phase_codings import FILLED, RADIANS, TOLD_UNITS, VENDORS, Coding
from mensura.scan import FloatArray, ScanError

PI = math.pi
TOLERANCE = 0.01
"""How far rounding may carry radians beyond ±π."""
LARGEST_UNWRAPPED = 500.0
"""Unwrapped phase beyond this (rad) is not believed: 80 turns."""
GAP = 0.05
"""A value this part of the range away from all others is a filling, not a phase."""
TINY = 0.1
"""Phase that nowhere exceeds this (rad) has probably been scaled by a wrong header slope."""


@dataclass(frozen=True, eq=False)
class RadianPhase:
    """Phase in rad, the rule that made it, in a sentence, and what the user should know.

    `unwrapped`: the values exceed ±π as those of a phase that has been unwrapped before.
    """

    data: FloatArray
    rule: str
    warnings: tuple[str, ...] = ()
    unwrapped: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the rules look at: the range of the values (header slope applied) and how they were stored."""

    image: Image
    low: float
    high: float
    slope: float
    intercept: float
    vendor: str
    told_unit: str
    padding: tuple[float, ...] = ()

    @property
    def largest(self) -> float:
        return max(abs(self.low), abs(self.high))

    @property
    def stored_range(self) -> tuple[float, float]:
        """The range before the header's slope and intercept."""
        ends = [(value - self.intercept) / self.slope for value in (self.low, self.high)]
        return min(ends), max(ends)

    @cached_property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        if self.image.header.stored_type.lstrip("u").startswith("int"):
            return self.slope == round(self.slope) and self.intercept == round(self.intercept)
        return _all_whole(_sample(self.image.data)) and _all_whole(self.image.data)

    def describe(self) -> str:
        return f"values from {self.low:.6g} to {self.high:.6g}"


@dataclass(frozen=True)
class Verdict:
    """How to get radians: scale·value + offset, then brought into ±π if `wrap`."""

    rule: str
    scale: float = 1.0
    offset: float = 0.0
    wrap: bool = False
    unwrapped: bool = False
    warnings: tuple[str, ...] = ()


def to_radians(image: Image, sidecar: Mapping[str, Any] | None = None) -> RadianPhase:
    """A phase image as read, and its JSON record → phase in rad, with the rule applied.

    Tried in this order: constant phase is left alone · stored radians that the header's slope spoils · the
    unit that the sidecar states · values within ±π · slope and intercept that make one full circle of the
    stored integers · the vendor's way of storing · 0…2π · a known range that the values fill · unwrapped
    radians. NaN and Inf stay. ScanError when no rule applies, or when the phase has been spoilt by rounding.
    """
    return phase_rule(image, sidecar)(image)


def phase_rule(image: Image, sidecar: Mapping[str, Any] | None = None) -> Callable[[Image], RadianPhase]:
    """A phase image and its JSON record → what turns it, and others stored alike, into radians (`to_radians`)."""
    evidence = _evidence(image, sidecar or {})
    for rule in RULES:
        verdict = rule(evidence)
        if verdict is not None:
            return lambda other: _apply(replace(evidence, image=other), verdict)
    raise ScanError(
        f"{image.path} holds {evidence.describe()}, which is no known way of storing phase; convert it to "
        'radians, or state "Units": "rad" or "deg" in the JSON file beside it'
    )


def _evidence(image: Image, sidecar: Mapping[str, Any]) -> Evidence:
    low, high = _finite_range(image)
    padding: list[float] = []
    if max(abs(low), abs(high)) > PI + TOLERANCE:
        low, high, padding = _without_padding(image.data, low, high)
    return Evidence(
        image=image,
        low=low,
        high=high,
        slope=image.header.slope,
        intercept=image.header.intercept,
        vendor=_vendor_name(str(sidecar.get("Manufacturer", ""))),
        told_unit=str(sidecar.get("Units", "")).strip().lower(),
        padding=tuple(padding),
    )


def _vendor_name(manufacturer: str) -> str:
    words = manufacturer.lower().replace("_", " ").split()
    return next((vendor for vendor in VENDORS if vendor in words), manufacturer.lower())


def _finite_range(image: Image) -> tuple[float, float]:
    low, high = float(image.data.min()), float(image.data.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = image.data[np.isfinite(image.data)]
    if not finite.size:
        raise ScanError(f"{image.path} holds no finite value; give another phase image")
    return float(finite.min()), float(finite.max())


def _without_padding(data: FloatArray, low: float, high: float) -> tuple[float, float, list[float]]:
    """The range without a lone value at either end, farther from all others than `GAP` of the range."""
    inner_low, inner_high = _inner_range(_sample(data), low, high)
    gap = GAP * (high - low)
    if inner_low - low > gap or high - inner_high > gap:
        inner_low, inner_high = _inner_range(data, low, high)
    padding = [
        value for value, distance in ((low, inner_low - low), (high, high - inner_high)) if distance > gap
    ]
    return (inner_low if low in padding else low), (inner_high if high in padding else high), padding


def _inner_range(data: FloatArray, low: float, high: float) -> tuple[float, float]:
    """The range of the values strictly between `low` and `high`; these themselves where there is none."""
    inner = data[(data > np.float32(low)) & (data < np.float32(high))]
    return (float(inner.min()), float(inner.max())) if inner.size else (low, high)


def _sample(data: FloatArray) -> FloatArray:
    """One voxel in 27."""
    return data[::3, ::3, ::3]


def _all_whole(data: FloatArray) -> bool:
    finite = data[np.isfinite(data)]
    return bool(np.all(finite == np.rint(finite)))


def _constant(e: Evidence) -> Verdict | None:
    if e.low != e.high:
        return None
    return Verdict(f"the phase is {e.low:.6g} everywhere and was left as it is")


def _spoilt_by_slope(e: Evidence) -> Verdict | None:
    """Stored radians (or a vendor's whole numbers) that the header's slope turns into something tiny."""
    if e.slope == 1 or e.padding:
        return None
    low, high = e.stored_range
    spoilt = abs(e.largest - PI) > TOLERANCE
    if spoilt and e.image.header.stored_type.startswith("float") and _fills_pi(low, high):
        return _unscaled(e, Verdict("the stored values already span ±π"))
    if e.largest >= TINY or e.told_unit:
        return None
    stored = replace(e, low=low, high=high, slope=1.0, intercept=0.0)
    verdict = _of_vendor(stored) or _filled(stored)
    if verdict is None:
        raise ScanError(
            f"{e.image.path} reaches only ±{e.largest:.3g} with the slope {e.slope:.6g} in its header: not "
            'radians; set that slope (scl_slope) to 1, or state "Units": "rad" in the JSON file beside it'
        )
    return _unscaled(e, verdict)


def _fills_pi(low: float, high: float) -> bool:
    return abs(low + PI) < TOLERANCE and abs(high - PI) < TOLERANCE


def _unscaled(e: Evidence, verdict: Verdict) -> Verdict:
    """The verdict about stored values, for values to which slope and intercept have been applied."""
    warning = (
        f"the slope {e.slope:.6g} in the header of {e.image.path.name} makes ±{e.largest:.3g} of it: ignored"
    )
    scale = verdict.scale / e.slope
    return replace(
        verdict,
        rule=f"{verdict.rule}; the header's slope of {e.slope:.6g} was ignored",
        scale=scale,
        offset=verdict.offset - scale * e.intercept,
        warnings=(*verdict.warnings, warning),
    )


def _told(e: Evidence) -> Verdict | None:
    """The unit that the sidecar states, unless the values contradict it."""
    if e.told_unit in TOLD_UNITS:
        return Verdict(f"the sidecar states the unit {e.told_unit}", scale=TOLD_UNITS[e.told_unit])
    if e.told_unit not in RADIANS or e.whole:
        return None
    if e.largest <= PI + TOLERANCE:
        return Verdict("the sidecar states radians: values left as they are", warnings=_tiny(e))
    return _zero_to_two_pi(e) or _unwrapped(e)


def _radians(e: Evidence) -> Verdict | None:
    if e.largest > PI + TOLERANCE:
        return None
    if e.whole:
        raise ScanError(
            f"{e.image.path} holds only whole numbers from {e.low:g} to {e.high:g}: rounded radians; "
            "convert the phase again, as floating-point numbers"
        )
    return Verdict(f"{e.describe()} lie within ±π: left as they are", warnings=_tiny(e))


def _tiny(e: Evidence) -> tuple[str, ...]:
    warning = f"the phase in {e.image.path.name} reaches only ±{e.largest:.3g}: check that it is in radians"
    return (warning,) if e.largest < TINY else ()


def _of_header(e: Evidence) -> Verdict | None:
    """An intercept at minus half the circle and a slope that divides the circle into 2ⁿ steps."""
    if e.slope <= 0 or e.intercept >= 0:
        return None
    levels = -2 * e.intercept / e.slope
    bits = round(math.log2(levels))
    low, high = e.stored_range
    if not 8 <= bits <= 16 or abs(levels / 2**bits - 1) > 1e-3 or low < -1 or high > 2**bits:
        return None
    rule = f"slope {e.slope:.6g} and intercept {e.intercept:.6g} in the header make one circle of {bits} bits"
    return Verdict(f"{rule}: value·π/{-e.intercept:.6g}", scale=PI / -e.intercept)


def _of_vendor(e: Evidence) -> Verdict | None:
    """Whole numbers (or fractions too large for unwrapped radians) as the vendor is known to store them."""
    if not e.whole and e.largest <= LARGEST_UNWRAPPED:
        return None
    for coding in VENDORS.get(e.vendor, ()):
        if coding.holds(e.low, e.high):
            return _coded(e, coding, e.vendor.upper() if e.vendor == "ge" else e.vendor.capitalize())
    return None


def _zero_to_two_pi(e: Evidence) -> Verdict | None:
    if e.whole or e.low < -TOLERANCE or not 1.9 * PI < e.high <= 2 * PI + TOLERANCE:
        return None
    return Verdict(f"{e.describe()} span 0…2π: brought into ±π", wrap=True)


def _filled(e: Evidence) -> Verdict | None:
    for coding in FILLED:
        known = coding.for_fractions or e.whole
        if known and coding.holds(e.low, e.high) and coding.fill(e.low, e.high) >= 0.98:
            return _coded(e, coding, "the values fill a known range")
    return None


def _unwrapped(e: Evidence) -> Verdict | None:
    if e.whole or e.largest > LARGEST_UNWRAPPED:
        return None
    name = e.image.path.name
    warning = f"the phase in {name} exceeds ±π ({e.describe()}): it seems to have been unwrapped before"
    return Verdict(
        f"{e.describe()} exceed ±π: taken as unwrapped radians", unwrapped=True, warnings=(warning,)
    )


def _coded(e: Evidence, coding: Coding, reason: str) -> Verdict:
    percent = 100 * coding.fill(e.low, e.high)
    warning = f"the phase in {e.image.path.name} fills only {percent:.0f} % of {coding.name}: check its scale"
    warnings = (warning,) if percent < 90 else ()
    rule = f"{reason}: {coding.name} is one full circle ({e.describe()})"
    return Verdict(rule, coding.scale, coding.offset, warnings=warnings)


RULES: tuple[Callable[[Evidence], Verdict | None], ...] = (
    _constant,
    _spoilt_by_slope,
    _told,
    _radians,
    _of_header,
    _of_vendor,
    _zero_to_two_pi,
    _filled,
    _unwrapped,
)


def _apply(e: Evidence, verdict: Verdict) -> RadianPhase:
    warnings = list(verdict.warnings)
    data = e.image.data
    if e.told_unit in RADIANS and (verdict.scale, verdict.offset) != (1.0, 0.0):
        warnings.append(
            f"the sidecar of {e.image.path.name} states radians, which its {e.describe()} are not"
        )
    if (verdict.scale, verdict.offset) != (1.0, 0.0):
        data = data * np.float32(verdict.scale)
        data += np.float32(verdict.offset)
    if verdict.wrap:
        data = np.where(data > PI, data - np.float32(2 * PI), data)
    limit = LARGEST_UNWRAPPED if verdict.unwrapped else PI + TOLERANCE
    outside = [value for value in e.padding if abs(verdict.scale * value + verdict.offset) > limit]
    if outside:
        data, warning = _without(e, outside, data)
        warnings.append(warning)
    return RadianPhase(data, verdict.rule, tuple(warnings), verdict.unwrapped)


def _without(e: Evidence, outside: list[float], data: FloatArray) -> tuple[FloatArray, str]:
    """Zero where the file holds values that no phase can have."""
    filled = np.isin(e.image.data, np.array(outside, dtype=np.float32))
    values = " and ".join(f"{value:g}" for value in outside)
    count = int(filled.sum())
    warning = f"{count} voxels of {e.image.path.name} hold {values}, outside the range of phase: set to 0"
    return np.where(filled, np.float32(0), data), warning
