"""What a table entry is: a stage, the methods that fill it, and the parameters read from their signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from mensura.scan import Grid, ScanError, Volume

Monitor = Callable[[int, int, float], None]
"""Called by iterative solvers once an iteration: (iteration, max_iter, relative change)."""


@dataclass(frozen=True)
class Tunable:
    """Describes a parameter where it is declared: `radius: Annotated[float, Tunable("mm", "…")] = 12.0`."""

    unit: str
    help: str


@dataclass(frozen=True)
class Parameter:
    """One tunable of a method, as read from the method's signature."""

    name: str
    type: Any
    default: Any
    unit: str
    help: str


@dataclass(frozen=True)
class Method:
    """A function by its import path `module:name` (imported when first needed) and where it was published."""

    path: str
    doi: str

    @property
    def function(self) -> Callable[..., Any]:
        module, name = self.path.split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of everything that the function takes."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The tunables, in the order of the signature."""
        return _parameters(self.path)

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters: the defaults, replaced by what is `given`; ScanError for an unknown name."""
        unknown = set(given) - set(self.parameters)
        if unknown:
            known = ", ".join(self.parameters) or "none"
            name = self.path.split(":")[1]
            raise ScanError(
                f"the method {name} has no parameter {', '.join(sorted(unknown))}; it has: {known}"
            )
        return {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}


@dataclass(frozen=True)
class Stage:
    """A step of the chain: artifacts in and out with their units, and its methods (first = default)."""

    summary: str
    consumes: Mapping[str, str]
    produces: Mapping[str, str]
    methods: Mapping[str, Method]

    @property
    def default(self) -> str:
        return next(iter(self.methods))

    def method(self, name: str) -> Method:
        if name not in self.methods:
            raise ScanError(f"there is no method {name!r} here; choose from {', '.join(self.methods)}")
        return self.methods[name]


@cache
def _parameters(path: str) -> dict[str, Parameter]:
    function = Method(path, "").function
    hints = _argument_types(function)
    found = {}
    for name, argument in inspect.signature(function).parameters.items():
        hint = hints.get(name)
        if get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
            tunable = next((e for e in extras if isinstance(e, Tunable)), None)
            if tunable is not None:
                found[name] = Parameter(name, kind, argument.default, tunable.unit, tunable.help)
    return found


def _argument_types(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the arguments alone: what is returned may be known to type checkers only."""
    written = inspect.unwrap(function)
    annotations = {name: kind for name, kind in written.__annotations__.items() if name != "return"}
    arguments = SimpleNamespace(__annotations__=annotations)
    return get_type_hints(arguments, written.__globals__, include_extras=True)


def call(
    stage: Stage,
    method: str,
    artifacts: Mapping[str, Volume | Any],
    parameters: Mapping[str, Any] | None = None,
    monitor: Monitor | None = None,
) -> dict[str, Volume]:
    """Volumes and acquisition values in → the volumes that the stage produces, made by one of its methods.

    The method's arguments are filled by name: volumes are unpacked to arrays once their units and grids have
    been checked, `grid` is theirs, every other name is handed on as it is. ScanError for a unit, a grid,
    a missing artifact or a parameter name that does not fit.
    """
    chosen = stage.method(method)
    tunables = chosen.resolve(parameters or {})
    given: dict[str, Any] = {name: _unpacked(stage, name, value) for name, value in artifacts.items()}
    grid = given["grid"] = _common_grid(artifacts)
    given["monitor"] = monitor
    positional, named = _bound(chosen, given, tunables)
    result = chosen.function(*positional, **named)
    arrays = result if isinstance(result, tuple) else (result,)
    return {
        name: Volume(a, grid, stage.produces[name]) for name, a in zip(stage.produces, arrays, strict=True)
    }


def _unpacked(stage: Stage, name: str, value: Any) -> Any:
    if not isinstance(value, Volume):
        return value
    wanted = stage.consumes.get(name, value.unit)
    if value.unit != wanted:
        raise ScanError(f"the {name} is in {value.unit!r} but must be in {wanted!r}; convert it first")
    return value.data


def _common_grid(artifacts: Mapping[str, Any]) -> Grid:
    volumes = {name: value for name, value in artifacts.items() if isinstance(value, Volume)}
    if not volumes:
        raise ScanError("at least one volume is needed, to know the grid")
    first = next(iter(volumes))
    for name, volume in volumes.items():
        if not volume.grid.matches(volumes[first].grid):
            raise ScanError(f"the {name} and the {first} lie on different grids; resample one to the other")
    return volumes[first].grid


def _bound(
    chosen: Method, given: Mapping[str, Any], tunables: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    positional, named = [], dict(tunables)
    hints = _argument_types(chosen.function)
    for name, argument in inspect.signature(chosen.function).parameters.items():
        if name in tunables:
            continue
        if argument.default is inspect.Parameter.empty and type(None) in get_args(hints.get(name)):
            given = {name: None, **given}
        if name not in given and argument.default is inspect.Parameter.empty:
            raise ScanError(
                f"the method {chosen.path.split(':')[1]} needs the {name.replace('_', ' ')}; provide it"
            )
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            named |= {name: given[name]} if name in given else {}
        else:
            positional.append(given.get(name, argument.default))
    return positional, named
