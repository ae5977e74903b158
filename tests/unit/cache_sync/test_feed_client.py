"""Asking with a deadline, and since when an answer counts."""

import asyncio

import msgspec
import pytest

from cache_sync.errors import FeedUnavailable, InvalidFrame
from cache_sync.feed_client import Asker
from cache_sync.frames import Frame
from tests.unit.cache_sync.feed_world import NOON, FakeClock, checked, make_document, make_frame

FRAME = make_frame([make_document(1)], age_seconds=0.5)


class Source:
    """Answers what it was given, or nothing."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = list(frames)

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Answer the next frame; hang without one."""
        if not self.frames:
            await asyncio.Event().wait()
        return self.frames.pop(0)


def asker_of(source: Source, clock: FakeClock, *, answer_seconds_max: float) -> Asker:
    """Make an asker of a source."""
    return Asker(
        source,
        clock=clock,
        answer_seconds_max=answer_seconds_max,
        known_versions={"payment": 1},
        heard=lambda *_: None,
    )


def make_asker(clock: FakeClock, *frames: Frame) -> Asker:
    """Make an asker of a source that gives these frames."""
    return asker_of(Source(*frames), clock, answer_seconds_max=0.01)


async def test_age_counts_from_before_the_question(clock: FakeClock) -> None:
    """The reading is from before anything was sent."""
    before = clock.boot
    frame, asked = await make_asker(clock, FRAME).ask(0, 0, 10, 0.0)
    assert frame == checked(FRAME)
    assert before <= asked <= clock.boot


async def test_an_answer_that_comes_twice_counts_from_the_first(clock: FakeClock) -> None:
    """A buffered answer to an old question does not look fresh to a new one."""
    asker = make_asker(clock, FRAME, FRAME, make_frame([], as_of=NOON.replace(hour=13)))
    _, first = await asker.ask(0, 0, 10, 0.0)
    clock.advance(100)
    _, second = await asker.ask(0, 0, 10, 0.0)
    _, third = await asker.ask(0, 0, 10, 0.0)
    assert second == pytest.approx(first)
    assert third > first + 100


async def test_an_older_answer_is_refused(clock: FakeClock) -> None:
    """It was overtaken on its way."""
    newer = make_frame([], as_of=NOON.replace(hour=13))
    asker = make_asker(clock, newer, FRAME)
    await asker.ask(0, 0, 10, 0.0)
    with pytest.raises(InvalidFrame, match="went back"):
        await asker.ask(0, 0, 10, 0.0)


async def test_a_damaged_answer_is_refused(clock: FakeClock) -> None:
    """Before anything of it is believed."""
    asker = make_asker(clock, msgspec.structs.replace(FRAME, head=7))
    with pytest.raises(InvalidFrame, match="digest"):
        await asker.ask(0, 0, 10, 0.0)


async def test_silence_is_unavailability(clock: FakeClock) -> None:
    """A source that swallows the question does not hold the follower."""
    with pytest.raises(FeedUnavailable, match="in time"):
        await make_asker(clock).ask(0, 0, 10, 0.0)


async def test_stopping_ends_the_wait(clock: FakeClock) -> None:
    """A follower that is to end does not wait for its source."""
    asker = asker_of(Source(), clock, answer_seconds_max=60)
    asking = asyncio.create_task(asker.ask(0, 0, 10, 0.0))
    await asyncio.sleep(0)
    asker.stop()
    with pytest.raises(FeedUnavailable, match="stopping"):
        await asking


async def test_cancelling_the_follower_is_not_unavailability(clock: FakeClock) -> None:
    """Cancellation goes through."""
    asker = asker_of(Source(), clock, answer_seconds_max=60)
    asking = asyncio.create_task(asker.ask(0, 0, 10, 0.0))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
