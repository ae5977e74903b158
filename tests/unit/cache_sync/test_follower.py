"""The follower, step by step, against a real feed without a network."""

import asyncio
from pathlib import Path

from cache_sync.errors import FeedUnavailable
from cache_sync.follower import Follower
from cache_sync.follower_status import read_status
from cache_sync.frames import Frame
from cache_sync.replica_reader import ReplicaReader
from tests.unit.cache_sync.feed_world import (
    SETTINGS,
    Core,
    DirectClient,
    FakeClock,
    make_follower,
    read_all,
    step_until,
)


async def test_bootstrap_is_invisible_until_its_barrier(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader
) -> None:
    """Readers have no snapshot while the first is built, and then the whole state at once."""
    core.fill(5)
    client.page_rows = 2
    await follower.step()
    await follower.step()
    assert not reader.ready()
    phases = [follower.status.phase]
    await follower.step()
    phases.append(follower.status.phase)
    seen, state = read_all(reader)
    assert (seen.cursor, state) == (5, core.state)
    assert phases == ["bootstrapping", "following"]


async def test_tail_shows_pages_only_together_at_a_barrier(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """Pages before the barrier wait: rows that move between pages never show a mixture."""
    core.fill(2)
    await step_until(follower, clock, "following")
    core.commit([(("account-0", "payment", "p"), b"1"), (("account-1", "payment", "p"), b"1")])
    client.page_rows = 1
    await follower.step()
    seen, state = read_all(reader)
    assert seen.cursor == 2
    core.commit([(("account-0", "payment", "p"), b"2"), (("account-1", "payment", "p"), b"2")])
    client.page_rows = 5000
    await follower.step()
    seen, state = read_all(reader)
    core.check(seen, state)
    assert seen.cursor == core.head


async def test_long_catch_up_is_built_in_a_copy_and_swapped(
    core: Core,
    client: DirectClient,
    follower: Follower,
    reader: ReplicaReader,
    clock: FakeClock,
    directory: Path,
) -> None:
    """A tail of more pages than the bound leaves the serving file alone until its barrier."""
    core.fill(4)
    await step_until(follower, clock, "following")
    before = (directory / "current").read_text(encoding="utf-8")
    core.fill(8, b"new")
    core.commit([(("account-3", "payment", "p"), None)])
    client.page_rows = 1
    for _ in range(SETTINGS.tail_pages_max + 1):
        await follower.step()
    assert follower.status.phase == "catching_up"
    assert read_all(reader)[0].cursor == 4
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    assert (seen.cursor, state) == (core.head, core.state)
    assert (directory / "current").read_text(encoding="utf-8") != before
    # From zero it would have asked for after=0 a second time.
    assert [after for after, _ in client.questions].count(0) == 1


async def test_heartbeat_moves_only_as_of_and_age(
    core: Core, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """Without news T advances and the age begins anew; the position stays."""
    core.fill(1)
    await step_until(follower, clock, "following")
    first, _ = read_all(reader)
    clock.advance(30)
    old, _ = read_all(reader)
    assert old.age_seconds >= 30
    await follower.step()
    fresh, _ = read_all(reader)
    assert fresh.as_of > first.as_of
    assert fresh.age_seconds < 1
    assert fresh.position == first.position


async def test_no_answer_keeps_serving_and_ages(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """With the core away the same state is read, its as-of stands still and its age grows."""
    core.fill(3)
    await step_until(follower, clock, "following")
    before, state = read_all(reader)

    def refuse(frame: Frame) -> Frame:
        raise FeedUnavailable("cut off")

    client.alter = refuse
    waits = []
    for _ in range(8):
        waits.append(await follower.step())
        clock.advance(waits[-1])
    after, same = read_all(reader)
    assert follower.status.phase == "disconnected"
    assert same == state
    assert after.as_of == before.as_of
    assert after.age_seconds >= before.age_seconds + sum(waits)
    assert max(waits) <= SETTINGS.retry_cap_seconds
    assert waits[3] > waits[0]
    client.alter = None
    await step_until(follower, clock, "following")
    assert read_all(reader)[0].as_of > before.as_of


async def test_restart_goes_on_from_the_cursor(
    core: Core,
    client: DirectClient,
    follower: Follower,
    directory: Path,
    reader: ReplicaReader,
    clock: FakeClock,
) -> None:
    """A follower that is started again serves at once and asks from where it was."""
    core.fill(3)
    await step_until(follower, clock, "following")
    follower.close()
    client.questions.clear()
    again = make_follower(client, directory, clock)
    core.fill(1, b"later")
    await step_until(again, clock, "following")
    again.close()
    assert client.questions[0] == (3, 1)
    assert read_all(reader)[1] == core.state


def count_snapshots(directory: Path) -> int:
    """Count the snapshot files in a folder."""
    return len(list(directory.glob("*.db")))


async def test_old_snapshots_are_removed_but_the_previous(
    core: Core, follower: Follower, directory: Path, clock: FakeClock
) -> None:
    """A reader that has just read the pointer still finds its file; older ones do not pile up."""
    core.fill(1)
    await step_until(follower, clock, "following")
    for epoch in (2, 3, 4):
        core.enter_epoch(epoch)
        clock.advance(await follower.step())
        await step_until(follower, clock, "following")
    assert count_snapshots(directory) == 2


async def test_status_tells_operators_what_is_going_on(
    core: Core, follower: Follower, directory: Path, clock: FakeClock
) -> None:
    """The status file names phase, position, feed head and how long ago the feed answered."""
    core.fill(3)
    await step_until(follower, clock, "following")
    clock.advance(1)
    await follower.step()
    status = read_status(directory)
    assert status is not None
    assert (status.phase, status.epoch, status.cursor, status.head) == ("following", 1, 3, 3)
    assert status.rows_applied == 3
    age = status.answer_age_seconds(clock)
    assert age is not None
    assert 0 < age < 1
    assert status.answer_age_seconds(FakeClock(boot_id="boot-2")) is None


async def test_run_follows_until_it_is_stopped(
    core: Core, follower: Follower, reader: ReplicaReader
) -> None:
    """The loop itself: it reaches the head, and ends when told to, with its files closed."""
    core.fill(3)
    stop = asyncio.Event()
    running = asyncio.create_task(follower.run(stop))
    for _ in range(1000):
        await asyncio.sleep(0)
        if follower.status.phase == "following":
            break
    stop.set()
    await running
    assert follower.status.phase == "following"
    assert read_all(reader)[1] == core.state
