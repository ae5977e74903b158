"""
One small way to call either engine: SQLite's file or a database server.

SQL is portable text with ``?`` (or ``:name``) in place of values. A SQLite connection is used as its driver made it,
with nothing in between; a server's connection has the same methods and two more, because a transaction begins
differently there and a large result must be fetched in parts. Whichever engine it is, errors are the classes named
here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any, Protocol

from cache_sync import sqlite

Error = sqlite.Error
DatabaseError = sqlite.DatabaseError
IntegrityError = sqlite.IntegrityError
OperationalError = sqlite.OperationalError


class TransactionConflict(OperationalError):
    """Another transaction was in the way and nothing of this one was done: it may simply be repeated, whole."""


class CommitUnknown(OperationalError):
    """The connection was lost while a transaction was being committed: it was, or it was not."""


class Rows(Protocol):
    """What a statement returned."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class ServerConnection(Protocol):
    """A connection to a database server."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def begin(self, *, writing: bool) -> None:
        """Begin a transaction that writes, or one that reads one unchanging state."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """Run one statement for each set of values."""
        ...

    def stream(self, sql: str, parameters: Sequence[Any] = (), /) -> Iterator[Any]:
        """Run a query and fetch its rows in parts, within a transaction."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


Connection = sqlite.Connection | ServerConnection


def is_server(connection: Connection) -> bool:
    """Tell whether a connection leads to a database server, where others write at the same time."""
    return not isinstance(connection, sqlite.Connection)


def places(values: Sized) -> str:
    """Write the places of a list of values, for ``IN (…)``; none, which matches nothing, for an empty one."""
    return ", ".join("?" * len(values)) or "NULL"


# A few statements of fixed sizes, so that a driver keeps them prepared.
_ROWS_AT_ONCE = (64, 16, 4, 1)


def insert_rows(connection: Connection, insert: str, rows: Sequence[Sequence[Any]]) -> None:
    """
    Insert rows, many in one statement.

    SQLite's driver gives up the interpreter's lock for each statement: a row in a statement of its own waits each time
    for whatever thread took it.

    Args:
        connection: In a transaction.
        insert: ``INSERT INTO table (columns) VALUES``, without what follows.
        rows: Of equal length.
    """
    begin = 0
    while begin < len(rows):
        size = next(size for size in _ROWS_AT_ONCE if size <= len(rows) - begin)
        some = rows[begin : begin + size]
        in_places = f"({places(some[0])})"
        sql = f"{insert} {', '.join([in_places] * size)}"
        connection.execute(sql, [value for row in some for value in row])
        begin += size


@contextmanager
def write(connection: Connection) -> Iterator[Connection]:
    """
    Run a block as one write transaction: committed when it ends, rolled back when it raises.

    On SQLite it holds the file's only write lock from its start. On a server other transactions run beside it, and each
    statement sees what was committed before it began: who decides by what he reads takes a lock before he reads.

    Raises:
        OperationalError: Another writer was in the way for too long, or the disk or the server refused.
    """
    if isinstance(connection, sqlite.Connection):
        with sqlite.write(connection):
            yield connection
        return
    connection.begin(writing=True)
    with _ended(connection, "COMMIT"):
        yield connection


@contextmanager
def read(connection: Connection) -> Iterator[Connection]:
    """
    Run a block against one unchanging state.

    Never wait inside: an open read transaction keeps SQLite's write-ahead log growing, and a server's dead rows.
    """
    if isinstance(connection, sqlite.Connection):
        with sqlite.read(connection):
            yield connection
        return
    connection.begin(writing=False)
    with _ended(connection, "ROLLBACK"):
        yield connection


@contextmanager
def _ended(connection: ServerConnection, how: str) -> Iterator[None]:
    try:
        yield
        connection.execute(how)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def stream(connection: Connection, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
    """
    Run a query whose result may be larger than memory; within a transaction.

    Read it to its end, or end the transaction soon.
    """
    if isinstance(connection, sqlite.Connection):
        return iter(connection.execute(sql, parameters))
    return connection.stream(sql, parameters)
