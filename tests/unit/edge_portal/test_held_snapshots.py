"""Several shards read as one: an account from its own, what concerns nobody from all, under the oldest label."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cache_sync.documents import ACCOUNT, CREDENTIAL, Document
from cache_sync.errors import NoSnapshot
from cache_sync.replica import ReplicaWriter
from cache_sync.replica_reader import ReplicaReader
from cache_sync.row_hash import SEAL_BYTES
from cache_sync.shards import first_seq, shard_of
from cache_sync.snapshot_folder import SnapshotFolder
from edge_portal.errors import NotHeldHere
from edge_portal.held_snapshots import HeldSnapshots
from tests.unit.cache_sync.feed_world import FakeClock, checked, make_frame

SHARDS = 4
ACCOUNTS = [f"A-{number}" for number in range(40)]
SEAL = b"s" * SEAL_BYTES


def account_in(shard: str) -> str:
    """Name an account of a shard."""
    return next(account for account in ACCOUNTS if shard_of(account, SHARDS) == shard)


def build(folder: Path, shard: str, clock: FakeClock, *, asked_ago: float) -> None:
    """Write a shard's snapshot: its accounts, each with a credential under its own name."""
    rows: list[Document] = []
    for account in ACCOUNTS:
        if shard_of(account, SHARDS) == shard:
            for kind, key in ((ACCOUNT, ""), (CREDENTIAL, f"key of {account}")):
                seq = first_seq(shard) + len(rows) + 1
                rows.append(Document(account, kind, key, seq, b"{}"))
    snapshots = SnapshotFolder(folder)
    path = snapshots.new_build(Random(1))
    writer = ReplicaWriter(path, shard, clock=clock)
    frame = make_frame(rows, shard=shard, seal=SEAL)
    writer.apply([checked(frame)], clock.boot_seconds() - asked_ago)
    writer.write_back()
    writer.close()
    snapshots.adopt(path, rows[-1].seq)


class Disk:
    """Three of four shards, of which the second is the oldest."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.readers: dict[str, ReplicaReader] = {}
        for shard, asked_ago in (("0", 1.0), ("1", 30.0), ("2", 2.0)):
            build(folder / shard, shard, self.clock, asked_ago=asked_ago)
            self.readers[shard] = ReplicaReader(folder / shard, clock=self.clock)
        self.held = HeldSnapshots(self.readers, SHARDS)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return what a node holds."""
    made = Disk(tmp_path)
    yield made
    made.held.close()


def test_an_account_is_read_from_its_own_shard(disk: Disk) -> None:
    """With that shard's position and age."""
    for shard, age in (("0", 1), ("1", 30), ("2", 2)):
        account = account_in(shard)
        with disk.held.read(account) as reading:
            assert reading.document(account, ACCOUNT, "") is not None
            state = reading.state()
        assert (state.shard, round(state.age_seconds)) == (shard, age)
        told = disk.held.state(account)
        assert told is not None
        assert told.shard == shard


def test_what_concerns_nobody_is_as_old_as_the_oldest(disk: Disk) -> None:
    """And credentials are found wherever they lie, with the accounts beside them."""
    with disk.held.read() as reading:
        assert reading.state().shard == "1"
        for shard in disk.readers:
            account = account_in(shard)
            found = reading.credential(f"key of {account}")
            assert found is not None
            assert found.account_id == account
            assert len(reading.documents(account, CREDENTIAL)) == 1
        assert reading.credential("nobody") is None
    state = disk.held.state()
    assert state is not None
    assert round(state.age_seconds) == 30


def test_a_shard_that_is_not_held_is_named(disk: Disk) -> None:
    """As what it is: not an account that does not exist."""
    account = account_in("3")
    with pytest.raises(NotHeldHere, match="shard 3"), disk.held.read(account):
        pass
    with pytest.raises(NotHeldHere), disk.held.read() as reading:
        reading.document(account, ACCOUNT, "")
    assert disk.held.state(account) is None
    assert not disk.held.are_all


def test_a_node_is_ready_when_every_shard_is(disk: Disk, tmp_path: Path) -> None:
    """One that has nothing yet keeps the others from saying how old everything is."""
    assert disk.held.ready()
    empty = ReplicaReader(tmp_path / "3", clock=disk.clock)
    held = HeldSnapshots({**disk.readers, "3": empty}, SHARDS)
    assert held.are_all
    assert not held.ready()
    assert held.state() is None
    with pytest.raises(NoSnapshot), held.read():
        pass
    with held.read(account_in("0")) as reading:
        assert reading.state().shard == "0"


def test_a_proof_is_of_a_shard_that_has_one(disk: Disk, tmp_path: Path) -> None:
    """Whichever it is, it proves a restore."""
    empty = ReplicaReader(tmp_path / "3", clock=disk.clock)
    proof = HeldSnapshots({"3": empty, **disk.readers}, SHARDS).proof()
    assert proof is not None
    assert (proof.shard, proof.seal) == ("0", SEAL)
    assert HeldSnapshots({"3": empty}, SHARDS).proof() is None


def test_one_shard_alone_is_read_as_it_is(disk: Disk) -> None:
    """A core with one shard has every account in it."""
    held = HeldSnapshots({"0": disk.readers["0"]}, 1)
    assert held.are_all
    with held.read() as whole:
        assert whole.state().shard == "0"
    with held.read("any account") as one:
        assert one.state().shard == "0"
