"""Snapshot files: what is cut is one barrier, what is offered is whole, and what is wrong is refused by its name."""

import errno
import os
from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.documents import DEFAULT_SHARD
from cache_sync.errors import SnapshotRefused, SnapshotUnavailable, StorageFailed, UnknownShard
from cache_sync.file_keys import FileKeys
from cache_sync.packed_bodies import unpack_body
from cache_sync.places import Places
from cache_sync.snapshot_file import (
    CHUNK_BYTES_MAX,
    FILE_BYTES_MAX,
    Need,
    SnapshotManifest,
    SnapshotOffer,
    decode_manifest,
    decode_offer,
    encode_manifest,
    encode_offer,
    file_name,
    is_file_name,
    open_offer,
    trusting,
)
from cache_sync.snapshot_file_cut import check_file, copy_closed, copy_open, cut
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import connect
from tests.unit.cache_sync.feed_world import Core, FakeClock
from tests.unit.cache_sync.file_world import altered, check_signature, cut_from, sign


async def offered(core: Core, folder: Path, clock: FakeClock) -> SnapshotOffer:
    """Cut a file and return its offer."""
    core.fill(20)
    shelved = await cut_from(core, folder, clock)
    return shelved.kept.offer(clock)


async def test_a_cut_file_is_the_core_at_one_barrier(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """Position, rows, hashes, chain and T are those of the core's head; tombstones are counted as rows."""
    core.fill(30, b'{"n": 1}')
    core.commit([(("account-3", "payment", "p"), None)])
    shelved = await cut_from(core, tmp_path, clock)
    manifest = shelved.manifest
    assert (manifest.epoch, manifest.seq) == (1, core.head)
    assert (manifest.rows, manifest.live_rows) == (30, 29)
    assert manifest.versions == {"payment": 1}
    assert manifest.as_of in core.closed_at
    assert shelved.path.stat().st_size == manifest.file_bytes
    rows = connect(shelved.path, synchronous="NORMAL").execute(
        "SELECT account_id, kind, key, body FROM documents WHERE body IS NOT NULL"
    )
    assert {(row[0], row[1], row[2]): unpack_body(row[3]) for row in rows} == core.state
    check_file(shelved, check_signature)


async def test_an_open_snapshot_can_be_cut_while_it_is_written(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """What is still in the write-ahead log is in the file too."""
    core.fill(5)
    await cut_from(core, tmp_path, clock)
    current = SnapshotFolder(tmp_path / "replica").current()
    assert current is not None
    writing = connect(current, synchronous="NORMAL")
    writing.execute("UPDATE shard_head SET floor = 1")
    with pytest.raises(StorageFailed, match="write-ahead log"):
        cut(
            SnapshotShelf(tmp_path / "closed"),
            copy_closed(current),
            signer="core",
            sign=sign,
            rng=Random(5),
        )
    shelved = cut(
        SnapshotShelf(tmp_path / "open"),
        copy_open(current, clock=clock),
        signer="core",
        sign=sign,
        rng=Random(5),
    )
    writing.close()
    assert shelved.manifest.floor == 1
    check_file(shelved, check_signature)


async def test_the_newest_two_are_kept(core: Core, tmp_path: Path, clock: FakeClock) -> None:
    """An older file is still found by its name after the next was cut, and gone after the one after that."""
    shelf = SnapshotShelf(tmp_path / "files")
    names = []
    for number in range(4):
        core.fill(number + 1, b'{"n": %d}' % number)
        names.append((await cut_from(core, tmp_path, clock, seed=number)).manifest.name)
    assert [one.manifest.name for one in shelf.files()] == [names[3], names[2]]
    assert shelf.find(names[2]) is not None
    assert shelf.find(names[0]) is None
    assert len(list((tmp_path / "files").iterdir())) == 4


async def test_a_crash_at_any_step_of_a_cut_leaves_the_old_offer(
    core: Core, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step of putting a file there is the last one, what is offered is whole: the old file or the new."""
    core.fill(5)
    first = await cut_from(core, tmp_path, clock)
    shelf = SnapshotShelf(tmp_path / "files")
    real_replace, real_sync = Path.replace, os.fsync
    left = [0]

    def spend() -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1

    def replace(path: Path, target: Path) -> Path:
        spend()
        return real_replace(path, target)

    def fsync(descriptor: int) -> None:
        spend()
        real_sync(descriptor)

    current = SnapshotFolder(tmp_path / "replica").current()
    assert current is not None
    for steps in range(6):
        left[0] = steps
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(KeyboardInterrupt):
            cut(shelf, copy_closed(current), signer="core", sign=sign, rng=Random(100 + steps))
        monkeypatch.undo()
        newest = SnapshotShelf(tmp_path / "files").newest()
        assert newest is not None
        check_file(newest, check_signature)
        if steps < 5:
            assert newest.manifest == first.manifest


async def test_a_full_disk_leaves_what_was_offered(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """A copy that does not fit is removed, and the offer before it stands."""
    core.fill(5)
    first = await cut_from(core, tmp_path, clock)

    def full(target: Path, _: FileKeys) -> None:
        target.write_bytes(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    shelf = SnapshotShelf(tmp_path / "files")
    with pytest.raises(StorageFailed, match="No space left"):
        cut(shelf, full, signer="core", sign=sign, rng=Random(9))
    newest = shelf.newest()
    assert newest is not None
    assert newest.manifest == first.manifest
    assert len(list((tmp_path / "files").iterdir())) == 2


async def test_what_is_not_a_replica_is_not_cut(tmp_path: Path) -> None:
    """A database of something else, and a file that is none, are refused."""
    other = tmp_path / "other.db"
    connection = connect(other, synchronous="NORMAL")
    connection.execute("CREATE TABLE secrets (word TEXT)")
    connection.close()
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is not a database at all" * 100)
    for source in (other, garbage):
        with pytest.raises(SnapshotRefused) as refused:
            cut(
                SnapshotShelf(tmp_path / "files"),
                copy_closed(source),
                signer="core",
                sign=sign,
                rng=Random(9),
            )
        assert refused.value.reason == "not_a_replica"


async def test_rows_that_the_head_does_not_sum_up_are_not_cut(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """A replica whose rows went wrong is noticed before it is signed."""
    core.fill(5)
    await cut_from(core, tmp_path, clock)
    current = SnapshotFolder(tmp_path / "replica").current()
    assert current is not None
    connection = connect(current, synchronous="NORMAL")
    connection.execute("DELETE FROM documents WHERE seq = 3")
    connection.close()
    with pytest.raises(SnapshotRefused) as refused:
        cut(
            SnapshotShelf(tmp_path / "files"),
            copy_closed(current),
            signer="core",
            sign=sign,
            rng=Random(9),
        )
    assert refused.value.reason == "contents"


async def test_an_offers_age_is_never_younger_than_the_truth(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """It grows with time, and after a reboot of the node that offers it is a lower bound."""
    core.fill(3)
    shelved = await cut_from(core, tmp_path, clock)
    closed_at = core.closed_at[shelved.manifest.as_of]
    clock.advance(100)
    offer = shelved.kept.offer(clock)
    assert clock.boot - closed_at <= offer.age_seconds <= clock.boot - closed_at + 1
    assert not offer.age_at_least
    rebooted = shelved.kept.offer(FakeClock("boot-2", boot_seconds=50.0))
    assert rebooted.age_at_least
    assert rebooted.age_seconds >= 50


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 3}, "format"),
        ({"format": 2}, "malformed"),
        ({"key_id": "0011aabb"}, "malformed"),
        ({"schema": 5}, "schema"),
        ({"shard": "1", "seq": (1 << 40) + 5}, "shard"),
        ({"seq": 1 << 41}, "shard"),
        ({"epoch": 0}, "malformed"),
        ({"versions": {"payment": 99}}, "unknown_version"),
        ({"dictionaries": [1, 99]}, "unknown_version"),
        ({"name": "../../etc/passwd"}, "malformed"),
        ({"chunks": []}, "malformed"),
        ({"sha256": "0"}, "malformed"),
        ({"chunk_bytes": CHUNK_BYTES_MAX + 1}, "too_large"),
        ({"file_bytes": FILE_BYTES_MAX + 1}, "too_large"),
        ({"rows": 0}, "malformed"),
        ({"floor": 1000}, "malformed"),
        ({"chain": b"short"}, "malformed"),
    ],
)
async def test_an_offer_that_breaks_a_rule_is_refused_by_name(
    core: Core, tmp_path: Path, clock: FakeClock, changes: dict[str, object], reason: str
) -> None:
    """Although a trusted node signed it."""
    offer = altered(await offered(core, tmp_path, clock), **changes)
    with pytest.raises(SnapshotRefused) as refused:
        open_offer(offer, DEFAULT_SHARD, Need(), check_signature)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        (Need(epoch_min=2), "older_epoch"),
        (Need(epoch_min=1, seq_min=21), "behind"),
        (Need(rows_max=19), "unwanted"),
    ],
)
async def test_an_offer_that_does_not_lead_on_is_refused_by_name(
    core: Core, tmp_path: Path, clock: FakeClock, need: Need, reason: str
) -> None:
    """One of an older epoch, below the seq that is needed, or larger than what is missing."""
    offer = await offered(core, tmp_path, clock)
    with pytest.raises(SnapshotRefused) as refused:
        open_offer(offer, DEFAULT_SHARD, need, check_signature)
    assert refused.value.reason == reason
    assert open_offer(offer, DEFAULT_SHARD, Need(1, 20, 20), check_signature).seq == 20


async def test_every_flipped_bit_of_an_offer_is_refused_or_changes_only_the_age(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """No byte of manifest, signer or signature can be changed; the age is the answering node's word."""
    offer = await offered(core, tmp_path, clock)
    content = encode_offer(offer)
    for at in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        reason = ""
        changed = offer
        try:
            changed = decode_offer(bytes(damaged))
            assert open_offer(changed, DEFAULT_SHARD, Need(), check_signature) == decode_manifest(
                offer.manifest
            )
        except SnapshotRefused as error:
            reason = error.reason
        assert reason in {"", "malformed", "signature", "signer"}
        if not reason:
            ages = changed.age_seconds, changed.age_at_least
            assert changed == msgspec.structs.replace(
                offer, age_seconds=ages[0], age_at_least=ages[1]
            )


async def test_every_flipped_byte_of_a_shelved_file_is_found(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """`core snapshot verify` looks at every byte."""
    core.fill(20)
    shelved = await cut_from(core, tmp_path, clock)
    content = shelved.path.read_bytes()
    for at in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        shelved.path.write_bytes(damaged)
        with pytest.raises(SnapshotRefused) as refused:
            check_file(shelved, check_signature)
        assert refused.value.reason == "chunk"
    shelved.path.write_bytes(content[:-1])
    with pytest.raises(SnapshotRefused) as refused:
        check_file(shelved, check_signature)
    assert refused.value.reason == "truncated"
    assert SnapshotShelf(tmp_path / "files").newest() is None, "a truncated file is not offered"


def test_names_that_are_paths_are_no_names(tmp_path: Path) -> None:
    """A name that came from elsewhere is never taken for a path."""
    assert is_file_name(file_name("0", 1, 20, 7))
    shelf = SnapshotShelf(tmp_path / "files")
    (tmp_path / "files").mkdir()
    (tmp_path / "secret.db").write_bytes(b"x")
    (tmp_path / "secret.db.offer").write_bytes(b"x")
    for name in ("../secret.db", "secret.db", "", ".", "0-1-2-3.db", "/etc/passwd"):
        assert not is_file_name(name)
        assert shelf.find(name) is None


def test_only_the_holder_of_a_trusted_key_is_believed() -> None:
    """An unknown signer, one without a key, and a wrong signature have names of their own."""
    check = trusting({"core": "K", "west": ""}, lambda content, mark, key: mark == content + b"K")
    check("core", b"m", b"mK")
    for signer, signature, reason in (
        ("north", b"mK", "signer"),
        ("west", b"mK", "signer"),
        ("core", b"m?", "signature"),
    ):
        with pytest.raises(SnapshotRefused) as refused:
            check(signer, b"m", signature)
        assert refused.value.reason == reason


async def test_a_desk_bounds_downloads_and_orders_what_is_not_there(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """The third of two is told to come back, a node's second too; without a file one is ordered, or there is none."""
    core.fill(5)
    shelved = await cut_from(core, tmp_path, clock)
    shelf = SnapshotShelf(tmp_path / "files")
    desk = SnapshotDesk({DEFAULT_SHARD: shelf}, clock=clock, downloads=Places(of_all=2, of_one=1))
    name = shelved.manifest.name
    with desk.download(DEFAULT_SHARD, name, "east"):
        with pytest.raises(SnapshotUnavailable), desk.download(DEFAULT_SHARD, name, "east"):
            pass
        with desk.download(DEFAULT_SHARD, name, "west"):
            pass
        with desk.download(DEFAULT_SHARD, name, "west"):
            with pytest.raises(SnapshotUnavailable) as busy:
                desk.download(DEFAULT_SHARD, name, "north").__enter__()
            assert (busy.value.reason, busy.value.retry_after_seconds) == ("busy", 1.0)
    with desk.download(DEFAULT_SHARD, name, "east") as path:
        assert path == shelved.path
    with pytest.raises(UnknownShard):
        await desk.offer("9")
    ordered: list[str] = []

    def order(shard: str) -> float | None:
        ordered.append(shard)
        return 5.0 if len(ordered) == 1 else None

    async def nothing(_: SnapshotManifest) -> bool:
        return False

    empty = SnapshotDesk({DEFAULT_SHARD: shelf}, clock=clock, accept=nothing, order=order)
    for reason, seconds in (("being_made", 5.0), ("none", 0.0)):
        with pytest.raises(SnapshotUnavailable) as none:
            await empty.offer(DEFAULT_SHARD)
        assert (none.value.reason, none.value.retry_after_seconds) == (reason, seconds)


async def test_a_manifest_says_bytes_as_the_contract_does(
    core: Core, tmp_path: Path, clock: FakeClock
) -> None:
    """On the wire the size is called `bytes`, and binary values are base64."""
    offer = await offered(core, tmp_path, clock)
    members = msgspec.json.decode(offer.manifest)
    assert members["bytes"] == (tmp_path / "files" / members["name"]).stat().st_size
    assert set(members) == {
        *("format", "schema", "shard", "epoch", "seq", "chain", "seal", "live_hash", "live_rows"),
        *("rows", "floor", "as_of", "versions", "name", "bytes", "sha256", "chunk_bytes", "chunks"),
        "dictionaries",
        "key_id",
    }
    assert encode_manifest(decode_manifest(offer.manifest)) == offer.manifest
