"""What could be done and what would be: the tables of methods, and the plan of a run, on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, get_args, get_origin

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mensura.methods import Parameter
from mensura.pipeline.config import SPAN, Settings, flag, in_words, nearest, stages
from mensura.pipeline.job import Job, disk_needed, memory_needed
from mensura.pipeline.presets import PRESETS
from mensura.pipeline.products import UNREFERENCED
from mensura.scan import ScanError


def as_json() -> str:
    """Every stage, method and parameter, and the presets, as JSON."""
    presets = {name: asdict(preset) for name, preset in PRESETS.items()}
    tables = {name: _stage_record(name) for name in stages()}
    return json.dumps({**tables, "presets": presets}, indent=2, ensure_ascii=False)


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


def show(wanted: Sequence[str] = ()) -> None:
    """The tables for people: every method in a line, or all about the stages, methods and presets named."""
    console = Console()
    if not wanted:
        _overview(console)
    for word in wanted:
        _details(console, word)


def _overview(console: Console) -> None:
    for name, stage in stages().items():
        console.print(f"\n[bold]{flag(name)}[/]  {stage.summary}")
        for key, method in stage.methods.items():
            default = " [green](default)[/]" if key == stage.default else ""
            said = escape(_short(method.summary))
            console.print(f"  [bold cyan]{key:<14}[/] {said}{default}", highlight=False, soft_wrap=True)
    console.print("\n[bold]--preset[/]  settings for a kind of data")
    for key, preset in PRESETS.items():
        console.print(f"  [bold cyan]{key:<14}[/] {escape(preset.summary)}", highlight=False, soft_wrap=True)
    console.print(
        "\nParameters and references: mensura methods STAGE, mensura methods dipole.tv, … presets, … all"
    )


def _short(summary: str) -> str:
    """The first line of a docstring without what it says after the first colon or full stop."""
    return summary.split(": ")[0].split(". ")[0].rstrip(".:")


def _details(console: Console, word: str) -> None:
    name, _, key = word.removeprefix("--").partition(".")
    name = "mask" if name == "mask-method" else name
    if word in ("preset", "presets", *PRESETS):
        return _show_presets(console, [word] if word in PRESETS else list(PRESETS))
    if word == "all":
        for stage in stages():
            _show_stage(console, stage, list(stages()[stage].methods))
        return _show_presets(console, list(PRESETS))
    if name in stages():
        known = stages()[name].methods
        if not key or key in known:
            return _show_stage(console, name, [key] if key else list(known))
    owners = [stage for stage, entry in stages().items() if word in entry.methods]
    if not owners:
        every = [*stages(), *PRESETS, *(f"{s}.{m}" for s, e in stages().items() for m in e.methods)]
        raise ScanError(
            f"there is no stage, method or preset {word!r}{nearest(word, every)}; see `mensura methods`"
        )
    for stage in owners:
        _show_stage(console, stage, [word])
    return None


def _show_stage(console: Console, name: str, keys: Sequence[str]) -> None:
    """A stage, and some of its methods with their parameters."""
    stage = stages()[name]
    console.print(f"\n[bold]{flag(name)}[/]  {stage.summary}")
    for key in keys:
        method = stage.methods[key]
        default = "  [green](default)[/]" if key == stage.default else ""
        doi = f"  [dim]https://doi.org/{method.doi}[/]" if method.doi else ""
        console.print(f"  [bold cyan]{key}[/]{default}{doi}", highlight=False, soft_wrap=True)
        console.print(f"    {escape(method.summary)}", highlight=False)
        for parameter in method.parameters.values():
            console.print(_line(f"{name}.{key}", parameter), highlight=False, soft_wrap=True)


def _show_presets(console: Console, names: Sequence[str]) -> None:
    for name in names:
        preset = PRESETS[name]
        console.print(f"\n[bold]--preset[/] [bold cyan]{name}[/]  {escape(preset.summary)}", highlight=False)
        console.print(f"    {escape(preset.why)}", highlight=False)
        for key, value in preset.settings.items():
            console.print(f"    [cyan]--{key}[/] {escape(written(value))}", highlight=False, soft_wrap=True)
        if preset.lengths != 1:
            console.print(f"    every default in mm × {preset.lengths:g}", highlight=False)


def written(value: Any) -> str:
    """A value as it is given on the command line."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return " ".join(map(str, value)) if several else str(value)


def _line(prefix: str, parameter: Parameter) -> str:
    unit = parameter.unit if parameter.unit not in ("", "1") else ""
    default = written(parameter.default)
    value = f"{default} {unit}".strip() if default else "none"
    words = in_words(parameter.type) if "Literal" in str(parameter.type) else ""
    options = f" ({words})" if words else ""
    return f"    [cyan]--{prefix}.{parameter.name}[/] {escape(value)}  [dim]{escape(parameter.help + options)}[/]"


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
