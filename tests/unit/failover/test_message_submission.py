"""Messages on the road of payments: recorded, copied, drained; what they said can be emptied, and nothing breaks."""

import asyncio
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from failover.errors import KeyReused, OverLimit
from failover.message_bodies import MeterReading
from failover.offering import SubmissionSettings
from failover.standin import Limits
from failover.wishes import MessageWish
from tests.unit.failover.world import World, live


def wish(world: World, key: str, register_wh: int = 1_000, account_id: str = "A-1") -> MessageWish:
    """Make a customer's reading."""
    body = MeterReading(
        salt="salt",
        service_point_id="SP-1",
        meter_id="M-1",
        read_on=date(2026, 11, 17),
        register_wh=register_wh,
    )
    return MessageWish(
        account_id=account_id,
        idempotency_key=key,
        body=body,
        core_time=world.clock.now(),
        snapshot_age_seconds=None,
    )


def test_posted_at_once_and_repeated_once(tmp_path: Path) -> None:
    """With the core up; the same key brings the same receipt, other words under it are refused."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        first = await east.submission.send(wish(world, "k"))
        assert (first.state, first.type) == ("posted", "reading")
        assert (await west.submission.send(wish(world, "k"))).state == "posted"
        with pytest.raises(KeyReused):
            await east.submission.send(wish(world, "k", 2_000))

    live(tmp_path, story)


def test_accepted_without_the_core_and_drained_by_the_witness(tmp_path: Path) -> None:
    """Whatever the snapshot is worth, a message is no money; with the recorder lost it is decided all the same."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        east.core_wire.state = west.core_wire.state = "cut"
        await asyncio.sleep(5)
        sent = await east.submission.send(wish(world, "k"))
        assert (sent.state, sent.durable) == ("accepted", True)
        assert not isinstance(sent.body, msgspec.UnsetType)
        await east.crash(lose_disk=True)
        west.core_wire.state = "up"
        await asyncio.sleep(30)
        known = west.journal.reader.receipt("A-1", sent.intent_id)
        assert known is not None
        assert (known.state, known.body) == ("posted", sent.body)

    live(tmp_path, story)


def test_messages_and_payments_are_limited_apart(tmp_path: Path) -> None:
    """Who has sent all the messages of a day can still pay."""

    async def story(world: World) -> None:
        east = world["east"]
        east.submission._limits = lambda: Limits(account_day_count=2)
        east.core_wire.state = "cut"
        await asyncio.sleep(5)
        for key in ("a", "b"):
            assert (await east.submission.send(wish(world, key))).state == "accepted"
        with pytest.raises(OverLimit, match="account_day_count"):
            await east.submission.send(wish(world, "c"))
        assert (await east.submission.send(wish(world, "d", account_id="A-2"))).state == "accepted"
        assert (await east.submission.pay(world.wish("p"))).state == "accepted"

    live(tmp_path, story)


def test_old_bodies_are_emptied_and_the_rest_stays(tmp_path: Path) -> None:
    """Own record and copy; an undecided one keeps its words; a copy that comes again is the same."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        done = await east.submission.send(wish(world, "done"))
        entry = east.journal.reader.find(done.intent_id)
        assert entry is not None
        await asyncio.sleep(2)
        east.core_wire.state = west.core_wire.state = "cut"
        await asyncio.sleep(5)
        waiting = await east.submission.send(wish(world, "waiting"))
        for node in (east, west):
            node.submission._settings = SubmissionSettings(bodies_days=-1)
            node.submission._empty_at = 0
        await asyncio.sleep(2)
        for node in (east, west):
            known = node.journal.reader.receipt("A-1", done.intent_id)
            assert known is not None
            assert (known.state, known.body) == ("posted", msgspec.UNSET)
            undecided = node.journal.reader.receipt("A-1", waiting.intent_id)
            assert undecided is not None
            assert undecided.body == waiting.body
        assert (await east.submission.send(wish(world, "done"))).state == "posted"
        assert await west.journal.store_copies([entry.intent]) == ([done.intent_id], [])
        later = world.clock.now() + timedelta(days=1)
        assert await east.journal.empty_bodies(decided_before=later, limit=10) == 0

    live(tmp_path, story)
