"""
Core time: the stamps of the core's commits, and the instants T that a feed vouches for.

A durable high-water mark orders both. A commit's stamp is above every earlier stamp and every T that was closed; T is
never below a stamp, so once T is closed nothing will ever be stamped at or before it, and T never goes back: not when
the wall clock does, not across a restart, not between two processes that write to the same database.

What makes it true is who holds the mark: a commit from its stamp to its end, a closing likewise. On SQLite that is the
file's write lock, so a stamp can be taken early. On a server transactions overlap; there the stamp that orders T is the
one that a transaction takes as its last step, and what it wrote before carries the one it foresaw, a moment earlier.
"""

from datetime import UTC, datetime, timedelta

from cache_sync.sql import Connection
from cache_sync.sqlite import Connection as SqliteConnection
from cache_sync.sqlite import database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# One statement, which holds the row to the commit: whoever comes meanwhile waits, and then goes on from there.
_RAISE = """
UPDATE core_clock SET high_water_us = CASE WHEN high_water_us < ? THEN ? ELSE high_water_us + 1 END
WHERE id = 1 RETURNING high_water_us
"""


def create_core_clock(connection: SqliteConnection) -> None:
    """Make the table `core_clock` in a file that has none. Within a write transaction."""
    table = database(connection).table("core_clock")
    if not table.exists():
        table.create(
            {"id": int, "high_water_us": int}, pk="id", not_null={"high_water_us"}, strict=True
        )
        connection.execute("INSERT INTO core_clock (id, high_water_us) VALUES (1, 0)")


def stamp(connection: Connection, now: datetime) -> datetime:
    """
    Take the stamp of the commit that this write transaction will be.

    `now` is the wall clock; the stamp is later where the clock stands behind the high-water mark. Two transactions
    never get the same stamp. Call it once in a transaction: where it alone writes, at its start; where others write at
    the same time, as its last step, because from here to the commit nobody else gets a stamp, or closes a T.
    """
    return _raise_high_water(connection, now)


def foresee(connection: Connection, now: datetime) -> datetime:
    """
    Tell what the stamp would be now, and hold nobody up: for what a transaction writes before its last step.

    It is above every T that was closed before the transaction began, and not after the stamp that `stamp` will give,
    when that is told of it.
    """
    (high_water_us,) = connection.execute(
        "SELECT high_water_us FROM core_clock WHERE id = 1"
    ).fetchone()
    return _instant(max((now - _EPOCH) // _MICROSECOND, high_water_us + 1))


def close(connection: Connection, now: datetime) -> datetime:
    """
    Close core time: return T such that every commit stamped at or before T is done, and later ones are above it.

    No two closings return the same T, so that a T which comes twice is known to be the same answer, not a newer one.
    Commit this write transaction before anything is read in T's name: the mark must be durable first.
    """
    return _raise_high_water(connection, now)


def _raise_high_water(connection: Connection, now: datetime) -> datetime:
    # Outside a transaction each statement would commit alone, and two processes could get the same stamp.
    assert connection.in_transaction, "core time is taken within a write transaction"
    now_us = (now - _EPOCH) // _MICROSECOND
    ((taken_us,),) = connection.execute(_RAISE, (now_us, now_us)).fetchall()
    return _instant(taken_us)


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
