"""
Core time: the stamps of the core's commits, and the instants T that a feed vouches for.

A durable high-water mark orders both. A commit's stamp is above every earlier stamp and every T that was closed; T is
never below a stamp, so once T is closed nothing will ever be stamped at or before it, and T never goes back: not when
the wall clock does, not across a restart, not between two processes that write to the same file.
"""

from datetime import UTC, datetime, timedelta

from cache_sync.sqlite import Connection, database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def create_core_clock(connection: Connection) -> None:
    """Make the table `core_clock` when it is not there. Within a write transaction."""
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
    never get the same stamp. Call it once in a transaction, at its start.
    """
    return _raise_high_water(connection, now)


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
    (high_water_us,) = connection.execute(
        "SELECT high_water_us FROM core_clock WHERE id = 1"
    ).fetchone()
    now_us = (now - _EPOCH) // _MICROSECOND
    taken_us = max(now_us, high_water_us + 1)
    connection.execute("UPDATE core_clock SET high_water_us = ? WHERE id = 1", (taken_us,))
    return _EPOCH + timedelta(microseconds=taken_us)
