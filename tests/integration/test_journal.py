"""The journal on a real disk: what it takes, finds, refuses, and shows to others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from cache_sync.sqlite import Connection
from failover.errors import JournalError
from failover.intents import Intent
from failover.journal import Journal, JournalBounds
from failover.journal_changes import Existing, Recorded, Refused
from failover.journal_reader import JournalReader
from failover.signing import Signer, generate_signing_key, public_key, verify
from failover.standin import Limits
from tests.integration.journals import KEY, NOBODY, NOON, draft, opened, posted, record


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


def test_what_cannot_be_opened_is_said_as_everything_else(path: Path) -> None:
    """Whoever reads has one error to expect, whatever is wrong with the file."""
    path.mkdir(parents=True)
    with pytest.raises(JournalError):
        JournalReader(path).receipts("A-1", settled_since=NOON)


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


async def test_no_change_looks_through_the_queue(journal: Journal) -> None:
    """With tens of thousands of payments waiting, one more change must cost what it costs with one."""
    statements: list[str] = []
    await journal._run(lambda connection: connection.set_trace_callback(statements.append))
    for key in ("k1", "k2"):
        await record(journal, draft(key))
    await journal.offer(1, witness="north")
    await journal.confirm([1], "west")
    await journal.void(2)
    await journal.settle([posted(draft("k1"))])
    await journal.released([1], "west")
    await journal.store_copies([(await _intent_of(journal, "k3"))])
    await journal._run(lambda connection: connection.set_trace_callback(None))
    changes = [sql for sql in statements if sql.split()[0] in {"SELECT", "UPDATE", "INSERT"}]

    def plans(connection: Connection) -> list[str]:
        return [
            row[3] for sql in changes for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")
        ]

    whole = [step for step in await journal._run(plans) if step.startswith("SCAN")]
    assert any("UPDATE intents" in sql for sql in changes)
    assert [step for step in whole if step.split()[1] in {"intents", "copies", "offers"}] == []


async def _intent_of(journal: Journal, key: str) -> Intent:
    recorded = await record(journal, draft(key))
    assert isinstance(recorded, Recorded)
    return recorded.entry.intent
