"""
Which nodes the core has expelled, as this node knows: kept on disk, so that it knows without the core too.

The agent writes what the core's probe tells; every process reads it before it answers a sibling or calls one. A name is
never taken back: the core gives none out twice.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from failover.noted_file import NotedFile

FILE_NAME: Final = "revoked.json"

_log = structlog.get_logger(__name__)


class Revocations:
    """
    The expelled nodes.

    Args:
        data: The node's data folder.
    """

    def __init__(self, data: Path) -> None:
        self._file = NotedFile(data / FILE_NAME, list[str], "who was expelled")
        self._names: frozenset[str] = frozenset()

    def __contains__(self, node_id: object) -> bool:
        """Tell whether a node was expelled; what cannot be read leaves what was known before."""
        self._read()
        return node_id in self._names

    def note(self, names: Iterable[str]) -> None:
        """Add names for good; what cannot be written down holds in this process, and is written with the next call."""
        written = self._read()
        told = frozenset(names)
        for name in sorted(told - self._names):
            _log.warning("the core has expelled a node: it is refused from now on", node=name)
        self._names |= told
        if not self._names <= written:
            self._file.write(sorted(self._names))

    def among(self, hashes: Mapping[str, str]) -> Callable[[str], str | None]:
        """Look hashes of secrets up, for `failover.web.NodeKeys`; an expelled node has none."""
        return lambda node_id: None if node_id in self else hashes.get(node_id)

    def _read(self) -> frozenset[str]:
        written = frozenset(self._file.read() or ())
        self._names |= written
        return written
