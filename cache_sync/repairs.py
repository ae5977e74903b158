"""
Putting rows of a replica right that anti-entropy has found to differ, one transaction for all of them.

Neither the cursor nor the live hash moves: the sum was compared with the core's at the last barrier, and it is the rows
that have left it.
"""

from collections.abc import Sequence

import msgspec

from cache_sync.document_table import read_head
from cache_sync.documents import Document
from cache_sync.publication import Name
from cache_sync.row_hash import row_hash
from cache_sync.sqlite import Connection

_FIND = "SELECT seq FROM documents WHERE account_id = ? AND kind = ? AND key = ?"
_REMOVE = "DELETE FROM documents WHERE account_id = ? AND kind = ? AND key = ? AND seq = ?"
_REMOVE_AT = "DELETE FROM documents WHERE seq = ?"
_PUT = """
INSERT INTO documents (seq, account_id, kind, key, version, row_hash, body) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A document to put right: what stands here at ``seq`` (0: nothing) goes, ``replacement`` (None: nothing) comes."""

    name: Name
    seq: int
    replacement: Document | None


def put_right(connection: Connection, shard: str, epoch: int, repairs: Sequence[Repair]) -> int:
    """
    Put rows right within the caller's write transaction; return how many.

    A row that has moved since it was compared is left alone, and so are all when the epoch has changed: what came in
    between is newer than the comparison.

    Raises:
        UnknownShard: The file holds another shard.
    """
    head = read_head(connection, shard)
    if head.epoch != epoch:
        return 0
    standing = [repair for repair in repairs if _stands(connection, repair, head.head)]
    # All go before any comes: two wrong rows may stand at each other's seq.
    for repair in standing:
        connection.execute(_REMOVE, (*repair.name, repair.seq))
    for repair in standing:
        if repair.replacement is not None:
            _put(connection, repair.replacement)
    return len(standing)


def _stands(connection: Connection, repair: Repair, cursor: int) -> bool:
    found = connection.execute(_FIND, repair.name).fetchone()
    if (found[0] if found is not None else 0) != repair.seq:
        return False
    return repair.replacement is None or repair.replacement.seq <= cursor


def _put(connection: Connection, row: Document) -> None:
    assert row.body is not None, "tombstones are not compared"
    hashed = row_hash(row.account_id, row.kind, row.key, row.seq, row.version, row.body)
    # Something else at this seq cannot be true either: no two documents share one.
    connection.execute(_REMOVE_AT, (row.seq,))
    connection.execute(
        _PUT, (row.seq, row.account_id, row.kind, row.key, row.version, hashed, row.body)
    )
