"""The feed between real processes: commits of others, a reader beside a writer, and deaths at any moment."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from random import Random

import pytest

from cache_sync.clock import SystemClock
from cache_sync.core_time import close, create_core_clock, stamp
from cache_sync.document_table import create_documents, read_head
from cache_sync.errors import NoSnapshot
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.publication import begin_shard, create_commits, publish
from cache_sync.replica_reader import ReplicaReader
from cache_sync.sqlite import Connection, connect, write

ACCOUNTS = 20
FOLLOWING_SECONDS_MAX = 20.0

# Every commit gives all accounts the same number: a reader that ever sees two numbers saw the middle of a commit.
COMMITTER = """
    import sys, time
    from cache_sync.clock import SystemClock
    from cache_sync.core_time import stamp
    from cache_sync.publication import publish
    from cache_sync.sqlite import connect, write
    connection, clock = connect(sys.argv[1], synchronous="FULL"), SystemClock()
    first, last = int(sys.argv[2]), int(sys.argv[3])
    for number in range(first, last):
        time.sleep(0.003)
        with write(connection):
            stamp(connection, clock.now())
            for account in range({accounts}):
                publish(connection, "0", f"account-{{account}}", "payment", "p", b"%d" % number)
"""

FOLLOWER = """
    import asyncio, sys
    from pathlib import Path
    from tests.integration.test_feed_processes import follow_core
    asyncio.run(follow_core(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
"""


class DirectClient:
    """Asks a feed in the same process."""

    def __init__(self, feed: FeedSource) -> None:
        self._feed = feed

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask, and wait as asked."""
        return await self._feed.page(after=after, epoch=epoch, limit=limit, wait_seconds=wait)


def open_core(path: Path) -> Connection:
    """Open a core's database, made when it is not there."""
    connection = connect(path, synchronous="FULL")
    with write(connection):
        create_documents(connection)
        create_commits(connection)
        create_core_clock(connection)
        begin_shard(connection, "0", 1)
    return connection


def open_feed(path: Path, connection: Connection, clock: SystemClock) -> FeedSource:
    """Open a feed beside a core's writer."""

    async def close_time() -> datetime:
        with write(connection):
            return close(connection, clock.now())

    return FeedSource(path, "0", time_source=CoreTimeSource(close_time, clock), clock=clock)


async def follow_core(path: Path, snapshots: Path, seed: int) -> None:
    """Follow a core's file for ever: what the killed process does."""
    clock = SystemClock()
    connection = open_core(path)
    feed = open_feed(path, connection, clock)
    # Small pages, so that catching up takes the long way round through a copy as often as not.
    settings = FollowerSettings(page_rows=15, tail_pages_max=2, rebuild_first_seconds=0.05)
    follower = Follower(
        DirectClient(feed), snapshots, clock=clock, rng=Random(seed), settings=settings
    )
    await follower.run(asyncio.Event())


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a Python process that can import the packages and this file."""
    root = Path(__file__).resolve().parent.parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def start_committer(path: Path, first: int, last: int) -> subprocess.Popen[bytes]:
    """Start a process that commits numbers, as a billing run beside the server does."""
    return start(COMMITTER.format(accounts=ACCOUNTS), path, first, last)


def look(reader: ReplicaReader) -> tuple[int, set[bytes | None]]:
    """Return the position and the different numbers that a reader sees at one moment."""
    with reader.read() as view:
        bodies = set()
        for account in range(ACCOUNTS):
            document = view.document(f"account-{account}", "payment", "p")
            bodies.add(document.body if document is not None else None)
        return view.state().cursor, bodies


@pytest.fixture
def clock() -> SystemClock:
    """Return the real clock."""
    return SystemClock()


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Connection]:
    """Return the core's writing connection."""
    connection = open_core(tmp_path / "core.db")
    yield connection
    connection.close()


async def test_commit_of_another_process_wakes_a_waiting_reader(
    core: Connection, tmp_path: Path, clock: SystemClock
) -> None:
    """Nobody calls notify; the news is noticed in the file."""
    feed = open_feed(tmp_path / "core.db", core, clock)
    committer = start_committer(tmp_path / "core.db", 1, 2)
    frame = await feed.page(after=0, epoch=1, wait_seconds=0.5)
    for _ in range(100):
        if frame.count:
            break
        frame = await feed.page(after=0, epoch=1, wait_seconds=0.5)
    assert (frame.count, frame.barrier) == (ACCOUNTS, True)
    assert committer.wait(10) == 0
    await feed.close()


async def test_without_news_a_heartbeat_comes_after_the_wait(
    core: Connection, tmp_path: Path, clock: SystemClock
) -> None:
    """It is an empty barrier with a newer T."""
    feed = open_feed(tmp_path / "core.db", core, clock)
    first = await feed.page(after=0, epoch=1)
    begun = clock.boot_seconds()
    second = await feed.page(after=0, epoch=1, wait_seconds=0.2)
    assert clock.boot_seconds() - begun >= 0.19
    assert (second.count, second.barrier) == (0, True)
    assert second.as_of > first.as_of
    await feed.close()


async def test_own_commit_wakes_a_waiting_reader_at_once_when_notified(
    core: Connection, tmp_path: Path, clock: SystemClock
) -> None:
    """All readers that wait are answered by the same commit."""
    feed = open_feed(tmp_path / "core.db", core, clock)
    waiting = [asyncio.create_task(feed.page(after=0, epoch=1, wait_seconds=0.5)) for _ in range(5)]
    await asyncio.sleep(0.02)
    with write(core):
        stamp(core, clock.now())
        publish(core, "0", "a", "payment", "p", b"{}")
    feed.notify()
    assert [frame.count for frame in await asyncio.gather(*waiting)] == [1] * 5
    await feed.close()


async def test_reader_beside_a_writing_follower_sees_whole_commits_only(
    core: Connection, tmp_path: Path, clock: SystemClock
) -> None:
    """Another process commits, the follower applies, the reader never sees a mixture nor goes back."""
    feed = open_feed(tmp_path / "core.db", core, clock)
    follower = Follower(DirectClient(feed), tmp_path / "snapshot", clock=clock, rng=Random(1))
    stop = asyncio.Event()
    following = asyncio.create_task(follower.run(stop))
    committer = start_committer(tmp_path / "core.db", 1, 300)
    reader = ReplicaReader(tmp_path / "snapshot", clock=clock)
    seen: list[int] = []
    deadline = clock.boot_seconds() + FOLLOWING_SECONDS_MAX
    while clock.boot_seconds() < deadline:
        await asyncio.sleep(0.001)
        try:
            cursor, numbers = look(reader)
        except NoSnapshot:
            continue
        assert len(numbers) == 1
        assert cursor % ACCOUNTS == 0
        seen.append(cursor)
        if numbers == {b"299"}:
            break
    stop.set()
    await following
    reader.close()
    await feed.close()
    assert committer.wait(10) == 0
    assert seen == sorted(seen)
    assert seen[-1] == read_head(core, "0").head
    assert len(set(seen)) > 3


async def test_follower_killed_at_any_moment_leaves_an_old_or_a_new_state(
    core: Connection, tmp_path: Path, clock: SystemClock
) -> None:
    """After every kill -9 readers see a whole commit, never an older one, and in the end the newest."""
    rng = Random(4711)
    path, snapshots = tmp_path / "core.db", tmp_path / "snapshot"
    reader = ReplicaReader(snapshots, clock=clock)
    seen: list[int] = []

    def check() -> bool:
        try:
            cursor, numbers = look(reader)
        except NoSnapshot:
            assert not seen
            return False
        assert len(numbers) == 1
        assert cursor % ACCOUNTS == 0
        seen.append(cursor)
        return cursor == read_head(core, "0").head

    number = 1
    for turn in range(8):
        follower = start(FOLLOWER, path, snapshots, turn)
        await asyncio.sleep(0.5)
        committer = start_committer(path, number, number + 40)
        number += 40
        for _ in range(rng.randrange(10, 300)):
            check()
            await asyncio.sleep(0.002)
        follower.send_signal(signal.SIGKILL)
        follower.wait()
        check()
        assert committer.wait(20) == 0
    follower = start(FOLLOWER, path, snapshots, 99)
    for _ in range(int(FOLLOWING_SECONDS_MAX / 0.02)):
        if check():
            break
        await asyncio.sleep(0.02)
    follower.kill()
    follower.wait()
    reader.close()
    assert seen == sorted(seen)
    assert seen[-1] == read_head(core, "0").head
