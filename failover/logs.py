"""
Logs: JSON lines on standard error, without personal data; the same in both applications.

A line that cannot be written, because the disk that it goes to is full or fails, is lost and counted: whoever logs goes
on. The first line that can be written again is followed by how many are missing.
"""

import json
import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

_SHOWN: Final = 3
_MASKED: Final = ("account_id", "customer_id", "service_point_id", "statement_id")
# Whatever stands beside an event under one of these names is not ours to write down.
_DROPPED: Final = ("email", "authorization", "cookie", "token", "password", "body", "path", "url")
# Libraries that log every request, with its address.
_CHATTY: Final = ("httpx", "httpcore", "asyncio", "granian", "_granian")


def configure_logs(role: str, *, level: int = logging.INFO) -> None:
    """
    Send structured events of this process to standard error as JSON, one a line.

    Events of the standard library's logging go the same way, under the name of ``role``; of libraries that log every
    request, only warnings.
    """
    lines = _Lines(sys.stderr)
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
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(level=level, handlers=[_ToStructlog(role)], force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def mask(value: str) -> str:
    """Shorten an id to what still helps to tell two apart: its last three characters."""
    return f"…{value[-_SHOWN:]}" if len(value) > _SHOWN else "…"


class _Lines:
    """Writes lines, and never fails."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lost = 0
        self._lock = threading.Lock()

    def msg(self, message: str) -> None:
        """Write a line, or count it as lost."""
        with self._lock:
            try:
                self._write(message)
                if self._lost:
                    lost = {"event": "log lines could not be written", "lines": self._lost}
                    self._write(json.dumps(lost))
                    self._lost = 0
            # A closed standard error is a ValueError.
            except (OSError, ValueError):
                self._lost += 1

    log = debug = info = warn = warning = msg
    error = err = exception = critical = fatal = failure = msg

    def _write(self, line: str) -> None:
        self._file.write(f"{line}\n")
        self._file.flush()


class _ToStructlog(logging.Handler):
    """Passes the standard library's records on."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._log = structlog.get_logger(role)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; its arguments are part of the message."""
        self._log.log(record.levelno, record.getMessage(), logger=record.name)


def _without_personal_data(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in _MASKED:
        if name in event:
            event[name] = mask(str(event[name]))
    for name in _DROPPED:
        event.pop(name, None)
    return event
