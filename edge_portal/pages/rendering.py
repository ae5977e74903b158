"""Turns templates into responses: compiled once, escaped always, with the headers that every page carries."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from litestar import Response

from edge_portal import words
from edge_portal.charts import hour_span
from edge_portal.pages.assets import asset

TEMPLATES: Final = Path(__file__).resolve().parent.parent / "templates"
HTML: Final = "text/html"
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Forms must carry their Origin; nobody else learns which page a customer came from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PERSONAL: Final = "no-store"


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


def page(content: bytes, status: int = 200) -> Response[bytes]:
    """Wrap rendered HTML: never stored by anyone, because pages are personal."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL}
    return Response(content, status_code=status, media_type=HTML, headers=headers)


def see_other(address: str) -> Response[bytes]:
    """Send the browser to another page with a GET."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL, "Location": address}
    return Response(b"", status_code=303, media_type=HTML, headers=headers)
