"""What all commands share: the parser, and flags made from tunables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import UnionType
from typing import Literal, NoReturn, Union, get_origin

from rich_argparse import RawDescriptionRichHelpFormatter

from mensura.methods import Parameter

METAVARS = {float: "X", int: "N", bool: "YES|NO"}


class Parser(argparse.ArgumentParser):
    """Errors in one sentence, with exit code 2. `words`: the whole command line, on which flags may depend."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


class HelpFormatter(RawDescriptionRichHelpFormatter):
    """Colours, descriptions as they are written, and headings that are not Shouted."""

    group_name_formatter = str
    text_markup = help_markup = False


def described(parameter: Parameter) -> str:
    """The parameter's help with its default and unit."""
    from mensura.pipeline.config import in_words

    default = parameter.default
    words = (
        default
        if isinstance(default, str) or not isinstance(default, Sequence)
        else " ".join(map(str, default))
    )
    options = (
        f"; {in_words(parameter.type)}" if get_origin(parameter.type) in (Literal, Union, UnionType) else ""
    )
    unit = f" {parameter.unit}" if parameter.unit not in ("", "1") and words != "" else ""
    return f"{parameter.help} (default: {words if words != '' else 'none'}{unit}{options})".replace("%", "%%")
