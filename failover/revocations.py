"""
Which nodes the core has expelled, as this node knows: kept on disk, so that it knows without the core too.

The agent writes what the core's probe tells; every process reads it before it answers a sibling or calls one. A name is
never taken back: the core gives none out twice.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

FILE_NAME: Final = "revoked.json"

_log = structlog.get_logger(__name__)


class Revocations:
    """
    The expelled nodes.

    Args:
        data: The node's data folder.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / FILE_NAME
        self._mark: tuple[int, int] | None = None
        self._names: frozenset[str] = frozenset()
        self._written: frozenset[str] = frozenset()

    def __contains__(self, node_id: object) -> bool:
        """Tell whether a node was expelled; what cannot be read leaves what was known before."""
        self._read()
        return node_id in self._names

    def note(self, names: Iterable[str]) -> None:
        """Add names for good; what cannot be written down holds in this process, and is written with the next call."""
        self._read()
        told = frozenset(names)
        for name in sorted(told - self._names):
            _log.warning("the core has expelled a node: it is refused from now on", node=name)
        self._names |= told
        if self._names <= self._written:
            return
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            beside.write_bytes(msgspec.json.encode(sorted(self._names)))
            beside.replace(self._path)
        except OSError as error:
            _log.error("cannot write down who was expelled", error=type(error).__name__)

    def among(self, hashes: Mapping[str, str]) -> Callable[[str], str | None]:
        """Look hashes of secrets up, for `failover.web.NodeKeys`; an expelled node has none."""
        return lambda node_id: None if node_id in self else hashes.get(node_id)

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_ino)
            if mark == self._mark:
                return
            self._written = frozenset(msgspec.json.decode(self._path.read_bytes(), type=list[str]))
        except FileNotFoundError:
            self._mark, self._written = None, frozenset()
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("cannot read who was expelled", error=type(error).__name__)
            return
        self._names |= self._written
        self._mark = mark
