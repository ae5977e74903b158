"""Where a feed finds its documents: a file, or a database server."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cache_sync.document_table import ShardHead, read_head
from cache_sync.sql import Connection, Error
from cache_sync.sqlite import connect, data_version


class Watch(Protocol):
    """Looks out for commits to one shard."""

    def look(self) -> ShardHead | None:
        """Tell how far the shard is as far as is known now, None while that cannot be told; never waits."""
        ...

    def close(self) -> None:
        """Stop looking."""
        ...


class DocumentSource(Protocol):
    """What a feed reads."""

    def open_pages(self) -> Connection:
        """Open a connection to read pages from, in any thread, one at a time."""
        ...

    def open_watch(self, shard: str, moved: Callable[[], None]) -> Watch:
        """
        Begin to look out for commits; whoever learns of one by itself calls ``moved``, from any thread.

        Raises:
            UnknownShard: There is no such shard.
        """
        ...


class FileSource:
    """
    A documents table in a SQLite file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def open_pages(self) -> Connection:
        """Open a connection to read pages from."""
        return connect(self._path, synchronous="FULL", read_only=True, same_thread=False)

    def open_watch(self, shard: str, moved: Callable[[], None]) -> Watch:
        """Begin to look; nobody is told of a file's commits, so it has to be asked."""
        del moved
        return _FileWatch(self._path, shard)


class _FileWatch:
    """Reads the head again when the file has changed; asking whether it has costs some microseconds."""

    def __init__(self, path: Path, shard: str) -> None:
        self._shard = shard
        self._connection = connect(path, synchronous="FULL", read_only=True)
        self._version = 0
        self._head = read_head(self._connection, shard)

    def look(self) -> ShardHead | None:
        try:
            version = data_version(self._connection)
            if version != self._version:
                self._version = version
                self._head = read_head(self._connection, self._shard)
        except Error:
            # The page that the waiting reader asks for next will say what is wrong.
            return None
        return self._head

    def close(self) -> None:
        self._connection.close()
