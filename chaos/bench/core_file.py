"""A core's documents table alone, in a file of its own, with the feed that reads it; no server around it."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cache_sync.clock import SystemClock
from cache_sync.core_time import close, create_core_clock, stamp
from cache_sync.document_table import create_documents
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.publication import Change, begin_shard, create_commits, publish_all
from cache_sync.sqlite import connect, write


class CoreFile:
    """
    Publishes as the core does, and is read as the core is. Use `close` at the end.

    Args:
        path: The file, made.
    """

    def __init__(self, path: Path) -> None:
        self._clock = SystemClock()
        self._connection = connect(path, synchronous="NORMAL")
        with write(self._connection):
            create_documents(self._connection)
            create_commits(self._connection)
            create_core_clock(self._connection)
            begin_shard(self._connection, DEFAULT_SHARD, 1)
        self.feed = FeedSource(
            path,
            DEFAULT_SHARD,
            time_source=CoreTimeSource(self._close_time, self._clock, shared_seconds=0.0),
            clock=self._clock,
            seal_key=b"bench",
        )

    def commit(self, changes: Iterable[Change]) -> None:
        """Publish changes as one commit."""
        with write(self._connection) as connection:
            stamp(connection, self._clock.now())
            publish_all(connection, DEFAULT_SHARD, changes)

    async def close(self) -> None:
        """Let the file go."""
        await self.feed.close()
        self._connection.close()

    async def _close_time(self) -> datetime:
        with write(self._connection) as connection:
            return close(connection, self._clock.now())
