"""What a node passes on is what the core said, and never looks fresher or further than it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from cache_sync.document_table import READ_SECONDS_MAX
from cache_sync.documents import DEFAULT_SHARD
from cache_sync.errors import Behind, BelowFloor, EpochChanged, FeedUnavailable, UnknownShard
from cache_sync.frames import Frame, decode_frame
from cache_sync.offload import inline
from cache_sync.replica_feed import ReplicaFeed
from tests.unit.cache_sync.feed_world import Core, DirectClient, FakeClock
from tests.unit.cache_sync.tree_world import Node

GrowNode = Callable[..., Node]


@pytest.fixture
async def grow(tmp_path: Path, clock: FakeClock) -> AsyncIterator[GrowNode]:
    """Return what makes a node that follows a source."""
    nodes: list[Node] = []

    def make(source: object) -> Node:
        number = len(nodes)
        node = Node(tmp_path / f"node-{number}", source, clock, number)  # type: ignore[arg-type]
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        await node.close()


@pytest.fixture
async def first(core: Core, client: DirectClient, grow: GrowNode) -> Node:
    """Return a node that follows the core and has its first documents."""
    core.fill(7)
    node = grow(client)
    await node.step_until("following")
    return node


async def test_what_the_core_said_is_passed_on(core: Core, first: Node, grow: GrowNode) -> None:
    """Rows, hashes, chain, seal and floor as they came; a node of a node holds the same."""
    core.commit([(("account-1", "payment", "p"), None)])
    await first.step()
    core_frame = await core.feed.page(after=3, epoch=1)
    relayed = await first.feed.page(after=3, epoch=1)
    assert decode_frame(relayed.content) == relayed.frame
    for field in ("rows", "upto", "barrier", "head", "floor", "live_hash", "live_rows", "chain"):
        assert getattr(relayed.frame, field) == getattr(core_frame, field), field
    assert relayed.frame.seal == core_frame.seal
    second = grow(first)
    await second.step_until("following")
    assert second.read()[1] == core.state
    second.check(core)


async def test_age_is_never_too_young_whatever_the_order(
    core: Core, client: DirectClient, grow: GrowNode, clock: FakeClock
) -> None:
    """Over three hops, with commits, deletes, forgetting and pauses in any order, every label stays true."""
    rng = Random(3)
    first = grow(client)
    second = grow(first)
    third = grow(second)
    nodes = [first, second, third]
    second.page_rows = 3
    core.fill(4)
    for node in nodes:
        await node.step_until("following")
    for _ in range(300):
        match rng.randrange(7):
            case 0 | 1:
                names = [f"account-{rng.randrange(9)}" for _ in range(rng.randrange(1, 12))]
                core.commit(
                    [((name, "payment", "p"), rng.choice([None, b'{"v":1}'])) for name in names]
                )
            case 2:
                clock.advance(rng.random())
            case 3 if rng.random() < 0.1:
                core.forget(core.head - rng.randrange(3))
            case _:
                await rng.choice(nodes).step()
        for node in nodes:
            node.check(core)
    for node in nodes:
        await node.step_until("following")
        await node.step(12)
        assert node.read()[1] == core.state


async def test_a_silent_upstream_looks_older_by_the_second(
    core: Core, first: Node, grow: GrowNode, clock: FakeClock
) -> None:
    """The upstream's applier is gone: its heartbeats bring the same T, and the age relayed grows with time."""
    second = grow(first)
    await second.step_until("following")
    before = second.check(core)
    for _ in range(5):
        clock.advance(10.0)
        await second.step()
        second.check(core)
    after = second.check(core)
    assert after.as_of == before.as_of
    assert after.age_seconds >= before.age_seconds + 50


async def test_two_that_feed_each_other_only_grow_older(
    core: Core, client: DirectClient, grow: GrowNode, clock: FakeClock
) -> None:
    """With the core away, going round in a circle makes nothing fresh: T stands still and the age grows."""
    core.fill(5)
    east = grow(client)
    west = grow(client)
    for node in (east, west):
        await node.step_until("following")
    east.source, west.source = west, east
    east.restart()
    west.restart()
    newest = max(east.read()[0].as_of, west.read()[0].as_of)
    oldest_age = {node: node.read()[0].age_seconds for node in (east, west)}
    begun = clock.boot
    for _ in range(50):
        clock.advance(1.0)
        for node in (east, west):
            await node.step()
            assert node.check(core).as_of <= newest
    for node in (east, west):
        seen = node.read()[0]
        assert seen.as_of == newest
        assert seen.age_seconds >= min(oldest_age.values()) + clock.boot - begun - 5


async def test_a_node_behind_the_cursor_is_behind_not_a_fork(core: Core, first: Node) -> None:
    """Above its head, or in an epoch that it has not heard of: ask later, nothing is wrong."""
    with pytest.raises(Behind) as behind:
        await first.feed.page(after=8, epoch=1)
    assert (behind.value.epoch, behind.value.head) == (1, 7)
    for epoch, after in ((2, 3), (0, 8)):
        with pytest.raises(Behind):
            await first.feed.page(after=after, epoch=epoch)
    core.enter_epoch(2)
    await first.step_until_built(2)
    with pytest.raises(EpochChanged) as changed:
        await first.feed.page(after=7, epoch=1)
    assert changed.value.epoch == 2


async def test_forgotten_deletes_are_not_passed_over(core: Core, first: Node) -> None:
    """A cursor below the floor that this node learnt of is told to start again."""
    core.commit([(("account-1", "payment", "p"), None)])
    await first.step()
    core.forget(core.head)
    await first.step()
    with pytest.raises(BelowFloor) as below:
        await first.feed.page(after=5, epoch=1)
    assert below.value.floor == core.head


async def test_a_snapshot_swapped_under_a_bootstrap(
    core: Core, first: Node, grow: GrowNode
) -> None:
    """The pages before and after the swap are of two files, and what comes of them is one true state."""
    first.page_rows = 2
    second = grow(first)
    await second.step(2)
    assert second.follower.status.phase == "bootstrapping"
    core.commit([(("account-0", "payment", "p"), b'{"moved":1}')])
    core.commit([(("account-6", "payment", "p"), None)])
    first.follower._replace_snapshot("damaged")
    await first.step_until_built(2)
    await second.step_until("following")
    assert second.follower.status.snapshots_built == 1
    assert second.read()[1] == core.state
    second.check(core)


async def test_an_epoch_that_begins_under_a_bootstrap(
    core: Core, first: Node, grow: GrowNode
) -> None:
    """What was built of both is thrown away; what is read in the end is the new epoch's."""
    first.page_rows = 2
    second = grow(first)
    await second.step(2)
    core.enter_epoch(2)
    await first.step_until_built(2)
    await second.step_until("following")
    assert second.check(core).epoch == 2


async def test_without_a_snapshot_there_is_nothing_to_pass_on(
    grow: GrowNode, client: DirectClient
) -> None:
    """It says so, and says nothing of itself."""
    node = grow(client)
    with pytest.raises(FeedUnavailable):
        await node.feed.page(after=0, epoch=0)
    with pytest.raises(FeedUnavailable):
        node.feed.standing()


async def test_another_shard_is_refused(first: Node, clock: FakeClock) -> None:
    """A folder serves the shard that it holds."""
    feed = ReplicaFeed(first.directory, "7", clock=clock, path=list)
    with pytest.raises(UnknownShard):
        await feed.page(after=0, epoch=0)
    await feed.close()


async def test_who_is_at_the_head_waits_for_news(core: Core, first: Node) -> None:
    """Rows end the wait, and so does a newer T without rows; who is below the head does not wait."""
    waiting = asyncio.create_task(first.feed.page(after=7, epoch=1, wait_seconds=0.5))
    await asyncio.sleep(0)
    core.fill(1, b'{"new":1}')
    await first.step()
    assert [row.seq for row in (await waiting).frame.rows] == [8]
    before = first.feed.standing().as_of
    waiting = asyncio.create_task(first.feed.page(after=8, epoch=1, wait_seconds=0.5))
    await asyncio.sleep(0)
    await first.step()
    assert (await waiting).frame.as_of > before
    assert (await first.feed.page(after=3, epoch=1, wait_seconds=0.5)).frame.count == 5


async def test_those_who_wait_for_the_same_are_answered_with_one_page(
    core: Core, first: Node
) -> None:
    """It is read and encoded once; who asks afterwards gets another one, whose age counts from later."""
    waiting = [
        asyncio.create_task(first.feed.page(after=7, epoch=1, wait_seconds=0.5)) for _ in range(50)
    ]
    await asyncio.sleep(0)
    core.fill(1, b'{"new":1}')
    await first.step()
    answers = [await one for one in waiting]
    assert len({id(answer.content) for answer in answers}) == 1
    later = await first.feed.page(after=7, epoch=1)
    assert later.frame.age_seconds > answers[0].frame.age_seconds


async def test_standing(core: Core, first: Node, clock: FakeClock) -> None:
    """Where it is, how old that is now, and through whom it came."""
    standing = first.feed.standing()
    assert (standing.epoch, standing.shard, standing.cursor) == (1, "0", 7)
    assert standing.path == ["core"]
    clock.advance(30)
    assert first.feed.standing().age_seconds >= standing.age_seconds + 30
    assert not standing.age_at_least


class SlowDisk(FakeClock):
    """A clock on which every look costs some seconds, as every row does on a disk that is about to fail."""

    def boot_seconds(self) -> float:
        """Tell the time, a step later each time."""
        self.boot += 3.0
        return self.boot


async def test_a_slow_page_ends_early_and_nothing_is_left_out(core: Core, first: Node) -> None:
    """After ten seconds, as at the core: who passes documents on keeps no read transaction open for longer."""
    core.fill(40)
    await first.step_until("following")
    await first.step(4)
    whole = (await first.feed.page(after=0, epoch=0)).frame
    slow = ReplicaFeed(first.directory, DEFAULT_SHARD, clock=SlowDisk(), path=list, offload=inline)
    frames: list[Frame] = []
    while not frames or not frames[-1].barrier:
        after = frames[-1].upto if frames else 0
        frames.append((await slow.page(after=after, epoch=1)).frame)
        assert frames[-1].rows, "a page has a row as long as there is one"
    await slow.close()
    assert max(frame.count for frame in frames) <= READ_SECONDS_MAX / 3.0 + 1
    assert [row for frame in frames for row in frame.rows] == whole.rows
    assert [frame.barrier for frame in frames] == [False] * (len(frames) - 1) + [True]
