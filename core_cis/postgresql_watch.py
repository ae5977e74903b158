"""
Looking out for commits on PostgreSQL: told by the server (LISTEN), and asking every moment in case it was not.

One thread looks for all shards. Nothing that it waits for holds up the event loop: whoever looks gets what is known.
"""

import threading
from collections.abc import Callable
from random import Random

import structlog
from sqlalchemy import Engine

from cache_sync.backoff import Backoff
from cache_sync.document_source import Watch
from cache_sync.document_table import READ_SECONDS_MAX, ShardHead
from cache_sync.errors import UnknownShard
from cache_sync.sql import Connection, Error
from core_cis.postgresql import PostgresConnection

CHANNEL = "ridethrough_documents"
# As the last statement but the commit: who listens is told when, and only if, the transaction is committed.
NOTIFY = f"SELECT pg_notify('{CHANNEL}', '')"
LOOK_SECONDS = 0.5
_AGAIN_SECONDS_MAX = 2.0
_HEADS = "SELECT shard, epoch, head, floor, live_hash, live_rows, chain, seal FROM shard_head"
_log = structlog.get_logger(__name__)


class PostgresSource:
    """
    The documents table of a PostgreSQL database.

    Args:
        engine: The pool that connections come from.
        rng: For the jitter of repeated attempts.
    """

    def __init__(self, engine: Engine, rng: Random) -> None:
        self._engine = engine
        self._rng = rng
        self._lookout: _Lookout | None = None

    def open_pages(self) -> Connection:
        """Open a connection to read pages from; the server itself ends a statement that would take too long."""
        return PostgresConnection(self._engine, statement_seconds_max=READ_SECONDS_MAX)

    def open_watch(self, shard: str, moved: Callable[[], None]) -> Watch:
        """
        Begin to look out for commits to a shard.

        Raises:
            UnknownShard: There is no such shard.
            OperationalError: The server does not answer.
        """
        if self._lookout is None:
            self._lookout = _Lookout(PostgresConnection(self._engine), self._rng)
        return _PostgresWatch(self._lookout, shard, moved)

    def close(self) -> None:
        """Stop looking."""
        if self._lookout is not None:
            self._lookout.close()
            self._lookout = None


class _PostgresWatch:
    def __init__(self, lookout: "_Lookout", shard: str, moved: Callable[[], None]) -> None:
        if lookout.heads.get(shard) is None:
            raise UnknownShard(shard)
        self._lookout = lookout
        self._shard = shard
        self._moved = moved
        lookout.watches.append(moved)

    def look(self) -> ShardHead | None:
        return self._lookout.heads.get(self._shard)

    def close(self) -> None:
        self._lookout.watches.remove(self._moved)


class _Lookout:
    """The thread that looks."""

    def __init__(self, connection: PostgresConnection, rng: Random) -> None:
        self._connection = connection
        self._backoff = Backoff(0.1, _AGAIN_SECONDS_MAX, rng)
        self._stop = threading.Event()
        self.watches: list[Callable[[], None]] = []
        self.heads = self._read()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)
        self._thread.start()

    def _read(self) -> dict[str, ShardHead]:
        rows = self._connection.execute(_HEADS).fetchall()
        return {shard: ShardHead(*head) for shard, *head in rows}

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._connection.wait_for_notice(CHANNEL, LOOK_SECONDS)
                heads = self._read()
            except Error as error:
                if self._stop.is_set():
                    break
                if self._backoff.failures == 0:
                    _log.warning("the database cannot be watched", reason=str(error))
                self._stop.wait(self._backoff.next_seconds())
                continue
            self._backoff.reset()
            if heads != self.heads:
                self.heads = heads
                for moved in list(self.watches):
                    moved()
        self._connection.close()

    def close(self) -> None:
        # Not waited for: it may be waiting itself, for a server that does not answer. It gives its connection up.
        self._stop.set()
