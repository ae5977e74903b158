"""The snapshot files that an edge hands out: cut when somebody asks, kept while somebody does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.errors import SnapshotUnavailable, StorageFailed
from cache_sync.follower_status import read_status, write_status
from cache_sync.snapshot_file import Need, decode_manifest, open_offer
from cache_sync.snapshot_file_cut import check_file
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.snapshot_serving import TIDY_SECONDS, ServedSnapshots, ServingSettings
from tests.unit.cache_sync.feed_world import Core, DirectClient, FakeClock
from tests.unit.cache_sync.file_world import check_signature, sign
from tests.unit.cache_sync.tree_world import Node


class StillClock(FakeClock):
    """A clock that tests alone turn: who sleeps on it sleeps on."""

    async def sleep(self, seconds: float) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is turned by hand."""
    return StillClock()


@pytest.fixture
async def core(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Core]:
    """Return a core with some documents."""
    made = Core(tmp_path / "core.db", clock)
    made.fill(30)
    yield made
    await made.close()


@pytest.fixture
async def node(core: Core, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Node]:
    """Return what follows the core into this node's snapshot folder."""
    made = Node(tmp_path / "snapshot", DirectClient(core), clock, 1)
    await made.step_until("following")
    yield made
    await made.close()


@pytest.fixture
async def served(node: Node, tmp_path: Path, clock: FakeClock) -> AsyncIterator[ServedSnapshots]:
    """Return what the node hands out."""
    made = ServedSnapshots(
        {"0": node.directory},
        tmp_path / "handed-out",
        node_id="east",
        sign=sign,
        clock=clock,
        rng=Random(1),
        settings=ServingSettings(documents_min=10),
    )
    yield made
    await made.close()


async def ask(served: ServedSnapshots) -> str:
    """Ask for an offer, and again while one is being made; return the file's name, or why there is none."""
    for _ in range(500):
        served.note_asked("0")
        try:
            name = decode_manifest((await served.desk.offer("0")).manifest).name
        except SnapshotUnavailable as error:
            if error.reason != "being_made":
                return error.reason
        else:
            # It is offered a moment before the cutting has ended, and nothing is tidied up meanwhile.
            await asyncio.gather(*served._cutting.values())
            return name
        await asyncio.sleep(0.01)
    raise AssertionError("no end")


async def test_a_file_is_cut_when_it_is_asked_for(
    served: ServedSnapshots, core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """Its T and age are what this node was told, and it is signed by this node."""
    clock.advance(500)
    name = await ask(served)
    offer = await served.desk.offer("0")
    manifest = open_offer(offer, "0", Need(), check_signature)
    assert (offer.signer, manifest.name, manifest.seq) == ("east", name, 30)
    assert offer.age_seconds >= clock.boot - core.closed_at[manifest.as_of] - 0.01
    check_file(SnapshotShelf(tmp_path / "handed-out" / "0").files()[0], check_signature)
    assert await ask(served) == name, "asked again, it is the same"


async def test_a_file_is_cut_anew_when_much_has_changed(
    served: ServedSnapshots, core: Core, node: Node
) -> None:
    """A little is read from the feed; from a fifth of the rows on a new file is worth its cost."""
    name = await ask(served)
    core.fill(5, b'{"n": 1}')
    await node.step(3)
    assert await ask(served) == name
    core.fill(5, b'{"n": 2}')
    await node.step(3)
    newer = await ask(served)
    assert newer.startswith("0-1-40-")


async def test_a_file_of_the_epoch_before_is_not_offered(
    served: ServedSnapshots, core: Core, node: Node
) -> None:
    """Nor one that the feed does not lead on from."""
    await ask(served)
    core.enter_epoch(2)
    await node.step_until_built(2)
    assert (await ask(served)).startswith("0-2-")


async def test_a_small_snapshot_has_no_file(node: Node, tmp_path: Path, clock: FakeClock) -> None:
    """Nor has a node without a snapshot."""
    for folder, documents_min in ((node.directory, 31), (tmp_path / "nowhere", 0)):
        small = ServedSnapshots(
            {"0": folder},
            tmp_path / "handed-out",
            node_id="east",
            sign=sign,
            clock=clock,
            rng=Random(1),
            settings=ServingSettings(documents_min=documents_min),
        )
        assert await ask(small) == "none"
        await small.close()


async def test_a_snapshot_that_is_doubted_is_not_handed_out(
    served: ServedSnapshots, node: Node
) -> None:
    """One that this node itself will replace serves its customers, labelled, and nobody else."""
    status = read_status(node.directory)
    current = SnapshotFolder(node.directory).current()
    assert status is not None
    assert current is not None
    write_status(node.directory, msgspec.structs.replace(status, rebuild_snapshot=current.name))
    assert await ask(served) == "none"


async def test_a_cut_that_failed_is_not_tried_at_once(
    served: ServedSnapshots, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not filled by every question."""
    tried: list[int] = []

    def full(*_: object, **__: object) -> None:
        tried.append(1)
        raise StorageFailed("full")

    monkeypatch.setattr("edge_portal.snapshot_serving.cut", full)
    assert await ask(served) == "none"
    assert await ask(served) == "none"
    assert len(tried) == 1
    monkeypatch.undo()
    clock.advance(301)
    assert (await ask(served)).startswith("0-1-30-")


async def test_files_that_nobody_asks_for_are_removed(
    served: ServedSnapshots, tmp_path: Path, clock: FakeClock
) -> None:
    """An hour after the last question the disk is free again."""
    await ask(served)
    clock.advance(3000)
    served.remove_idle()
    assert list((tmp_path / "handed-out" / "0").iterdir()) != []
    clock.advance(1000)
    served.remove_idle()
    assert list((tmp_path / "handed-out" / "0").iterdir()) == []


SUMMARY = ("account-7", "account", "")


async def test_a_file_that_shows_somebody_forgotten_goes(
    served: ServedSnapshots, core: Core, node: Node, tmp_path: Path
) -> None:
    """It is offered no more, and removed whether anybody asks or not, also one that an earlier life left."""
    core.commit([(SUMMARY, b'{"name": "Ada"}')])
    await node.step(3)
    name = await ask(served)
    shelf = SnapshotShelf(tmp_path / "handed-out" / "0")
    served.remove_outdated()
    assert [one.path.name for one in shelf.files()] == [name]
    core.commit([(SUMMARY, None)])
    await node.step(6)
    assert shelf.files(), "nobody has tidied up yet"
    assert (await ask(served)).startswith("0-1-32-")
    assert shelf.find(name) is not None
    served.remove_outdated()
    assert [one.manifest.seq for one in shelf.files()] == [32]
    assert not any(b"Ada" in path.read_bytes() for path in shelf.directory.iterdir())


async def test_no_file_is_cut_of_pages_that_may_show_somebody(
    served: ServedSnapshots, core: Core, node: Node
) -> None:
    """Between the deletion and the rewriting, which come one after the other, nothing is copied."""
    for number in (7, 8):
        core.commit([((f"account-{number}", "account", ""), b"{}")])
    await node.step(3)
    core.commit([(SUMMARY, None)])
    await node.step(6)
    core.commit([(("account-8", "account", ""), None)])
    await node.step(3)
    assert await ask(served) == "none"


async def test_tidying_begins_by_itself(
    served: ServedSnapshots, core: Core, node: Node, clock: StillClock, tmp_path: Path
) -> None:
    """Once it was started it goes on every minute, and removes what an earlier epoch left."""
    await ask(served)
    core.enter_epoch(2)
    await node.step_until_built(2)
    waits: list[float] = []
    twice = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            twice.set()
            await asyncio.Event().wait()

    clock.sleep = sleep  # type: ignore[method-assign]
    served.start()
    await twice.wait()
    assert waits == [TIDY_SECONDS, TIDY_SECONDS]
    assert SnapshotShelf(tmp_path / "handed-out" / "0").files() == []
