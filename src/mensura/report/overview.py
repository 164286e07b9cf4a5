"""The pages of a folder's or subject's fitted maps, and the one that leads to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mensura.io.files import write_text
from mensura.report import fitted_page
from mensura.report.fitted import Series, series_in
from mensura.report.fitted_page import Read, header, title_of
from mensura.report.mosaic import Layout, Picture, draw, lay_out
from mensura.report.ranges import kind_of
from mensura.report.template import render
from mensura.report.text import NOT_RECORDED, number, percent

SLICES = (7, 0, 0)
"""Axial slices alone lead to a map."""


@dataclass(frozen=True)
class Card:
    """A map on the overview: where its page is, what it is called, a few numbers, and a few slices."""

    href: str
    label: str
    words: str
    picture: Picture


@dataclass(frozen=True)
class Group:
    """The maps of one fit."""

    key: str
    title: str
    words: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Link:
    href: str
    label: str


def write_map_pages(folders: Sequence[Path], target: Path, root: Path | None = None) -> list[Group]:
    """Writes a page for each fitted map of the folders into that of `target`, the page that leads to them.

    `root`: the folder of derivatives, where the folders lie in one. ScanError for a map that cannot be read.
    """
    groups = []
    for number_, series in enumerate(series_in(folders)):
        seen = fitted_page.read(series)
        for fitted, content in fitted_page.contents(seen, root):
            page = target.parent / fitted.page
            write_text(page, render("fitted.html", {**content, "home": f"{target.name}#fitted"}))
        groups.append(_group(seen, number_))
    return groups


def write_overview(
    groups: Sequence[Group], target: Path, about: Mapping[str, Any], runs: Sequence[Link] = ()
) -> Path:
    """The page that leads to the maps; `about`: its title and header."""
    write_text(target, render("overview.html", {**about, "groups": groups, "runs": runs}))
    return target


def about(series: Sequence[Series], folder: Path) -> dict[str, Any]:
    """Title and header of an overview."""
    entities = {k: v for k, v in series[0].entities.items() if all(s.entities.get(k) == v for s in series)}
    commands = list(dict.fromkeys(header(one)["Command"] for one in series))
    fields = list(dict.fromkeys(header(one)["Field strength"] for one in series))
    return {
        "title": title_of(entities) or folder.resolve().name,
        "header": {
            "Field strength": ", ".join(fields),
            "Version": header(series[0])["Version"],
            "Command": commands[0] if len(commands) == 1 else NOT_RECORDED,
        },
    }


def links(groups: Sequence[Group]) -> list[Link]:
    """To every map, for a page that has others."""
    return [Link(card.href, f"{group.title}: {card.label}") for group in groups for card in group.cards]


def _group(seen: Read, place: int) -> Group:
    series = seen.series
    layout = _axial(lay_out(seen.inside, seen.grid, SLICES))
    cards = []
    for fitted in series.maps:
        values = seen.values[fitted.name]
        known = values[seen.inside & np.isfinite(values)]
        kind, _ = kind_of(fitted, series.field_strength, known)
        words = "no voxel has a value"
        if known.size:
            share = percent(100 * known.size / np.count_nonzero(seen.inside))
            unit = "" if kind.unit in ("relative", "arbitrary") else kind.unit
            ends = f"shown from {number(kind.scale.low)} to {number(kind.scale.high)} {unit}".strip()
            middle = f"median {number(float(np.median(known)))} {unit}".strip()
            words = f"{middle}; {share} of the voxels have a value; {ends}"
        picture = draw(layout, values, seen.inside, kind.scale)
        cards.append(Card(fitted.page, f"{fitted.label} ({fitted.name})", words, picture))
    words = series.model.replace("_", " ")
    title = f"{series.suffix}, {words}" if series.suffix else words.capitalize()
    notes = " ".join(f"{str(text)[0].upper()}{str(text)[1:]}." for text in series.ours.get("Warnings") or ())
    return Group(f"series-{place}", title, notes, tuple(cards))


def _axial(layout: Layout) -> Layout:
    """The axial slices of a layout alone, in a row with room for all."""
    strip = layout.strips[0]
    width = SLICES[0] * strip.tile_width
    row = replace(strip, left=(width - strip.width) / 2, top=0.0)
    return replace(layout, strips=(row,), width=width, height=strip.tile_height)
