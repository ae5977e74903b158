"""
The documents table: the feed at the core, the snapshot at an edge, the same table in both.

One row per document, at the seq of its newest change: an update moves the row to a new seq, a delete leaves a
tombstone, so everything changed after a cursor is one range of the primary key. The core's table holds all shards, one
above the other; a replica's file holds one.

``version`` is the body's. ``row_hash`` is the hash of the row as it stands (`cache_sync.row_hash`), NULL for a
tombstone; `shard_head` keeps the sum and number of all live rows, the chain hash of the newest commit and the core's
seal on it (at the core itself it is empty: the core makes it when it answers).
"""

from collections.abc import Callable
from typing import NamedTuple

from cache_sync.clock import Clock
from cache_sync.documents import CREDENTIAL, Document
from cache_sync.errors import UnknownShard
from cache_sync.row_hash import FIRST_CHAIN
from cache_sync.shards import first_seq, last_seq
from cache_sync.sql import Connection, read, stream
from cache_sync.sqlite import Connection as SqliteConnection
from cache_sync.sqlite import database

PAGE_BYTES_MAX = 4 * 1024 * 1024
READ_SECONDS_MAX = 10.0

_HEAD = """
SELECT epoch, head, floor, live_hash, live_rows, chain, seal FROM shard_head WHERE shard = ?
"""
# Changes nothing, and holds the row to the commit: whoever moves a shard has it alone, and sees all that was before.
_LOCK_HEAD = """
UPDATE shard_head SET head = head WHERE shard = ? RETURNING epoch, head, floor, live_hash, live_rows, chain, seal
"""
_PAGE = """
SELECT account_id, kind, key, seq, body, version FROM documents WHERE seq > ? AND seq <= ? ORDER BY seq
"""


class Page(NamedTuple):
    """
    Documents after a cursor, as they stood at one moment.

    The page covers `after < seq <= upto`. `reached_head` says that nothing is left above it, so that with all
    earlier pages it makes a state that the core really was in; `upto` is then the head.
    """

    rows: list[Document]
    reached_head: bool
    upto: int
    shard: "ShardHead"


class ShardHead(NamedTuple):
    """
    How far a shard is: its epoch, the newest seq, and the oldest cursor that still sees every tombstone.

    ``live_hash`` and ``live_rows`` are the sum and the number of its live rows, ``chain`` is the chain hash of its
    newest commit and ``seal`` the core's mark on that, as a replica learnt it.
    """

    epoch: int
    head: int
    floor: int
    live_hash: int = 0
    live_rows: int = 0
    chain: bytes = FIRST_CHAIN
    seal: bytes = b""


def create_documents(connection: SqliteConnection) -> None:
    """Make the tables `documents` and `shard_head` in a file that has none. Within a write transaction."""
    tables = database(connection)
    documents = tables.table("documents")
    if not documents.exists():
        documents.create(
            {
                "seq": int,
                "account_id": str,
                "kind": str,
                "key": str,
                "version": int,
                "row_hash": int,
                "body": bytes,
            },
            pk="seq",
            not_null={"account_id", "kind", "key", "version"},
            strict=True,
        )
        documents.create_index(
            ["account_id", "kind", "key"], index_name="documents_by_name", unique=True
        )
        # Partial: a sign-in looks a credential up by its key alone; the others are asked for by account.
        connection.execute(
            f"CREATE INDEX credentials_by_key ON documents (kind, key) WHERE kind = '{CREDENTIAL}'"
        )
        connection.execute("CREATE INDEX tombstones ON documents (seq) WHERE body IS NULL")
    heads = tables.table("shard_head")
    if not heads.exists():
        heads.create(
            {
                "shard": str,
                "epoch": int,
                "head": int,
                "floor": int,
                "live_hash": int,
                "live_rows": int,
                "chain": bytes,
                "seal": bytes,
            },
            pk="shard",
            not_null={"shard", *ShardHead._fields},
            strict=True,
        )


def add_shard(connection: Connection, shard: str, epoch: int) -> None:
    """Begin a shard in an epoch (from 1 up), empty; when it is there it stays as it is."""
    begin = first_seq(shard)
    connection.execute(
        "INSERT INTO shard_head (shard, epoch, head, floor, live_hash, live_rows, chain, seal)"
        " VALUES (?, ?, ?, ?, 0, 0, ?, ?) ON CONFLICT DO NOTHING",
        (shard, epoch, begin, begin, FIRST_CHAIN, b""),
    )


def read_shards(connection: Connection) -> list[str]:
    """Name the shards that are held here, in their order."""
    rows = connection.execute("SELECT shard FROM shard_head").fetchall()
    return sorted((shard for (shard,) in rows), key=int)


def read_head(connection: Connection, shard: str) -> ShardHead:
    """
    Return how far the shard is.

    Raises:
        UnknownShard: There is no such shard here.
    """
    row = connection.execute(_HEAD, (shard,)).fetchone()
    if row is None:
        raise UnknownShard(shard)
    return ShardHead(*row)


def lock_head(connection: Connection, shard: str) -> ShardHead:
    """
    Hold the shard to the end of the write transaction, and return how far it is.

    Raises:
        UnknownShard: There is no such shard here.
    """
    # Fetched to the end: a statement left unfinished would keep the transaction from committing.
    held = connection.execute(_LOCK_HEAD, (shard,)).fetchall()
    if not held:
        raise UnknownShard(shard)
    return ShardHead(*held[0])


def _never() -> bool:
    return False


def overdue_after(seconds: float, clock: Clock) -> Callable[[], bool]:
    """Make what tells, some seconds from now on, that they are over."""
    until = clock.boot_seconds() + seconds
    return lambda: clock.boot_seconds() > until


def read_overdue(clock: Clock) -> Callable[[], bool]:
    """Make what tells that a read transaction that begins now has lasted for as long as any may."""
    return overdue_after(READ_SECONDS_MAX, clock)


def read_page(
    connection: Connection,
    shard: str,
    after: int,
    limit: int,
    *,
    bytes_max: int = PAGE_BYTES_MAX,
    overdue: Callable[[], bool] = _never,
) -> Page:
    """
    Read the documents after a cursor, in seq order, within one read transaction of its own.

    The page ends at `limit` rows, as soon as its bodies reach `bytes_max`, or when it is `overdue`: a slow disk must
    not keep a read transaction open, because while it is, nothing is tidied up behind it. It has at least one row when
    there is one.

    Raises:
        UnknownShard: There is no such shard here.
    """
    with read(connection):
        return read_page_within(
            connection, shard, after, limit, bytes_max=bytes_max, overdue=overdue
        )


def read_page_within(
    connection: Connection,
    shard: str,
    after: int,
    limit: int,
    *,
    bytes_max: int = PAGE_BYTES_MAX,
    overdue: Callable[[], bool] = _never,
) -> Page:
    """Read a page as `read_page` does, within the caller's read transaction."""
    head = read_head(connection, shard)
    rows: list[Document] = []
    spooled_bytes = 0
    reached_head = True
    begin = max(after, first_seq(shard))
    found = stream(connection, _PAGE, (begin, head.head)) if begin < head.head else iter(())
    for row in found:
        if len(rows) >= limit or spooled_bytes >= bytes_max or (rows and overdue()):
            reached_head = False
            break
        rows.append(Document(*row))
        spooled_bytes += len(row[4]) if row[4] is not None else 0
    upto = head.head if reached_head else rows[-1].seq
    return Page(rows, reached_head, upto, head)


def count_tombstones(connection: Connection, shard: str) -> int:
    """Count a shard's tombstones."""
    (count,) = connection.execute(
        "SELECT count(*) FROM documents WHERE body IS NULL AND seq > ? AND seq <= ?",
        (first_seq(shard), last_seq(shard)),
    ).fetchone()
    return int(count)


def forget_tombstones(connection: Connection, shard: str, through: int) -> int:
    """
    Remove the tombstones up to a seq and raise the floor to it; return how many were removed.

    Within a write transaction. Only safe up to the lowest cursor of the followers that are to go on: one below the
    floor has to start again from zero. `through` is cut to the head.
    """
    # Held first: a tombstone that is being moved to a new seq must not be forgotten at its old one.
    head = lock_head(connection, shard)
    through = min(through, head.head)
    if through <= head.floor:
        return 0
    removed = connection.execute(
        "DELETE FROM documents WHERE body IS NULL AND seq > ? AND seq <= ?",
        (first_seq(shard), through),
    ).rowcount
    connection.execute("UPDATE shard_head SET floor = ? WHERE shard = ?", (through, shard))
    return removed
