"""
The database of a core: a SQLite file in its folder, or PostgreSQL.

Both hand out connections that are called alike (`cache_sync.sql`), and make or upgrade their tables under a lock. What
differs beyond that stands here and in the modules that this one names: nowhere else does the core ask which it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cache_sync.document_source import DocumentSource, FileSource
from cache_sync.sql import Connection, write
from cache_sync.sqlite import connect
from core_cis.errors import UnknownSchema
from core_cis.versions import SCHEMA_VERSION, check_version

FILE_NAME = "core.db"


class Database(Protocol):
    """Where a core's books are."""

    @property
    def name(self) -> str:
        """How people call it; without a password."""
        ...

    @property
    def file(self) -> Path | None:
        """The file that it is in; None on a server."""
        ...

    def is_made(self) -> bool:
        """Tell whether there is a core in it; makes nothing."""
        ...

    def make(self) -> None:
        """
        Make the tables where there are none, upgrade those of an older release.

        Raises:
            UnknownSchema: It is of a newer release, or somebody else's.
            DatabaseUnreachable: It does not answer.
        """
        ...

    def open_writer(self) -> Connection:
        """Open a connection that may write."""
        ...

    def open_reader(self, *, same_thread: bool = True) -> Connection:
        """Open a connection that only reads; not ``same_thread`` where it goes from thread to thread."""
        ...

    def documents(self) -> DocumentSource:
        """Give what the feed reads."""
        ...

    def announce(self, connection: Connection) -> None:
        """Have those who look out for commits told of the one that this transaction will be."""
        ...

    def rewrite(self, tables: Sequence[str]) -> bool:
        """
        Write what is kept anew, so that nothing of deleted rows is left where they were; false when others read.

        Args:
            tables: Where something was deleted.

        Raises:
            OperationalError: Others write, or the disk refused: the rows are where they were.
        """
        ...

    def close(self) -> None:
        """Let go of what the connections were made from."""
        ...


class SqliteDatabase:
    """
    A core's file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._path)

    @property
    def file(self) -> Path | None:
        """Its path."""
        return self._path

    def is_made(self) -> bool:
        """Tell whether the file is there."""
        return self._path.is_file()

    def make(self) -> None:
        """Make the tables in an empty file, or upgrade them."""
        connection = connect(self._path, synchronous="FULL")
        try:
            version = _user_version(connection)
            if version == 0:
                with write(connection):
                    self._create(connection)
                version = _user_version(connection)
        finally:
            connection.close()
        check_version(version, self.name)
        if version < SCHEMA_VERSION:
            # Imported where they are needed: a command on a core of this release starts without them.
            from core_cis.upgrading import upgrade_file  # noqa: PLC0415

            upgrade_file(self._path, version)

    def _create(self, connection: Connection) -> None:
        from core_cis.schema import create_statements  # noqa: PLC0415 - likewise

        # Asked again: another process may have been faster.
        if _user_version(connection) != 0:
            return
        if connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None:
            raise UnknownSchema(f"{self.name} holds tables that are no core's")
        for statement in create_statements("sqlite"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def open_writer(self) -> Connection:
        """Open a connection that may write."""
        return connect(self._path, synchronous="FULL")

    def open_reader(self, *, same_thread: bool = True) -> Connection:
        """Open a connection that only reads."""
        return connect(self._path, synchronous="FULL", read_only=True, same_thread=same_thread)

    def documents(self) -> DocumentSource:
        """Give what the feed reads."""
        return FileSource(self._path)

    def announce(self, connection: Connection) -> None:
        """Do nothing: the file itself shows that it has changed."""

    def rewrite(self, tables: Sequence[str]) -> bool:
        """
        Write the file anew and empty its write-ahead log; false when that is still being read.

        Deleted cells are overwritten anyway, but a copy of one may be left in a page that rows were moved out of.
        """
        del tables
        connection = self.open_writer()
        try:
            # It holds the whole file once more, without what was deleted: too much for memory.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute("VACUUM")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
        return not busy

    def close(self) -> None:
        """Hold nothing."""


def _user_version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
