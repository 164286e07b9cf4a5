"""Published relaxation times of healthy brain, by field strength, to be drawn behind a map's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mensura.report.text import listed

NEAR = 0.1
"""Relative difference of field strengths that still count as the same: 2.89 T is sold as 3 T."""
CAVEAT = (
    "They are of healthy adult brains, by one study; other methods measured others (T1 of white matter at 3 T from "
    "0.6 to 1.1 s). They are no pass or fail."
)

Ends = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """A study: its values (ends of the bands) in the maps' unit, by tissue and field strength (T)."""

    doi: str
    what: str  # the ends of a band are
    values: Mapping[str, Mapping[float, Ends]]


@dataclass(frozen=True)
class Band:
    """What was published for a tissue, in the map's unit; both ends are the same where no spread is known."""

    tissue: str
    low: float
    high: float


@dataclass(frozen=True)
class Published:
    """The bands of a map at a field strength, where they are from, or why there are none."""

    bands: tuple[Band, ...]
    doi: str
    words: str

    def of(self, tissue: str) -> Band | None:
        """The band of a tissue, if there is one."""
        return next((band for band in self.bands if band.tissue == tissue), None)


def _spread(*pairs: tuple[float, float]) -> dict[float, Ends]:
    """Means and standard deviations in ms at 1.5, 3 and 7 T → bands in s."""
    fields = (1.5, 3.0, 7.0)
    return {field: ((m - s) / 1e3, (m + s) / 1e3) for field, (m, s) in zip(fields, pairs, strict=True)}


def _means(*pairs: tuple[float, float]) -> dict[float, Ends]:
    """Means in ms of two regions at 1.5, 3 and 7 T → from one to the other, in s."""
    return {field: (a / 1e3, b / 1e3) for field, (a, b) in zip((1.5, 3.0, 7.0), pairs, strict=True)}


SOURCES: Mapping[str, Source] = {
    "T1map": Source(
        "10.1007/s10334-008-0104-8",
        "mean ± standard deviation between subjects",
        {
            "white matter": _spread((646, 32), (838, 50), (1126, 97)),
            "cortex": _spread((1197, 134), (1607, 112), (1939, 149)),
            "putamen": _spread((1084, 63), (1332, 68), (1644, 167)),
            "caudate": _spread((1109, 66), (1395, 49), (1684, 76)),
        },
    ),
    "T2map": Source(
        "10.1002/mrm.22522",
        "means: of white matter, and of occipital to frontal cortex; their spread was not stated",
        {
            "white matter": _means((80, 80), (71, 71), (47, 47)),
            "cortex": _means((80, 87), (68, 76), (46, 47)),
        },
    ),
    "T2starmap": Source(
        "10.1016/j.mri.2007.02.014",
        "mean ± standard deviation between subjects, as others copied them from the paper's table",
        {
            "white matter": _spread((66.2, 1.9), (53.2, 1.2), (26.8, 1.2)),
            "cortex": _spread((84.0, 0.8), (66.0, 1.4), (33.2, 1.3)),
            "putamen": _spread((55.5, 2.3), (31.5, 2.5), (16.1, 1.6)),
            "caudate": _spread((58.8, 2.4), (41.3, 2.3), (19.9, 2.0)),
        },
    ),
}
"""By map, in s. T1: Wright et al. 2008. T2: Cox & Gowland 2010. T2*: Peters et al. 2007, whose table 1 was not read
itself: the numbers are those of two public scripts that cite it and agree (of the nuclei and of all spreads: one).
Cortex at 7 T fits the 32.2 ± 1.4 ms of eight others (Cohen-Adad et al. 2012, doi:10.1016/j.neuroimage.2012.01.053);
at 3 T R2 + R2′ of six others is 17 % above white matter's and cortex's rates here (Gelman et al. 1999,
doi:10.1148/radiology.210.3.r99fe41759). At 1.5 T T2* of cortex lies among T2 of the other study: no R2′ can be had of
these two. Peters et al. tell nothing of pallidum, thalamus or dentate."""
RATES = {"R1map": "T1map", "R2map": "T2map", "R2starmap": "T2starmap"}
"""Maps of rates, whose bands are the inverse of those of times."""


def published(name: str, field: float | None) -> Published:
    """A map and its field strength (T) → what was published for it, in the map's unit; else in words why nothing is."""
    source = SOURCES.get(RATES.get(name, name))
    if source is None:
        return Published((), "", "No published values are known here for this map.")
    if field is None:
        return Published(
            (),
            "",
            "The field strength is not recorded, so no published values are drawn: they change with it.",
        )
    known = sorted({f for values in source.values.values() for f in values})
    nearest = min(known, key=lambda f: abs(f - field))
    if abs(nearest - field) > NEAR * nearest:
        at = listed([f"{f:g}" for f in known])
        return Published((), "", f"Values were published for {at} T; this scan was made at {field:g} T.")
    bands = [Band(tissue, *_ends(values[nearest], name)) for tissue, values in source.values.items()]
    return Published(tuple(bands), source.doi, f"Bands: published at {nearest:g} T, {source.what}.")


def _ends(ends: Ends, name: str) -> Ends:
    return (1 / ends[1], 1 / ends[0]) if name in RATES else ends
