"""Renders the console: its templates, its look, how it writes money and times."""

import hashlib
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response, get
from litestar.params import FromPath

_HERE = Path(__file__).resolve().parent
_SYMBOLS = {"USD": "$", "CAD": "CA$", "GBP": "£", "EUR": "€"}
_HOUR, _DAY = 3600, 86400


@cache
def _look() -> dict[str, tuple[str, bytes, str]]:
    """Read the look's files: by name, the address that carries the content's hash, the content, its type."""
    shared = files("failover").joinpath("look")
    style = shared.joinpath("style.css").read_bytes()
    style += (_HERE / "static" / "console.css").read_bytes()
    icon = shared.joinpath("icon.svg").read_bytes()
    return {
        name: (f"/ops/look/{hashlib.sha256(content).hexdigest()[:12]}-{name}", content, kind)
        for name, content, kind in (
            ("style.css", style, "text/css"),
            ("icon.svg", icon, "image/svg+xml"),
        )
    }


def asset(name: str) -> str:
    """Return the address of one of the look's files, such as ``style.css``."""
    return _look()[name][0]


@get("/ops/look/{name:str}", sync_to_thread=False, include_in_schema=False)
def look_file(name: FromPath[str]) -> Response[bytes]:
    """Serve the look; an old hash is not found."""
    for address, content, kind in _look().values():
        if address == f"/ops/look/{name}":
            headers = {
                "Cache-Control": "public, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
            }
            return Response(content, media_type=kind, headers=headers)
    return Response(b"Not found", status_code=404, media_type="text/plain")


def money(cents: int, currency: str) -> str:
    """Write an amount with its currency."""
    whole, rest = divmod(abs(cents), 100)
    sign = "−" if cents < 0 else ""
    symbol = _SYMBOLS.get(currency)
    amount = f"{whole:,}.{rest:02}"
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency}"


def span(seconds: float | None) -> str:
    """Write a length of time as a person says it."""
    if seconds is None:
        return "none"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // 60:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // 60:.0f} min"
    return f"{seconds // _DAY:.0f} days"


def moment(at: datetime, timezone: str) -> str:
    """Write an instant in the utility's time, with its day."""
    local = at.astimezone(ZoneInfo(timezone))
    return f"{local:%b} {local.day}, {local.year}, {local:%H:%M:%S}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.globals.update(asset=asset, span=span, plural=plural)
    return made


def render(name: str, context: dict[str, Any]) -> bytes:
    """Render a template to UTF-8."""
    return _environment().get_template(name).render(context).encode()
