"""Changes that wait for the disk, and notes that need not."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_sync.sqlite import Connection, OperationalError, connect
from failover.errors import JournalFenced
from failover.group_commit import InlineCommitter, ThreadCommitter, commit_group

FULL, NORMAL = 2, 1


def note(connection: Connection) -> int:
    """Write something down; tell how this commit will wait for the disk."""
    connection.execute("INSERT INTO notes VALUES (1)")
    return int(connection.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Open a file as the journal is."""
    opened = connect(tmp_path / "notes.db", synchronous="FULL", same_thread=False)
    opened.execute("CREATE TABLE notes (number INTEGER)")
    yield opened
    opened.close()


def level(connection: Connection) -> int:
    """Tell how the next commit will wait."""
    return int(connection.execute("PRAGMA synchronous").fetchone()[0])


@pytest.mark.parametrize(("durable", "waits"), [(True, FULL), (False, NORMAL)])
def test_only_what_must_be_durable_waits_for_the_disk(
    connection: Connection, *, durable: bool, waits: int
) -> None:
    """And whatever follows waits again."""
    assert commit_group(connection, [note], durable=durable) == [(waits, None)]
    assert level(connection) == FULL


def test_a_note_that_fails_leaves_the_next_change_durable(connection: Connection) -> None:
    """The clumsy one is undone alone."""

    def clumsy(_: Connection) -> None:
        raise ZeroDivisionError

    ((_, error),) = commit_group(connection, [clumsy], durable=False)
    assert isinstance(error, ZeroDivisionError)
    assert level(connection) == FULL


async def test_readers_see_a_note_when_it_was_taken(tmp_path: Path, connection: Connection) -> None:
    """Only a loss of power could take it."""
    committer = InlineCommitter(connection)
    await committer.run(note, durable=False)
    reader = connect(tmp_path / "notes.db", synchronous="FULL", read_only=True)
    assert reader.execute("SELECT count(*) FROM notes").fetchone() == (1,)
    reader.close()


async def test_a_note_beside_a_change_waits_with_it(connection: Connection) -> None:
    """They share a commit, and the commit is durable."""
    committer = ThreadCommitter(connection)
    others_wait = threading.Event()

    def hold(_: Connection) -> None:
        others_wait.wait()

    held = asyncio.create_task(committer.run(hold))
    while committer._taken.qsize():  # noqa: ASYNC110 - another thread takes it
        await asyncio.sleep(0)
    # The first is being worked on, so these two make the next group.
    others = [asyncio.create_task(committer.run(note, durable=kind)) for kind in (False, True)]
    await asyncio.sleep(0)
    others_wait.set()
    assert await asyncio.gather(*others) == [FULL, FULL]
    await held
    committer.close()


class Stuck:
    """A connection that cannot be told to wait for the disk again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: Any) -> Any:
        """Refuse that one statement."""
        if sql == "PRAGMA synchronous = FULL":
            raise OperationalError("disk I/O error")
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_a_connection_that_would_not_wait_any_more_is_fenced(connection: Connection) -> None:
    """Nothing is acknowledged by it afterwards."""
    committer = InlineCommitter(Stuck(connection))  # type: ignore[arg-type]
    with pytest.raises(JournalFenced):
        await committer.run(note, durable=False)
    assert committer.fenced
    with pytest.raises(JournalFenced):
        await committer.run(note)
