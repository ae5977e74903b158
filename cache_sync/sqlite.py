"""
The one door to SQLite: which build, which settings, how a transaction begins and ends.

Nothing else imports a driver. The build is SQLCipher's, because the interpreter's own SQLite is in the range of the
WAL-reset corruption bug (fixed in 3.51.3), and two builds on one file do not share their locks. sqlite-utils is told to
use the same build before it is imported; it serves schema and inspection, the hot paths are plain SQL.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from sqlcipher3 import dbapi2

sys.modules.setdefault("pysqlite3", dbapi2)
sys.modules.setdefault("pysqlite3.dbapi2", dbapi2)

if TYPE_CHECKING:
    from sqlite_utils import Database
else:
    Database = importlib.import_module("sqlite_utils").Database

Connection = dbapi2.Connection
Error = dbapi2.Error
DatabaseError = dbapi2.DatabaseError
IntegrityError = dbapi2.IntegrityError
OperationalError = dbapi2.OperationalError
sqlite_version = dbapi2.sqlite_version

BUSY_TIMEOUT_SECONDS = 5.0
AUTOCHECKPOINT_PAGES = 4000


def connect(
    path: Path | str,
    *,
    synchronous: Literal["FULL", "NORMAL"],
    read_only: bool = False,
    mmap_bytes: int = 0,
    busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    same_thread: bool = True,
) -> Connection:
    """
    Open a database file in WAL mode; it is made when it is not there, unless `read_only`.

    Transactions are explicit: use `write` and `read`. `FULL` survives power loss with every acknowledged commit;
    `NORMAL` may lose the newest commits then, never the file: for what can be fetched again.

    Args:
        path: The file.
        synchronous: How much a commit waits for the disk.
        read_only: Refuse to write, and to make the file.
        mmap_bytes: How much of the file is read through a memory map; 0 for none.
        busy_timeout_seconds: How long a transaction waits for another process's writer.
        same_thread: False where another thread takes the connection over; never two at once.

    Raises:
        OperationalError: The file cannot be opened.
    """
    mode = "ro" if read_only else "rwc"
    connection = dbapi2.connect(
        f"file:{quote(str(path))}?mode={mode}",
        timeout=busy_timeout_seconds,
        isolation_level=None,
        check_same_thread=same_thread,
        cached_statements=256,
        uri=True,
    )
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}").fetchone()
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        # A file that came from elsewhere must not run functions of its own choosing through its schema.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA mmap_size = {int(mmap_bytes)}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def database(connection: Connection) -> Database:
    """Wrap a connection in sqlite-utils, for schema, inspection and small writes."""
    # Its types name the standard library's connection; the build above stands in for it.
    return Database(connection)  # type: ignore[arg-type]


@contextmanager
def write(connection: Connection) -> Iterator[Connection]:
    """
    Run a block as one write transaction: committed when it ends, rolled back when it raises.

    The write lock is taken at the start (`BEGIN IMMEDIATE`), because a transaction that reads first and writes later
    fails at once when another process has written in between, whatever the busy timeout.

    Raises:
        OperationalError: Another writer held the lock for longer than the busy timeout, or the disk refused.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def read(connection: Connection) -> Iterator[Connection]:
    """
    Run a block against one unchanging state of the file.

    Never wait inside: while a read transaction is open the WAL cannot be reset and grows without bound.
    """
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def data_version(connection: Connection) -> int:
    """Return a number that changes when another connection, of any process, has committed to this file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
