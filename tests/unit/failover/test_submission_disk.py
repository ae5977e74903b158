"""Payments while the journal's disk is full or in doubt."""

import asyncio
from pathlib import Path

import pytest

from failover.errors import (
    JournalFenced,
    KeyReused,
    NotTaken,
    OutcomeUnknown,
)
from tests.unit.failover.world import World, live


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
