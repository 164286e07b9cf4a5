"""What could be done and what would be: the tables of methods, and the plan of a run, on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mensura.methods import Parameter
from mensura.pipeline.config import SPAN, Settings, flag, stages
from mensura.pipeline.job import Job, disk_needed, memory_needed
from mensura.pipeline.products import UNREFERENCED


def as_json() -> str:
    """Every stage, method and parameter as JSON."""
    return json.dumps({name: _stage_record(name) for name in stages()}, indent=2, ensure_ascii=False)


def _stage_record(name: str) -> dict[str, Any]:
    stage = stages()[name]
    return {
        "summary": stage.summary,
        "flag": flag(name),
        "default": stage.default,
        "consumes": dict(stage.consumes),
        "produces": dict(stage.produces),
        "methods": {
            key: {
                "summary": method.summary,
                "doi": method.doi,
                "parameters": {p.name: _parameter_record(p) for p in method.parameters.values()},
            }
            for key, method in stage.methods.items()
        },
    }


def _parameter_record(parameter: Parameter) -> dict[str, Any]:
    return {
        "default": parameter.default,
        "unit": parameter.unit,
        "type": type_name(parameter.type),
        "help": parameter.help,
    }


def type_name(kind: Any) -> str:
    """A type as a person would write it: float, one of a|b, float or none."""
    parts = get_args(kind)
    if get_origin(kind) is None or not parts:
        return "none" if kind is type(None) else getattr(kind, "__name__", str(kind))
    if all(isinstance(part, str | int) for part in parts):
        return "|".join(map(str, parts))
    return " or ".join(type_name(part) for part in parts if part is not Ellipsis)


def show() -> None:
    """The tables for people."""
    console = Console()
    for name, stage in stages().items():
        console.print(f"\n[bold]{flag(name)}[/]  {stage.summary}")
        for key, method in stage.methods.items():
            default = "  [green](default)[/]" if key == stage.default else ""
            doi = f"  [dim]https://doi.org/{method.doi}[/]" if method.doi else ""
            console.print(f"  [bold cyan]{key}[/]{default}{doi}", highlight=False, soft_wrap=True)
            console.print(f"    {escape(method.summary)}", highlight=False)
            for parameter in method.parameters.values():
                console.print(_line(f"{name}.{key}", parameter), highlight=False, soft_wrap=True)


def _line(prefix: str, parameter: Parameter) -> str:
    unit = parameter.unit if parameter.unit not in ("", "1") else ""
    value = f"{parameter.default} {unit}".strip()
    return f"    [cyan]--{prefix}.{parameter.name}[/] {escape(value)}  [dim]{escape(parameter.help)}[/]"


def show_plan(jobs: Sequence[Job], shapes: Sequence[Sequence[int]]) -> None:
    """What would be done: the runs, the stages with their methods, and the memory and disk they will need."""
    console = Console()
    table = Table("run", "voxels", "echoes", "memory", "disk", "maps in")
    for job, (*grid, echoes) in zip(jobs, shapes, strict=True):
        shape = (*grid, echoes)
        memory, disk = f"{memory_needed(shape) / 1e9:.1f} GB", f"{disk_needed(shape) / 1e6:.0f} MB"
        folder = str(job.path(UNREFERENCED).parent)
        table.add_row(escape(job.name), "×".join(map(str, grid)), str(echoes), memory, disk, escape(folder))
    console.print(table)
    for line in _steps(jobs[0].settings):
        console.print(line, highlight=False, soft_wrap=True)
    console.print("Nothing was written.")


def _steps(settings: Settings) -> Iterator[str]:
    """The stages that the settings lead to, one per line, with all parameters."""
    left_out = {SPAN} if settings.two_steps else {"background", "dipole"}
    for name in stages():
        if name not in left_out:
            parameters = "  ".join(f"{key}={value}" for key, value in settings.resolved(name).items())
            yield f"  {name:<18} [cyan]{settings.method(name)}[/]  [dim]{escape(parameters)}[/]"
