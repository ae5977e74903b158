"""What a snapshot file holds: read out for its manifest, and compared with it where it arrived."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cache_sync.document_table import ShardHead, read_head
from cache_sync.errors import SnapshotRefused, StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.replica import from_microseconds
from cache_sync.row_hash import add_hashes
from cache_sync.snapshot_file import SnapshotManifest
from cache_sync.sqlite import Connection, DatabaseError, OperationalError, connect, write

_TABLES = frozenset({"documents", "shard_head", "as_of"})
_INDEXES = frozenset({"documents_by_name", "credentials_by_key", "tombstones"})
_COLUMNS = frozenset({"seq", "account_id", "kind", "key", "version", "row_hash", "body"})
_OBJECTS = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_autoindex_%'"
_VERSIONS = "SELECT kind, max(version) FROM documents WHERE body IS NOT NULL GROUP BY kind"
# Of packed bodies: what says how they are packed.
_DICTIONARIES = "SELECT DISTINCT substr(body, 1, 2) FROM documents WHERE substr(body, 1, 1) = x'01'"
_AS_OF = "SELECT as_of_us, asked_boot_seconds, age_seconds, at_least, boot_id FROM as_of"
# Two halves, because the sum of 64-bit integers overflows: SQLite then fails instead of wrapping.
_LIVE = """
SELECT count(row_hash), sum(row_hash >> 32), sum(row_hash & 4294967295) FROM documents WHERE body IS NOT NULL
"""


class AsOf(NamedTuple):
    """Core time T, and when on which boot clock it was how old."""

    as_of: datetime
    asked_boot_seconds: float
    age_seconds: float
    at_least: bool
    boot_id: str


class Bodies(NamedTuple):
    """What a node must know to read a file: the newest version by kind, and the dictionaries that bodies need."""

    versions: dict[str, int]
    dictionaries: list[int]


class Contents(NamedTuple):
    """Where a replica's file stands in the feed, how many rows it has, and its T."""

    shard: str
    head: ShardHead
    rows: int
    as_of: AsOf


def read_contents(path: Path, keys: FileKeys = PLAIN) -> Contents:
    """
    Read what a file says that it holds; costs the same however large it is, but for its tombstones.

    Raises:
        SnapshotRefused: It is no replica's file that has reached a barrier (`not_a_replica`).
        StorageFailed: The disk refused.
    """
    with _opened(path, keys) as connection:
        return _contents(connection)


def check_deeply(path: Path, keys: FileKeys = PLAIN) -> Bodies:
    """
    Check all of a file: its structure, and its live rows against the sums in its head; tell what its bodies need.

    Raises:
        SnapshotRefused: `not_a_replica`, or `contents` where the rows are not what the head says.
        StorageFailed: The disk refused.
    """
    with _opened(path, keys) as connection:
        contents = _contents(connection)
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise SnapshotRefused("not_a_replica", str(answer))
        live_rows, upper, lower = connection.execute(_LIVE).fetchone()
        live_hash = add_hashes(0, [(upper or 0) * (1 << 32), lower or 0])
        (rows,) = connection.execute("SELECT count(*) FROM documents").fetchone()
        stated = (contents.head.live_rows, contents.head.live_hash, contents.rows)
        if (live_rows, live_hash, rows) != stated:
            raise SnapshotRefused("contents", "its rows are not those that its head sums up")
        versions = dict(connection.execute(_VERSIONS).fetchall())
        packed = connection.execute(_DICTIONARIES).fetchall()
        return Bodies(versions, sorted(header[1] for (header,) in packed))


def check_contents(path: Path, manifest: SnapshotManifest, keys: FileKeys = PLAIN) -> None:
    """
    Compare a file whose bytes are the signed ones with what its manifest says.

    Raises:
        SnapshotRefused: `not_a_replica`, or `contents` where the two differ.
        StorageFailed: The disk refused.
    """
    shard, head, rows, as_of = read_contents(path, keys)
    found = (shard, head, rows, as_of.as_of)
    stated = (
        manifest.shard,
        ShardHead(
            manifest.epoch,
            manifest.seq,
            manifest.floor,
            manifest.live_hash,
            manifest.live_rows,
            manifest.chain,
            manifest.seal,
        ),
        manifest.rows,
        manifest.as_of,
    )
    if found != stated:
        raise SnapshotRefused("contents", "the file does not hold what its manifest says")


def put_age(path: Path, as_of: AsOf, keys: FileKeys = PLAIN) -> None:
    """
    Replace the age of a file's T, which was counted on another machine's clock, by one that is counted on ours.

    Raises:
        StorageFailed: The disk refused.
    """
    with _opened(path, keys) as connection, write(connection):
        connection.execute(
            "UPDATE as_of SET asked_boot_seconds = ?, age_seconds = ?, at_least = ?, boot_id = ?",
            (as_of.asked_boot_seconds, as_of.age_seconds, int(as_of.at_least), as_of.boot_id),
        )


def _contents(connection: Connection) -> Contents:
    objects = set(connection.execute(_OBJECTS).fetchall())
    known = {("table", name) for name in _TABLES} | {("index", name) for name in _INDEXES}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(documents)")}
    if objects != known or columns != _COLUMNS:
        raise SnapshotRefused("not_a_replica", "its tables are not a replica's")
    shards = connection.execute("SELECT shard FROM shard_head").fetchall()
    times = connection.execute(_AS_OF).fetchall()
    if len(shards) != 1 or len(times) != 1:
        raise SnapshotRefused("not_a_replica", "it has not reached a barrier")
    ((shard,),) = shards
    head = read_head(connection, shard)
    (newest,) = connection.execute("SELECT max(seq) FROM documents").fetchone()
    if newest is not None and newest > head.head:
        raise SnapshotRefused("contents", f"it holds seq {newest} above {head.head}")
    (tombstones,) = connection.execute(
        "SELECT count(*) FROM documents WHERE body IS NULL"
    ).fetchone()
    as_of_us, asked, age_seconds, at_least, boot_id = times[0]
    as_of = AsOf(from_microseconds(as_of_us), asked, age_seconds, bool(at_least), boot_id)
    return Contents(shard, head, head.live_rows + tombstones, as_of)


@contextmanager
def _opened(path: Path, keys: FileKeys) -> Iterator[Connection]:
    """Open a file that nobody else looks at; afterwards nothing lies beside it."""
    try:
        connection = connect(path, synchronous="NORMAL", keys=keys)
        try:
            yield connection
        finally:
            connection.close()
    except OperationalError as error:
        raise StorageFailed(f"{path.name}: {error}") from error
    except DatabaseError as error:
        raise SnapshotRefused("not_a_replica", str(error)) from error
