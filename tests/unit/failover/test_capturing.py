"""Capturing under virtual time: the order of the steps, every answer, and a crash between every two of them."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from failover.capturing import CaptureSettings
from failover.errors import NotTaken
from failover.intents import ASKING_BANK, Capture, Receipt
from failover.processor import Declined, Unknown
from tests.unit.failover.wires import FakeProcessor
from tests.unit.failover.world import World, live

AWAY_SECONDS = 6.0


async def part(world: World) -> FakeProcessor:
    """Take the core away, until the breakers know."""
    world.core.up = False
    await asyncio.sleep(AWAY_SECONDS)
    return world.processor


async def come_back(world: World, seconds: float = 40.0) -> None:
    """Bring the core back and let everything settle."""
    world.core.up = True
    await asyncio.sleep(seconds)


def told(world: World, name: str, receipt: Receipt) -> Receipt:
    """Ask a node's journal what it would tell now."""
    known = world[name].journal.reader.receipt(receipt.account_id, receipt.intent_id)
    assert known is not None
    return known


def test_captures_with_the_core_away_and_is_posted_once(tmp_path: Path) -> None:
    """Copied, then attempted, then charged once under its id; the core gets the processor's answer, signed."""

    async def story(world: World) -> None:
        processor = await part(world)
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert (receipt.state, receipt.durable, receipt.reason) == ("accepted", True, "")
        assert processor.calls == [receipt.intent_id]
        copy = world["west"].journal.reader.find(receipt.intent_id)
        assert copy is not None
        assert copy.intent.capture == Capture(state="captured", charge_id="ch-1")
        again = await world["east"].submission.pay(world.wish("k"))
        assert again.state == "accepted"
        await come_back(world)
        assert world.core.ledger == [receipt.intent_id]
        assert processor.calls == [receipt.intent_id]
        assert told(world, "east", receipt).state == "posted"

    live(tmp_path, story, charging=True)


def test_with_the_core_there_nothing_is_captured(tmp_path: Path) -> None:
    """The core charges then: the breaker alone decides."""

    async def story(world: World) -> None:
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert receipt.state == "posted"
        assert world.processor.calls == []

    live(tmp_path, story, charging=True)


def test_a_decline_is_told_and_decided(tmp_path: Path) -> None:
    """It takes nothing off the balance, says why, and the core rejects it."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer = Declined("insufficient_funds")
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert (receipt.state, receipt.reason) == ("checking", "declined_insufficient_funds")
        assert receipt.surely_not_taken
        await come_back(world)
        assert told(world, "east", receipt).state == "rejected"
        assert world.core.ledger == []

    live(tmp_path, story, charging=True)


def test_an_answer_that_is_lost_is_asked_for(tmp_path: Path) -> None:
    """Checking, with the bank's silence as the reason; then accepted without a second call."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer, processor.findable = Unknown("reset"), False
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert (receipt.state, receipt.reason) == ("checking", ASKING_BANK)
        await asyncio.sleep(30)
        assert told(world, "east", receipt).state == "checking"
        processor.findable = True
        await asyncio.sleep(5)
        assert told(world, "east", receipt).state == "accepted"
        assert processor.calls == [receipt.intent_id]

    live(tmp_path, story, charging=True)


def test_after_a_silence_customers_promise_for_a_while(tmp_path: Path) -> None:
    """A processor that does not answer is left alone; the next payment waits for the core instead."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer = Unknown("timeout")
        await world["east"].submission.pay(world.wish("k1"))
        second = await world["east"].submission.pay(world.wish("k2"))
        assert (second.state, second.reason) == ("accepted", "")
        kept = world["east"].journal.reader.find(second.intent_id)
        assert kept is not None
        assert kept.intent.kind == "promise"
        await asyncio.sleep(31)
        processor.answer = None
        third = await world["east"].submission.pay(world.wish("k3"))
        assert processor.calls[-1] == third.intent_id

    live(tmp_path, story, charging=True)


def test_what_never_left_was_never_charged(tmp_path: Path) -> None:
    """With no way to the processor the edge signs that nothing was taken."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer = Unknown("refused", sent=False)
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert (receipt.state, receipt.reason) == ("checking", "not_captured")
        await come_back(world)
        assert told(world, "east", receipt).state == "rejected"

    live(tmp_path, story, charging=True)


def test_without_a_second_copy_nothing_is_charged(tmp_path: Path) -> None:
    """The witness does not confirm in time: the processor is not called, and the core is told so."""

    async def story(world: World) -> None:
        processor = await part(world)
        world["east"].peer_wires["west"].state = "cut"
        receipt = await world["east"].submission.pay(world.wish("k"))
        await asyncio.sleep(1)
        assert told(world, "east", receipt).reason == "not_captured"
        assert processor.calls == []

    live(tmp_path, story, charging=True)


def test_with_nobody_reached_it_is_not_taken(tmp_path: Path) -> None:
    """No witness, no core: nothing is charged and the same key may be tried again."""

    async def story(world: World) -> None:
        processor = await part(world)
        world["east"].peer_wires["west"].state = "refused"
        with pytest.raises(NotTaken):
            await world["east"].submission.pay(world.wish("k"))
        world["east"].peer_wires["west"].state = "up"
        await asyncio.sleep(2)
        receipt = await world["east"].submission.pay(world.wish("k"))
        assert receipt.state == "accepted"
        assert processor.calls == [receipt.intent_id]

    live(tmp_path, story, charging=True)


def test_past_the_horizon_an_edge_decides_nothing(tmp_path: Path) -> None:
    """What the processor does not know a day later is left for the core and a person, and never called for again."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer, processor.findable = Unknown("reset"), False
        receipt = await world["east"].submission.pay(world.wish("k"))
        await world["east"].crash()
        await asyncio.sleep(90)
        world["east"].start()
        await asyncio.sleep(30)
        assert told(world, "east", receipt).reason == ASKING_BANK
        assert processor.calls == [receipt.intent_id]

    live(tmp_path, story, charging=True, capturing=CaptureSettings(horizon=60))


def test_charged_after_the_core_decided_the_core_is_told(tmp_path: Path) -> None:
    """It was rejected elsewhere meanwhile: the charge reaches the core all the same, until it has heard of it."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer, processor.findable = Unknown("reset"), False
        receipt = await world["east"].submission.pay(world.wish("k"))
        entry = world["east"].journal.reader.find(receipt.intent_id)
        assert entry is not None
        world.core.decide(msgspec.structs.replace(entry.intent, capture=Capture(state="nothing")))
        outcome = world.core.outcomes[entry.intent.intent_id, entry.intent.fingerprint]
        await world["east"].journal.settle([outcome])
        processor.findable = True
        await asyncio.sleep(5)
        assert len(world["east"].journal.reader.owed_captures(limit=9)) == 1
        await come_back(world, 30)
        assert world["east"].journal.reader.owed_captures(limit=9) == []
        assert receipt.intent_id in world.core.heard_late

    live(tmp_path, story, charging=True)


@pytest.mark.parametrize("answer", ["captured", "lost", "declined"])
@pytest.mark.parametrize("step", range(24))
def test_a_crash_between_any_two_steps_charges_once_and_posts_what_was_charged(
    tmp_path: Path, answer: str, step: int
) -> None:
    """Killed at any moment and started again: at most one call, and posted exactly if money was taken."""

    async def story(world: World) -> None:
        processor = await part(world)
        processor.answer = {
            "captured": None,
            "lost": Unknown("reset"),
            "declined": Declined("declined"),
        }[answer]
        paying = asyncio.create_task(world["east"].submission.pay(world.wish("k")))
        await asyncio.sleep(step * 0.0007)
        await world["east"].crash()
        await asyncio.gather(paying, return_exceptions=True)
        await asyncio.sleep(1)
        world["east"].start()
        await asyncio.sleep(10)
        await come_back(world, 60)
        assert len(processor.calls) <= 1
        assert sorted(world.core.ledger) == sorted(processor.charges)

    settings = CaptureSettings(nothing_after=20)
    live(tmp_path, story, charging=True, seed=step, capturing=settings)
