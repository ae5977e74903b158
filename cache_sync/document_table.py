"""
The documents table: the feed at the core, the snapshot at an edge, the same table in both.

One row per document, at the seq of its newest change: an update moves the row to a new seq, a delete leaves a
tombstone, so everything changed after a cursor is one range of the primary key. The core's table holds all shards, one
above the other; a replica's file holds one.

``version`` is the body's. ``row_hash`` is the hash of the row as it stands (`cache_sync.row_hash`), NULL for a
tombstone; `shard_head` keeps the sum and number of all live rows, the chain hash of the newest commit and the core's
seal on it (at the core itself it is empty: the core makes it when it answers).
"""

from collections.abc import Iterable
from typing import NamedTuple

from cache_sync.documents import CREDENTIAL, Document
from cache_sync.errors import UnknownShard
from cache_sync.row_hash import FIRST_CHAIN, add_hashes, next_chain, row_hash
from cache_sync.shards import first_seq
from cache_sync.sqlite import Connection, database, read

PAGE_BYTES_MAX = 4 * 1024 * 1024

_FIND = """
SELECT seq, version, row_hash, body FROM documents WHERE account_id = ? AND kind = ? AND key = ?
"""
# Changes nothing, and holds the row to the commit: seqs are given out in the order of the commits.
_LOCK_HEAD = """
UPDATE shard_head SET head = head WHERE shard = ? RETURNING epoch, head, floor, live_hash, live_rows, chain, seal
"""
_MOVE_HEAD = (
    "UPDATE shard_head SET head = ?, live_hash = ?, live_rows = ?, chain = ? WHERE shard = ?"
)
_INSERT = """
INSERT INTO documents (account_id, kind, key, version, row_hash, body, seq) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_MOVE = "UPDATE documents SET seq = ?, version = ?, row_hash = ?, body = ? WHERE seq = ?"
_HEAD = """
SELECT epoch, head, floor, live_hash, live_rows, chain, seal FROM shard_head WHERE shard = ?
"""
_PAGE = """
SELECT account_id, kind, key, seq, body, version FROM documents WHERE seq > ? AND seq <= ? ORDER BY seq
"""


class Name(NamedTuple):
    """What a document is called within its shard."""

    account_id: str
    kind: str
    key: str


class Change(NamedTuple):
    """A document's new state: its body and the body's version; None deletes it."""

    name: Name
    body: bytes | None
    version: int = 1


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


def create_documents(connection: Connection) -> None:
    """Make the tables `documents` and `shard_head` where they are not there. Within a write transaction."""
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


def raise_epoch(connection: Connection, shard: str) -> int:
    """
    Begin the shard's next epoch within the caller's write transaction, with a new chain; returns it.

    Followers then build anew.

    Raises:
        UnknownShard: There is no such shard here.
    """
    epoch = read_head(connection, shard).epoch + 1
    connection.execute(
        "UPDATE shard_head SET epoch = ?, chain = ? WHERE shard = ?", (epoch, FIRST_CHAIN, shard)
    )
    return epoch


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


def publish_all(connection: Connection, shard: str, changes: Iterable[Change]) -> dict[Name, int]:
    """
    Publish the new states of documents as one commit's, within the caller's write transaction; its last step.

    Returns for each name the seq at which its state stands. A state equal to the published one publishes nothing and
    keeps the seq it has; deleting what was never published gives 0. Seqs follow the order of commits, because the
    shard's head is held from here to the commit. Of two changes of one document the later one counts.

    Raises:
        UnknownShard: There is no such shard here.
    """
    assert connection.in_transaction, "documents are published with the change that caused them"
    # Fetched to the end: a statement left unfinished would keep the transaction from committing.
    held = connection.execute(_LOCK_HEAD, (shard,)).fetchall()
    if not held:
        raise UnknownShard(shard)
    head = ShardHead(*held[0])
    seq = head.head
    stands: dict[Name, int] = {}
    inserted: list[tuple[str, str, str, int, int | None, bytes | None, int]] = []
    moved: list[tuple[int, int, int | None, bytes | None, int]] = []
    came: list[int] = []
    went: list[int] = []
    chained: list[tuple[int, int]] = []
    for name, body, version in {change.name: change for change in changes}.values():
        found = connection.execute(_FIND, name).fetchone()
        old_seq, old_version, old_hash, old_body = found or (0, version, None, None)
        if old_body == body and (body is None or old_version == version):
            stands[name] = old_seq
            continue
        seq += 1
        stands[name] = seq
        hashed = None if body is None else row_hash(*name, seq, version, body)
        if found is None:
            inserted.append((*name, version, hashed, body, seq))
        else:
            moved.append((seq, version, hashed, body, old_seq))
        if old_hash is not None:
            went.append(old_hash)
        if hashed is not None:
            came.append(hashed)
        chained.append((seq, hashed or 0))
    if chained:
        connection.executemany(_MOVE, moved)
        connection.executemany(_INSERT, inserted)
        connection.execute(
            _MOVE_HEAD,
            (
                seq,
                add_hashes(head.live_hash, came, went),
                head.live_rows + len(came) - len(went),
                next_chain(head.chain, chained),
                shard,
            ),
        )
    return stands


def publish(
    connection: Connection, shard: str, account_id: str, kind: str, key: str, body: bytes | None
) -> int:
    """Publish one document's new state; return the seq at which it stands. See `publish_all`."""
    name = Name(account_id, kind, key)
    return publish_all(connection, shard, [Change(name, body)])[name]


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
        UnknownShard: There is no such shard here.
    """
    with read(connection):
        return read_page_within(connection, shard, after, limit, bytes_max=bytes_max)


def read_page_within(
    connection: Connection,
    shard: str,
    after: int,
    limit: int,
    *,
    bytes_max: int = PAGE_BYTES_MAX,
) -> Page:
    """Read a page as `read_page` does, within the caller's read transaction."""
    head = read_head(connection, shard)
    rows: list[Document] = []
    spooled_bytes = 0
    reached_head = True
    begin = max(after, first_seq(shard))
    for row in connection.execute(_PAGE, (begin, head.head)):
        if len(rows) >= limit or spooled_bytes >= bytes_max:
            reached_head = False
            break
        rows.append(Document(*row))
        spooled_bytes += len(row[4]) if row[4] is not None else 0
    upto = head.head if reached_head else rows[-1].seq
    return Page(rows, reached_head, upto, head)


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
        "DELETE FROM documents WHERE body IS NULL AND seq > ? AND seq <= ?",
        (first_seq(shard), through),
    ).rowcount
    connection.execute("UPDATE shard_head SET floor = ? WHERE shard = ?", (through, shard))
    return removed
