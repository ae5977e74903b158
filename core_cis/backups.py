"""
Backups of the books: begun with a mark, named when they are there for good, kept as long as operators say so.

What the oldest kept backup holds, edges need not keep: they drop it (`failover.pruning`). So only a backup that can be
gone back to may be named, and only kept ones may be gone back to. Books that were restored from an older one lack what
edges have dropped; an edge says which mark it has dropped something by, and books that do not hold the mark say so.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from cache_sync import sqlite
from cache_sync.document_table import read_head, read_shards
from cache_sync.shards import FIRST_SHARD
from cache_sync.sql import Connection
from core_cis.audit import Act, write_down
from core_cis.errors import BackupRefused, UnknownBackup
from core_cis.instants import from_text, to_text
from core_cis.keys import CoreKeys
from core_cis.store import Transaction, new_id, read_utility
from failover.covers import Cover

KEPT = 2
"""How many of the newest backups are kept where nothing else is said."""

_COLUMNS = "mark, begun_at, epoch, heads, state, label, named_at"
_log = structlog.get_logger(__name__)


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """
    A backup as the books know it.

    ``heads`` is how far each shard's documents were in ``epoch`` when it was begun: it holds all up to there. It is
    ``begun`` until it was named, ``kept`` as long as the books may be restored from it, ``released`` afterwards.
    ``label`` is where operators find it.
    """

    mark: str
    begun_at: datetime
    epoch: int
    heads: dict[str, int]
    state: Literal["begun", "kept", "released"]
    label: str = ""
    named_at: datetime | None = None


class Unheld(msgspec.Struct, frozen=True, kw_only=True):
    """An edge that has dropped what a backup covers whose mark is not in these books."""

    node_id: str
    mark: str
    told_at: datetime


def begin_backup(tx: Transaction) -> Backup:
    """Write the mark of a backup that is about to be made; nothing of the copy may be read before the commit."""
    heads = {shard: read_head(tx.connection, shard) for shard in read_shards(tx.connection)}
    begun = Backup(
        mark=new_id("B-"),
        begun_at=tx.stamp,
        epoch=heads[FIRST_SHARD].epoch,
        heads={shard: head.head for shard, head in heads.items()},
        state="begun",
    )
    tx.connection.execute(
        "INSERT INTO backups (mark, begun_at, epoch, heads) VALUES (?, ?, ?, ?)",
        (
            begun.mark,
            to_text(begun.begun_at),
            begun.epoch,
            msgspec.json.encode(begun.heads).decode(),
        ),
    )
    return begun


def name_backup(
    tx: Transaction, mark: str, label: str, act: Act, keys: CoreKeys, *, keep: int = KEPT
) -> list[Backup]:
    """
    Name a backup that is there for good, and keep the newest ones; the transaction must be alone.

    Args:
        tx: Of the books that it is a backup of.
        mark: The one that it was begun with.
        label: Where operators find it.
        act: What is written into the log, of whoever names it.
        keys: The core's.
        keep: How many of the newest are kept; those before are released.

    Returns:
        Those that were released.

    Raises:
        UnknownBackup: The mark is not in these books.
        BackupRefused: It was named or released before, or is of another epoch.
    """
    known = find_backup(tx.connection, mark)
    epoch = read_head(tx.connection, FIRST_SHARD).epoch
    if known.state != "begun":
        raise BackupRefused(
            f"backup {mark} was named before, as {known.label}, and is {known.state}"
        )
    if known.epoch != epoch:
        raise BackupRefused(
            f"backup {mark} was begun in epoch {known.epoch}, and these books are in epoch {epoch}: begin another"
        )
    tx.connection.execute(
        "UPDATE backups SET state = 'kept', label = ?, named_at = ? WHERE mark = ?",
        (label, to_text(tx.stamp), mark),
    )
    kept = [each for each in read_backups(tx.connection) if each.state == "kept"]
    too_many = kept[: max(0, len(kept) - keep)]
    for each in too_many:
        _release(tx, each.mark)
    write_down(
        tx,
        msgspec.structs.replace(
            act, subject=mark, detail={"label": label, "released": len(too_many), **act.detail}
        ),
        keys,
    )
    return too_many


def release_backup(tx: Transaction, mark: str, act: Act, keys: CoreKeys) -> Backup:
    """
    Note that a backup is not kept any more, such as one that was lost; the transaction must be alone.

    Raises:
        UnknownBackup: The mark is not in these books.
        BackupRefused: It is not kept.
    """
    known = find_backup(tx.connection, mark)
    if known.state != "kept":
        raise BackupRefused(f"backup {mark} is not kept: it is {known.state}")
    _release(tx, mark)
    write_down(tx, msgspec.structs.replace(act, subject=mark, detail={"label": known.label}), keys)
    return known


def release_all(tx: Transaction) -> None:
    """
    Keep no backup any more, as an epoch begins: it is not known which ones the history before had released.

    Edges hold on to everything until one of the new epoch is named.
    """
    tx.connection.execute("UPDATE backups SET state = 'released' WHERE state = 'kept'")


def _release(tx: Transaction, mark: str) -> None:
    tx.connection.execute("UPDATE backups SET state = 'released' WHERE mark = ?", (mark,))


def read_backups(connection: Connection) -> list[Backup]:
    """List all backups that these books know, the oldest first."""
    return [
        Backup(
            mark=mark,
            begun_at=from_text(begun_at),
            epoch=epoch,
            heads=msgspec.json.decode(heads, type=dict[str, int]),
            state=state,
            label=label,
            named_at=from_text(named_at) if named_at else None,
        )
        for mark, begun_at, epoch, heads, state, label, named_at in connection.execute(
            f"SELECT {_COLUMNS} FROM backups ORDER BY begun_at, mark"  # noqa: S608 - our own names
        )
    ]


def find_backup(connection: Connection, mark: str) -> Backup:
    """
    Find a backup by its mark.

    Raises:
        UnknownBackup: These books do not hold it.
    """
    for each in read_backups(connection):
        if each.mark == mark:
            return each
    raise UnknownBackup(mark)


def read_cover(connection: Connection) -> Cover | None:
    """Read what every kept backup holds: what the oldest of them does. None while none is kept."""
    row = connection.execute(
        "SELECT mark, epoch, heads FROM backups WHERE state = 'kept' ORDER BY begun_at, mark LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return Cover(
        mark=row[0],
        epoch=row[1],
        heads=msgspec.json.decode(row[2], type=dict[str, int]),
        timezone=read_utility(connection).timezone,
    )


def holds_mark(connection: Connection, mark: str) -> bool:
    """Tell whether these books hold what a mark covers; of no mark they do."""
    if not mark:
        return True
    found = connection.execute("SELECT 1 FROM backups WHERE mark = ?", (mark,)).fetchone()
    return found is not None


def read_marks(connection: Connection) -> frozenset[str]:
    """Read all marks that these books hold."""
    return frozenset(mark for (mark,) in connection.execute("SELECT mark FROM backups"))


def hear_mark(tx: Transaction, node_id: str, mark: str) -> bool:
    """Note by which mark an edge has dropped something, and tell whether these books hold it."""
    tx.connection.execute("DELETE FROM unheld_marks WHERE node_id = ?", (node_id,))
    if holds_mark(tx.connection, mark):
        return True
    tx.connection.execute(
        "INSERT INTO unheld_marks (node_id, mark, told_at) VALUES (?, ?, ?)",
        (node_id, mark, to_text(tx.stamp)),
    )
    _log.error(
        "an edge has dropped what a backup covers that these books are older than",
        alarm="backup_too_old",
        edge=node_id,
        mark=mark,
    )
    return False


def read_unheld(connection: Connection) -> list[Unheld]:
    """List the edges that have dropped what these books lack."""
    return [
        Unheld(node_id=node_id, mark=mark, told_at=from_text(told_at))
        for node_id, mark, told_at in connection.execute(
            "SELECT node_id, mark, told_at FROM unheld_marks ORDER BY node_id"
        )
    ]


def verify_copy(file: Path, begun: Backup) -> None:
    """
    Look whether a copy of the books can be gone back to: its pages are whole, and it holds the mark.

    Raises:
        BackupRefused: It is not.
        DatabaseError: It cannot be read.
    """
    connection = sqlite.connect(file, synchronous="NORMAL", read_only=True)
    try:
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise BackupRefused(f"the copy is damaged: {problem}")
        if not holds_mark(connection, begun.mark):
            raise BackupRefused("the copy is not of these books: it lacks the mark")
    finally:
        connection.close()
