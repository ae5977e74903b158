"""
A node's copy of the documents, read once for all the requests that wait together.

A page asks a dozen times for something of the snapshot: who signed in, what he owes, whether anything moved. Each time
a transaction of its own would have to find the file, begin, learn where it stands, and end, which costs more than what
is asked for. See `cache_sync.once_a_turn` for why nobody is shown anything that was old when he asked.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.replica_reader import ReplicaReader, SnapshotView
from cache_sync.sqlite import Connection


class TurnReader(ReplicaReader):
    """
    Reads as `ReplicaReader` does; within an event loop, one transaction serves all reads of a turn.

    It is over before the loop looks for anything new: never awaited over, as with any reader.
    """

    def __init__(self, directory: Path, *, clock: Clock, keys: FileKeys = PLAIN) -> None:
        super().__init__(directory, clock=clock, keys=keys)
        self._turn: SnapshotView | None = None

    @contextmanager
    def read(self) -> Iterator[SnapshotView]:
        """Read the state of this turn; raises as `ReplicaReader.read` does."""
        if self._turn is None:
            # Its end is in the loop's queue before it begins: whoever comes afterwards reads anew.
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._turn = self._begin()
        yield self._turn

    def close(self) -> None:
        """Let the file go. The next read opens it again."""
        self._end_turn()
        super().close()

    def _follow_pointer(self) -> tuple[Connection, Path]:
        # A pointer that moves meanwhile is followed in the next turn.
        if self._turn is None or self._connection is None or self._path is None:
            return super()._follow_pointer()
        return self._connection, self._path

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn = None
            self._end()
