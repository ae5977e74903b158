"""Bringing back to a restored core what it has forgotten."""

import asyncio
from pathlib import Path

from failover.breaker import BreakerSettings
from tests.unit.failover.world import World, live

BOTH = {"east", "west"}


def outcomes_of(world: World, name: str) -> dict[str, tuple[str, int]]:
    """Return state and epoch of everything that a node holds with an outcome, own or copied."""
    reader = world[name].journal.reader
    items = [item for source in ("own", "copies") for item in reader.page(source, after=0).items]
    return {
        item.intent.intent_id: (item.outcome.state, item.outcome.epoch)
        for item in items
        if item.outcome is not None
    }


def test_what_was_posted_past_the_backup_comes_back_once(tmp_path: Path) -> None:
    """Writer and witness both bring it; the core has it once, and both then hold the outcome of the new epoch."""

    async def story(world: World) -> None:
        before = await world["east"].submission.pay(world.wish("k1"))
        backup = world.core.back_up()
        past = [
            await world[name].submission.pay(world.wish(f"past-{name}", account_id=f"A-{name}"))
            for name in ("east", "west")
        ]
        await asyncio.sleep(2)
        world.core.restore(backup, BOTH)
        assert world.core.ledger == [before.intent_id]
        await asyncio.sleep(5)
        ids = {before.intent_id, *(receipt.intent_id for receipt in past)}
        assert sorted(world.core.ledger) == sorted(ids)
        assert sorted(world.core.taken_back) == sorted(receipt.intent_id for receipt in past)
        assert world.core.awaited == set()
        for name in BOTH:
            assert set(outcomes_of(world, name)) == ids
            assert set(outcomes_of(world, name).values()) == {("posted", 2)}

    live(tmp_path, story)


def test_nothing_undecided_goes_in_before_every_edge_is_through(tmp_path: Path) -> None:
    """One edge cannot reach the core: the other's payments are accepted, and posted when it can."""

    async def story(world: World) -> None:
        backup = world.core.back_up()
        rejected = await world["west"].submission.pay(world.wish("k1"))
        await asyncio.sleep(2)
        world["west"].core_wire.state = "cut"
        world.core.restore(backup, BOTH)
        await asyncio.sleep(8)
        assert world.core.awaited == {"west"}
        waiting = await world["east"].submission.pay(world.wish("k2", account_id="A-2"))
        assert waiting.state == "accepted"
        await asyncio.sleep(30)
        assert world.core.ledger == [rejected.intent_id]
        world["west"].core_wire.state = "up"
        await asyncio.sleep(30)
        assert world.core.ledger == [rejected.intent_id, waiting.intent_id]
        again = await world["east"].submission.pay(world.wish("k3", account_id="A-3"))
        assert again.state == "posted"

    live(tmp_path, story)


def test_what_was_final_wins_over_what_was_still_undecided(tmp_path: Path) -> None:
    """
    East's payment was posted; west, cut off, accepted another one under the same key, with north as its witness.

    After the restore west reaches the core long before east: the core waits, and posts what it had posted.
    """

    async def story(world: World) -> None:
        east, west, north = world["east"], world["west"], world["north"]
        backup = world.core.back_up()
        for one, other in (("east", "west"), ("east", "north")):
            world[one].peer_wires[other].state = world[other].peer_wires[one].state = "cut"
        west.core_wire.state = north.core_wire.state = "cut"
        await asyncio.sleep(6)
        won = await east.submission.pay(world.wish("k1", 1000))
        assert won.state == "posted"
        lost = await west.submission.pay(world.wish("k1", 2000))
        assert (lost.state, lost.intent_id) == ("accepted", won.intent_id)
        world.core.restore(backup, {"east", "west", "north"})
        east.core_wire.state = "cut"
        west.core_wire.state = north.core_wire.state = "up"
        await asyncio.sleep(20)
        assert world.core.ledger == []
        east.core_wire.state = "up"
        await asyncio.sleep(30)
        assert world.core.ledger == [won.intent_id]
        assert outcomes_of(world, "east")[won.intent_id] == ("posted", 2)
        assert outcomes_of(world, "west")[won.intent_id] == ("rejected", 2)

    live(tmp_path, story, names=("east", "north", "west"))


def test_an_edge_that_was_down_brings_its_part_after_its_restart(tmp_path: Path) -> None:
    """The operator proceeds without it; what it alone kept goes in when it comes, before its own undecided ones."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        backup = world.core.back_up()
        east.peer_wires["west"].state = "refused"
        alone = await east.submission.pay(world.wish("k1"))
        await asyncio.sleep(2)
        await east.crash()
        world.core.restore(backup, BOTH)
        await asyncio.sleep(3)
        assert world.core.awaited == {"east"}
        world.core.awaited.clear()
        await asyncio.sleep(1)
        posted = await west.submission.pay(world.wish("k2", account_id="A-2"))
        assert posted.state == "posted"
        east.start()
        await asyncio.sleep(5)
        assert world.core.ledger == [posted.intent_id, alone.intent_id]
        assert outcomes_of(world, "east")[alone.intent_id] == ("posted", 2)

    live(tmp_path, story)


def test_a_core_that_dies_in_between_is_told_again(tmp_path: Path) -> None:
    """Every page may be sent twice; nothing is posted twice."""

    async def story(world: World) -> None:
        backup = world.core.back_up()
        ids = [
            (
                await world["east"].submission.pay(world.wish(f"k{n}", 100, account_id=f"A-{n}"))
            ).intent_id
            for n in range(250)
        ]
        await asyncio.sleep(3)
        world.core.restore(backup, BOTH)
        for _ in range(40):
            world.core.up = not world.core.up
            await asyncio.sleep(world.rng.uniform(0.1, 0.6))
        world.core.up = True
        await asyncio.sleep(30)
        assert sorted(world.core.ledger) == sorted(ids)
        assert world.core.awaited == set()

    live(tmp_path, story)


def test_a_core_that_takes_long_to_take_back_is_no_trouble(tmp_path: Path) -> None:
    """Bringing back yields to customers: however slow a call is, the breaker that they share counts none as slow."""

    async def story(world: World) -> None:
        east = world["east"]
        backup = world.core.back_up()
        await east.submission.pay(world.wish("k"))
        await asyncio.sleep(2)
        world.core.takes_back_seconds = 2 * BreakerSettings().slow_seconds
        world.core.restore(backup, BOTH)
        rates = []
        for _ in range(200):
            await asyncio.sleep(0.1)
            rates.append(east.breaker.snapshot().slow_rate)
        assert world.core.taken_back
        assert world.core.awaited == set()
        assert max(rates) == 0.0

    live(tmp_path, story)
