"""A page that takes long to read ends early, on both engines: nobody's read transaction stays open for long."""

from datetime import datetime
from typing import Any

from cache_sync.document_table import READ_SECONDS_MAX
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.frames import Frame
from core_cis.database_choice import find_database
from tests.integration.core_cis.conftest import START, SetClock

STEP_SECONDS = 3.0


class SlowDisk(SetClock):
    """A clock on which every look costs some seconds, as every row does on a disk that is about to fail."""

    def boot_seconds(self) -> float:
        """Tell the time, a step later each time."""
        self.boot += STEP_SECONDS
        return self.boot


async def closed() -> datetime:
    """Close core time."""
    return START


async def pages(core: Any, clock: SetClock) -> list[Frame]:
    """Read the feed from its beginning to its head."""
    feed = FeedSource(
        find_database(core.data_dir).documents(),
        "0",
        time_source=CoreTimeSource(closed, core.clock),
        clock=clock,
    )
    found: list[Frame] = []
    after = epoch = 0
    try:
        while not found or not found[-1].barrier:
            found.append(await feed.page(after=after, epoch=epoch, limit=1000))
            assert found[-1].rows, "a page has a row as long as there is one"
            after, epoch = found[-1].upto, found[-1].epoch
    finally:
        await feed.close()
    return found


async def test_a_slow_page_ends_early_and_nothing_is_left_out(core: Any) -> None:
    """After ten seconds; the rest comes with the next pages, and only the last is a barrier."""
    (fast,) = await pages(core, core.clock)
    slow = await pages(core, SlowDisk(START))
    assert len(slow) > 1
    assert [frame.barrier for frame in slow] == [False] * (len(slow) - 1) + [True]
    assert max(frame.count for frame in slow) <= READ_SECONDS_MAX / STEP_SECONDS + 1
    assert [row for frame in slow for row in frame.rows] == fast.rows
