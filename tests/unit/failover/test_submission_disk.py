"""Payments while the journal's disk is full or in doubt."""

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest

from failover.errors import (
    JournalFenced,
    KeyReused,
    NotTaken,
    OutcomeUnknown,
)
from failover.group_commit import Change, Committer
from tests.unit.failover.world import World, live

T = TypeVar("T")


class StalledCommitter:
    """A committer that says that its disk has not answered for a minute."""

    def __init__(self, inner: Committer) -> None:
        self.inner = inner
        self.waiting_seconds = 60.0

    @property
    def fenced(self) -> bool:
        """Tell what the real one tells."""
        return self.inner.fenced

    async def run(self, change: Change[T], *, durable: bool = True) -> T:
        """Run it all the same: only what is told is tested."""
        return await self.inner.run(change, durable=durable)

    def close(self) -> None:
        """Close the real one."""
        self.inner.close()


def test_a_full_disk_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    """Not taken, same key; once there is room again it works."""

    async def story(world: World) -> None:
        east = world["east"]
        world.free_bytes = 0
        with pytest.raises(NotTaken):
            await east.submission.pay(world.wish("k1"))
        assert east.journal.reader.page("own", after=0).last_ordinal == 0
        world.free_bytes = 10**12
        assert (await east.submission.pay(world.wish("k1"))).state == "posted"

    live(tmp_path, story)


@pytest.mark.parametrize(("free_bytes", "taken"), [(0, False), (10**12, True)])
def test_payments_are_closed_while_the_disk_is_full(
    tmp_path: Path,
    free_bytes: int,
    taken: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What every payment would be answered is told before one is tried."""

    async def story(world: World) -> None:
        world.free_bytes = free_bytes
        assert world["east"].journal.full is not taken
        assert world["east"].submission.payments_open is taken

    live(tmp_path, story)


def test_a_full_disk_forgets_nothing_that_was_accepted(tmp_path: Path) -> None:
    """Repeated when there is no room for more, an accepted payment is accepted: "not taken" would be untrue."""

    async def story(world: World) -> None:
        east = world["east"]
        world.core.up = False
        await asyncio.sleep(4)
        first = await east.submission.pay(world.wish("k1"))
        world.free_bytes = 0
        assert (await east.submission.pay(world.wish("k1"))) == first
        assert first.state == "accepted"
        with pytest.raises(KeyReused):
            await east.submission.pay(world.wish("k1", 2000))

    live(tmp_path, story)


def test_a_commit_in_doubt_is_never_said_to_be_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit failed and may be on the disk all the same; repeated with nobody in reach it is still unknown."""

    async def story(world: World) -> None:
        east = world["east"]

        async def fail(_: object) -> None:
            raise JournalFenced(uncertain=True)

        with monkeypatch.context() as failing:
            failing.setattr(east.journal._committer, "run", fail)
            with pytest.raises(OutcomeUnknown):
                await east.submission.pay(world.wish("k1"))
        world.core.up = False
        east.peer_wires["west"].state = "cut"
        await asyncio.sleep(5)
        with pytest.raises(OutcomeUnknown):
            await east.submission.pay(world.wish("k1"))
        with pytest.raises(NotTaken):
            await east.submission.pay(world.wish("k2"))

    live(tmp_path, story)


def is_open(world: World) -> bool:
    """Ask anew each time whether payments are open at east."""
    return world["east"].submission.payments_open


def test_payments_are_closed_while_the_disk_does_not_answer(tmp_path: Path) -> None:
    """Nobody is sent into a wait; what was accepted before is still known."""

    async def story(world: World) -> None:
        east = world["east"]
        world.core.up = False
        await asyncio.sleep(4)
        first = await east.submission.pay(world.wish("k1"))
        assert is_open(world)
        waits = StalledCommitter(east.journal._committer)
        east.journal._committer = waits
        assert not is_open(world)
        with pytest.raises(NotTaken):
            await east.submission.pay(world.wish("k2"))
        assert (await east.submission.pay(world.wish("k1"))).state == first.state == "accepted"
        waits.waiting_seconds = 0.0
        assert is_open(world)

    live(tmp_path, story)
