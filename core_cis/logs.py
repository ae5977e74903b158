"""Logs: JSON lines on standard error, without personal data."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SHOWN = 3
_MASKED = ("account_id", "customer_id", "service_point_id")
# Whatever a library puts beside an event under one of these names is not ours to write down.
_DROPPED = ("email", "authorization", "cookie", "token", "password", "body")


def mask(value: str) -> str:
    """Shorten an id to what still helps to tell two apart: its last three characters."""
    return f"…{value[-_SHOWN:]}" if len(value) > _SHOWN else "…"


def _without_personal_data(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in _MASKED:
        if name in event:
            event[name] = mask(str(event[name]))
    for name in _DROPPED:
        event.pop(name, None)
    return event


def configure_logs(*, level: int = logging.INFO) -> None:
    """Send structured events of this process to standard error as JSON, one a line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_personal_data,
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
