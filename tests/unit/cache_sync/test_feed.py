"""The feed's source: T before the page, shared closings, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cache_sync.errors import BelowFloor, EpochChanged, FeedUnavailable, Forked, UnknownShard
from cache_sync.feed import ClosedTime, CoreTimeSource, FeedSource
from cache_sync.frame_guards import check_frame
from cache_sync.frames import Frame
from cache_sync.offload import in_thread
from tests.unit.cache_sync.feed_world import NOON, Core, FakeClock


class SlowCloser:
    """Closes core time when the test lets it, and counts how often."""

    def __init__(self) -> None:
        self.closings = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.fail = False

    async def __call__(self) -> datetime:
        """Wait for the gate, then close or fail."""
        self.closings += 1
        self.begun.set()
        await self.gate.wait()
        if self.fail:
            raise FeedUnavailable("the writer is gone")
        return NOON


@pytest.fixture
async def closer() -> SlowCloser:
    """Return a closer whose gate is shut."""
    return SlowCloser()


@pytest.fixture
def source(core: Core, closer: SlowCloser) -> CoreTimeSource:
    """Return where T comes from."""
    return CoreTimeSource(closer, core.clock)


@pytest.fixture
async def threaded(core: Core, source: CoreTimeSource) -> AsyncIterator[FeedSource]:
    """Return a source that reads pages in a thread, as the core does."""
    made = FeedSource(core.path, "0", time_source=source, clock=core.clock, offload=in_thread)
    yield made
    await made.close()


async def test_page_brings_what_follows_and_says_whether_it_is_a_barrier(core: Core) -> None:
    """A page up to the limit is none, the one that reaches the head is."""
    core.fill(3)
    first = await core.feed.page(after=0, epoch=0, limit=2)
    last = await core.feed.page(after=2, epoch=1, limit=2)
    for frame in (first, last):
        check_frame(frame)
    assert (first.barrier, first.upto, first.count, first.head) == (False, 2, 2, 3)
    assert (last.barrier, last.upto, last.count, last.epoch) == (True, 3, 1, 1)


async def test_everything_committed_before_t_is_in_the_page(core: Core) -> None:
    """T is above the stamps of all that the page shows, and later commits are above T."""
    core.fill(2)
    frame = await core.feed.page(after=0, epoch=1)
    assert core.history[1, 2].stamp < frame.as_of
    core.clock.wall_ahead_seconds = -3600
    core.fill(1, b"later")
    assert core.history[1, 3].stamp > frame.as_of


async def test_t_is_closed_before_the_page_is_read(
    core: Core, threaded: FeedSource, closer: SlowCloser
) -> None:
    """What is committed while T is being closed is already in the page."""
    core.fill(1)
    asking = asyncio.create_task(threaded.page(after=0, epoch=1))
    await closer.begun.wait()
    core.fill(2, b"x")
    closer.gate.set()
    assert (await asking).head == core.head == 3


async def test_who_asks_because_of_a_commit_takes_its_stamp(
    core: Core, threaded: FeedSource, closer: SlowCloser, source: CoreTimeSource
) -> None:
    """It is as good a T as any while it is young, and an older one never takes its place."""
    core.fill(2)
    (older, newer), now = [core.history[1, seq].stamp for seq in (1, 2)], core.clock.boot_seconds()
    source.note(ClosedTime(newer, now))
    source.note(ClosedTime(older, now))
    frame = await threaded.page(after=0, epoch=1)
    assert (frame.as_of, frame.count, closer.closings) == (newer, 2, 0)
    core.clock.advance(1.0)
    closer.gate.set()
    await threaded.page(after=0, epoch=1)
    assert closer.closings == 1


async def test_readers_that_wait_together_share_one_closing(
    core: Core, threaded: FeedSource, closer: SlowCloser
) -> None:
    """Twenty questions at once cost the core one write, and each frame says how old its T is."""
    asking = [asyncio.create_task(threaded.page(after=0, epoch=1)) for _ in range(20)]
    await closer.begun.wait()
    core.clock.advance(1.5)
    closer.gate.set()
    frames = await asyncio.gather(*asking)
    assert closer.closings == 1
    assert all(frame.age_seconds >= 1.5 for frame in frames)


async def test_a_reader_that_hangs_up_takes_nothing_from_the_others(
    core: Core, threaded: FeedSource, closer: SlowCloser
) -> None:
    """Neither the shared closing nor the page connection."""
    core.fill(1)
    gone = asyncio.create_task(threaded.page(after=0, epoch=1))
    stays = asyncio.create_task(threaded.page(after=0, epoch=1))
    await closer.begun.wait()
    gone.cancel()
    closer.gate.set()
    assert (await stays).count == 1
    for _ in range(20):
        hasty = asyncio.create_task(threaded.page(after=0, epoch=1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        hasty.cancel()
        assert (await threaded.page(after=0, epoch=1)).count == 1


async def test_without_core_time_there_is_no_page(threaded: FeedSource, closer: SlowCloser) -> None:
    """A frame without a true T would be a false label."""
    closer.gate.set()
    closer.fail = True
    with pytest.raises(FeedUnavailable):
        await threaded.page(after=0, epoch=1)
    closer.fail = False
    assert (await threaded.page(after=0, epoch=1)).as_of == NOON


async def test_a_fresh_closing_begins_after_the_question(clock: FakeClock) -> None:
    """A probe proves that the core can write now, not that it could a moment ago."""
    closer = SlowCloser()
    source = CoreTimeSource(closer, clock, shared_seconds=60)
    closer.gate.set()
    await source.closed()
    await source.closed()
    assert closer.closings == 1
    closer.gate.clear()
    closer.begun.clear()
    first = asyncio.create_task(source.closed(fresh=True))
    await closer.begun.wait()
    second = asyncio.create_task(source.closed(fresh=True))
    closer.gate.set()
    await asyncio.gather(first, second)
    assert closer.closings == 3


async def test_what_cannot_follow_is_refused_by_name(core: Core) -> None:
    """Another epoch, a cursor above the head, and one below the floor."""
    core.fill(3)
    core.commit([(("account-0", "payment", "p"), None)])
    core.fill(1, b"again")
    core.forget(4)
    with pytest.raises(EpochChanged) as epoch:
        await core.feed.page(after=3, epoch=2)
    assert epoch.value.epoch == 1
    with pytest.raises(Forked) as fork:
        await core.feed.page(after=9, epoch=1)
    assert fork.value.head == core.head
    with pytest.raises(BelowFloor) as below:
        await core.feed.page(after=3, epoch=1)
    assert below.value.floor == 4
    assert (await core.feed.page(after=4, epoch=1)).count == 1
    # A build from the beginning needs no tombstone.
    assert (await core.feed.page(after=3, epoch=0)).floor == 4


async def test_source_needs_its_shard(core: Core, tmp_path: Path) -> None:
    """A core that was not prepared is told so at its start, not at the first question."""
    with pytest.raises(UnknownShard):
        FeedSource(
            core.path,
            "9",
            time_source=CoreTimeSource(core._close_time, core.clock),
            clock=core.clock,
        )


class CountedPages:
    """Reads pages as they are asked for, and counts them."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, work: Callable[[], Any]) -> Any:
        """Read one, while others get their turn."""
        self.read += 1
        await asyncio.sleep(0)
        return work()


class PatientClock(FakeClock):
    """A clock whose time stands, but for the smallest ticks: no wait of a test ends by itself."""

    def boot_seconds(self) -> float:
        """Tell the boot clock: no two instants are the same."""
        self.boot += 1e-6
        return self.boot

    async def sleep(self, seconds: float) -> None:
        """Sleep in true time."""
        await asyncio.sleep(seconds)


@pytest.fixture
async def counted(core: Core) -> AsyncIterator[tuple[FeedSource, CountedPages]]:
    """Return a source whose pages are counted."""
    core.fill(1)
    pages = CountedPages()
    clock = PatientClock()
    source = CoreTimeSource(core._close_time, clock)
    made = FeedSource(core.path, "0", time_source=source, clock=clock, offload=pages)
    yield made, pages
    await made.close()


async def ask(feed: FeedSource, after: int, *, asked: float | None = None) -> Frame:
    """Ask as a follower that waits for news."""
    return await feed.page(after=after, epoch=1, wait_seconds=0.5, asked=asked)


async def test_those_who_are_told_together_share_a_page(
    core: Core, counted: tuple[FeedSource, CountedPages]
) -> None:
    """One page answers all who had asked before it was begun, also who comes for it when it was read already."""
    feed, pages = counted
    before = feed._clock.boot_seconds()
    waiting = [asyncio.create_task(ask(feed, 1)) for _ in range(20)]
    await asyncio.sleep(0)
    core.fill(1, b'{"changed": 1}')
    feed.notify()
    frames = await asyncio.gather(*waiting)
    assert {frame.upto for frame in frames} == {2}
    assert pages.read == 1
    assert await feed.page(after=1, epoch=1, asked=before) is frames[0]
    assert pages.read == 1
    # To a question of now its T would be too young.
    assert await feed.page(after=1, epoch=1) is not frames[0]


async def test_news_is_not_answered_with_the_heartbeat_of_another(
    core: Core, counted: tuple[FeedSource, CountedPages]
) -> None:
    """One follower's wait ended with a heartbeat while another's went on: the other is told of the commit."""
    feed, _ = counted
    waiting = asyncio.create_task(ask(feed, 1))
    await asyncio.sleep(0)
    heartbeat = await feed.page(after=1, epoch=1)
    assert (heartbeat.count, heartbeat.barrier) == (0, True)
    core.fill(1, b'{"changed": 1}')
    feed.notify()
    assert (await waiting).upto == 2
