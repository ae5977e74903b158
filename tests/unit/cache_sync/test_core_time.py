"""Core time: stamps and closings in one order that never goes back."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cache_sync.core_time import close, create_core_clock, stamp
from cache_sync.sqlite import Connection, OperationalError, connect, write
from tests.unit.cache_sync.feed_world import NOON

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Return a connection to a core's clock."""
    made = open_clock(tmp_path)
    yield made
    made.close()


def open_clock(directory: Path) -> Connection:
    """Open the clock's file."""
    connection = connect(directory / "core.db", synchronous="FULL")
    with write(connection):
        create_core_clock(connection)
    return connection


def test_stamps_follow_the_wall_clock_to_the_microsecond(connection: Connection) -> None:
    """A clock that runs is taken as it is."""
    now = NOON.replace(microsecond=123_457)
    with write(connection):
        assert stamp(connection, now) == now


def test_commits_after_a_closing_are_above_it_though_the_clock_went_back(
    connection: Connection,
) -> None:
    """No later commit is stamped at or before T."""
    with write(connection):
        closed = close(connection, NOON)
    with write(connection):
        assert stamp(connection, NOON - timedelta(hours=1)) == closed + MICROSECOND
    with write(connection):
        assert close(connection, NOON - timedelta(hours=1)) == closed + 2 * MICROSECOND


def test_core_time_does_not_go_back_across_a_restart(
    connection: Connection, tmp_path: Path
) -> None:
    """The mark is in the file, so another process, or the next start, goes on from it."""
    with write(connection):
        closed = close(connection, NOON)
    other = open_clock(tmp_path)
    with write(other):
        assert stamp(other, NOON - timedelta(days=1)) > closed
    other.close()


def test_stamp_of_a_transaction_that_failed_is_given_again(connection: Connection) -> None:
    """Nothing was committed under it, and the mark went back with the rest."""
    with pytest.raises(OperationalError), write(connection):
        connection.execute("SELECT ? FROM nowhere", (stamp(connection, NOON).isoformat(),))
    with write(connection):
        assert stamp(connection, NOON) == NOON


def test_core_time_is_taken_within_a_transaction_only(connection: Connection) -> None:
    """Alone, two processes could get the same stamp."""
    with pytest.raises(AssertionError):
        stamp(connection, NOON)
