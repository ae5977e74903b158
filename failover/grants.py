"""
Which shards each sibling may read, as this node knows: kept on disk, so that it knows without the core too.

The agent writes what the core's probe tells; whoever answers a sibling reads it. Until the core was heard, what stands
in this node's own file holds.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from failover.noted_file import NotedFile
from failover.web import Problem

FILE_NAME: Final = "grants.json"

_log = structlog.get_logger(__name__)


def write_grant(shards: Iterable[str]) -> str:
    """Write a grant as text, ``0,3``; of no shards, which means all of them, empty."""
    return ",".join(sorted(set(shards), key=int))


def read_grant(text: str) -> list[str]:
    """Read what `write_grant` wrote."""
    return text.split(",") if text else []


def check_granted(shard: str, granted: Iterable[str]) -> None:
    """
    Let a node read a shard that it was granted; where none is named it may read all.

    Raises:
        Problem: 403 `wrong_shard`.
    """
    named = list(granted)
    if named and shard not in named:
        raise Problem(
            "wrong_shard",
            status=403,
            title="This node may not read this shard",
            detail="Its credential opens other shards only.",
        )


class Grants:
    """
    What siblings may read; a sibling that is not named may read all shards.

    Args:
        data: This node's data folder.
        configured: Grants by node id, as text, that hold until the core was heard.
    """

    def __init__(self, data: Path, configured: Mapping[str, str]) -> None:
        self._configured = {name: text for name, text in configured.items() if text}
        self._file = NotedFile(data / FILE_NAME, dict[str, str], "what siblings may read")

    def note(self, grants: Mapping[str, str]) -> None:
        """Take over what the core says, in place of all that it said before."""
        if self._file.read() != grants:
            _log.info("what siblings may read has changed", narrowed=sorted(grants))
            self._file.write(dict(grants))

    def check(self, node_id: str, shard: str) -> None:
        """Let a sibling read a shard. Raises `Problem`, 403 `wrong_shard`."""
        heard = self._file.read()
        known = self._configured if heard is None else heard
        check_granted(shard, read_grant(known.get(node_id, "")))
