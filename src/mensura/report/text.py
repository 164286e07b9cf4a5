"""How numbers, durations and lists are written on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOT_RECORDED = "not recorded"


def number(value: Any, digits: int = 3) -> str:
    """A number → at most `digits` significant digits, a true minus sign, powers of ten written out."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 10**6):
        return str(int(value)).replace("-", "−")
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    mantissa = mantissa.replace("-", "−")
    if not exponent:
        return mantissa
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def mean_sd(mean: float, sd: float | None, digits: int = 3) -> str:
    """A mean and its standard deviation → "0.012 ± 0.045", the mean to the last digit of the deviation."""
    if sd is None or not 0 < sd < 1000:
        return number(mean, digits) + ("" if sd is None else f" ± {number(sd, digits)}")
    places = max(0, digits - 1 - math.floor(math.log10(sd)))
    mean = round(mean, places) + 0.0  # no minus sign before a zero
    return f"{mean:.{places}f} ± {sd:.{places}f}".replace("-", "−")


def thousands(count: int) -> str:
    """A count → its digits in groups of three."""
    return f"{count:,}".replace(",", "\u202f")


def with_error(value: float | None, error: float | None) -> str:
    """A value and its standard deviation → "1.05 ± 0.04": the value to the second digit of its error."""
    if value is None or error is None or not 0 < error < math.inf:
        return number(value if value is None or abs(value) < 100 else round(value))
    places = 1 - math.floor(math.log10(error))
    if places < 0:
        return f"{number(round(value, places))} ± {number(round(error, places))}"
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share in % → two or three significant digits; less than a hundredth is said so."""
    return "<0.01 %" if 0 < share < 0.01 else f"{number(share, 2 if share < 10 else 3)} %"


def duration(seconds: Any) -> str:
    """Seconds → "0.42 s", "12.3 s" or "2 min 05 s"."""
    if seconds is None:
        return NOT_RECORDED
    if seconds >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    if 0 < seconds < 0.01:
        return "<0.01 s"
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def with_unit(value: Any, unit: str) -> str:
    """A parameter's value with its unit, as a paper would print it."""
    shown = plain(value)
    return shown if unit in ("", "1", "bool", "-") else f"{shown} {unit}"


def plain(value: Any) -> str:
    """Any value of a sidecar → words: lists with commas, yes and no, numbers with six digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, 6)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(item) for item in value)
    return str(value)


def listed(items: Sequence[str]) -> str:
    """Words → "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
