"""Fitted models on the terminal: the table of them, and what a fit has found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mensura.pipeline.relaxometry import Outcome, Request, entry, fit_files, in_degrees, required
from mensura.pipeline.screen import bar
from mensura.qmri.models import MODELS


def fit_watched(request: Request, out_dir: Path) -> None:
    """Fits with a bar on the terminal, then tells what was found."""
    with bar(Console(stderr=True), "fit", request.model) as monitor:
        outcome = fit_files(request, out_dir, monitor)
    show(outcome, out_dir)


def show(outcome: Outcome, out_dir: Path) -> None:
    """Medians and quartiles of the maps, how the voxels ended, and where the files are."""
    console = Console()
    for remark in outcome.remarks:
        console.print(f"note: {remark}", highlight=False, soft_wrap=True)
    table = Table("map", "median", "quartiles", box=None)
    for name, (low, middle, high) in outcome.quartiles.items():
        table.add_row(name, f"{middle:.4g}", f"{low:.4g} … {high:.4g}")
    console.print(table)
    console.print(
        f"voxels: {outcome.voxels}; {outcome.seconds:.1f} s; {len(outcome.files)} maps in {out_dir}",
        soft_wrap=True,
    )


def show_models(names: Sequence[str]) -> None:
    """All models in a line or two each, or some with all their parameters."""
    console = Console()
    for name in names or MODELS:
        model = entry(name)
        method = model.method
        needs = [model.varied] if model.varied else []
        needs += required(model)
        makes = ", ".join(f"{key} ({unit})" for key, unit in model.produces.items())
        console.print(f"\n[bold cyan]{name}[/]  {escape(method.summary)}", highlight=False, soft_wrap=True)
        words = ", ".join(need.replace("_", " ") for need in needs) or "the images in order"
        maps = ["a B1 map"] * model.takes_b1 + ["a field map"] * bool(model.of_field)
        uses = f"; can use {' and '.join(maps)}" if maps else ""
        console.print(f"    needs {words}{uses}", highlight=False)
        console.print(
            f"    makes {makes}    [dim]https://doi.org/{model.doi}[/]", highlight=False, soft_wrap=True
        )
        for parameter in method.parameters.values() if names else ():
            angle, told = in_degrees(parameter.name), parameter.default
            told = f"{math.degrees(told):g}" if angle and isinstance(told, float) else told
            default = "needed" if parameter.name in required(model) else f"default {told}"
            unit = "°" if angle else parameter.unit
            flag = parameter.name.replace("_", "-")
            console.print(
                f"    [cyan]--{flag}[/] {escape(parameter.help)} ({unit}; {escape(str(default))})".replace(
                    "(; ", "("
                ),
                highlight=False,
                soft_wrap=True,
            )
