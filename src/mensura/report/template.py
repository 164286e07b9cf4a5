"""Templates and what they are filled with → pages as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mensura
from mensura.report.text import NOT_RECORDED, mean_sd, number, percent, plain, thousands

HERE = Path(__file__).parent


def render(template: str, content: Mapping[str, Any]) -> str:
    """The name of a template and what it shows → the page, self-contained, everything escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        mean_sd=mean_sd, number=number, percent=percent, plain=plain, thousands=thousands
    )
    environment.globals["not_recorded"] = NOT_RECORDED
    environment.globals["style"] = (HERE / "style.css").read_text("utf-8")
    environment.globals["report_version"] = mensura.__version__
    return environment.get_template(template).render(content)
