"""Nodes with keys: what they hold, hand out and fetch is encrypted on every disk that it comes by."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync import sqlite
from cache_sync.errors import KeyNotHeld, SnapshotUnavailable
from cache_sync.file_keys import PLAIN, FileKeys, key_id, named_key, read_salt
from cache_sync.follower import Follower
from cache_sync.offload import inline
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_file import SnapshotOffer
from cache_sync.snapshot_file_contents import read_contents
from cache_sync.snapshot_file_cut import check_file
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from tests.unit.cache_sync.feed_world import SETTINGS, Core, DirectClient, FakeClock, step_until
from tests.unit.cache_sync.file_world import Holder, check_signature, cut_from, download, fetch

NAME = b"Wilhelmina Featherstonehaugh"
OURS = FileKeys((bytes(range(32)),), source="ours.key")
THEIRS = FileKeys((bytes(range(100, 132)),), source="theirs.key")
NEWER = FileKeys((b"n" * 32, bytes(range(32))), source="ours.key")


@pytest.fixture
def filled(core: Core) -> Core:
    """Return a core whose documents name a customer."""
    core.fill(100, b'{"text": "' + NAME * 10 + b'"}')
    return core


def tells(folder: Path) -> list[str]:
    """Name the files in which the customer's name can be read."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and NAME in path.read_bytes()
    ]


def follower_of(core: Core, directory: Path, clock: FakeClock, keys: FileKeys) -> Follower:
    """Make a follower whose folder is encrypted."""
    return Follower(
        DirectClient(core),
        directory,
        clock=clock,
        rng=Random(4),
        settings=SETTINGS,
        offload=inline,
        folder=SnapshotFolder(directory, keys=keys),
    )


async def test_a_file_travels_between_nodes_with_different_keys(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """On the shelf, in part and whole it is encrypted; the receiver holds it under its own key."""
    shelved = await cut_from(filled, tmp_path / "core", clock, keys=THEIRS)
    assert tells(tmp_path / "core") == []
    assert shelved.manifest.key_id not in ("", THEIRS.current_id), "a key of its own"
    check_file(shelved, check_signature)
    source = download(
        [Holder(tmp_path / "core", clock, keys=THEIRS)], tmp_path / "in", clock, keys=OURS
    )
    found, reasons = await fetch(source, clock)
    assert found is not None
    assert reasons == []
    assert tells(tmp_path / "in") == []
    assert named_key(read_salt(found.path)) == OURS.current_id
    assert read_contents(found.path, OURS).head.live_rows == 100
    assert [path.name for path in (tmp_path / "in").iterdir()] == [found.path.name]


async def test_a_node_without_keys_takes_an_encrypted_file(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """It holds everything plain, and that too."""
    await cut_from(filled, tmp_path / "core", clock, keys=THEIRS)
    source = download([Holder(tmp_path / "core", clock, keys=THEIRS)], tmp_path / "in", clock)
    found, _ = await fetch(source, clock)
    assert found is not None
    assert read_contents(found.path).head.live_rows == 100


async def test_a_node_with_keys_fetches_no_plain_file(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """Its parts would lie on the disk as they are: the feed must do."""
    await cut_from(filled, tmp_path / "core", clock)
    holder = Holder(tmp_path / "core", clock)
    source = download([holder], tmp_path / "in", clock, keys=OURS)
    assert (await fetch(source, clock))[0] is None
    assert holder.asked == []


@pytest.mark.parametrize("key", [b"", b"x" * 32])
async def test_an_offer_with_a_wrong_key_is_refused(
    filled: Core, tmp_path: Path, clock: FakeClock, key: bytes
) -> None:
    """Before a byte of the file is asked for; the reason says it."""
    await cut_from(filled, tmp_path / "core", clock, keys=THEIRS)
    holder = Holder(tmp_path / "core", clock, keys=THEIRS)

    def altered(offer: SnapshotOffer) -> SnapshotOffer:
        return msgspec.structs.replace(offer, key=key)

    holder.alter_offer = altered
    found, reasons = await fetch(download([holder], tmp_path / "in", clock, keys=OURS), clock)
    assert found is None
    assert reasons == ["key"]
    assert holder.asked == []


async def test_a_shelf_offers_what_its_keys_open(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """After a rotation as long as the older key is held; a plain file not at all where there are keys."""
    await cut_from(filled, tmp_path / "core", clock, keys=OURS)
    files = tmp_path / "core" / "files"
    for keys, offered in ((OURS, 1), (NEWER, 1), (THEIRS, 0), (PLAIN, 0)):
        assert len(SnapshotShelf(files, keys=keys).files()) == offered
    with pytest.raises(SnapshotUnavailable):
        await Holder(tmp_path / "core", clock, keys=THEIRS).offer()
    await cut_from(filled, tmp_path / "plain", clock)
    assert len(SnapshotShelf(tmp_path / "plain" / "files").files()) == 1
    assert SnapshotShelf(tmp_path / "plain" / "files", keys=OURS).files() == []


async def test_a_key_tells_nothing_of_another_file(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """Two files of one node have two keys, and the printed offer holds neither."""
    first = await cut_from(filled, tmp_path / "core", clock, keys=OURS)
    second = await cut_from(filled, tmp_path / "core", clock, keys=OURS, seed=2)
    offers = [first.offer(clock), second.offer(clock)]
    assert len({offer.key for offer in offers} | {OURS.current}) == 3
    for offer in offers:
        assert repr(offer.key) not in repr(offer)
        assert key_id(offer.key) in (first.manifest.key_id, second.manifest.key_id)


async def test_a_wrong_key_stops_a_follower_and_replaces_nothing(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """It says so, asks for nothing new, and with the right key it goes on in the same file."""
    directory = tmp_path / "snapshot"
    first = follower_of(filled, directory, clock, OURS)
    await step_until(first, clock, "following")
    first.close()
    before = sorted(path.name for path in directory.glob("*.db"))
    for keys in (THEIRS, PLAIN):
        wrong = follower_of(filled, directory, clock, keys)
        for _ in range(20):
            clock.advance(await wrong.step())
        assert (wrong.status.phase, wrong.status.reason) == ("stopped", "wrong_key")
        wrong.close()
        with (
            pytest.raises(KeyNotHeld, match=OURS.current_id),
            ReplicaReader(directory, clock=clock, keys=keys).read(),
        ):
            pass
    assert sorted(path.name for path in directory.glob("*.db")) == before
    again = follower_of(filled, directory, clock, NEWER)
    await step_until(again, clock, "following")
    assert again.status.snapshots_built == 0
    again.close()
    reader = ReplicaReader(directory, clock=clock, keys=NEWER)
    assert reader.key_id() == OURS.current_id
    reader.close()


async def test_a_flipped_bit_under_a_follower_is_never_shown(
    filled: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """The page's code catches it, a new snapshot is built beside and swapped in, under the current key."""
    directory = tmp_path / "snapshot"
    follower = follower_of(filled, directory, clock, OURS)
    await step_until(follower, clock, "following")
    follower.close()
    path = SnapshotFolder(directory).current()
    assert path is not None
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 + 100] ^= 1
    path.write_bytes(content)
    again = follower_of(filled, directory, clock, NEWER)
    for _ in range(200):
        clock.advance(await again.step())
        if again.status.phase == "following" and again.status.snapshots_built:
            break
        filled.fill(1)
    assert again.status.snapshots_built == 1
    rebuilt = SnapshotFolder(directory).current()
    assert rebuilt is not None
    assert rebuilt != path
    again.close()
    reader = ReplicaReader(directory, clock=clock, keys=NEWER)
    with reader.read() as view:
        assert view.live_rows() == len(filled.state)
    assert reader.key_id() == NEWER.current_id
    reader.close()
    with pytest.raises(sqlite.WrongKey):
        sqlite.connect(rebuilt, synchronous="NORMAL", keys=OURS)
