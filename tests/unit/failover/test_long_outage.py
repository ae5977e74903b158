"""A long outage under load: journal and memory of an agent stay bounded, and who is not taken is told so plainly."""

import asyncio
import gc
import tracemalloc
from pathlib import Path

from failover.errors import NotTaken
from failover.journal import JournalBounds
from failover.standin import Limits
from tests.unit.failover.virtual import run_virtually
from tests.unit.failover.world import World

PENDING_MAX = 100
ARRIVALS = 1200
EVERY_SECONDS = 0.2
GROWN_BYTES_MAX = 500_000


async def arrive(world: World, first: int, last: int) -> list[str]:
    """Let customers pay, each of an account of its own, one after the other; return what each was told."""
    told: list[str] = []
    for number in range(first, last):
        await asyncio.sleep(EVERY_SECONDS)
        wish = world.wish(f"key-{number}", 100, account_id=f"A-{number}")
        try:
            told.append((await world["east"].submission.pay(wish)).state)
        except NotTaken as refused:
            told.append(str(refused))
    return told


def held_bytes() -> int:
    """Count what Python holds after everything is thrown away that can be."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_however_many_pay_in_an_outage_journal_and_memory_are_bounded(tmp_path: Path) -> None:
    """
    The journal takes what it may, and then refuses with the same plain answer for as long as it takes.

    Those who come later change neither its size nor the agent's memory; repeats of what was taken are answered.
    With the core back everything that was accepted is posted, and payments are taken again.
    """

    async def story() -> None:
        world = World(tmp_path)
        world.bounds = JournalBounds(pending_max=PENDING_MAX, free_bytes_min=1)
        world.limits = Limits(edge_outstanding_cents=10**9)
        with world.running():
            east = world["east"]
            world.core.up = False
            await asyncio.sleep(5)
            assert set(await arrive(world, 0, PENDING_MAX)) == {"accepted"}
            refused = await arrive(world, PENDING_MAX, 2 * PENDING_MAX)
            assert len(set(refused)) == 1
            assert "journal_full" in refused[0]
            size, before = _disk_bytes(tmp_path), held_bytes()
            assert set(await arrive(world, 2 * PENDING_MAX, ARRIVALS)) == set(refused)
            assert held_bytes() - before < GROWN_BYTES_MAX
            assert _disk_bytes(tmp_path) == size
            again = await east.submission.pay(world.wish("key-7", 100, account_id="A-7"))
            assert again.state == "accepted"
            world.core.up = True
            await asyncio.sleep(120)
            assert len(world.core.ledger) == len(set(world.core.ledger)) == PENDING_MAX
            assert east.journal.reader.queue(None).pending == 0
            assert await arrive(world, ARRIVALS, ARRIVALS + 1) == ["posted"]

    tracemalloc.start()
    try:
        run_virtually(1, story)
    finally:
        tracemalloc.stop()


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.db*"))
