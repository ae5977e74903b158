"""How far stand-in limits hold over several edges, and what a limit that is lowered leaves alone."""

import asyncio
from pathlib import Path

import pytest

from failover.errors import NotTaken, OverLimit
from failover.standin import Limits
from failover.witness import rank_witnesses
from tests.unit.failover.world import Node, World, live

THREE = ("east", "north", "west")


async def away(world: World) -> None:
    """Take the core away, and wait until everybody knows."""
    world.core.up = False
    await asyncio.sleep(6)


async def fill(world: World, node: Node, name: str) -> int:
    """Pay 10.00 again and again at an edge until it refuses; tells how much it took."""
    taken, which = 0, ""
    while not which:
        try:
            receipt = await node.submission.pay(world.wish(f"{name}-{taken}"))
        except OverLimit as refused:
            which = refused.which
        else:
            assert receipt.state == "accepted"
            taken += receipt.amount_cents
            await asyncio.sleep(0.1)
    assert which == "account_day_sum"
    return taken


def test_with_two_edges_an_account_s_limit_is_one_for_both(tmp_path: Path) -> None:
    """What one accepts the other holds, so neither lets a customer start again."""

    async def story(world: World) -> None:
        world.limits = Limits(account_day_cents=5000)
        await away(world)
        assert await fill(world, world["east"], "e") == 5000
        assert await fill(world, world["west"], "w") == 0

    live(tmp_path, story)


def test_an_edge_that_reaches_nobody_takes_nothing(tmp_path: Path) -> None:
    """Cut off from its sibling and the core, it cannot give the account its limit a second time."""

    async def story(world: World) -> None:
        world.limits = Limits(account_day_cents=5000)
        await away(world)
        assert await fill(world, world["east"], "e") == 5000
        for name, other in (("east", "west"), ("west", "east")):
            world[name].peer_wires[other].state = "refused"
        await asyncio.sleep(6)
        with pytest.raises(NotTaken):
            await world["west"].submission.pay(world.wish("w"))

    live(tmp_path, story)


def test_with_more_edges_the_account_s_first_witness_counts_all_of_them(tmp_path: Path) -> None:
    """The others count their own: in all no more than the limit at each edge but that one, and its own share each."""

    async def story(world: World) -> None:
        world.limits = Limits(account_day_cents=5000)
        await away(world)
        first, *others = rank_witnesses("A-1", THREE)
        taken = [await fill(world, world[name], name) for name in reversed(others)]
        assert sum(taken) <= 5000 * (len(THREE) - 1)
        assert await fill(world, world[first], "f") == 0

    live(tmp_path, story, names=THREE)


def test_a_share_that_shrinks_breaks_nothing_that_was_accepted(tmp_path: Path) -> None:
    """It stops new ones only; what was accepted is posted, and its sum is free again."""

    async def story(world: World) -> None:
        east = world["east"]
        await away(world)
        accepted = await east.submission.pay(world.wish("k1", 30_000))
        world.limits = Limits(edge_outstanding_cents=10_000)
        with pytest.raises(OverLimit) as refused:
            await east.submission.pay(world.wish("k2", 1, account_id="A-2"))
        assert refused.value.which == "edge_outstanding"
        again = await east.submission.pay(world.wish("k1", 30_000))
        assert (again.intent_id, again.state) == (accepted.intent_id, "accepted")
        assert east.journal.reader.outstanding_cents() == 30_000
        world.core.up = True
        await asyncio.sleep(60)
        assert world.core.ledger == [accepted.intent_id]
        assert east.journal.reader.outstanding_cents() == 0
        await away(world)
        later = await east.submission.pay(world.wish("k3", 10_000, account_id="A-2"))
        assert later.state == "accepted"

    live(tmp_path, story)


def test_an_outage_that_lasts_too_long_ends_what_is_taken_without_the_core(tmp_path: Path) -> None:
    """Messages go on, and so does what was accepted before."""

    async def story(world: World) -> None:
        east = world["east"]
        await away(world)
        before = await east.submission.pay(world.wish("k1"))
        world.outage_seconds = 72 * 3600 + 1.0
        with pytest.raises(OverLimit) as refused:
            await east.submission.pay(world.wish("k2"))
        assert refused.value.which == "outage_length"
        assert (await east.submission.pay(world.wish("k1"))).state == before.state == "accepted"

    live(tmp_path, story)
