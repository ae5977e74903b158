"""Pruning a journal on a real disk: it shrinks, survives kill -9, and an older release's file learns it."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from cache_sync.sqlite import Connection, connect, write
from failover import journal_changes, journal_pruning
from failover.covers import Cover
from failover.intents import Intent, Outcome
from failover.journal import Journal
from failover.journal_pruning import Pruned, PruneOrder
from failover.journal_reader import JournalReader
from failover.journal_schema import encode, micros, prepare
from failover.peer_messages import Source
from tests.integration.journals import KEY, NOON, draft, opened, record

LATER = NOON + timedelta(days=3)
ROOT = Path(__file__).parents[2]
MANY = 20_000
CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.integration.journals import opened, record
from tests.integration.test_journal_pruning import ORDER, decided, later

async def main():
    journal = opened(Path(sys.argv[1]))
    number = 0
    while True:
        wanted = [later(number + more, f"key-{number + more}") for more in range(8)]
        await asyncio.gather(*(record(journal, each) for each in wanted))
        await journal.settle([decided(each, number + more) for more, each in enumerate(wanted)])
        await journal.released(range(number + 1, number + 9), "west")
        number += 8
        print(number, flush=True)
        await journal.prune("own", ORDER, after=(0, 0), limit=6)

asyncio.run(main())
"""
OLDER = ("pruned_sums", "pruned_ordinals", "pruned_receipts", "pruning")


def order(*, upto: int = 10**6, epoch: int = 1) -> PruneOrder:
    """Allow what a backup covers."""
    return PruneOrder(
        cover=Cover(mark="B-1", epoch=epoch, heads={"0": upto}, timezone="America/New_York"),
        shown={},
        decided_before=LATER,
        owed_before=NOON + timedelta(days=1),
        now=LATER,
    )


ORDER = order()


def later(seconds: int, key: str) -> journal_changes.Draft:
    """Wish for something later than noon: what one account asks for is recorded in the order of its times."""
    return msgspec.structs.replace(draft(key), accepted_at=NOON + timedelta(seconds=seconds))


def decided(wanted: journal_changes.Draft, seq: int) -> Outcome:
    """Make the core's outcome of this very record."""
    return Outcome(
        intent_id=wanted.intent_id,
        fingerprint=wanted.fingerprint,
        state="posted",
        accepted_at=wanted.accepted_at,
        decided_at=NOON + timedelta(minutes=1),
        epoch=1,
        shard="0",
        seq=seq,
    )


async def prune_all(journal: Journal, source: Source, allowed: PruneOrder) -> int:
    """Go through a list once."""
    count, after = 0, (0, 0)
    while True:
        pruned = await journal.prune(source, allowed, after=after, limit=256)
        count += pruned.dropped
        if pruned.after is None:
            return count
        after = pruned.after


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal lies."""
    return tmp_path / "journal" / "journal.db"


async def test_what_is_still_needed_stays(path: Path) -> None:
    """What no backup covers, is decided of another record, is owed to a holder, or was voided lately."""
    journal = opened(path)
    drafts = [later(number, f"k{number}") for number in range(6)]
    for each in drafts:
        await record(journal, each)
    await journal.void(6)
    told = [decided(each, seq) for seq, each in enumerate(drafts[:5], 1)]
    told[1] = msgspec.structs.replace(told[1], epoch=2)
    told[2] = msgspec.structs.replace(told[2], accepted_at=NOON - timedelta(hours=1))
    told[3] = msgspec.structs.replace(told[3], decided_at=NOON + timedelta(days=2))
    await journal.settle(told)
    await journal.released([1, 2, 3, 5], "west")
    assert await prune_all(journal, "own", order(upto=4)) == 1
    left = [item.position for item in journal.reader.page("own", after=0).items]
    assert left == [2, 3, 4, 5, 6]
    await journal.released([4], "west")
    assert await prune_all(journal, "own", order(upto=5)) == 2
    early = msgspec.structs.replace(ORDER, decided_before=NOON)
    assert await journal.prune_void(early, after=0, limit=9) == Pruned(0, None)
    assert await journal.prune_void(ORDER, after=0, limit=9) == Pruned(1, None)
    page = journal.reader.page("own", after=0)
    assert page.pruned is not None
    assert ([item.position for item in page.items], page.holes) == ([2, 3], [])
    assert page.pruned.ordinals == [(1, 1), (4, 6)]
    assert {sums.state: (sums.count, sums.cents) for sums in page.pruned.sums} == {
        "posted": (3, 3000),
        "void": (1, 1000),
    }
    assert await journal.forget_receipts(pruned_before=LATER, limit=9) == 0
    assert len(journal.reader.pruned(drafts[0].intent_id)) == 1
    assert await journal.forget_receipts(pruned_before=LATER + timedelta(days=1), limit=9) == 3
    assert journal.reader.pruned(drafts[0].intent_id) == []
    journal.close()
    opened(path).close()


async def test_a_long_journal_gets_short(path: Path) -> None:
    """Twenty thousand entries of a month: the file shrinks, a new payment finds room, every cent is in the sums."""
    path.parent.mkdir()
    connection = connect(path, synchronous="NORMAL")
    prepare(connection, node_id="east", new_incarnation="00")
    cents = fill(connection, MANY)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    before = size_of(path)
    journal = opened(path)
    assert await prune_all(journal, "own", ORDER) == MANY
    await record(journal, draft("new"))
    size = journal.reader.size()
    page = journal.reader.page("own", after=0)
    journal.close()
    assert page.pruned is not None
    assert page.pruned.ordinals == [(1, MANY)]
    assert (size.entries, size.pruned, size.mark) == (1, MANY, "B-1")
    assert sum(sums.cents for sums in page.pruned.sums) == cents
    assert len(page.pruned.sums) > 27
    assert size_of(path) < before / 2
    opened(path).close()


def fill(connection: Connection, count: int) -> int:
    """Have recorded and settled many payments of a month, quickly; returns their sum."""
    rows = []
    for number in range(1, count + 1):
        at = NOON - timedelta(minutes=2 * number)
        wanted = draft(f"k{number}", number, account_id=f"A-{number % 500}", at=at)
        recorded, told = encode(intent(wanted, number)), encode(decided(wanted, number))
        said = (wanted.intent_id, wanted.fingerprint, wanted.account_id, number, micros(at))
        rows.append((number, *said, recorded, told, micros(NOON), number))
    with write(connection):
        connection.executemany(
            """
            INSERT INTO intents (ordinal, intent_id, fingerprint, account_id, amount_cents, accepted_micros, state,
                reserved, offered_core, intent, outcome, decided_micros, decided_epoch, decided_shard, decided_seq)
            VALUES (?, ?, ?, ?, ?, ?, 'settled', 1, 1, ?, ?, ?, 1, '0', ?)
            """,
            rows,
        )
        connection.execute("UPDATE journal SET last_ordinal = ?", (count,))
    return count * (count + 1) // 2


def intent(wanted: journal_changes.Draft, ordinal: int) -> Intent:
    """Make an intent without the price of a signature."""
    return Intent(
        intent_id=wanted.intent_id,
        fingerprint=wanted.fingerprint,
        account_id=wanted.account_id,
        amount_cents=wanted.amount_cents,
        currency="USD",
        method_id="M",
        idempotency_key=wanted.idempotency_key,
        accepted_at=wanted.accepted_at,
        edge_id="east",
        incarnation="00",
        ordinal=ordinal,
        signature=KEY,
    )


def size_of(path: Path) -> int:
    """Tell how long the file is."""
    return path.stat().st_size


def prune_until_killed(path: Path) -> int:
    """Have another process record and prune, and kill it in the midst; returns what it had acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(ROOT)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = 0
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged >= 80:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return acknowledged


async def test_kill_9_while_pruning_loses_nothing(path: Path) -> None:
    """What is whole and what is in sums are together all that was recorded; nothing is in both."""
    acknowledged = prune_until_killed(path)
    journal = opened(path)
    page = journal.reader.page("own", after=0)
    assert page.pruned is not None
    in_sums = sum(sums.count for sums in page.pruned.sums)
    assert in_sums > 20
    assert page.holes == []
    assert page.last_ordinal >= acknowledged
    assert in_sums == sum(last - first + 1 for first, last in page.pruned.ordinals)
    assert len(page.items) + in_sums == page.last_ordinal
    assert sum(sums.cents for sums in page.pruned.sums) == 1000 * in_sums
    again = await record(journal, draft("key-0"))
    assert isinstance(again, journal_changes.Finished)
    journal.close()


async def test_an_older_releases_journal_learns_to_prune(path: Path) -> None:
    """Nothing is lost in it, its incarnation stays, and from then on the file gives back what is free."""
    path.parent.mkdir()
    connection = connect(path, synchronous="NORMAL")
    connection.execute("PRAGMA auto_vacuum = NONE").fetchall()
    connection.execute("VACUUM")
    prepare(connection, node_id="east", new_incarnation="0a")
    fill(connection, 300)
    for table in OLDER:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP INDEX intents_void")
    connection.execute("PRAGMA auto_vacuum = NONE").fetchall()
    connection.execute("VACUUM")
    connection.close()
    reader = JournalReader(path)
    assert len(reader.page("own", after=0).items) == 300
    reader.close()
    journal = opened(path)
    assert journal.incarnation == "0a"
    assert await prune_all(journal, "own", ORDER) == 300
    journal.close()
    connection = connect(path, synchronous="NORMAL")
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()


def test_an_order_looks_at_a_bounded_number_of_rows(tmp_path: Path) -> None:
    """What is not to be dropped is passed over by index, so that no payment waits for a look through all."""
    connection = connect(tmp_path / "journal.db", synchronous="NORMAL")
    prepare(connection, node_id="east", new_incarnation="00")
    for source, statement in journal_pruning._SETTLED.items():
        plan = " ".join(
            str(row[3])
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (1, 9, 0, 0, 5))
        )
        table = "intents" if source == "own" else "copies"
        assert f"{table}_decided" in plan
        assert f"SCAN {table}" not in plan
    connection.close()
