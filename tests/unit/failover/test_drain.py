"""Delivering what waits: order, pace, poison, takeover, release."""

import asyncio
from pathlib import Path

import pytest

from failover.journal_schema import JournalEntry
from failover.standin import Limits
from tests.unit.failover.world import World, live


async def queued(world: World, number: int, *, name: str = "east") -> list[str]:
    """Have payments accepted while the core is away; returns their ids, oldest first."""
    world.core.up = False
    await asyncio.sleep(4)
    ids = []
    for index in range(number):
        wish = world.wish(f"queued-{index}", 100, account_id=f"A-{index}")
        receipt = await world[name].submission.pay(wish)
        assert receipt.state == "accepted"
        ids.append(receipt.intent_id)
        await asyncio.sleep(0.01)
    return ids


def test_everything_accepted_is_posted_once_when_the_core_is_back(tmp_path: Path) -> None:
    """Oldest first, in batches that grow, and the holders of copies are told."""

    async def story(world: World) -> None:
        ids = await queued(world, 300)
        world.core.up = True
        await asyncio.sleep(15)
        assert world.core.ledger[:20] == ids[:20]
        assert sorted(world.core.ledger) == sorted(ids)
        assert max(len(batch) for batch in world.core.batches) > 20
        for node in world.nodes.values():
            queue = node.journal.reader.queue(world.clock.now())
            assert (queue.pending, queue.copies_held) == (0, 0)

    live(tmp_path, story)


def test_nothing_is_offered_while_the_breaker_is_open(tmp_path: Path) -> None:
    """Probes alone find out; then the drain begins."""

    async def story(world: World) -> None:
        await queued(world, 3)
        world["east"].breaker.force("open")
        world["west"].breaker.force("open")
        world.core.up = True
        await asyncio.sleep(30)
        assert world.core.batches == []
        world["east"].breaker.force(None)
        await asyncio.sleep(5)
        assert len(world.core.ledger) == 3

    live(tmp_path, story)


def test_few_are_read_while_the_core_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever accepts payments has better things to do than to read the whole queue; how long it waits is told."""

    async def story(world: World) -> None:
        ids = await queued(world, 120)
        reader, drain = world["east"].journal.reader, world["east"].drain
        listed, read = reader.undecided, list[int]()

        def undecided(*, limit: int) -> list[JournalEntry]:
            found = listed(limit=limit)
            read.append(len(found))
            return found

        monkeypatch.setattr(reader, "undecided", undecided)
        await asyncio.sleep(10)
        assert len(read) > 10
        assert max(read) == 50
        waits = drain.oldest_unparked_seconds()
        assert waits is not None
        assert waits >= 10
        world.core.up = True
        await asyncio.sleep(15)
        assert sorted(world.core.ledger) == sorted(ids)
        assert max(read) > 50

    live(tmp_path, story)


def test_a_refused_batch_is_halved_until_the_poison_parks_alone(tmp_path: Path) -> None:
    """Everything else is posted at once; the one stays pending, is counted, and is tried again later."""

    async def story(world: World) -> None:
        ids = await queued(world, 10)
        world.core.refuses = {ids[3]}
        world.core.up = True
        await asyncio.sleep(15)
        assert sorted(world.core.ledger) == sorted(set(ids) - {ids[3]})
        drain = world["east"].drain
        assert drain.parked == 1
        assert drain.oldest_unparked_seconds() is None
        assert world["east"].journal.reader.queue(world.clock.now()).pending == 1
        world.core.refuses = set()
        await asyncio.sleep(30)
        assert sorted(world.core.ledger) == sorted(ids)
        assert drain.parked == 0

    live(tmp_path, story)


def test_a_batch_that_breaks_the_core_does_not_block_the_others(tmp_path: Path) -> None:
    """The core answers 500 whenever it sees one of them, the oldest: the others get through all the same."""

    async def story(world: World) -> None:
        ids = await queued(world, 10)
        world.core.fails_on = {ids[0]}
        world.core.up = True
        await asyncio.sleep(60)
        assert sorted(world.core.ledger) == sorted(ids[1:])
        world.core.fails_on = set()
        await asyncio.sleep(120)
        assert sorted(world.core.ledger) == sorted(ids)

    live(tmp_path, story)


def test_what_a_partial_answer_leaves_out_stays_pending(tmp_path: Path) -> None:
    """An intent without an outcome was not decided; the others of its batch are settled."""

    async def story(world: World) -> None:
        ids = await queued(world, 5)
        world.core.skips = {ids[0]}
        world.core.up = True
        for _ in range(100):
            await asyncio.sleep(0.1)
            if world["east"].drain.parked:
                break
        assert world["east"].drain.parked == 1
        assert sorted(world.core.ledger) == sorted(ids[1:])
        world.core.skips = set()
        await asyncio.sleep(30)
        assert len(world.core.ledger) == 5

    live(tmp_path, story)


def test_the_core_grants_the_pace(tmp_path: Path) -> None:
    """With two credits a step no step takes more; asked to wait, it waits."""

    async def story(world: World) -> None:
        await queued(world, 60)
        world.core.credits = 2
        world.core.up = True
        await asyncio.sleep(20)
        sizes = [len(batch) for batch in world.core.batches]
        assert set(sizes[1:]) == {2}
        assert len(world.core.ledger) == 60

    live(tmp_path, story)


def test_what_an_operator_holds_is_no_failure(tmp_path: Path) -> None:
    """However often the core says "held", nothing parks and the breaker stays closed; then everything is posted."""

    async def story(world: World) -> None:
        ids = await queued(world, 5)
        world.core.up, world.core.held = True, True
        await asyncio.sleep(60)
        assert world.core.ledger == []
        east = world["east"]
        assert (east.drain.parked, east.breaker.state) == (0, "closed")
        world.core.held = False
        await asyncio.sleep(5)
        assert sorted(world.core.ledger) == sorted(ids)

    live(tmp_path, story)


def test_poison_at_the_front_does_not_hold_up_a_drain_that_is_paced(tmp_path: Path) -> None:
    """The core looks at three at a time and fails on the three oldest: they are set aside, and what was held is not."""

    async def story(world: World) -> None:
        ids = await queued(world, 30)
        world.core.skips = set(ids[:3])
        world.core.looks_at = 3
        world.core.up = True
        await asyncio.sleep(60)
        assert sorted(world.core.ledger) == sorted(ids[3:])
        assert world["east"].drain.parked == 3
        world.core.skips = set()
        await asyncio.sleep(300)
        assert sorted(world.core.ledger) == sorted(ids)

    live(tmp_path, story)


def test_a_short_pause_is_kept_as_it_is_asked_for(tmp_path: Path) -> None:
    """A core that asks for a tenth of a second is asked again after that, and not after the idle interval."""

    async def story(world: World) -> None:
        await queued(world, 40)
        world.core.credits, world.core.pause = 2, 0.1
        world.core.up = True
        await asyncio.sleep(1)
        while not world.core.batches:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.1)
        begun = len(world.core.ledger)
        await asyncio.sleep(2)
        assert 20 <= len(world.core.ledger) - begun <= 40

    live(tmp_path, story)


def test_an_overloaded_core_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    """Retry-After counts, and failures cut the pace."""

    async def story(world: World) -> None:
        await queued(world, 5)
        world.core.overloaded_for = 5.0
        world.core.up = True
        await asyncio.sleep(14)
        calls = len(world.core.batches)
        assert 1 <= calls <= 3
        world.core.overloaded_for = None
        await asyncio.sleep(15)
        assert len(world.core.ledger) == 5

    live(tmp_path, story)


def test_a_silent_writers_copies_are_taken_over(tmp_path: Path) -> None:
    """The writer is dead: after five seconds its witness delivers; back again, the writer learns the outcome."""

    async def story(world: World) -> None:
        ids = await queued(world, 3)
        east = world["east"]
        await east.crash()
        world.core.up = True
        await asyncio.sleep(20)
        assert sorted(world.core.ledger) == sorted(ids)
        east.start()
        await asyncio.sleep(8)
        receipts = [east.journal.reader.receipt(f"A-{index}", id_) for index, id_ in enumerate(ids)]
        assert {receipt.state for receipt in receipts if receipt} == {"posted"}
        assert len(world.core.ledger) == 3

    live(tmp_path, story)


def test_a_writer_that_lost_its_disk_is_taken_over_though_it_answers(tmp_path: Path) -> None:
    """Another incarnation knows nothing of the lost one's intents; the copies finish them."""

    async def story(world: World) -> None:
        ids = await queued(world, 3)
        east = world["east"]
        incarnation = east.journal.incarnation
        await east.crash(lose_disk=True)
        east.start()
        assert east.journal.incarnation != incarnation
        world.core.up = True
        await asyncio.sleep(20)
        assert sorted(world.core.ledger) == sorted(ids)

    live(tmp_path, story)


def test_a_live_writers_copies_are_left_to_it(tmp_path: Path) -> None:
    """While the writer answers and delivers itself, its witness offers nothing."""

    async def story(world: World) -> None:
        await queued(world, 5)
        world.core.up = True
        await asyncio.sleep(15)
        offered = [id_ for batch in world.core.batches for id_ in batch]
        assert len(offered) == len(set(offered)) == 5

    live(tmp_path, story)


def test_an_edge_cut_off_alone_is_helped_by_its_sibling(tmp_path: Path) -> None:
    """It answers its siblings but cannot reach the core: they deliver after a while and tell it the outcome."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "cut"
        await asyncio.sleep(4)
        receipt = await east.submission.pay(world.wish("k1"))
        assert receipt.state == "accepted"
        await asyncio.sleep(40)
        assert world.core.ledger == [receipt.intent_id]
        known = await east.submission.ask("A-1", receipt.intent_id)
        assert known is not None
        assert known.state == "posted"
        assert east.journal.reader.queue(world.clock.now()).pending == 0

    live(tmp_path, story)


def test_a_holder_that_was_away_is_told_later(tmp_path: Path) -> None:
    """What a holder has not heard is owed to it, also across a restart of the writer."""

    async def story(world: World) -> None:
        await queued(world, 2)
        east, west = world["east"], world["west"]
        await west.crash()
        world.core.up = True
        await asyncio.sleep(12)
        assert len(world.core.ledger) == 2
        await east.crash()
        east.start()
        west.start()
        await asyncio.sleep(6)
        assert west.journal.reader.queue(None).copies_held == 0
        assert east.journal.reader.releases("west", limit=10) == []

    live(tmp_path, story)


def test_an_attempt_that_expired_here_does_not_reject_what_a_sibling_accepted(
    tmp_path: Path,
) -> None:
    """
    Over this edge's limit a payment was the core's alone to take, and in time; the sibling accepted it later.

    This edge holds the sibling's copy and is the first to reach the core: what was promised is posted.
    """

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        east.submission._limits = lambda: Limits(per_payment_cents=500)
        east.core_wire.state = west.core_wire.state = "cut"
        first = await east.submission.pay(world.wish("k1"))
        assert first.state == "checking"
        await asyncio.sleep(35)
        again = await west.submission.pay(world.wish("k1"))
        assert again.state == "accepted"
        east.core_wire.state = "up"
        await asyncio.sleep(20)
        assert world.core.ledger == [first.intent_id]
        for node in (east, west):
            known = node.journal.reader.receipt("A-1", first.intent_id)
            assert known is not None
            assert known.state == "posted"

    live(tmp_path, story)
