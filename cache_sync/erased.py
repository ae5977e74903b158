"""
Whether a replica's file may still hold something of a person who was forgotten.

A person is forgotten when the summary of an account is deleted: nothing else deletes one. SQLite overwrites deleted
cells, but where rows were moved, a page may keep a copy of one. So the file is copied row by row then, and marked with
the place of the newest such deletion; the mark goes with every copy of the file.
"""

from cache_sync.documents import ACCOUNT, Document
from cache_sync.sqlite import Connection

_NEWEST = f"SELECT coalesce(max(seq), 0) FROM documents WHERE body IS NULL AND kind = '{ACCOUNT}'"  # noqa: S608 - no input
_MARK_BITS = 31


def newest_erased(connection: Connection) -> int:
    """Tell the seq of the newest deletion of an account that is still known; 0 without one."""
    return int(connection.execute(_NEWEST).fetchone()[0])


def is_rewritten(connection: Connection) -> bool:
    """Tell whether the file was written anew since the newest deletion of an account."""
    (mark,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(mark == _mark_of(connection))


def mark_rewritten(connection: Connection) -> None:
    """Note that nothing of an account that was deleted is left in the file's pages."""
    connection.execute(f"PRAGMA user_version = {_mark_of(connection)}")


def leaves_traces(connection: Connection, row: Document) -> bool:
    """Tell whether a row that is about to be applied deletes an account of which the file holds other rows."""
    if row.body is not None or row.kind != ACCOUNT:
        return False
    found = connection.execute(
        "SELECT 1 FROM documents WHERE account_id = ? LIMIT 1", (row.account_id,)
    ).fetchone()
    return found is not None


def _mark_of(connection: Connection) -> int:
    # SQLite keeps 32 bits for it. Two places that share a mark are further apart than a file's tombstones ever are.
    return newest_erased(connection) & ((1 << _MARK_BITS) - 1)
