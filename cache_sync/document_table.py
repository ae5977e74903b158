"""
The documents table: the feed at the core, the snapshot at an edge, the same table in both.

One row per document, at the seq of its newest change: an update moves the row to a new seq, a delete leaves a
tombstone, so everything changed after a cursor is one range of the primary key. One file holds one shard.
"""

from typing import NamedTuple

from cache_sync.documents import CREDENTIAL, Document
from cache_sync.errors import UnknownShard
from cache_sync.sqlite import Connection, database, read

PAGE_BYTES_MAX = 4 * 1024 * 1024

_FIND = "SELECT seq, body FROM documents WHERE account_id = ? AND kind = ? AND key = ?"
_NEXT_SEQ = "UPDATE shard_head SET head = head + 1 WHERE shard = ? RETURNING head"
_INSERT = "INSERT INTO documents (seq, account_id, kind, key, body) VALUES (?, ?, ?, ?, ?)"
_MOVE = "UPDATE documents SET seq = ?, body = ? WHERE seq = ?"
_HEAD = "SELECT epoch, head, floor FROM shard_head WHERE shard = ?"
_PAGE = "SELECT account_id, kind, key, seq, body FROM documents WHERE seq > ? ORDER BY seq"


class Page(NamedTuple):
    """
    Documents after a cursor, as they stood at one moment.

    The page covers `after < seq <= upto`. `reached_head` says that nothing is left above it, so that with all
    earlier pages it makes a state that the core really was in; `upto` is then the head.
    """

    rows: list[Document]
    head: int
    floor: int
    reached_head: bool
    epoch: int
    upto: int


class ShardHead(NamedTuple):
    """How far a shard is: its epoch, the newest seq, and the oldest cursor that still sees every tombstone."""

    epoch: int
    head: int
    floor: int


def create_documents(connection: Connection) -> None:
    """Make the tables `documents` and `shard_head` where they are not there. Within a write transaction."""
    tables = database(connection)
    documents = tables.table("documents")
    if not documents.exists():
        documents.create(
            {"seq": int, "account_id": str, "kind": str, "key": str, "body": bytes},
            pk="seq",
            not_null={"account_id", "kind", "key"},
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
            {"shard": str, "epoch": int, "head": int, "floor": int},
            pk="shard",
            not_null={"shard", "epoch", "head", "floor"},
            strict=True,
        )


def add_shard(connection: Connection, shard: str, epoch: int) -> None:
    """
    Begin the file's shard in an epoch (from 1 up), empty; when it is there it stays as it is.

    Raises:
        UnknownShard: The file holds another shard already.
    """
    others = connection.execute("SELECT 1 FROM shard_head WHERE shard <> ?", (shard,)).fetchone()
    if others is not None:
        raise UnknownShard(shard)
    connection.execute(
        "INSERT INTO shard_head (shard, epoch, head, floor) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING",
        (shard, epoch),
    )


def raise_epoch(connection: Connection, shard: str) -> int:
    """
    Begin the shard's next epoch within the caller's write transaction; followers then build anew. Returns it.

    Raises:
        UnknownShard: The file holds another shard, or none.
    """
    epoch = read_head(connection, shard).epoch + 1
    connection.execute("UPDATE shard_head SET epoch = ? WHERE shard = ?", (epoch, shard))
    return epoch


def read_head(connection: Connection, shard: str) -> ShardHead:
    """
    Return how far the shard is.

    Raises:
        UnknownShard: The file holds another shard, or none.
    """
    row = connection.execute(_HEAD, (shard,)).fetchone()
    if row is None:
        raise UnknownShard(shard)
    return ShardHead(*row)


def publish(
    connection: Connection, shard: str, account_id: str, kind: str, key: str, body: bytes | None
) -> int:
    """
    Publish a document's new state within the caller's write transaction; None deletes it.

    Returns the seq at which this state stands. A body equal to the published one publishes nothing and returns the
    seq it has; deleting what was never published returns 0. Seqs follow the order of commits, because a transaction
    holds the file's only write lock from its start.

    Raises:
        UnknownShard: The file holds another shard, or none.
    """
    assert connection.in_transaction, "documents are published with the change that caused them"
    found = connection.execute(_FIND, (account_id, kind, key)).fetchone()
    if found is None:
        if body is None:
            return 0
    elif found[1] == body:
        return int(found[0])
    # Fetched to the end: a statement left unfinished would keep the transaction from committing.
    taken = connection.execute(_NEXT_SEQ, (shard,)).fetchall()
    if not taken:
        raise UnknownShard(shard)
    seq: int = taken[0][0]
    if found is None:
        connection.execute(_INSERT, (seq, account_id, kind, key, body))
    else:
        connection.execute(_MOVE, (seq, body, found[0]))
    return seq


def read_page(
    connection: Connection,
    shard: str,
    after: int,
    limit: int,
    *,
    bytes_max: int = PAGE_BYTES_MAX,
) -> Page:
    """
    Read the documents after a cursor, in seq order, within one read transaction of its own.

    The page ends at `limit` rows or as soon as its bodies reach `bytes_max`; it has at least one row when there is
    one.

    Raises:
        UnknownShard: The file holds another shard, or none.
    """
    with read(connection):
        epoch, head, floor = read_head(connection, shard)
        rows: list[Document] = []
        spooled_bytes = 0
        reached_head = True
        for account_id, kind, key, seq, body in connection.execute(_PAGE, (after,)):
            if len(rows) >= limit or spooled_bytes >= bytes_max:
                reached_head = False
                break
            rows.append(Document(account_id, kind, key, seq, body))
            spooled_bytes += len(body) if body is not None else 0
    upto = head if reached_head else rows[-1].seq
    return Page(rows, head, floor, reached_head, epoch, upto)


def forget_tombstones(connection: Connection, shard: str, through: int) -> int:
    """
    Remove the tombstones up to a seq and raise the floor to it; return how many were removed.

    Within a write transaction. Only safe up to the lowest cursor of the followers that are to go on: one below the
    floor has to start again from zero. `through` is cut to the head.
    """
    head = read_head(connection, shard)
    through = min(through, head.head)
    if through <= head.floor:
        return 0
    removed = connection.execute(
        "DELETE FROM documents WHERE body IS NULL AND seq <= ?", (through,)
    ).rowcount
    connection.execute("UPDATE shard_head SET floor = ? WHERE shard = ?", (through, shard))
    return removed
