"""Disks that fail, fill up and forget, and processes that are killed: what was acknowledged is not lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cache_sync.sqlite import Connection, OperationalError, connect
from failover.errors import JournalError, JournalFenced, JournalFull
from failover.journal import Journal
from failover.journal_changes import Existing, Recorded
from failover.journal_reader import JournalReader
from failover.signing import public_key, verify
from tests.integration.journals import KEY, NOON, draft, opened, posted, record

CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.integration.journals import draft, opened, record

async def main():
    journal = opened(Path(sys.argv[1]))
    async def one(number):
        recording = await record(journal, draft(f"key-{number}"))
        print(number, recording.entry.position, flush=True)
    number = 0
    while True:
        await asyncio.gather(*(one(number + more) for more in range(8)))
        number += 8

asyncio.run(main())
"""


class FailingConnection:
    """A connection whose statements fail as told, as a disk makes them fail."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.fails_at: str | None = None
        self.commits_first = False

    def execute(self, sql: str, *values: Any) -> Any:
        """Run a statement, or fail."""
        if self.fails_at is not None and sql.strip().startswith(self.fails_at):
            if self.commits_first:
                self._connection.execute(sql, *values)
            raise OperationalError("disk I/O error")
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class HangingConnection(FailingConnection):
    """A connection whose commits wait for a disk that does not answer, until it does."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.answers = threading.Event()
        self.answers.set()

    def execute(self, sql: str, *values: Any) -> Any:
        """Run a statement; a commit, once the disk answers."""
        if sql == "COMMIT":
            self.answers.wait()
        return super().execute(sql, *values)


def is_stalled(journal: Journal) -> bool:
    """Ask anew each time."""
    return journal.stalled


class Disk:
    """Opens journals on connections that can be made to fail."""

    def __init__(self) -> None:
        self.opened: list[FailingConnection] = []
        self.broken = False

    def connect(self, path: Path) -> Connection:
        """Open the file as the journal does."""
        if self.broken:
            raise OperationalError("disk I/O error")
        self.opened.append(FailingConnection(connect(path, synchronous="FULL", same_thread=False)))
        return self.opened[-1]  # type: ignore[return-value]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal lies."""
    return tmp_path / "journal" / "journal.db"


async def test_a_nearly_full_disk_is_refused_before_the_file_is_touched(path: Path) -> None:
    """Reads go on."""
    free = [10**12]
    journal = opened(path, free_bytes=lambda _: free[0])
    await record(journal, draft("k1"))
    free[0] = 1000
    with pytest.raises(JournalFull):
        await record(journal, draft("k2"))
    assert not journal.fenced
    assert len(journal.reader.receipts("A-1", settled_since=NOON)) == 1
    journal.close()


@pytest.mark.parametrize("reaches_the_disk", [False, True])
async def test_a_failed_commit_fences_until_reopened_and_verified(
    path: Path, *, reaches_the_disk: bool
) -> None:
    """
    Nothing is acknowledged meanwhile; the attempt in doubt stays in doubt, a new one certainly was not taken. After
    reopening, the journal says what really became of it, and the next ordinal leaves no hole.
    """
    disk = Disk()
    journal = opened(path, connect_file=disk.connect)
    await record(journal, draft("before"))
    disk.opened[-1].fails_at = "COMMIT"
    disk.opened[-1].commits_first = reaches_the_disk
    with pytest.raises(JournalFenced) as failed:
        await record(journal, draft("doubtful"))
    assert failed.value.uncertain
    assert journal.fenced
    for key, in_doubt in (("doubtful", True), ("before", True), ("new", False)):
        with pytest.raises(JournalFenced) as failed:
            await record(journal, draft(key))
        assert failed.value.uncertain is in_doubt
    with pytest.raises(JournalFenced):
        await journal.settle([posted(draft("before"))])
    disk.broken = True
    with pytest.raises(JournalError):
        journal.reopen()
    assert journal.fenced
    disk.broken = False
    journal.reopen()
    again = await record(journal, draft("doubtful"))
    assert isinstance(again, Existing if reaches_the_disk else Recorded)
    page = journal.reader.page("own", after=0)
    assert (page.holes, page.last_ordinal) == ([], 2)
    journal.close()


async def test_a_statement_that_fails_before_the_commit_is_certainly_undone(path: Path) -> None:
    """It fences too, but a new attempt elsewhere is safe to advise."""
    disk = Disk()
    journal = opened(path, connect_file=disk.connect)
    disk.opened[-1].fails_at = "INSERT INTO intents"
    with pytest.raises(JournalFenced) as failed:
        await record(journal, draft("k1"))
    assert not failed.value.uncertain
    journal.reopen()
    assert isinstance(await record(journal, draft("k1")), Recorded)
    journal.close()


async def test_a_journal_that_lost_what_was_acknowledged_stays_fenced(path: Path) -> None:
    """The disk forgot a row that a customer was told of: nothing more is taken here."""
    disk = Disk()
    journal = opened(path, connect_file=disk.connect)
    await record(journal, draft("k1"))
    await record(journal, draft("k2"))
    disk.opened[-1].fails_at = "COMMIT"
    with pytest.raises(JournalFenced):
        await record(journal, draft("k3"))
    other = connect(path, synchronous="FULL")
    for statement in (
        "DELETE FROM offers WHERE ordinal = 2",
        "DELETE FROM intents WHERE ordinal = 2",
        "UPDATE journal SET last_ordinal = 1",
    ):
        other.execute(statement)
    other.close()
    with pytest.raises(JournalError, match="acknowledged"):
        journal.reopen()
    journal.close()


async def test_a_hole_is_found_at_the_start_and_in_the_list(path: Path) -> None:
    """A deleted row is named; such a journal is not opened for writing again."""
    journal = opened(path)
    for number in range(5):
        await record(journal, draft(f"k{number}"))
    journal.close()
    other = connect(path, synchronous="FULL")
    other.execute("DELETE FROM offers WHERE ordinal IN (2, 5)")
    other.execute("DELETE FROM intents WHERE ordinal IN (2, 5)")
    other.close()
    page = JournalReader(path).page("own", after=0)
    assert page.holes == [2, 5]
    with pytest.raises(JournalError, match="ordinals"):
        opened(path)


def test_kill_9_between_record_and_answer_loses_nothing_acknowledged(
    path: Path, checkout: Path
) -> None:
    """
    A process records as fast as it can and is killed, three times over: every ordinal that it printed is there with
    its content, without holes, and what it had not printed yet is whole or absent.
    """
    acknowledged: dict[int, int] = {}
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(checkout)],
            stdout=subprocess.PIPE,
            cwd=checkout,
            text=True,
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(40 + 30 * round_)]
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate()
        assert child.returncode == -signal.SIGKILL
        # The last line may have been cut in the middle.
        whole = [line for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
        acknowledged |= {int(number): int(position) for number, position in map(str.split, whole)}

    async def check() -> None:
        journal = opened(path)
        for number, position in acknowledged.items():
            found = journal.reader.find(draft(f"key-{number}").intent_id)
            assert found is not None
            assert found.position == position
            assert verify(found.intent, public_key(KEY))
        journal.close()

    assert len(acknowledged) >= 100
    asyncio.run(check())


async def test_a_disk_that_never_answers_closes_the_journal(tmp_path: Path) -> None:
    """After two seconds nothing new is taken, and what is asked for does not pile up; when it answers all goes on."""
    made: list[HangingConnection] = []

    def hanging(path: Path) -> Any:
        made.append(HangingConnection(connect(path, synchronous="FULL", same_thread=False)))
        return made[-1]

    journal = opened(tmp_path / "journal.db", connect_file=hanging)
    await record(journal, draft("before"))
    assert not is_stalled(journal)
    made[-1].answers.clear()
    waiting = asyncio.ensure_future(record(journal, draft("waits")))
    try:
        async with asyncio.timeout(60):
            while not is_stalled(journal):  # noqa: ASYNC110 - real time is what it is about
                await asyncio.sleep(0.1)
        with pytest.raises(JournalFull, match="does not answer"):
            await record(journal, draft("too late"))
        with pytest.raises(JournalFull):
            await journal.store_copies([])
        assert not waiting.done()
    finally:
        made[-1].answers.set()
    assert isinstance(await waiting, Recorded)
    assert not is_stalled(journal)
    assert isinstance(await record(journal, draft("after")), Recorded)
    journal.close()
