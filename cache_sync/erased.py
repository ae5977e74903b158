"""
Whether a replica's file may still hold something of a person who was forgotten.

A person is forgotten when the summary of an account is deleted: nothing else deletes one. SQLite overwrites deleted
cells, but where rows were moved, a page may keep a copy of one. So the file says of itself, from that transaction on,
that it has to be written anew; every copy of its pages says so too, a copy of its rows does not.
"""

from cache_sync.documents import ACCOUNT, Document
from cache_sync.sqlite import Connection

_NEWEST = f"SELECT coalesce(max(seq), 0) FROM documents WHERE body IS NULL AND kind = '{ACCOUNT}'"  # noqa: S608 - no input
_TRACES = 1


def newest_erased(connection: Connection) -> int:
    """Tell the seq of the newest deletion of an account that is still known; 0 without one."""
    return int(connection.execute(_NEWEST).fetchone()[0])


def may_hold_traces(connection: Connection) -> bool:
    """Tell whether something of a deleted account may be left in the file's pages."""
    (mark,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(mark == _TRACES)


def mark_traces(connection: Connection, *, left: bool) -> None:
    """Note, within the caller's transaction, whether something of a deleted account may be left in the pages."""
    connection.execute(f"PRAGMA user_version = {_TRACES if left else 0}")


def leaves_traces(connection: Connection, row: Document) -> bool:
    """Tell whether a row that is about to be applied deletes an account of which the file holds other rows."""
    if row.body is not None or row.kind != ACCOUNT:
        return False
    found = connection.execute(
        "SELECT 1 FROM documents WHERE account_id = ? LIMIT 1", (row.account_id,)
    ).fetchone()
    return found is not None
