"""The follower, step by step, against a real feed without a network."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.errors import EpochChanged, FeedUnavailable
from cache_sync.follower import Follower, FollowerSettings
from cache_sync.follower_status import read_status
from cache_sync.frames import Frame, sealed
from cache_sync.offload import inline
from cache_sync.replica_reader import ReplicaReader
from tests.unit.cache_sync.feed_world import Core, DirectClient, FakeClock, read_all

SETTINGS = FollowerSettings(tail_pages_max=3)


@pytest.fixture
def client(core: Core) -> DirectClient:
    """Return a client of the core."""
    return DirectClient(core)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the snapshots lie."""
    return tmp_path / "snapshot"


@pytest.fixture
def reader(directory: Path, clock: FakeClock) -> Iterator[ReplicaReader]:
    """Return a worker's reader."""
    made = ReplicaReader(directory, clock=clock)
    yield made
    made.close()


def make_follower(client: DirectClient, directory: Path, clock: FakeClock) -> Follower:
    """Make a follower that runs on the test's clock, without threads."""
    return Follower(
        client, directory, clock=clock, rng=Random(7), settings=SETTINGS, offload=inline
    )


@pytest.fixture
def follower(client: DirectClient, directory: Path, clock: FakeClock) -> Iterator[Follower]:
    """Return a follower that has asked nothing yet."""
    made = make_follower(client, directory, clock)
    yield made
    made.close()


def keep(kept: list[Frame], frame: Frame) -> Frame:
    """Remember a frame on its way."""
    kept.append(frame)
    return frame


async def step_until(follower: Follower, clock: FakeClock, phase: str) -> None:
    """Step, waiting as told, until the follower is in a phase."""
    for _ in range(400):
        clock.advance(await follower.step())
        if follower.status.phase == phase:
            return
    raise AssertionError(f"still {follower.status.phase}: {follower.status.reason}")


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


async def test_damaged_frame_is_asked_for_again_before_the_snapshot_is_doubted(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """One flipped bit is refused and costs one more question, not a new snapshot."""
    core.fill(2)
    await step_until(follower, clock, "following")
    core.fill(2, b"100")
    client.alter = lambda frame: msgspec.structs.replace(
        frame, rows=[msgspec.structs.replace(row, body=b"900") for row in frame.rows]
    )
    clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", "digest")
    assert read_all(reader)[0].cursor == 2
    client.alter = None
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    core.check(seen, state)
    assert follower.status.snapshots_built == 1
    assert follower.status.frames_refused == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"rows": []}, "count"),
        ({"after": 1}, "gap"),
        ({"shard": "9"}, "shard"),
        ({"barrier": False, "rows": [], "count": 0}, "range"),
        ({"head": 99}, "barrier"),
        ({"age_seconds": -1.0}, "age"),
    ],
)
async def test_what_does_not_fit_stops_applying_never_serving(
    core: Core,
    client: DirectClient,
    follower: Follower,
    reader: ReplicaReader,
    clock: FakeClock,
    fault: dict[str, object],
    reason: str,
) -> None:
    """A source that keeps answering nonsense changes nothing; a new snapshot is built once it is sane."""
    core.fill(3)
    await step_until(follower, clock, "following")
    core.fill(3, b"new")
    client.alter = lambda frame: sealed(msgspec.structs.replace(frame, **fault))
    for _ in range(SETTINGS.refusals_max):
        clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", reason)
    assert read_all(reader)[0].cursor == 3
    client.alter = None
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    core.check(seen, state)
    assert seen.cursor == core.head
    assert follower.status.snapshots_built == 2


async def test_core_time_going_back_is_refused(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """An old heartbeat that comes late never makes a label go back."""
    core.fill(1)
    kept: list[Frame] = []
    client.alter = lambda frame: keep(kept, frame)
    await step_until(follower, clock, "following")
    clock.advance(await follower.step())
    clock.advance(5)
    clock.advance(await follower.step())
    before, _ = read_all(reader)
    client.alter = lambda frame: kept[1]
    await follower.step()
    after, _ = read_all(reader)
    assert follower.status.reason == "as_of"
    assert after.as_of == before.as_of


async def test_same_answer_twice_does_not_look_fresh(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """A buffered heartbeat that is delivered again keeps its age."""
    core.fill(1)
    kept: list[Frame] = []
    client.alter = lambda frame: keep(kept, frame)
    await step_until(follower, clock, "following")
    await follower.step()
    clock.advance(60)
    client.alter = lambda frame: kept[-1]
    await follower.step()
    assert follower.status.phase == "following"
    assert read_all(reader)[0].age_seconds >= 60


async def test_higher_epoch_is_taken_by_a_new_snapshot(
    core: Core, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """After a restore into a higher epoch the node follows it, even to a lower seq."""
    core.fill(6)
    await step_until(follower, clock, "following")
    core.enter_epoch(2, head=3)
    clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", "epoch_changed")
    assert read_all(reader)[0].epoch == 1
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    assert (seen.epoch, seen.cursor) == (2, 3)
    core.check(seen, state)


async def test_older_epoch_is_refused(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """A source that is still in an older epoch is waited for, never followed."""
    core.fill(2)
    core.enter_epoch(5)
    await step_until(follower, clock, "following")
    core.enter_epoch(4)
    for _ in range(5):
        clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", "older_epoch")
    assert read_all(reader)[0].epoch == 5

    def refuse(frame: Frame) -> Frame:
        raise EpochChanged(3)

    client.alter = refuse
    clock.advance(await follower.step())
    assert read_all(reader)[0].epoch == 5


async def test_fork_never_goes_back_within_the_epoch(
    core: Core,
    client: DirectClient,
    follower: Follower,
    reader: ReplicaReader,
    clock: FakeClock,
    directory: Path,
) -> None:
    """A core cut back in the same epoch is a fork: served as it was, and replaced only once it is not behind."""
    core.fill(6)
    await step_until(follower, clock, "following")
    core.enter_epoch(1, head=2)
    for _ in range(6):
        clock.advance(await follower.step())
    assert read_all(reader)[0].cursor == 6
    # Another history grows past the cursor: tailing on would mix the two, also after a restart.
    follower.close()
    core.fill(8, b"other")
    again = make_follower(client, directory, clock)
    await step_until(again, clock, "following")
    seen, state = read_all(reader)
    again.close()
    assert seen.cursor == core.head
    assert state == core.state
    assert again.status.snapshots_built == 1


async def test_cursor_below_the_floor_starts_again_from_zero(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """When deletes were forgotten, a new snapshot shows that the deleted documents are gone."""
    core.fill(4)
    await step_until(follower, clock, "following")
    core.commit([(("account-1", "payment", "p"), None)])
    core.commit([(("account-2", "payment", "p"), b"x")])
    core.forget(core.head)
    clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", "below_floor")
    client.page_rows = 1
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    core.check(seen, state)
    assert ("account-1", "payment", "p") not in state


async def test_floor_that_rises_under_a_build_starts_it_again(
    core: Core, client: DirectClient, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """A document read early and deleted later is not left in the snapshot when its tombstone is forgotten."""
    core.fill(4)
    client.page_rows = 2
    await follower.step()
    core.commit([(("account-0", "payment", "p"), None)])
    core.commit([(("account-9", "payment", "p"), b"x")])
    core.forget(core.head)
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    core.check(seen, state)
    assert ("account-0", "payment", "p") not in state


async def test_damaged_file_is_replaced_and_never_by_an_older_state(
    core: Core, client: DirectClient, follower: Follower, directory: Path, clock: FakeClock
) -> None:
    """A snapshot that cannot be read is built anew, not below the position that was shown."""
    core.fill(5)
    await step_until(follower, clock, "following")
    follower.close()
    current = directory / (directory / "current").read_text(encoding="utf-8").strip()
    current.write_bytes(b"not a database" * 1000)
    core.enter_epoch(1, head=2)
    again = make_follower(client, directory, clock)
    for _ in range(6):
        clock.advance(await again.step())
    assert again.status.phase != "following"
    core.fill(4, b"more")
    await step_until(again, clock, "following")
    reader = ReplicaReader(directory, clock=clock)
    seen, state = read_all(reader)
    reader.close()
    again.close()
    assert seen.cursor == core.head
    assert state == core.state


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
