"""A fleet whose core names backups: journals let go of what these cover, and nobody can tell from outside."""

import asyncio
from pathlib import Path

import pytest

from cache_sync.frames import Position
from failover.covers import Cover, sign_cover
from failover.errors import KeyReused
from failover.intents import Receipt
from failover.peer_messages import RecordedPage, Source
from failover.pruned_sums import add_digests, digest_of, write_digest
from failover.signing import generate_signing_key, verify_outcome
from tests.unit.failover.world import World, live

BOTH = {"east", "west"}


def page(world: World, name: str, source: Source = "own") -> RecordedPage:
    """Read a list of a node's journal to its end."""
    return world[name].journal.reader.page(source, after=0)


async def pay(world: World, name: str, *keys: str) -> list[Receipt]:
    """Pay at a node, each key on an account of its own."""
    return [
        await world[name].submission.pay(world.wish(key, account_id=f"A-{key}")) for key in keys
    ]


def test_writer_and_witness_let_go_of_what_is_covered(tmp_path: Path) -> None:
    """What was posted after the backup stays whole; sums, ordinals and digest tell of the rest to the cent."""

    async def story(world: World) -> None:
        await pay(world, "east", "k1", "k2", "k3")
        before = page(world, "east").items
        await asyncio.sleep(3)
        world.core.name(world.core.back_up(), "B-1")
        await pay(world, "east", "k4")
        await asyncio.sleep(10)
        own, copies = page(world, "east"), page(world, "west", "copies")
        for left, source in ((own, "own"), (copies, "copies")):
            assert [item.intent.idempotency_key for item in left.items] == ["k4"]
            assert left.pruned is not None
            (sums,) = left.pruned.sums
            assert (sums.count, sums.cents, sums.state) == (3, 3000, "posted")
            assert sums.digest == write_digest(
                add_digests(digest_of(item.intent) for item in before)
            )
            assert sums.writer == ("" if source == "own" else "east")
            assert left.pruned.mark == "B-1"
        assert own.pruned is not None
        assert own.pruned.ordinals == [(1, 3)]
        assert (own.holes, own.last_ordinal) == ([], 4)
        assert str(world["east"].pruning.following()) == "B-1.B-1"
        assert world["east"].journal.reader.size().pruned == 3

    live(tmp_path, story)


def test_the_same_form_again_is_answered_while_the_core_is_away(tmp_path: Path) -> None:
    """By the core's own word, at writer and witness; other content under the key is refused; nothing is recorded."""

    async def story(world: World) -> None:
        (first,) = await pay(world, "east", "k1")
        await asyncio.sleep(3)
        world.core.name(world.core.back_up(), "B-1")
        await asyncio.sleep(8)
        world.core.up = False
        await asyncio.sleep(3)
        for name in BOTH:
            assert page(world, name).items == []
            (again,) = await pay(world, name, "k1")
            assert (again.state, again.signature) == ("posted", first.signature)
            outcome = again.outcome()
            assert outcome is not None
            assert verify_outcome(outcome, world.core.public_key)
            assert await world[name].submission.ask("A-k1", first.intent_id) == again
            with pytest.raises(KeyReused):
                await world[name].submission.pay(world.wish("k1", 999, account_id="A-k1"))
        assert await world["east"].submission.ask("A-other", first.intent_id) is None
        assert page(world, "east").last_ordinal == 1

    live(tmp_path, story)


def test_nothing_is_let_go_that_is_not_safe(tmp_path: Path) -> None:
    """Not by a forged cover, one of another epoch, one that the core does not tell now, nor past the own snapshot."""

    async def story(world: World) -> None:
        await pay(world, "east", "k1", "k2")
        await asyncio.sleep(4)
        east, core = world["east"], world.core
        cover = Cover(mark="B-9", epoch=1, heads={"0": 99}, timezone="UTC")
        east.pruning.note(sign_cover(cover, generate_signing_key()))
        assert str(east.pruning.following()) == "."
        east.pruning.note(sign_cover(cover, core.signing_key))
        assert await east.pruning.prune(asyncio.Event()) == 0
        world.shown = [Position(1, "0", 1)]
        core.name(core.back_up(), "B-1")
        await asyncio.sleep(5)
        assert [item.intent.idempotency_key for item in page(world, "east").items] == ["k2"]
        core.cover = Cover(mark="B-2", epoch=2, heads={"0": 99}, timezone="UTC")
        await asyncio.sleep(2)
        world.shown = []
        await asyncio.sleep(5)
        assert [item.intent.idempotency_key for item in page(world, "east").items] == ["k2"]

    live(tmp_path, story)


def test_after_a_restore_the_rest_comes_back(tmp_path: Path) -> None:
    """What the backup covers it has; what was posted since its mark is brought back by those that kept it."""

    async def story(world: World) -> None:
        await pay(world, "east", "k1", "k2")
        await asyncio.sleep(3)
        backup = world.core.back_up()
        world.core.name(backup, "B-1")
        await asyncio.sleep(6)
        (past,) = await pay(world, "west", "k3")
        await asyncio.sleep(6)
        assert [item.intent.idempotency_key for item in page(world, "west").items] == ["k3"]
        world.core.restore(backup, BOTH)
        await asyncio.sleep(8)
        assert world.core.taken_back == [past.intent_id]
        assert len(world.core.ledger) == 3
        assert world.core.pruned_by == {"east": "B-1", "west": "B-1"}
        # The old cover is of another epoch: nothing more is dropped until the next backup.
        assert [item.intent.idempotency_key for item in page(world, "west").items] == ["k3"]
        world.core.name(world.core.back_up(), "B-2")
        await asyncio.sleep(6)
        assert page(world, "west").items == []

    live(tmp_path, story)


def test_a_crash_while_pruning_leaves_a_whole_journal(tmp_path: Path) -> None:
    """Whatever was dropped by then is summed up; the rest is dropped afterwards."""

    async def story(world: World) -> None:
        await pay(world, "east", *(f"k{number}" for number in range(30)))
        await asyncio.sleep(3)
        world.core.name(world.core.back_up(), "B-1")
        for _ in range(2000):
            if world["east"].journal.reader.size().pruned >= 9:
                break
            await asyncio.sleep(0.01)
        await world["east"].crash()
        world["east"].start()
        left = page(world, "east")
        assert left.pruned is not None
        assert 9 <= sum(sums.count for sums in left.pruned.sums) < 30
        assert len(left.items) + sum(sums.count for sums in left.pruned.sums) == 30
        await asyncio.sleep(10)
        left = page(world, "east")
        assert left.pruned is not None
        assert (left.items, left.pruned.ordinals) == ([], [(1, 30)])
        assert sum(sums.cents for sums in left.pruned.sums) == 30_000

    live(tmp_path, story)
