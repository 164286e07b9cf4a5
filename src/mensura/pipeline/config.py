"""Which method does each stage, and with what parameters: from flags or a TOML file, same keys.

A setting is a stage's method (`dipole = "tv"`), a method's parameter (`dipole.tv.weight = 2e-4`) or a preset
(`preset = "rodent"`), over which all others are laid.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mensura.methods import Parameter, Stage
from mensura.pipeline.presets import PRESET, PRESETS, Preset
from mensura.scan import GradientEcho, ScanError

SPAN = "background+dipole"
WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@cache
def stages() -> Mapping[str, Stage]:
    """Every stage of the job in the order of the chain, from the tables of the rooms."""
    import mensura.mask.methods as masks
    import mensura.qmri.models as models
    import mensura.qsm.stages as qsm

    return {**masks.STAGES, **qsm.STAGES, **models.STAGES}


@dataclass(frozen=True)
class Settings:
    """What was chosen: `methods` by stage, `parameters` by stage and name; the rest is at its default.

    `preset` is the name of the preset that they were laid over, if there was one.
    """

    methods: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset: str = ""

    def method(self, stage: str) -> str:
        """The name of the method that does `stage`."""
        return self.methods.get(stage, stages()[stage].default)

    def resolved(self, stage: str) -> dict[str, Any]:
        """All parameters of the stage's method, with the defaults filled in."""
        return stages()[stage].method(self.method(stage)).resolve(self.parameters.get(stage, {}))

    def suited(self, acquisition: GradientEcho | None) -> Settings:
        """With one echo, whose phase offset stays in the field: the inversion that bears it, unless one was chosen."""
        chosen = self.preset or self.two_steps or SPAN in self.methods
        if chosen or acquisition is None or len(acquisition.echo_times) > 1:
            return self
        bearing = settings({PRESET: "single-echo"})
        return replace(
            self,
            methods={**bearing.methods, **self.methods},
            parameters={**bearing.parameters, **self.parameters},
        )

    @property
    def lengths(self) -> float:
        """The size of the body, a human head being 1, as the preset has it."""
        return PRESETS[self.preset].lengths if self.preset else 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of every map made with the preset."""
        note = PRESETS[self.preset].note if self.preset else ""
        return (note,) if note else ()

    @property
    def tissue(self) -> bool:
        """Whether the body is tissue in air, whose field tells the sign of the phase."""
        return PRESETS[self.preset].tissue if self.preset else True

    @property
    def two_steps(self) -> bool:
        """Whether background removal and dipole inversion run one after the other (one was named)."""
        return "background" in self.methods or "dipole" in self.methods


def settings(flat: Mapping[str, Any], where: str = "the settings") -> Settings:
    """Flat settings (`{"dipole": "tv", "dipole.tv.weight": "2e-4"}`) → Settings; text is converted.

    A `preset` among them is laid below the others. ScanError for a key or value that does not fit, with the
    nearest one that does.
    """
    preset, flat = _over_preset(flat, where)
    table = stages()
    methods = {key: _method(table, key, value, where) for key, value in flat.items() if "." not in key}
    parameters: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        if "." in key:
            stage, method, name = _split(key, where)
            if methods.setdefault(stage, method) != method:
                raise ScanError(
                    f"{where}: {key} is set, but {stage} is done by {methods[stage]}; remove one of the two"
                )
            parameters.setdefault(stage, {})[name] = convert(
                table[stage].methods[method].parameters[name], value, f"{where}: {key}"
            )
    _exclude(methods, where)
    return Settings(methods, parameters, preset)


def _over_preset(flat: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Flat settings → the name of their preset ("" without one), and the preset's with all others laid over it."""
    own = {key: value for key, value in flat.items() if key != PRESET}
    name = str(flat.get(PRESET, ""))
    if PRESET not in flat:
        return "", own
    if name not in PRESETS:
        raise ScanError(
            f"{where}: there is no preset {name!r}{nearest(name, PRESETS)}; choose from {', '.join(PRESETS)}"
        )
    preset = PRESETS[name]
    merged = overlaid({key: value for key, value in preset.settings.items() if "." not in key}, own)
    return name, {**_fitting(preset, merged), **merged}


def _fitting(preset: Preset, merged: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a preset sets for the methods that do the stages: lengths by their size, then its own."""
    named = _methods_in(merged)
    left_out = {SPAN} if {"background", "dipole"} & set(named) else {"background", "dipole"}
    found: dict[str, Any] = {}
    for stage, entry in stages().items():
        if stage not in left_out:
            method = named.get(stage, entry.default)
            prefix = f"{stage}.{method}."
            if preset.lengths != 1:
                parameters = entry.method(method).parameters.values()
                found |= {
                    prefix + p.name: scaled(p.default, preset.lengths) for p in parameters if p.unit == "mm"
                }
            found |= {key: value for key, value in preset.settings.items() if key.startswith(prefix)}
    return found


def scaled(length: Any, factor: float) -> Any:
    """A length or several, times the factor, with six digits; what is no length stays."""
    if isinstance(length, tuple | list):
        return tuple(scaled(part, factor) for part in length)
    return float(f"{length * factor:.6g}") if isinstance(length, int | float) else length


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file → flat settings; ScanError when it cannot be read or holds an unknown key."""
    return dict(_flat(toml_content(path), path))


def toml_content(path: Path) -> dict[str, Any]:
    """A TOML file → what it says; ScanError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ScanError(f"cannot read {path}: {error.strerror}; check the path given to --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScanError(f"{path} is not valid TOML ({error}); correct it") from None


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings with others laid over them; parameters go where their method is replaced."""
    chosen, before = _methods_in(above), _methods_in(below)
    changed = {stage for stage, method in chosen.items() if before.get(stage, method) != method}
    if SPAN in chosen:
        changed |= {"background", "dipole"} - set(chosen)
    elif "background" in chosen or "dipole" in chosen:
        changed |= {SPAN}
    kept = {key: value for key, value in below.items() if key.split(".")[0] not in changed}
    return kept | dict(above)


def _methods_in(flat: Mapping[str, Any]) -> dict[str, str]:
    """The method of each stage that flat settings speak of, by its name or by one of its parameters."""
    named = {key: str(value) for key, value in flat.items() if "." not in key}
    implied = {key.split(".")[0]: key.split(".")[1] for key in flat if key.count(".") == 2}
    return implied | named


def flag(stage: str) -> str:
    """The flag that chooses a stage's method (--mask is the user's own mask)."""
    return "--mask-method" if stage == "mask" else f"--{stage}"


def known_keys() -> Iterator[str]:
    """Every key that may be set."""
    for name, stage in stages().items():
        yield name
        for method, entry in stage.methods.items():
            yield from (f"{name}.{method}.{parameter}" for parameter in entry.parameters)


def convert(parameter: Parameter, value: Any, key: str) -> Any:
    """A value, perhaps as text, → the type of the parameter; ScanError if it is not one."""
    try:
        return _as(parameter.type, value)
    except (TypeError, ValueError):
        raise ScanError(f"{key} = {value!r} is not a valid value; give {in_words(parameter.type)}") from None


def in_words(kind: Any) -> str:
    """A type → what a person should give: a number, or one of discrepancy, lcurve."""
    if get_origin(kind) is Literal:
        options = ", ".join(map(str, get_args(kind)))
        return f"one of {options}" if len(get_args(kind)) > 1 else options
    if get_origin(kind) in (Union, UnionType):
        return ", or ".join(in_words(part) for part in get_args(kind))
    simple = {float: "a number", int: "a whole number", bool: "true or false", type(None): "none"}
    return simple.get(kind) or getattr(kind, "__name__", None) or str(kind)


def _as(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        return next(option for option in _one_of(get_args(kind), value))
    if origin in (Union, UnionType):
        return _first_fit(get_args(kind), value)
    if origin in (tuple, Sequence):
        parts = value.replace(",", " ").split() if isinstance(value, str) else list(value)
        kinds = get_args(kind) if origin is tuple else (*get_args(kind), Ellipsis)
        kinds = (kinds[0],) * len(parts) if kinds[-1] is Ellipsis else kinds
        return tuple(_as(k, v) for k, v in zip(kinds, parts, strict=True))
    return _scalar(kind, value)


def _scalar(kind: Any, value: Any) -> Any:
    if kind is type(None):
        if value is None or str(value).lower() == "none":
            return None
        raise ValueError
    if kind is bool:
        if str(value).lower() not in WORDS:
            raise ValueError
        return WORDS[str(value).lower()]
    if isinstance(value, bool) or (kind is not str and not isinstance(value, str | int | float)):
        raise TypeError
    if kind is int and float(value) != int(float(value)):
        raise ValueError
    return int(float(value)) if kind is int else kind(value)


def _one_of(options: Iterable[Any], value: Any) -> list[Any]:
    found = [option for option in options if str(option) == str(value)]
    if not found:
        raise ValueError
    return found


def _first_fit(kinds: Iterable[Any], value: Any) -> Any:
    for kind in sorted(kinds, key=lambda k: k is not type(None)):
        try:
            return _as(kind, value)
        except (TypeError, ValueError):
            continue
    raise ValueError


def _method(table: Mapping[str, Stage], stage: str, value: Any, where: str) -> str:
    if stage not in table:
        raise ScanError(f"{where}: unknown stage {stage!r}{nearest(stage, table)}")
    if value not in table[stage].methods:
        raise ScanError(
            f"{where}: {stage} has no method {value!r}{nearest(str(value), table[stage].methods)}; "
            f"choose from {', '.join(table[stage].methods)}"
        )
    return str(value)


def _split(key: str, where: str) -> tuple[str, str, str]:
    if key not in set(known_keys()):
        raise ScanError(
            f"{where}: unknown parameter {key!r}{nearest(key, known_keys())}; see `mensura methods`"
        )
    stage, method, name = key.split(".")
    return stage, method, name


def nearest(word: str, options: Iterable[str]) -> str:
    """A word and those that are known → " (did you mean …?)", or nothing."""
    near = get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _exclude(methods: Mapping[str, str], where: str) -> None:
    if SPAN in methods and ("background" in methods or "dipole" in methods):
        raise ScanError(f"{where}: choose either {SPAN} or background and dipole, not both")


def _flat(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    for stage, section in content.items():
        if stage == PRESET:
            yield stage, section
            continue
        if not isinstance(section, Mapping):
            raise ScanError(
                f"{path}: {stage!r} stands outside a section (only preset may); write [stage] and below it method = …"
            )
        for name, value in section.items():
            if name == "method":
                yield stage, value
            elif isinstance(value, Mapping):
                yield from ((f"{stage}.{name}.{parameter}", v) for parameter, v in value.items())
            else:
                raise ScanError(f"{path}: unknown key {name!r} in [{stage}]{nearest(name, ('method',))}; "
                                f"parameters belong into [{stage}.METHOD]")  # fmt: skip
