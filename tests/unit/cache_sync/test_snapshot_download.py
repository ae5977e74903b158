"""Fetching a snapshot file: it goes on where it ended, and nothing wrong is ever taken for a file."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cache_sync.errors import SnapshotRefused, SnapshotUnavailable
from cache_sync.snapshot_file import Need, SnapshotOffer
from cache_sync.snapshot_file_contents import read_contents
from cache_sync.snapshot_source import Fetching
from cache_sync.sqlite import connect
from tests.unit.cache_sync.feed_world import Core, FakeClock
from tests.unit.cache_sync.file_world import (
    CHUNK_BYTES,
    DOWNLOADS,
    Holder,
    altered,
    cut_from,
    download,
    fetch,
)


@pytest.fixture
async def holder(core: Core, tmp_path: Path, clock: FakeClock) -> Holder:
    """Return a node that hands out a file of some dozen chunks."""
    core.fill(100, b'{"text": "' + b"x" * 300 + b'"}')
    await cut_from(core, tmp_path / "core", clock)
    return Holder(tmp_path / "core", clock)


@pytest.fixture
def arriving(tmp_path: Path) -> Path:
    """Return where files arrive."""
    return tmp_path / "download"


def names(folder: Path) -> list[str]:
    """List what lies in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


async def test_a_file_arrives_whole_with_the_age_of_its_offer(
    holder: Holder, core: Core, arriving: Path, clock: FakeClock
) -> None:
    """It is the file that was offered, but for its age: that counts from the sending of the question, here."""
    clock.advance(1000)
    far = FakeClock("another machine", boot_seconds=77.0)
    found, reasons = await fetch(download([holder], arriving, far), far)
    assert found is not None
    assert reasons == []
    contents = read_contents(found.path)
    assert (contents.head.head, contents.head.live_rows) == (core.head, 100)
    true_age = clock.boot - core.closed_at[found.manifest.as_of]
    assert contents.as_of.boot_id == "another machine"
    now_aged = contents.as_of.age_seconds + far.boot - contents.as_of.asked_boot_seconds
    assert true_age <= now_aged <= true_age + 2


async def test_the_age_of_a_long_download_goes_on_growing(
    holder: Holder, core: Core, arriving: Path, clock: FakeClock
) -> None:
    """Its T was as old as told when the question was sent; however long the file took, it is older since."""

    def slow(_: int, content: bytes) -> bytes:
        clock.advance(60)
        return content

    holder.alter_part = slow
    found, _ = await fetch(download([holder], arriving, clock), clock)
    assert found is not None
    as_of = read_contents(found.path).as_of
    true_age = clock.boot - core.closed_at[as_of.as_of]
    assert as_of.age_seconds + clock.boot - as_of.asked_boot_seconds >= true_age


async def test_an_interrupted_download_goes_on_at_its_last_chunk(
    holder: Holder, arriving: Path, clock: FakeClock
) -> None:
    """Whichever answer is the last one, the next life of the node asks for nothing a second time."""
    whole, _ = await fetch(download([holder], arriving, clock), clock)
    assert whole is not None
    chunks = len(whole.manifest.chunks)
    whole.path.unlink()
    for stop_after in range(1, chunks):
        left = [stop_after]

        def dies(_: int, content: bytes, left: list[int] = left) -> bytes:
            if left[0] == 0:
                raise SnapshotUnavailable("silent", "gone away")
            left[0] -= 1
            return content

        holder.alter_part = dies
        first = download([holder], arriving, clock)
        assert isinstance(await first.step(Need()), Fetching)
        first.close()
        holder.alter_part = lambda _, content: content
        holder.asked.clear()
        found, _ = await fetch(download([holder], arriving, clock), clock)
        assert found is not None
        assert holder.asked[0][0] == stop_after * CHUNK_BYTES
        found.path.unlink()


@pytest.mark.parametrize("left_bytes", [1, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 500])
async def test_a_partial_file_of_any_length_is_gone_on_with(
    holder: Holder, arriving: Path, clock: FakeClock, left_bytes: int
) -> None:
    """A node that was killed while it wrote asks from the very byte on."""
    whole, _ = await fetch(download([holder], arriving, clock), clock)
    assert whole is not None
    shelved = holder.desk._shelves["0"].newest()
    assert shelved is not None
    content = shelved.path.read_bytes()
    whole.path.write_bytes(content[:left_bytes])
    holder.asked.clear()
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is not None
    assert reasons == []
    assert holder.asked[0][0] == left_bytes


@pytest.mark.parametrize("damaged_at", [0, CHUNK_BYTES // 2, 2 * CHUNK_BYTES + 5])
async def test_a_damaged_partial_file_is_believed_only_as_far_as_it_is_right(
    holder: Holder, arriving: Path, clock: FakeClock, damaged_at: int
) -> None:
    """After power loss anything may stand in it; nobody is blamed for that, and what is wrong is fetched again."""
    whole, _ = await fetch(download([holder], arriving, clock), clock)
    assert whole is not None
    shelved = holder.desk._shelves["0"].newest()
    assert shelved is not None
    content = bytearray(shelved.path.read_bytes()[: 2 * CHUNK_BYTES + CHUNK_BYTES // 2])
    content[damaged_at] ^= 1
    whole.path.write_bytes(content)
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is not None
    assert reasons == []


async def test_a_partial_file_of_another_offer_is_dropped(
    holder: Holder, core: Core, tmp_path: Path, arriving: Path, clock: FakeClock
) -> None:
    """When the offer has changed meanwhile, the new file is fetched, and nothing of the old one stays."""
    await fetch(download([holder], arriving, clock), clock)
    (old,) = names(arriving)
    core.fill(3, b'{"new": 1}')
    await cut_from(core, tmp_path / "core", clock, seed=2)
    found, _ = await fetch(download([holder], arriving, clock), clock)
    assert found is not None
    assert found.manifest.seq == core.head
    assert names(arriving) == [found.path.name]
    assert found.path.name != old


async def test_a_file_that_is_removed_meanwhile_is_replaced_by_the_next(
    holder: Holder, core: Core, tmp_path: Path, arriving: Path, clock: FakeClock
) -> None:
    """The source keeps two; whoever was too slow begins with the new one."""
    source = download([holder], arriving, clock)

    def vanish(begin: int, content: bytes) -> bytes:
        if begin > 3 * CHUNK_BYTES:
            raise SnapshotUnavailable("gone")
        return content

    holder.alter_part = vanish
    waiting = await source.step(Need())
    assert isinstance(waiting, Fetching)
    assert waiting.reason == "gone"
    assert names(arriving) == []
    holder.alter_part = lambda _, content: content
    core.fill(3, b'{"new": 1}')
    await cut_from(core, tmp_path / "core", clock, seed=2)
    found, _ = await fetch(source, clock)
    assert found is not None
    assert found.manifest.seq == core.head


async def test_every_damaged_chunk_is_refused_and_the_partial_removed(
    holder: Holder, arriving: Path, clock: FakeClock
) -> None:
    """One flipped bit anywhere in the file: `chunk`; what was fetched is removed, and the feed must do in the end."""
    shelved = holder.desk._shelves["0"].newest()
    assert shelved is not None
    size = shelved.manifest.file_bytes
    for at in range(0, size, size // 23):

        def flip(begin: int, content: bytes, at: int = at) -> bytes:
            if not begin <= at < begin + len(content):
                return content
            damaged = bytearray(content)
            damaged[at - begin] ^= 1 << (at % 8)
            return bytes(damaged)

        holder.alter_part = flip
        found, reasons = await fetch(download([holder], arriving, clock), clock)
        assert found is None
        assert reasons == ["chunk"]
        assert names(arriving) == []


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda begin, content: content + b"x", "too_large"),
        (lambda begin, content: b"", "truncated"),
    ],
)
async def test_more_or_nothing_instead_of_a_part_is_refused(
    holder: Holder,
    arriving: Path,
    clock: FakeClock,
    alter: Callable[[int, bytes], bytes],
    reason: str,
) -> None:
    """More bytes than were asked for, or an answer without any."""
    holder.alter_part = alter
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == [reason]
    assert names(arriving) == []


async def test_shorter_answers_are_put_together(
    holder: Holder, arriving: Path, clock: FakeClock
) -> None:
    """A source may answer with less than it was asked for."""
    holder.alter_part = lambda _, content: content[:1000]
    found, _ = await fetch(download([holder], arriving, clock), clock)
    assert found is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seq": 99}, "contents"),
        ({"live_rows": 99}, "contents"),
        ({"rows": 101}, "contents"),
        ({"live_hash": 5}, "contents"),
        ({"chain": b"0" * 16}, "contents"),
        ({"epoch": 7}, "contents"),
        ({"floor": 1}, "contents"),
    ],
)
async def test_a_file_that_is_not_what_its_manifest_says_is_refused(
    holder: Holder, arriving: Path, clock: FakeClock, changes: dict[str, object], reason: str
) -> None:
    """Even where a trusted node has signed the manifest."""
    holder.alter_offer = lambda offer: altered(offer, **changes)
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == [reason]
    assert names(arriving) == []


def unsigned(offer: SnapshotOffer) -> SnapshotOffer:
    """Damage a signature."""
    return msgspec.structs.replace(offer, signature=b"?" + offer.signature[1:])


def other_signer(offer: SnapshotOffer) -> SnapshotOffer:
    """Name a signer that nobody trusts."""
    return msgspec.structs.replace(offer, signer="stranger")


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (unsigned, "signature"),
        (other_signer, "signer"),
        (lambda offer: msgspec.structs.replace(offer, manifest=b"{"), "signature"),
        (lambda offer: altered(offer, shard="3"), "shard"),
    ],
)
async def test_nothing_is_fetched_of_an_offer_that_is_refused(
    holder: Holder,
    arriving: Path,
    clock: FakeClock,
    alter: Callable[[SnapshotOffer], SnapshotOffer],
    reason: str,
) -> None:
    """Not one byte of the file is asked for, and each attempt comes later than the one before."""
    holder.alter_offer = alter
    before = clock.boot
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == [reason]
    assert holder.asked == []
    assert clock.boot - before > 1.0


@pytest.mark.parametrize(
    "need", [Need(epoch_min=2), Need(1, 101), Need(unwanted=frozenset({"it"}))]
)
async def test_an_honest_file_that_is_of_no_use_is_not_waited_for(
    holder: Holder, arriving: Path, clock: FakeClock, need: Need
) -> None:
    """The feed must do, at once."""
    if need.unwanted:
        shelved = holder.desk._shelves["0"].newest()
        assert shelved is not None
        need = Need(unwanted=frozenset({shelved.manifest.name}))
    assert await download([holder], arriving, clock).step(need) is None
    assert holder.asked == []


async def test_another_node_is_asked_where_one_hands_out_what_is_wrong(
    holder: Holder, core: Core, tmp_path: Path, arriving: Path, clock: FakeClock
) -> None:
    """A node whose file arrived wrong twice is passed over for one whose file is right."""
    await cut_from(core, tmp_path / "east", clock, signer="east", seed=4)
    east = Holder(tmp_path / "east", clock, "east")
    holder.alter_part = lambda _, content: bytes(len(content))
    found, reasons = await fetch(download([holder, east], arriving, clock), clock)
    assert found is not None
    assert reasons == ["chunk"]
    assert east.asked
    found.path.unlink()


async def test_a_node_whose_file_arrived_wrong_is_asked_again_later(
    holder: Holder, arriving: Path, clock: FakeClock
) -> None:
    """It, or the line, may be mended; until then its file is none, and what was refused stays told."""
    source = download([holder], arriving, clock)
    holder.alter_part = lambda _, content: bytes(len(content))
    assert await fetch(source, clock) == (None, ["chunk"])
    holder.alter_part = lambda _, content: content
    holder.asked.clear()
    assert (await fetch(source, clock))[0] is None
    assert (holder.asked, source.refused) == ([], "chunk")
    clock.advance(DOWNLOADS.wrong_seconds)
    found, _ = await fetch(source, clock)
    assert found is not None
    assert source.refused == ""
    found.path.unlink()


async def test_the_preferred_node_is_asked_unless_its_file_is_old(
    holder: Holder, core: Core, tmp_path: Path, arriving: Path, clock: FakeClock
) -> None:
    """A day is old."""
    east = Holder(tmp_path / "east", clock, "east")
    clock.advance(3600)
    core.fill(3, b'{"new": 1}')
    await cut_from(core, tmp_path / "east", clock, signer="east", seed=4)
    found, _ = await fetch(download([holder, east], arriving, clock), clock)
    assert found is not None
    assert (found.manifest.seq, east.asked) == (100, [])
    clock.advance(24 * 3600)
    core.fill(3, b'{"new": 2}')
    await cut_from(core, tmp_path / "east", clock, signer="east", seed=5)
    found, _ = await fetch(download([holder, east], arriving, clock), clock)
    assert found is not None
    assert found.manifest.seq == core.head


async def test_a_full_disk_is_a_reason_to_keep_what_there_is(
    holder: Holder, arriving: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`no_space`, whether it is seen before or strikes in the middle; the partial is removed."""
    real = os.pwrite
    written = [0]

    def full(file: int, content: bytes, at: int) -> int:
        written[0] += 1
        if written[0] > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == ["no_space"]
    assert names(arriving) == []
    monkeypatch.undo()
    monkeypatch.setattr("cache_sync.snapshot_file_cut.SPARE_BYTES", 1 << 60)
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == ["no_space"]


@pytest.mark.parametrize(("reason", "seconds"), [("silent", 30), ("being_made", 300)])
async def test_what_does_not_come_is_waited_for_with_patience_that_ends(
    holder: Holder, arriving: Path, clock: FakeClock, reason: str, seconds: float
) -> None:
    """Then the feed must do."""

    def refuse(_: SnapshotOffer) -> SnapshotOffer:
        raise SnapshotUnavailable(reason, retry_after_seconds=2.0)

    holder.alter_offer = refuse
    before = clock.boot
    found, reasons = await fetch(download([holder], arriving, clock), clock)
    assert found is None
    assert reasons == [reason]
    assert seconds <= clock.boot - before <= seconds + 20


async def test_nobody_to_ask_is_no_file(arriving: Path, clock: FakeClock) -> None:
    """A node without anybody whose signature it can check reads the feed."""
    assert await download([], arriving, clock).step(Need()) is None


async def test_clearing_removes_what_was_fetched(
    holder: Holder, arriving: Path, clock: FakeClock
) -> None:
    """Once it is not needed any more it takes no place."""
    source = download([holder], arriving, clock)
    await fetch(source, clock)
    assert names(arriving) != []
    source.clear()
    assert names(arriving) == []


def test_refusals_have_codes() -> None:
    """What a status shows is a code; the sentence is for the log."""
    error = SnapshotRefused("chunk", "chunk 3 is not the one that was signed")
    assert error.reason == "chunk"
    assert str(error) == "chunk 3 is not the one that was signed (chunk)"


async def test_a_file_of_a_later_version_is_for_nodes_that_read_it(
    core: Core, tmp_path: Path, arriving: Path, clock: FakeClock
) -> None:
    """An older release asks for no byte of it; a newer one gets every body as it was written."""
    body = b'{ "later": 1.0,\t"later": null }'
    core.commit([(("a", "usage", "k"), body)], version=2)
    await cut_from(core, tmp_path / "core", clock)
    holder = Holder(tmp_path / "core", clock)
    found, _ = await fetch(download([holder], arriving, clock, known_versions={"usage": 1}), clock)
    assert (found, holder.asked) == (None, [])
    found, _ = await fetch(download([holder], arriving, clock, known_versions={"usage": 2}), clock)
    assert found is not None
    assert found.manifest.versions == {"usage": 2}
    connection = connect(found.path, synchronous="NORMAL", read_only=True)
    assert connection.execute("SELECT version, body FROM documents").fetchall() == [(2, body)]
    connection.close()
