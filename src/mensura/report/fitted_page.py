"""A page for every map of a fitted model: its range, errors, status, values by tissue, and curves of chosen voxels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io import nifti
from mensura.report import curves, tissues
from mensura.report.checks import KeyNumber
from mensura.report.colours import CODED, STATUS, css
from mensura.report.fitted import FittedMap, Series
from mensura.report.mosaic import CONVENTION, Layout, Picture, draw, lay_out
from mensura.report.orient import closest_axes
from mensura.report.panels import Frame, Panel, panel_of
from mensura.report.published import CAVEAT, published
from mensura.report.ranges import kind_of, std_kind
from mensura.report.references import dois
from mensura.report.text import NOT_RECORDED, number, percent, plain, thousands
from mensura.scan import BoolArray, FloatArray, Grid

Content = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Read:
    """The images of a series: values of each map, which voxels were fitted, and the layout they share."""

    series: Series
    grid: Grid
    values: Mapping[str, FloatArray]
    inside: BoolArray
    layout: Layout

    @property
    def frame(self) -> Frame:
        return Frame(self.grid, self.layout, self.inside, None, self.series.field_strength, ())


@dataclass(frozen=True)
class StatusRow:
    """A code of the status map: its colour, and how many voxels ended so."""

    code: int
    words: str
    colour: str
    count: str
    share: str


@dataclass(frozen=True)
class StatusPanel:
    key: str
    picture: Picture
    rows: tuple[StatusRow, ...]


def read(series: Series) -> Read:
    """The images of a series, on one grid; fitted voxels are those where any map has a value, or failed to."""
    images = {fitted.name: nifti.read(fitted.path) for fitted in series.maps}
    first = images[series.maps[0].name]
    for image in images.values():
        nifti.check_same_grid(image, first)
    values = {name: image.data for name, image in images.items()}
    inside = np.any([(data != 0) | np.isnan(data) for data in values.values()], axis=0)
    return Read(series, first.grid, values, inside, lay_out(inside, first.grid))


def contents(seen: Read, root: Path | None) -> Iterator[tuple[FittedMap, Content]]:
    """A series → for each of its maps what its page shows; `root`: the folder of derivatives, where it is one."""
    series = seen.series
    where = tissues.find(series.record, series.entities, root)
    classes = tissues.segmentation(where, seen.grid, seen.inside)
    status = _status(seen)
    drawn = _voxels(series)
    for fitted in series.maps:
        panels = _panels(fitted, seen)
        yield (
            fitted,
            {
                "title": _title(fitted, series),
                "family": fitted.label,
                "header": header(series),
                "key_numbers": _key_numbers(panels, seen),
                "notes": list(dict.fromkeys(str(text) for text in series.ours.get("Warnings") or ())),
                "siblings": [
                    {"href": other.page, "label": other.name} for other in series.maps if other is not fitted
                ],
                "panels": panels,
                "unit": panels[0].kind.unit,
                "status": status,
                "tissues": _tissues(fitted, panels[0], classes, seen),
                "caveat": CAVEAT,
                "voxels": drawn,
                "voxel_words": _voxel_words(series),
                "convention": CONVENTION,
                "angle": closest_axes(seen.grid).angle,
                "stride": max(seen.layout.strides),
                **_provenance(series),
            },
        )


def title_of(entities: Mapping[str, str]) -> str:
    """Entities of a name → "Subject 01, session 1"."""
    names = {"sub": "Subject", "ses": "session", "acq": "acquisition", "run": "run"}
    return ", ".join(f"{names.get(key, key)} {value}" for key, value in entities.items())


def _title(fitted: FittedMap, series: Series) -> str:
    """ "Subject 01: T1map of VFA"."""
    whose = title_of(series.entities) or fitted.path.parent.resolve().name
    return f"{whose}: {fitted.name}{f' of {series.suffix}' if series.suffix else ''}"


def header(series: Series) -> dict[str, str]:
    """What stands at the top of a page of a series."""
    field = series.field_strength
    return {
        "Model": series.model.replace("_", " "),
        "Files": f"{series.images} {series.suffix}".strip(),
        "Field strength": NOT_RECORDED if field is None else f"{field:g} T",
        "Version": f"mensura {series.ours.get('Version', NOT_RECORDED)}",
        "Command": str(series.ours.get("Command") or NOT_RECORDED),
    }


def _panels(fitted: FittedMap, seen: Read) -> list[Panel]:
    """The map, and its standard deviation where there is one."""
    values = seen.values[fitted.name]
    found = values[seen.inside]
    kind, remark = kind_of(fitted, seen.series.field_strength, found[np.isfinite(found)])
    panels = [replace(panel_of(kind, values, seen.frame)[0], remark=remark)]
    if fitted.std is not None:
        std = nifti.read(fitted.std)
        panels.append(panel_of(std_kind(kind), std.data, seen.frame)[0])
    return panels


def _status(seen: Read) -> StatusPanel | None:
    """The status map with its legend, where it is on disk."""
    path = seen.series.status
    if path is None:
        return None
    codes = nifti.read(path).data
    counts = np.bincount(codes[seen.inside].astype(np.int64), minlength=1)
    rows = [
        StatusRow(
            code,
            status_words(code),
            css(CODED[min(code, len(CODED) - 1)]),
            thousands(count),
            percent(100 * count / max(1, counts.sum())),
        )
        for code, count in enumerate(counts.tolist())
        if count
    ]
    return StatusPanel("status", draw(seen.layout, codes, seen.inside, STATUS), tuple(rows))


def status_words(code: int) -> str:
    """A code → "not converged"; one that this version does not know stays a number."""
    from mensura.fit import Status

    known = {int(status): status.name.lower().replace("_", " ") for status in Status}
    return known.get(code, f"code {code}")


def _key_numbers(panels: list[Panel], seen: Read) -> list[KeyNumber]:
    summary, unit = panels[0].summary, panels[0].kind.unit.replace("relative", "")
    fitted = int(np.count_nonzero(seen.inside))
    if summary is None:
        return [KeyNumber("Voxels", "0", "", f"of {fitted} have a value")]
    found = [
        KeyNumber("Median", number(summary.quartiles[1]), unit, "of all voxels with a value"),
        KeyNumber("Quartiles", f"{number(summary.quartiles[0])} to {number(summary.quartiles[2])}", unit, ""),
        KeyNumber(
            "With a value",
            percent(100 * summary.voxels / max(1, fitted)),
            "",
            f"of {thousands(fitted)} voxels",
        ),
    ]
    if len(panels) > 1 and panels[1].summary is not None:
        error = panels[1].summary.quartiles[1]
        found.append(KeyNumber("Standard deviation", number(error), unit, "median, as the fit tells it"))
    return found


def _tissues(fitted: FittedMap, panel: Panel, classes: tissues.Segmentation, seen: Read) -> Content:
    """Rows of the table of tissues, with the published bands of each; all bands behind the one row without classes."""
    told = published(fitted.name, seen.series.field_strength)
    values = seen.values[fitted.name]
    rows = []
    for tissue in classes.tissues:
        found, band = tissues.of(values, tissue), told.of(tissue.name)
        if found.size:
            rows.append(curves.row(tissue.name, found, panel.scale, [band] if band else []))
    everything = values[seen.inside & np.isfinite(values)]
    if not classes.tissues and everything.size:
        rows.append(curves.row("all voxels", everything, panel.scale, told.bands, tall=True))
    return {
        "words": classes.words,
        "published": told.words,
        "doi": told.doi,
        "rows": rows,
        "ticks": curves.row_ticks(panel.scale),
        "all_bands": "; ".join(curves.band_words(band) for band in told.bands),
    }


def _voxels(series: Series) -> list[curves.VoxelPlot]:
    if series.voxels is None:
        return []
    units = {fitted.name: _plain_unit(fitted) for fitted in series.maps}
    return [curves.voxel_plot(voxel, series.voxels, units) for voxel in series.voxels.get("Voxels") or ()]


def _plain_unit(fitted: FittedMap) -> str:
    unit = str(fitted.record.get("Units") or "")
    return {"percent": "%", "1": "", "arbitrary": ""}.get(unit, unit)


def _voxel_words(series: Series) -> str:
    """How the plots of chosen voxels are to be read."""
    voxels = (series.voxels or {}).get("Voxels") or ()
    said = ["Chosen by fixed rules; indices are those of the file, from 0. Dots: data."]
    if any("Curve" in voxel for voxel in voxels):
        level = f"{(series.voxels or {}).get('Interval', 0.95):.0%}".replace("%", " %")
        said.append(
            f"Line: the fitted curve; its shade: the {level} interval of the curve (not of new data)."
        )
        if any(0 in (voxel.get("Weights") or ()) for voxel in voxels):
            said.append("Red crosses: points that the fit rejected.")
        if any(None in voxel["Curve"]["Low"] for voxel in voxels if "Curve" in voxel):
            said.append("Without a shade: as many points as parameters tell no error.")
        if any(v < 0 for voxel in voxels for v in voxel["Data"] if v is not None):
            said.append("Data of magnitude images below zero carry the sign that the fit found.")
    else:
        said.append("The model is a closed form: there is no curve.")
    if (series.ours.get("Parameters") or {}).get("likelihood", "gaussian") != "gaussian":
        said.append("The curve is the signal without the noise's floor, on which small magnitudes lie.")
    return " ".join(said)


def _provenance(series: Series) -> Content:
    acquisition = series.record.get("Acquisition") or {}
    scanner = [acquisition[key] for key in ("Manufacturer", "ManufacturersModelName") if acquisition.get(key)]
    reference = dois(series.record.get("EstimationReference"))
    digests = series.ours.get("Digests") or {}
    return {
        "provenance": {
            "Method": str(series.record.get("EstimationAlgorithm") or NOT_RECORDED),
            "Scanner": ", ".join(plain(one) for one in scanner) or NOT_RECORDED,
            "Field strength": header(series)["Field strength"],
            "Sequence": plain(acquisition.get("PulseSequenceType") or NOT_RECORDED),
        },
        "doi": reference[0] if reference else "",
        "parameters": {name: plain(value) for name, value in (series.ours.get("Parameters") or {}).items()},
        "inputs": list(digests.items()) or [(source, "") for source in series.sources],
    }
