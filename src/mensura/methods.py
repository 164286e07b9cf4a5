"""What a table entry is: a stage, the methods that fill it, and the parameters read from their signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from mensura.scan import ScanError

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
    def parameters(self) -> dict[str, Parameter]:
        """The tunables, in the order of the signature."""
        return _parameters(self.path)

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of the method: the defaults, replaced by what is `given`; ScanError for a name it lacks."""
        unknown = set(given) - set(self.parameters)
        if unknown:
            known = ", ".join(self.parameters) or "none"
            name = self.path.split(":")[1]
            raise ScanError(f"the method {name} has no parameter {', '.join(sorted(unknown))}; it has: {known}")
        return {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}


@dataclass(frozen=True)
class Stage:
    """A step of the chain: artifacts in and out with their units, and the methods that do it (first = default)."""

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


@lru_cache(maxsize=None)
def _parameters(path: str) -> dict[str, Parameter]:
    function = Method(path, "").function
    hints = get_type_hints(function, include_extras=True)
    found = {}
    for name, argument in inspect.signature(function).parameters.items():
        hint = hints.get(name)
        if get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
            tunable = next((e for e in extras if isinstance(e, Tunable)), None)
            if tunable is not None:
                found[name] = Parameter(name, kind, argument.default, tunable.unit, tunable.help)
    return found
