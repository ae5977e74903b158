"""A follower with snapshot files: what it shows is always a true state, whatever it began with."""

from pathlib import Path
from random import Random

import pytest

from cache_sync.errors import FeedUnavailable
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.offload import inline
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_file_cut import copy_closed, cut
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect
from tests.unit.cache_sync.feed_world import (
    Core,
    DirectClient,
    FakeClock,
    read_all,
    step_until,
)
from tests.unit.cache_sync.file_world import CHUNK_BYTES, Holder, cut_from, download, sign

SETTINGS = FollowerSettings(tail_pages_max=3, file_gap_seqs=50)


class Edge:
    """A node that follows a core with files to be had, and is read."""

    def __init__(self, core: Core, tmp_path: Path, clock: FakeClock) -> None:
        self.core, self.clock = core, clock
        self.directory = tmp_path / "edge"
        self.client = DirectClient(core)
        self.holder = Holder(tmp_path / "core", clock)
        self.reader = ReplicaReader(self.directory, clock=clock)
        self.follower = self.start()

    def start(self) -> Follower:
        """Start the follower, anew or again."""
        self.follower = Follower(
            self.client,
            self.directory,
            clock=self.clock,
            rng=Random(5),
            settings=SETTINGS,
            offload=inline,
            files=download([self.holder], self.directory / "download", self.clock),
        )
        return self.follower

    async def step_until(self, phase: str) -> None:
        """Follow until in a phase; whatever a reader sees meanwhile is a state of the core."""
        await step_until(self.follower, self.clock, phase)
        self.check()

    def check(self) -> None:
        """Check what a reader sees: a true state, truly dated, and never one before what was seen."""
        if self.reader.ready():
            seen, state = read_all(self.reader)
            self.core.check(seen, state)
            assert seen.age_seconds >= self.clock.boot - self.core.closed_at[seen.as_of]

    def asked_from_the_beginning(self) -> bool:
        """Whether the feed was asked from its beginning."""
        return any(after == 0 for after, _ in self.client.questions)


@pytest.fixture
async def edge(core: Core, tmp_path: Path, clock: FakeClock) -> Edge:
    """Return a node without a snapshot; the core hands a file of 100 documents out and is 5 further."""
    core.fill(100, b'{"n": 1}')
    await cut_from(core, tmp_path / "core", clock)
    core.fill(5, b'{"n": 2}')
    return Edge(core, tmp_path, clock)


async def test_a_new_node_begins_with_the_file_and_reads_on(edge: Edge) -> None:
    """The feed is asked from the file's barrier, not from its beginning."""
    await edge.step_until("following")
    edge.clock.advance(await edge.follower.step())
    edge.check()
    assert edge.client.questions[0][0] == 100
    assert not edge.asked_from_the_beginning()
    assert read_all(edge.reader)[0].cursor == edge.core.head
    assert not (edge.directory / "download").exists() or not list(
        (edge.directory / "download").iterdir()
    )


async def test_the_file_serves_while_the_feed_does_not_answer(edge: Edge) -> None:
    """A node that has got a file shows it, dated, although nobody could be asked since."""

    def silent(_: Frame) -> Frame:
        raise FeedUnavailable("silent")

    edge.client.alter = silent
    await edge.step_until("following")
    assert read_all(edge.reader)[0].cursor == 100
    await edge.step_until("disconnected")


async def test_without_a_file_the_feed_does(edge: Edge) -> None:
    """A file that is refused three times, or none, and the node is filled from the feed's beginning."""
    edge.holder.alter_part = lambda _, content: bytes(len(content))
    await edge.step_until("following")
    assert edge.asked_from_the_beginning()
    assert read_all(edge.reader)[0].cursor == edge.core.head


async def test_a_refused_file_leaves_the_old_snapshot_serving(edge: Edge) -> None:
    """While wrong files are refused, what was held is shown."""
    await edge.step_until("following")
    await edge.follower.step()
    edge.holder.alter_part = lambda _, content: content[::-1]
    edge.core.fill(3, b'{"n": 3}')
    edge.core.commit([(("account-1", "payment", "p"), None)])
    edge.core.forget(edge.core.head)
    before = read_all(edge.reader)
    seen = set()
    for _ in range(60):
        edge.clock.advance(await edge.follower.step())
        edge.check()
        seen.add(edge.follower.status.reason)
        if edge.follower.status.snapshots_built == 2:
            break
        assert read_all(edge.reader)[1] == before[1]
    assert {"below_floor", "behind"} & seen
    assert read_all(edge.reader)[0].cursor == edge.core.head


async def test_a_node_below_the_floor_begins_with_a_newer_file(edge: Edge, tmp_path: Path) -> None:
    """And one that is below the floor itself is of no use."""
    await edge.step_until("following")
    edge.core.commit([(("account-1", "payment", "p"), None)])
    edge.core.fill(4, b'{"n": 4}')
    edge.core.forget(edge.core.head - 2)
    await cut_from(edge.core, tmp_path / "core", edge.clock, seed=2)
    edge.client.questions.clear()
    await edge.step_until("stopped")
    assert edge.follower.status.reason == "below_floor"
    await edge.step_until("following")
    assert not edge.asked_from_the_beginning()
    assert read_all(edge.reader)[0].cursor == edge.core.head


async def test_a_damaged_snapshot_is_replaced_by_a_file_that_never_shows_less(
    edge: Edge,
) -> None:
    """The file is behind what was shown: it is read on in, beside, and shown when it is no step back."""
    await edge.step_until("following")
    for _ in range(3):
        edge.clock.advance(await edge.follower.step() + 1)
    assert read_all(edge.reader)[0].cursor == 105
    edge.follower.close()
    edge.reader.close()
    current = SnapshotFolder(edge.directory).current()
    assert current is not None
    current.write_bytes(b"garbage" * 1000)
    edge.client.questions.clear()
    edge.start()
    await edge.step_until("following")
    assert not edge.asked_from_the_beginning()
    assert edge.client.questions[0][0] == 100
    assert read_all(edge.reader)[0].cursor == 105


async def test_a_file_of_the_epoch_before_is_not_begun_with(edge: Edge, tmp_path: Path) -> None:
    """After a restore only a file of the new epoch is of use; until there is one the feed does."""
    await edge.step_until("following")
    edge.core.enter_epoch(2)
    await edge.step_until("stopped")
    edge.client.questions.clear()
    await edge.step_until("following")
    assert edge.asked_from_the_beginning()
    assert read_all(edge.reader)[0].epoch == 2
    edge.core.enter_epoch(3)
    await cut_from(edge.core, tmp_path / "core", edge.clock, seed=2)
    await edge.step_until("stopped")
    edge.client.questions.clear()
    await edge.step_until("following")
    assert not edge.asked_from_the_beginning()
    assert read_all(edge.reader)[0].epoch == 3


async def test_a_file_that_the_feed_does_not_lead_on_from_is_not_fetched_again(
    edge: Edge, tmp_path: Path
) -> None:
    """A file whose rows are not the core's: at the next barrier the hash says so, and the feed does."""
    bad = SnapshotFolder(tmp_path / "core" / "replica").current()
    assert bad is not None
    connection = connect(bad, synchronous="NORMAL")
    connection.execute("UPDATE documents SET row_hash = row_hash + 1 WHERE seq = 7")
    connection.execute("UPDATE shard_head SET live_hash = live_hash + 1")
    connection.close()
    shelf = SnapshotShelf(tmp_path / "core" / "files")
    shelf.clear()
    cut(
        shelf,
        copy_closed(bad),
        signer="core",
        sign=sign,
        rng=Random(30),
        chunk_bytes=CHUNK_BYTES,
    )
    reasons = set()
    for _ in range(200):
        edge.clock.advance(await edge.follower.step())
        reasons.add(edge.follower.status.reason)
        if edge.asked_from_the_beginning() and edge.follower.status.phase == "following":
            break
    assert "hash" in reasons
    assert edge.asked_from_the_beginning()
    edge.check()
    assert edge.follower.status.snapshots_built == 2


async def test_a_node_far_behind_fetches_a_file_instead_of_reading_on(
    edge: Edge, tmp_path: Path
) -> None:
    """Where half of all that it lacks, or more, is in a file that is not larger than that by much."""
    await edge.step_until("following")
    edge.clock.advance(await edge.follower.step())
    edge.client.page_rows = 10
    for number in range(3):
        edge.core.fill(100, b'{"m": %d}' % number)
    await cut_from(edge.core, tmp_path / "core", edge.clock, seed=2)
    edge.core.fill(2, b'{"m": 9}')
    edge.client.questions.clear()
    built = edge.follower.status.snapshots_built
    for _ in range(40):
        edge.clock.advance(await edge.follower.step())
        edge.check()
    assert read_all(edge.reader)[0].cursor == edge.core.head
    assert edge.follower.status.snapshots_built == built + 1
    assert len(edge.client.questions) < 45


async def test_a_node_far_behind_reads_on_where_there_is_no_file(edge: Edge) -> None:
    """What it holds is true: it is read on from, in a copy beside."""
    await edge.step_until("following")
    edge.clock.advance(await edge.follower.step())
    edge.client.page_rows = 10
    for number in range(3):
        edge.core.fill(100, b'{"m": %d}' % number)
    edge.client.questions.clear()
    for _ in range(60):
        edge.clock.advance(await edge.follower.step())
        edge.check()
    assert read_all(edge.reader)[0].cursor == edge.core.head
    assert not edge.asked_from_the_beginning()
