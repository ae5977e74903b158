"""
The one door to SQLite: which build, which settings, how a transaction begins and ends.

Nothing else imports a driver. The build is SQLCipher's, because the interpreter's own SQLite is in the range of the
WAL-reset corruption bug (fixed in 3.51.3), and two builds on one file do not share their locks. sqlite-utils is told to
use the same build before it is imported; it serves schema and inspection, the hot paths are plain SQL.

A file that is made under a key (`cache_sync.file_keys`) is encrypted page by page, its write-ahead log too, and every
page carries a code that a flipped bit does not survive. Temporary files there are none: this build sorts in memory.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import quote

from sqlcipher3 import dbapi2

from cache_sync.file_keys import PLAIN, FileKeys, is_plain, named_key, new_salt, read_salt

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
# Decrypted pages are kept in each connection's own cache, as a memory map shows only what is encrypted.
KEYED_CACHE_KIB = 16_384
_OPEN_ATTEMPTS = 3


class WrongKey(DatabaseError):
    """A file that was made under another key than is held here, or under none; nothing was read or changed."""


def connect(
    path: Path | str,
    *,
    synchronous: Literal["FULL", "NORMAL"],
    read_only: bool = False,
    mmap_bytes: int = 0,
    busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    same_thread: bool = True,
    keys: FileKeys = PLAIN,
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
        keys: What the file is, or will be, encrypted under; none for a plain file.

    Raises:
        WrongKey: The file names a key that is not held, or is plain although keys are given.
        OperationalError: The file cannot be opened.
    """
    settings = _Settings(
        path, synchronous, read_only, mmap_bytes, busy_timeout_seconds, same_thread
    )
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            return _open(settings, keys)
        except OperationalError:
            raise
        except DatabaseError as error:
            # Two processes that make a file at the same time do so with two salts, and one of them was first.
            if keys and attempt + 1 < _OPEN_ATTEMPTS:
                continue
            raise _told(Path(path), keys, error) from error
    raise AssertionError("unreachable")


class _Settings(NamedTuple):
    path: Path | str
    synchronous: str
    read_only: bool
    mmap_bytes: int
    busy_timeout_seconds: float
    same_thread: bool


def _open(settings: _Settings, keys: FileKeys) -> Connection:
    if keys.current is None:
        return _connect(settings, "")
    path = Path(settings.path)
    if not path.exists() or path.stat().st_size == 0:
        return _connect(settings, f"{keys.current.hex()}{new_salt(keys.current).hex()}")
    # Keys are tried, and not looked up by what the file says: to open and close a file beside SQLite lets go of the
    # locks that other connections of this process hold on it.
    for key in keys.others:
        try:
            return _connect(settings, key.hex())
        except OperationalError:
            raise
        except DatabaseError:
            continue
    return _connect(settings, keys.current.hex())


def _told(path: Path, keys: FileKeys, error: DatabaseError) -> DatabaseError:
    """Tell a wrong key from a damaged file, of one that no connection of this process could open."""
    salt = read_salt(path)
    wanted = named_key(salt)
    if is_plain(salt) and keys:
        return WrongKey(f"{path.name} is not encrypted, but {keys.source} gives a key for it")
    if wanted is None or keys.find(wanted) is not None:
        return error
    if not keys:
        return WrongKey(f"{path.name} is encrypted under key {wanted}, and no key was given")
    return WrongKey(
        f"{path.name} is encrypted under key {wanted}, which {keys.source} does not hold"
    )


def _connect(settings: _Settings, key: str) -> Connection:
    mode = "ro" if settings.read_only else "rwc"
    connection = dbapi2.connect(
        f"file:{quote(str(settings.path))}?mode={mode}",
        timeout=settings.busy_timeout_seconds,
        isolation_level=None,
        check_same_thread=settings.same_thread,
        cached_statements=256,
        uri=True,
    )
    try:
        # Its own log would go to standard error, beside ours; what is wrong comes as an exception anyway.
        connection.execute("PRAGMA cipher_log_level = NONE").fetchall()
        if key:
            connection.execute(f"PRAGMA key = \"x'{key}'\"").fetchall()
            connection.execute(f"PRAGMA cache_size = -{KEYED_CACHE_KIB}")
            if settings.read_only:
                # The others read the file anyway, and find out whether the key is right.
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not settings.read_only:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}").fetchone()
            # What is deleted is overwritten: it must not be found in pages that nobody uses any more.
            connection.execute("PRAGMA secure_delete = ON").fetchone()
        connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        # A file that came from elsewhere must not run functions of its own choosing through its schema.
        connection.execute("PRAGMA trusted_schema = OFF")
        mmap_bytes = 0 if key else settings.mmap_bytes
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


def file_key_id(connection: Connection) -> str:
    """Return the id of the key that an open file is encrypted under; empty for a plain one."""
    row = connection.execute("PRAGMA cipher_salt").fetchone()
    return (named_key(bytes.fromhex(row[0])) or "") if row else ""


def data_version(connection: Connection) -> int:
    """Return a number that changes when another connection, of any process, has committed to this file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
