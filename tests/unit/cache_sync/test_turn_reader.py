"""A turn's readers share one transaction, and nobody is shown what was old when he asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cache_sync.errors import NoSnapshot
from cache_sync.frames import Frame
from cache_sync.replica import ReplicaWriter
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.turn_reader import TurnReader
from tests.unit.cache_sync.feed_world import FakeClock, checked, make_document, make_frame


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    """Return an empty snapshot folder."""
    return SnapshotFolder(tmp_path / "snapshot")


@pytest.fixture
def reader(tmp_path: Path, clock: FakeClock) -> Iterator[TurnReader]:
    """Read the folder's snapshot."""
    made = TurnReader(tmp_path / "snapshot", clock=clock)
    yield made
    made.close()


@pytest.fixture
def writer(folder: SnapshotFolder, clock: FakeClock) -> Iterator[ReplicaWriter]:
    """Write the snapshot that is current; it holds one document."""
    path = build(folder, clock, 1)
    made = ReplicaWriter(path, "0", clock=clock)
    yield made
    made.close()


def build(folder: SnapshotFolder, clock: FakeClock, count: int) -> Path:
    """Build a snapshot of so many documents and make it the current one."""
    path = folder.new_build(Random(count))
    made = ReplicaWriter(path, "0", clock=clock)
    made.apply([checked(frame_of(*range(1, count + 1)))], clock.boot_seconds())
    made.verify()
    made.write_back()
    made.close()
    return folder.adopt(path, count)


def frame_of(*seqs: int) -> Frame:
    """Return a frame of documents; those before it are what it follows."""
    onto = [make_document(seq, account_id=f"a{seq}") for seq in range(1, seqs[0])]
    rows = [make_document(seq, account_id=f"a{seq}") for seq in seqs]
    return make_frame(rows, onto=onto, after=seqs[0] - 1)


def cursor(reader: TurnReader) -> int:
    """Tell where the snapshot stands that is read now."""
    with reader.read() as view:
        return view.state().cursor


async def next_turn() -> None:
    """Let everything that waits run, and come back as somebody who has just arrived."""
    await asyncio.sleep(0.001)


async def test_a_turn_reads_one_state(
    reader: TurnReader, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """A commit in the middle of it is seen by the next one, and by its version."""
    before, version = cursor(reader), reader.version()
    writer.apply([checked(frame_of(2))], clock.boot_seconds())
    assert (cursor(reader), reader.version()) == (before, version) == (1, version)
    await next_turn()
    assert reader.version() != version
    assert cursor(reader) == 2


async def test_who_arrives_after_the_reading_reads_anew(
    reader: TurnReader, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """Somebody is answered, and what he then causes to be asked is asked of the newest state, in the same turn."""
    found: list[int] = []
    assert cursor(reader) == 1
    writer.apply([checked(frame_of(2))], clock.boot_seconds())
    asyncio.get_running_loop().call_soon(lambda: found.append(cursor(reader)))
    await next_turn()
    assert found == [2]


async def test_a_new_file_is_followed_in_the_next_turn(
    reader: TurnReader, folder: SnapshotFolder, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """The pointer is moved to another file while a turn reads the one before."""
    assert cursor(reader) == 1
    build(folder, clock, 3)
    assert cursor(reader) == 1
    await next_turn()
    assert cursor(reader) == 3


async def test_it_grows_older_within_a_turn(
    reader: TurnReader, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """Nothing says that it is younger than it is, however long a turn takes."""
    with reader.read() as view:
        before = view.state().age_seconds
    clock.advance(2.0)
    with reader.read() as view:
        assert view.state().age_seconds == pytest.approx(before + 2.0, abs=0.1)


async def test_nothing_is_held_after_a_turn(
    reader: TurnReader, folder: SnapshotFolder, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """A read that stayed open would keep the write-ahead log from being emptied."""
    cursor(reader)
    await next_turn()
    writer.apply([checked(frame_of(2))], clock.boot_seconds())
    writer.write_back()


async def test_closed_in_the_middle_it_opens_again(
    reader: TurnReader, writer: ReplicaWriter, clock: FakeClock
) -> None:
    """What was closed is not ended twice, and the next read is a new one."""
    assert cursor(reader) == 1
    writer.apply([checked(frame_of(2))], clock.boot_seconds())
    reader.close()
    assert cursor(reader) == 2
    await next_turn()
    assert cursor(reader) == 2


async def test_what_cannot_be_read_is_looked_for_again(
    reader: TurnReader, folder: SnapshotFolder, clock: FakeClock
) -> None:
    """Nothing is kept of a read that failed, not even for the turn."""
    with pytest.raises(NoSnapshot):
        cursor(reader)
    build(folder, clock, 2)
    assert cursor(reader) == 2
