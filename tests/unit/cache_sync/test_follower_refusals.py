"""What a follower refuses, and that it keeps serving meanwhile."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.errors import EpochChanged
from cache_sync.follower import Follower
from cache_sync.frames import Frame, sealed
from cache_sync.replica_reader import ReplicaReader
from tests.unit.cache_sync.feed_world import (
    SETTINGS,
    Core,
    DirectClient,
    FakeClock,
    keep,
    make_follower,
    read_all,
    step_until,
)


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


async def test_disk_that_refuses_is_tried_again_and_keeps_serving(
    core: Core,
    client: DirectClient,
    follower: Follower,
    reader: ReplicaReader,
    clock: FakeClock,
) -> None:
    """A full disk stops applying; the file is opened anew and followed when there is room again."""
    core.fill(2)
    await step_until(follower, clock, "following")
    core.fill(2, Random(1).randbytes(100_000))
    assert follower._writer is not None
    follower._writer._connection.execute("PRAGMA max_page_count = 1")
    clock.advance(await follower.step())
    assert (follower.status.phase, follower.status.reason) == ("stopped", "storage")
    assert read_all(reader)[0].cursor == 2
    await step_until(follower, clock, "following")
    seen, state = read_all(reader)
    core.check(seen, state)
    assert seen.cursor == 4


async def test_a_snapshot_that_a_reader_doubts_is_replaced(
    core: Core, follower: Follower, reader: ReplicaReader, clock: FakeClock
) -> None:
    """Built anew beside while the old one serves, once, however many doubt it."""
    follower.doubt()
    assert follower.status.phase != "stopped"
    core.fill(3)
    await step_until(follower, clock, "following")
    follower.doubt()
    follower.doubt()
    assert (follower.status.phase, follower.status.reason) == ("stopped", "damaged")
    assert read_all(reader)[0].cursor == 3
    await step_until(follower, clock, "following")
    assert follower.status.snapshots_built == 2
    core.check(*read_all(reader))
