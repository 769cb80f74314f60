"""The page: a template filled with what was gathered, with its style and script in it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline.report.tables import Link, shown, signed, sort_key

_ASSETS = files("pipeline.report") / "assets"


def render(**parts: Any) -> str:
    """The whole page as HTML; every text is escaped, only our own figures, style and script are not."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["link"] = lambda value: isinstance(value, Link)
    environment.globals.update(shown=shown, key=sort_key, signed=signed)
    template = environment.from_string((_ASSETS / "report.html").read_text())
    style, script = (Markup((_ASSETS / name).read_text()) for name in ("report.css", "report.js"))  # noqa: S704
    return template.render(css=style, js=script, **parts)
