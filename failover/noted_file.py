"""A small state file that one process of a node writes and the others read, as soon as it has changed."""

import contextlib
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def put_whole(path: Path, content: bytes, *, flush: bool = False) -> None:
    """
    Put a small file in place, whole or not at all.

    Args:
        path: Where; what is there is replaced.
        content: All of it.
        flush: Have it survive a power loss.

    Raises:
        OSError: What was there before stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
        if flush:
            flush_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def flush_folder(folder: Path) -> None:
    """Flush the name of a file, which is its folder's."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
        try:
            put_whole(self._path, msgspec.json.encode(value))
        except OSError as error:
            _log.error(f"cannot write down {self._what}", error=type(error).__name__)
