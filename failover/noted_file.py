"""A small state file that one process of a node writes and the others read, as soon as it has changed."""

from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class NotedFile(Generic[T]):
    """
    A JSON file that is written whole or not at all.

    Args:
        path: Where it lies.
        type_: What stands in it.
        what: What it tells, for logs.
    """

    def __init__(self, path: Path, type_: type[T], what: str) -> None:
        self._path = path
        self._type = type_
        self._what = what
        self._mark: tuple[int, int] | None = None
        self._found: T | None = None

    def read(self) -> T | None:
        """Return what stands in it, None where there is none; one that cannot be read says what it said before."""
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_ino)
            if mark != self._mark:
                self._found = msgspec.json.decode(self._path.read_bytes(), type=self._type)
                self._mark = mark
        except FileNotFoundError:
            self._mark, self._found = None, None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning(f"cannot read {self._what}", error=type(error).__name__)
        return self._found

    def write(self, value: T) -> None:
        """Replace it; what cannot be written is logged, and left as it is."""
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            beside.write_bytes(msgspec.json.encode(value))
            beside.replace(self._path)
        except OSError as error:
            _log.error(f"cannot write down {self._what}", error=type(error).__name__)
