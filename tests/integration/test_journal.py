"""The journal on a real disk: what was acknowledged survives, and a disk that fails is not believed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cache_sync.sqlite import Connection, OperationalError, connect
from failover.errors import JournalError, JournalFenced, JournalFull
from failover.intents import Outcome, fingerprint, intent_id
from failover.journal import Journal, JournalBounds
from failover.journal_changes import Draft, Existing, Offers, Recorded, Recording, Refused
from failover.journal_reader import JournalReader
from failover.signing import Signer, generate_signing_key, public_key, verify
from failover.standin import Limits

KEY = generate_signing_key(lambda count: bytes(range(count)))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(account_day_count=10**6, account_day_cents=10**12, edge_outstanding_cents=10**12)
BOTH = Offers(witness="west", core=True, core_only_until=None)
NOBODY = Offers(witness=None, core=False, core_only_until=None)

CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.integration.test_journal import BOTH, draft, opened, record

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


def opened(path: Path, **more: Any) -> Journal:
    """Open a journal of the edge "east"."""
    return Journal.open(path, node_id="east", signer=Signer(KEY), **more)


def draft(
    key: str, amount_cents: int = 1000, *, account_id: str = "A-1", at: datetime = NOON
) -> Draft:
    """Make a payment about to be recorded."""
    return Draft(
        intent_id=intent_id(account_id, key),
        fingerprint=fingerprint(
            account_id=account_id,
            type_="payment",
            amount_cents=amount_cents,
            currency="USD",
            method_id="M",
        ),
        account_id=account_id,
        idempotency_key=key,
        amount_cents=amount_cents,
        currency="USD",
        method_id="M",
        method_verified=True,
        accepted_at=at,
        snapshot_age_seconds=1.0,
    )


def record(
    journal: Journal, wanted: Draft, offers: Offers = BOTH, limits: Limits = LIMITS
) -> Awaitable[Recording]:
    """Record a payment."""
    return journal.record(wanted, offers, limits=limits, edge_share_known=True)


def posted(wanted: Draft, seq: int = 1) -> Outcome:
    """Make the core's outcome."""
    return Outcome(
        intent_id=wanted.intent_id,
        fingerprint=wanted.fingerprint,
        state="posted",
        decided_at=NOON + timedelta(minutes=1),
        epoch=1,
        shard="0",
        seq=seq,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal lies."""
    return tmp_path / "journal" / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    """Return an open journal."""
    journal = opened(path)
    yield journal
    journal.close()


async def test_a_recorded_intent_is_signed_numbered_and_readable_elsewhere(
    journal: Journal, path: Path
) -> None:
    """Another process's reader sees it at once, with whom it is offered to."""
    first = await record(journal, draft("k1"))
    second = await record(journal, draft("k2"))
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert [first.entry.position, second.entry.position] == [1, 2]
    assert verify(first.entry.intent, public_key(KEY))
    (row, _) = JournalReader(path).page("own", after=0).items
    assert row.intent == first.entry.intent
    assert (row.state, row.witnesses, row.offered_core) == ("offered", ["west"], True)


async def test_the_same_again_is_found_and_other_content_refused(journal: Journal) -> None:
    """Undecided and decided; the first outcome comes back."""
    await record(journal, draft("k1"))
    assert isinstance(await record(journal, draft("k1")), Existing)
    assert await record(journal, draft("k1", 2000)) == Refused("conflict")
    assert await journal.settle([posted(draft("k1"))]) == [draft("k1").intent_id]
    again = await record(journal, draft("k1"))
    assert isinstance(again, Existing)
    assert again.entry.receipt().state == "posted"
    assert await record(journal, draft("k1", 2000)) == Refused("conflict")
    assert await journal.settle([posted(draft("k1"))]) == []


async def test_twenty_at_once_take_one_place(journal: Journal) -> None:
    """One is recorded; the others find it."""
    results = await asyncio.gather(*(record(journal, draft("k1")) for _ in range(20)))
    assert sum(isinstance(result, Recorded) for result in results) == 1
    assert sum(isinstance(result, Existing) for result in results) == 19
    assert journal.reader.page("own", after=0).last_ordinal == 1


async def test_a_voided_attempt_frees_the_id_and_its_reservation(journal: Journal) -> None:
    """A confirmed one cannot be voided."""
    recording = await record(journal, draft("k1"))
    assert isinstance(recording, Recorded)
    assert await journal.void(recording.entry.position)
    assert journal.reader.queue(NOON).pending == 0
    receipt = journal.reader.receipt("A-1", draft("k1").intent_id)
    assert receipt is not None
    assert receipt.state == "void"
    assert journal.reader.receipts("A-1", settled_since=NOON) == []
    other = await record(journal, draft("k1", 2000))
    assert isinstance(other, Recorded)
    await journal.confirm([other.entry.position], "west")
    assert not await journal.void(other.entry.position)
    assert journal.reader.queue(NOON).amount_cents == 2000


async def test_recorded_but_never_offered_is_voided_at_the_next_start(path: Path) -> None:
    """Nobody was told of it; what was offered stays."""
    journal = opened(path)
    await record(journal, draft("never"), NOBODY)
    await record(journal, draft("offered"))
    journal.close()
    journal = opened(path)
    states = [item.state for item in journal.reader.page("own", after=0).items]
    assert states == ["void", "offered"]
    assert journal.reader.queue(NOON).pending == 1
    journal.close()


async def test_limits_are_computed_in_the_recording_transaction(journal: Journal) -> None:
    """Per account and 24 hours, counted with what is outstanding alone; the day before does not count."""
    limits = Limits(account_day_count=2)
    await record(journal, draft("old", at=NOON - timedelta(hours=25)), limits=limits)
    results = await asyncio.gather(
        *(record(journal, draft(f"k{number}"), limits=limits) for number in range(4))
    )
    assert sum(isinstance(result, Recorded) for result in results) == 2
    assert results.count(Refused("limit", "account_day_count")) == 2
    await journal.settle([posted(draft("k0"))])
    assert isinstance(await record(journal, draft("k9"), limits=limits), Recorded)
    assert isinstance(await record(journal, draft("k1", account_id="A-2"), limits=limits), Recorded)


async def test_the_queue_is_bounded(path: Path) -> None:
    """Full is said plainly, and repeats of what is known still work."""
    journal = opened(path, bounds=JournalBounds(pending_max=2))
    await record(journal, draft("k1"))
    await record(journal, draft("k2"))
    assert await record(journal, draft("k3")) == Refused("full")
    assert isinstance(await record(journal, draft("k1")), Existing)
    journal.close()


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


async def test_a_list_is_read_in_stretches(journal: Journal) -> None:
    """Each stretch continues the last; holes are looked for up to the newest ordinal."""
    for number in range(7):
        await record(journal, draft(f"k{number}"))
    seen, after = [], 0
    while True:
        page = journal.reader.page("own", after=after, limit=3)
        seen += [item.position for item in page.items]
        assert page.holes == []
        if page.next_after is None:
            break
        after = page.next_after
    assert seen == list(range(1, 8))


async def test_another_nodes_journal_is_not_opened(path: Path) -> None:
    """Ordinals and signatures would be mixed."""
    opened(path).close()
    with pytest.raises(JournalError, match="belongs to east"):
        Journal.open(path, node_id="west", signer=Signer(KEY))


async def test_the_incarnation_belongs_to_the_file(path: Path, tmp_path: Path) -> None:
    """It survives restarts; a new file has another."""
    first = opened(path)
    first.close()
    again = opened(path)
    elsewhere = opened(tmp_path / "other.db")
    assert again.incarnation == first.incarnation != elsewhere.incarnation
    again.close()
    elsewhere.close()


async def test_reading_works_without_a_writer_and_without_a_file(path: Path) -> None:
    """A missing journal reads as empty, but reconciliation is not told that there is nothing."""
    reader = JournalReader(path)
    assert reader.receipts("A-1", settled_since=NOON) == []
    assert reader.queue(NOON).pending == 0
    with pytest.raises(JournalError):
        reader.page("own", after=0)
    journal = opened(path)
    await record(journal, draft("k1", at=NOON - timedelta(seconds=30)))
    journal.close()
    queue = reader.queue(NOON)
    assert (queue.pending, queue.oldest_seconds, queue.amount_cents) == (1, 30.0, 1000)
    assert [receipt.state for receipt in reader.receipts("A-1", settled_since=NOON)] == ["checking"]


async def test_receipts_show_each_intent_once_newest_first(journal: Journal) -> None:
    """Own and copied, undecided and lately decided; what was decided before is left to the documents."""
    elsewhere = Signer(generate_signing_key(lambda count: b"w" * count))
    wanted = [draft(f"k{number}", at=NOON + timedelta(seconds=number)) for number in range(4)]
    for each in wanted[:3]:
        await record(journal, each)
    own = journal.reader.find(wanted[0].intent_id)
    assert own is not None
    copies = [
        elsewhere.sign(
            msgspec.structs.replace(own.intent, edge_id="west", incarnation="w", ordinal=1)
        ),
        elsewhere.sign(
            msgspec.structs.replace(
                own.intent,
                edge_id="west",
                incarnation="w",
                ordinal=2,
                intent_id=wanted[3].intent_id,
                accepted_at=wanted[3].accepted_at,
            )
        ),
    ]
    await journal.store_copies(copies)
    await journal.settle([posted(wanted[1])])
    receipts = journal.reader.receipts("A-1", settled_since=NOON)
    assert [receipt.intent_id for receipt in receipts] == [
        each.intent_id for each in reversed(wanted)
    ]
    assert [receipt.state for receipt in receipts] == ["accepted", "checking", "posted", "checking"]
    later = journal.reader.receipts("A-1", settled_since=NOON + timedelta(hours=1))
    assert len(later) == 3
    assert journal.reader.receipts("A-2", settled_since=NOON) == []


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


async def test_changes_of_one_group_fail_alone(journal: Journal) -> None:
    """One change raises in the middle of a group: its neighbours are committed."""

    def clumsy(_: Connection) -> None:
        raise ZeroDivisionError

    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: record(journal, draft("k1")),
        lambda: journal._run(clumsy),
        lambda: record(journal, draft("k2")),
    ]
    results = await asyncio.gather(*(change() for change in changes), return_exceptions=True)
    assert isinstance(results[0], Recorded)
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[2], Recorded)
