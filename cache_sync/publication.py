"""
What the core publishes: new states of documents, as the last step of the transaction that caused them.

Only a core publishes; replicas apply what it sends. Each commit moves its shard's head once and leaves one row in
`commits`: the seq it ended at and its chain hash. With it the core can tell later whether a position that a node shows
was ever its own.

Bodies come here as text and are packed (`cache_sync.packed_bodies`) for the table: only what has changed costs that.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cache_sync.document_table import (
    ShardHead,
    add_shard,
    forget_tombstones,
    lock_head,
    read_head,
)
from cache_sync.errors import UnreadableBody
from cache_sync.packed_bodies import pack_body, unpack_body
from cache_sync.row_hash import FIRST_CHAIN, add_hashes, next_chain, row_hash
from cache_sync.shards import first_seq
from cache_sync.sql import Connection, insert_rows
from cache_sync.sqlite import Connection as SqliteConnection
from cache_sync.sqlite import database

# A node that is further behind than this builds anew anyway; so many commits at most are remembered.
COMMITS_SEQS_MAX = 1 << 22
_PRUNE_EVERY_SEQS = 1 << 16

_MOVE_HEAD = (
    "UPDATE shard_head SET head = ?, live_hash = ?, live_rows = ?, chain = ? WHERE shard = ?"
)
_FIND = """
SELECT account_id, kind, key, seq, version, row_hash, body FROM documents WHERE (account_id, kind, key) IN (VALUES {})
"""
# Three places each: far below what a statement may have.
_FOUND_AT_ONCE = 500
_SEQ = "SELECT seq FROM documents WHERE account_id = ? AND kind = ? AND key = ?"
_INSERT = """
INSERT INTO documents (account_id, kind, key, version, row_hash, body, seq) VALUES
"""
_MOVE = "UPDATE documents SET seq = ?, version = ?, row_hash = ?, body = ? WHERE seq = ?"
_COMMIT = """
INSERT INTO commits (seq, chain) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET chain = excluded.chain
"""
_PRUNE = "DELETE FROM commits WHERE seq > ? AND seq < ?"


# Its seq, its body's version, the row's hash and the packed body.
_Found = tuple[int, int, int | None, bytes | None]


class Name(NamedTuple):
    """What a document is called within its shard."""

    account_id: str
    kind: str
    key: str


class Change(NamedTuple):
    """A document's new state: its body's text and the body's version; None deletes it."""

    name: Name
    body: bytes | None
    version: int = 1


class Published(NamedTuple):
    """In which epoch, and for each name at which seq, its state stands; 0 for what was never published."""

    epoch: int
    seqs: dict[Name, int]


class _Moves:
    """What a commit changes in the table, collected so that it is written in few statements."""

    def __init__(self, head: ShardHead) -> None:
        self.seq = head.head
        self.inserted: list[tuple[str, str, str, int, int | None, bytes | None, int]] = []
        self.moved: list[tuple[int, int, int | None, bytes | None, int]] = []
        self.came: list[int] = []
        self.went: list[int] = []
        self.chained: list[tuple[int, int]] = []

    def take(self, change: Change, found: _Found | None) -> int:
        """Take the next seq for a change of what was found; return it, or the old one of an equal state."""
        name, text, version = change
        old_seq, old_version, old_hash, old_body = found or (0, version, None, None)
        if _is_text_of(old_body, text) and (text is None or old_version == version):
            return old_seq
        body = None if text is None else pack_body(name.kind, text)
        self.seq += 1
        hashed = None if body is None else row_hash(*name, self.seq, version, body)
        if found is None:
            self.inserted.append((*name, version, hashed, body, self.seq))
        else:
            self.moved.append((self.seq, version, hashed, body, old_seq))
        if old_hash is not None:
            self.went.append(old_hash)
        if hashed is not None:
            self.came.append(hashed)
        self.chained.append((self.seq, hashed or 0))
        return self.seq


def _is_text_of(stored: bytes | None, text: bytes | None) -> bool:
    # The texts are compared: another release's library may pack the same text into other bytes.
    if stored is None or text is None:
        return stored is text
    try:
        return unpack_body(stored) == text
    except UnreadableBody:
        return False


def create_commits(connection: SqliteConnection) -> None:
    """Make the table `commits` in a file that has none. Within a write transaction."""
    commits = database(connection).table("commits")
    if not commits.exists():
        commits.create({"seq": int, "chain": bytes}, pk="seq", not_null={"chain"}, strict=True)


def begin_shard(connection: Connection, shard: str, epoch: int) -> None:
    """Begin a shard of the core in an epoch, empty; when it is there it stays as it is."""
    add_shard(connection, shard, epoch)
    connection.execute(
        "INSERT INTO commits (seq, chain) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (first_seq(shard), FIRST_CHAIN),
    )


def publish_all(connection: Connection, shard: str, changes: Iterable[Change]) -> Published:
    """
    Publish the new states of documents as one commit's, within the caller's write transaction: its last step.

    A state equal to the published one publishes nothing and keeps the seq it has; so does deleting what is not there.
    Seqs follow the order of commits, because the shard's head is held from here to the commit. Of two changes of one
    document the later one counts.

    Raises:
        UnknownShard: There is no such shard here.
    """
    assert connection.in_transaction, "documents are published with the change that caused them"
    # From here to the commit: seqs are given out in the order of the commits.
    head = lock_head(connection, shard)
    moves = _Moves(head)
    seqs: dict[Name, int] = {}
    last = {each.name: each for each in changes}
    found = _find(connection, [*last])
    for name, change in last.items():
        seqs[name] = moves.take(change, found.get(name))
    if moves.chained:
        connection.executemany(_MOVE, moves.moved)
        insert_rows(connection, _INSERT, moves.inserted)
        chain = next_chain(head.chain, moves.chained)
        live_hash = add_hashes(head.live_hash, moves.came, moves.went)
        live_rows = head.live_rows + len(moves.came) - len(moves.went)
        connection.execute(_MOVE_HEAD, (moves.seq, live_hash, live_rows, chain, shard))
        connection.execute(_COMMIT, (moves.seq, chain))
        if moves.seq // _PRUNE_EVERY_SEQS != head.head // _PRUNE_EVERY_SEQS:
            _prune_commits(connection, shard, moves.seq - COMMITS_SEQS_MAX)
    return Published(head.epoch, seqs)


def _find(connection: Connection, names: Sequence[Name]) -> dict[Name, _Found]:
    """Read what documents are published as, many in one statement: on a server each is a way there and back."""
    found: dict[Name, _Found] = {}
    for begin in range(0, len(names), _FOUND_AT_ONCE):
        some = names[begin : begin + _FOUND_AT_ONCE]
        rows = connection.execute(
            _FIND.format(", ".join(["(?, ?, ?)"] * len(some))),
            [part for name in some for part in name],
        )
        found.update((Name(*row[:3]), row[3:]) for row in rows.fetchall())
    return found


def publish(
    connection: Connection, shard: str, account_id: str, kind: str, key: str, body: bytes | None
) -> int:
    """Publish one document's new state as a commit of its own; return the seq at which it stands."""
    name = Name(account_id, kind, key)
    return publish_all(connection, shard, [Change(name, body)]).seqs[name]


def locate(connection: Connection, shard: str, names: Iterable[Name]) -> Published:
    """
    Tell at which seqs documents stand; 0 for what was never published.

    Raises:
        UnknownShard: There is no such shard here.
    """
    found = {name: connection.execute(_SEQ, name).fetchone() for name in names}
    epoch = read_head(connection, shard).epoch
    return Published(epoch, {name: row[0] if row else 0 for name, row in found.items()})


def raise_epoch(connection: Connection, shard: str, epoch: int | None = None) -> int:
    """
    Begin the shard's next epoch, or a given later one, within the caller's write transaction; returns it.

    Followers then build anew. The chain begins anew out of the one before: two cores that were restored from one backup
    and both raised their epoch do not have the same chain, unless they hold the same.

    Raises:
        UnknownShard: There is no such shard here.
    """
    head = lock_head(connection, shard)
    raised = max(head.epoch + 1, epoch or 0)
    chain = next_chain(head.chain, [(raised, 0)])
    connection.execute(
        "UPDATE shard_head SET epoch = ?, chain = ? WHERE shard = ?", (raised, chain, shard)
    )
    # Chains of the epoch before are no longer asked for: whoever is in it builds anew.
    connection.execute(_PRUNE, (first_seq(shard) - 1, head.head))
    connection.execute(_COMMIT, (head.head, chain))
    return raised


def read_chain(connection: Connection, shard: str, seq: int) -> bytes | None:
    """Return the chain hash of the commit that ended at a seq; None where none did, or it is no longer known."""
    row = connection.execute("SELECT chain FROM commits WHERE seq = ?", (seq,)).fetchone()
    return bytes(row[0]) if row is not None and seq >= first_seq(shard) else None


def oldest_commit(connection: Connection, shard: str) -> int:
    """Return the seq of the oldest commit whose chain hash is still known."""
    (seq,) = connection.execute(
        "SELECT min(seq) FROM commits WHERE seq >= ?", (first_seq(shard),)
    ).fetchone()
    return int(seq)


def forget_deletes(connection: Connection, shard: str, through: int) -> int:
    """Remove the tombstones up to a seq, as `forget_tombstones`, and the chain hashes of the commits before."""
    removed = forget_tombstones(connection, shard, through)
    _prune_commits(connection, shard, read_head(connection, shard).floor)
    return removed


def _prune_commits(connection: Connection, shard: str, before: int) -> None:
    connection.execute(_PRUNE, (first_seq(shard) - 1, before))
