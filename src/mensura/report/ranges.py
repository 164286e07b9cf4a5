"""How maps of fitted models are shown: title, colour scale, and a fixed physical range by field strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mensura.report.colours import Scale
from mensura.report.fitted import FittedMap
from mensura.report.maps import MapKind, shown_scale
from mensura.report.text import number
from mensura.scan import FloatArray

USUAL = 3.0
"""The field strength, T, that stands in for one that is not recorded."""
STD_SHARE = 0.05
"""Of a map's range: the range of its standard deviation."""
UNITS = {"percent": "%", "1": "relative", "arbitrary": "arbitrary"}


@dataclass(frozen=True)
class Shown:
    """A map's colours, its range at each field strength (T; one entry: the same at all), and how to read it."""

    scale: str
    ranges: Mapping[float, tuple[float, float]]
    reading: str


def _always(low: float, high: float) -> dict[float, tuple[float, float]]:
    return {USUAL: (low, high)}


SHOWN: Mapping[str, Shown] = {
    "T1map": Shown(
        "heat",
        {1.5: (0, 2.5), 3.0: (0, 3), 7.0: (0, 4)},
        "White matter is dark, grey matter brighter, fluid brightest. Lengthens with the field.",
    ),
    "T1starmap": Shown(
        "heat",
        {1.5: (0, 2.5), 3.0: (0, 3), 7.0: (0, 4)},
        "Shorter than T1: the readouts hasten the recovery.",
    ),
    "R1map": Shown(
        "heat", {1.5: (0, 2.5), 3.0: (0, 2), 7.0: (0, 1.5)}, "The inverse of T1; myelin is bright."
    ),
    "T2map": Shown(
        "water",
        {1.5: (0, 0.25), 3.0: (0, 0.2), 7.0: (0, 0.15)},
        "Iron and myelin are dark, fluid is bright. Without a correction for stimulated echoes it is too long.",
    ),
    "R2map": Shown("water", {1.5: (0, 25), 3.0: (0, 25), 7.0: (0, 40)}, "The inverse of T2."),
    "T2starmap": Shown("water", {1.5: (0, 0.15), 3.0: (0, 0.1), 7.0: (0, 0.06)}, "The inverse of R2*."),
    "R2starmap": Shown(
        "heat",
        {1.5: (0, 50), 3.0: (0, 100), 7.0: (0, 200)},
        "High where iron or field gradients dephase the signal.",
    ),
    "TB1map": Shown(
        "diverging",
        _always(0.5, 1.5),
        "White-grey is nominal, red above, blue below. It should be smooth: anatomy in it is bias.",
    ),
    "RB1map": Shown("diverging", _always(0.5, 1.5), "Sensitivity of the receive coils; it should be smooth."),
    "IEmap": Shown("water", _always(0.5, 1.1), "1 is a perfect inversion; low where the pulse fell short."),
    "MTRmap": Shown("heat", _always(0, 60), "High where macromolecules are: white matter is bright."),
    "MTsat": Shown("heat", _always(0, 4), "High where macromolecules are, with T1 and B1 taken out."),
    "MWFmap": Shown("heat", _always(0, 30), "Share of the water between layers of myelin."),
    "PDFFmap": Shown("heat", _always(0, 100), "Share of fat in the signal."),
}
"""By BIDS suffix. Others are scaled to their values, and the page says so."""


def kind_of(fitted: FittedMap, field: float | None, values: FloatArray) -> tuple[MapKind, str]:
    """A fitted map, its field strength (T) and its values → how it is shown, and a remark on its range."""
    unit = str(fitted.record.get("Units") or "")
    shown = SHOWN.get(fitted.name)
    if shown is None:
        scale, reading, remark = _own(values), "", "no fixed range: scaled to its values"
        if unit == "arbitrary":
            reading = "In the units of the images, with the sensitivity of the receive coils in it."
    else:
        scale, remark = _fixed(shown, field)
        reading = shown.reading
    key = fitted.path.name.partition(".")[0]
    return MapKind(key, fitted.name, fitted.label, UNITS.get(unit, unit), scale, reading), remark


def std_kind(kind: MapKind) -> MapKind:
    """How the standard deviation of a map is shown."""
    low, high = kind.scale.low, kind.scale.high
    return MapKind(
        f"{kind.key}-std",
        f"desc-std_{kind.name}",
        "Its standard deviation",
        kind.unit,
        Scale("heat", 0.0, float(f"{STD_SHARE * (high - min(low, 0.0)):.2g}")),
        f"Expected error of each voxel, as the fit tells it, from 0 to {STD_SHARE:.0%} of the map's range.",
    )


def _fixed(shown: Shown, field: float | None) -> tuple[Scale, str]:
    """The range at the nearest field strength, and a remark where it is not that of the scan."""
    nearest = min(shown.ranges, key=lambda f: abs(np.log(f / (field or USUAL))))
    remark = ""
    if len(shown.ranges) > 1:
        remark = f"range for {number(nearest)} T" + ("" if field else ": the field strength is not recorded")
    low, high = shown.ranges[nearest]
    return Scale(shown.scale, float(low), float(high)), remark


def _own(values: FloatArray) -> Scale:
    """From 0, or the lowest hundredth where many are negative, to a little above the highest."""
    window = shown_scale(
        MapKind("", "", "", "", Scale("grey", 0.0, 1.0), "", window=True), np.abs(values), None
    )
    low, few = np.quantile(values, [0.01, 0.05]).tolist() if values.size else (0.0, 0.0)
    return Scale("grey", float(f"{low:.2g}") if few < 0 else 0.0, float(f"{window.high:.2g}"))
