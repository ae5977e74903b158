"""Renders templates: compiled once, escaped always."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from edge_portal import words
from edge_portal.charts import hour_span
from edge_portal.pages.assets import asset

TEMPLATES: Final = Path(__file__).resolve().parent.parent / "templates"


@cache
def environment() -> Environment:
    """Return the template environment; templates are compiled at first use and never looked for again."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals.update(asset=asset, words=words, hour_span=hour_span)
    made.filters["stop"] = words.stop
    return made


@cache
def _template(name: str) -> Template:
    return environment().get_template(name)


def warm_up() -> None:
    """Compile every template, so that no customer waits for it."""
    for path in sorted(TEMPLATES.glob("*.html")):
        _template(path.name)


def render(name: str, context: dict[str, Any]) -> bytes:
    """Render a template to UTF-8."""
    return _template(name).render(context).encode()
