"""The replica: what is applied, what a reader sees of it, and how old it says it is."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cache_sync.documents import (
    CREDENTIAL,
    CredentialBody,
    Document,
    PaymentBody,
    encode_body,
)
from cache_sync.errors import (
    DamagedSnapshot,
    InvalidFrame,
    NoSnapshot,
    StorageFailed,
    UnknownVersion,
)
from cache_sync.frames import Frame, Position
from cache_sync.replica import ReplicaWriter
from cache_sync.replica_reader import ReplicaReader, decode_body
from cache_sync.snapshot_folder import SnapshotFolder
from tests.unit.cache_sync.feed_world import (
    NOON,
    FakeClock,
    checked,
    make_document,
    make_frame,
    read_all,
)


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    """Return an empty snapshot folder."""
    return SnapshotFolder(tmp_path / "snapshot")


def apply(writer: ReplicaWriter, frames: list[Frame], asked: float) -> int:
    """Check frames and apply them, as a follower does."""
    return writer.apply([checked(frame) for frame in frames], asked)


def build(folder: SnapshotFolder, clock: FakeClock, frames: list[Frame], seed: int = 1) -> Path:
    """Build a snapshot of frames and make it the current one."""
    path = folder.new_build(Random(seed))
    writer = ReplicaWriter(path, "0", clock=clock)
    apply(writer, frames, clock.boot_seconds())
    writer.verify()
    cursor = writer.held().cursor
    writer.write_back()
    writer.close()
    return folder.adopt(path, cursor)


BASE = [make_document(1), make_document(2)]


@pytest.fixture
def writer(folder: SnapshotFolder, clock: FakeClock) -> Iterator[ReplicaWriter]:
    """Return the writer of a current snapshot at seq 2."""
    path = build(folder, clock, [make_frame(BASE)])
    made = ReplicaWriter(path, "0", clock=clock)
    yield made
    made.close()


@pytest.fixture
def reader(folder: SnapshotFolder, clock: FakeClock) -> Iterator[ReplicaReader]:
    """Return a worker's reader."""
    made = ReplicaReader(folder.directory, clock=clock)
    yield made
    made.close()


def test_rows_cursor_and_label_move_together(writer: ReplicaWriter, reader: ReplicaReader) -> None:
    """A refused frame moves none of them."""
    before = read_all(reader)
    good = make_frame([make_document(3)], onto=BASE, after=2, as_of=NOON.replace(hour=13))
    bad = make_frame([make_document(5)], onto=BASE, after=4, as_of=NOON.replace(hour=14))
    with pytest.raises(InvalidFrame, match="gap"):
        apply(writer, [good, bad], 0.0)
    assert read_all(reader)[1] == before[1]
    assert read_all(reader)[0].as_of == NOON
    apply(writer, [good], 0.0)
    seen, state = read_all(reader)
    assert (seen.cursor, seen.as_of, len(state)) == (3, NOON.replace(hour=13), 3)
    assert seen.position == Position(1, "0", 3)


def test_readers_get_barriers_only(writer: ReplicaWriter) -> None:
    """A page that did not reach the head is a mixture of versions."""
    page = make_frame([make_document(3)], onto=BASE, after=2, barrier=False, head=9)
    with pytest.raises(InvalidFrame, match="barrier"):
        apply(writer, [page], 0.0)


def test_two_documents_at_one_seq_are_a_fork(writer: ReplicaWriter, reader: ReplicaReader) -> None:
    """The database's own key refuses what the frame's guards cannot see."""
    writer._connection.execute("UPDATE shard_head SET head = 1")
    with pytest.raises(InvalidFrame, match="collision"):
        apply(writer, [make_frame([make_document(2, account_id="b")], onto=BASE, after=1)], 0.0)
    assert len(read_all(reader)[1]) == 2


def test_an_older_version_never_replaces_a_newer_one(
    writer: ReplicaWriter, reader: ReplicaReader
) -> None:
    """The newest seq of a document wins in any order of arrival."""
    apply(writer, [make_frame([Document("a", "payment", "1", 3, b"new")], onto=BASE, after=2)], 0.0)
    _, state = read_all(reader)
    assert state["a", "payment", "1"] == b"new"
    assert len(state) == 2


def test_a_version_below_what_is_held_is_left_out(
    writer: ReplicaWriter, reader: ReplicaReader
) -> None:
    """Even a cursor that was set back does not bring an old balance back."""
    apply(writer, [make_frame([Document("a", "payment", "1", 5, b"new")], onto=BASE, after=2)], 0.0)
    writer._connection.execute("UPDATE shard_head SET head = 2")
    newer = [*BASE, Document("a", "payment", "1", 5, b"new")]
    apply(
        writer, [make_frame([Document("a", "payment", "1", 4, b"old")], onto=newer, after=2)], 0.0
    )
    assert read_all(reader)[1]["a", "payment", "1"] == b"new"


def test_the_same_t_never_looks_younger(
    writer: ReplicaWriter, folder: SnapshotFolder, reader: ReplicaReader, clock: FakeClock
) -> None:
    """An answer that is applied again after a restart keeps the age that it had."""
    heartbeat = make_frame([], onto=BASE, after=2, upto=2, head=2, as_of=NOON.replace(minute=1))
    apply(writer, [heartbeat], clock.boot_seconds())
    clock.advance(60)
    apply(writer, [heartbeat], clock.boot_seconds())
    assert read_all(reader)[0].age_seconds >= 60


def test_tombstones_go_when_the_source_forgets_them(
    writer: ReplicaWriter, reader: ReplicaReader
) -> None:
    """The replica's floor follows its source's, so that it can be a source itself."""
    apply(writer, [make_frame([Document("a", "payment", "1", 3, None)], onto=BASE, after=2)], 0.0)
    count = "SELECT count(*) FROM documents"
    assert writer._connection.execute(count).fetchone() == (2,)
    left = [make_document(2)]
    apply(writer, [make_frame([], onto=left, after=3, upto=3, head=3, floor=3)], 0.0)
    assert writer._connection.execute(count).fetchone() == (1,)
    assert writer.held().floor == 3
    assert read_all(reader)[0].floor == 3


def test_a_staged_file_cannot_be_read_before_its_barrier(
    folder: SnapshotFolder, clock: FakeClock
) -> None:
    """A build that is given to readers too early is noticed by both sides."""
    path = folder.new_build(Random(1))
    writer = ReplicaWriter(path, "0", clock=clock)
    writer.stage(checked(make_frame([make_document(1)], barrier=False, head=2)))
    with pytest.raises(DamagedSnapshot, match="barrier"):
        writer.verify()
    writer.write_back()
    writer.close()
    folder.adopt(path, 1)
    reader = ReplicaReader(folder.directory, clock=clock)
    assert not reader_has_state(reader)
    reader.close()


def reader_has_state(reader: ReplicaReader) -> bool:
    """Tell whether a reader finds a state."""
    try:
        read_all(reader)
    except DamagedSnapshot:
        return False
    return True


def test_a_copy_holds_the_same(
    writer: ReplicaWriter, folder: SnapshotFolder, clock: FakeClock
) -> None:
    """A long catch-up continues in a copy."""
    path = folder.new_build(Random(5))
    writer.copy_to(path)
    copy = ReplicaWriter(path, "0", clock=clock)
    assert copy.held() == writer.held()
    copy.verify()
    copy.close()


def test_age_counts_from_the_question_and_what_it_was_then(
    writer: ReplicaWriter, reader: ReplicaReader, clock: FakeClock
) -> None:
    """An answer that took long is as old as the question, and a relayed age is added."""
    asked = clock.boot_seconds()
    clock.advance(3)
    frame = make_frame(
        [], onto=BASE, after=2, upto=2, head=2, age_seconds=10.0, as_of=NOON.replace(minute=1)
    )
    apply(writer, [frame], asked)
    clock.advance(4)
    seen, _ = read_all(reader)
    assert 17 <= seen.age_seconds < 17.1
    assert not seen.at_least


def test_age_survives_a_restart_and_says_at_least_after_a_boot(
    writer: ReplicaWriter, folder: SnapshotFolder, clock: FakeClock
) -> None:
    """In another boot the age is what it was when T was learnt, and the time since this boot."""
    frame = make_frame(
        [], onto=BASE, after=2, upto=2, head=2, age_seconds=10.0, as_of=NOON.replace(minute=1)
    )
    apply(writer, [frame], clock.boot_seconds())
    clock.advance(5)
    again = ReplicaReader(folder.directory, clock=clock)
    assert 15 <= read_all(again)[0].age_seconds < 15.1
    again.close()
    booted = FakeClock(boot_id="boot-2", boot_seconds=30.0)
    after_boot = ReplicaReader(folder.directory, clock=booted)
    seen, _ = read_all(after_boot)
    after_boot.close()
    assert seen.at_least
    assert 40 <= seen.age_seconds < 40.1


def test_reader_follows_the_pointer(
    folder: SnapshotFolder, writer: ReplicaWriter, reader: ReplicaReader, clock: FakeClock
) -> None:
    """A swap is seen by the next read, and the file it leaves can go at any time."""
    old = folder.current()
    assert old is not None
    assert read_all(reader)[0].cursor == 2
    build(folder, clock, [make_frame([make_document(7)], epoch=2)], seed=2)
    with reader.read() as view:
        folder.remove_unneeded(keep=set())
        assert view.state().cursor == 7
    assert not old.exists()


def test_reader_with_a_removed_file_reads_on_until_the_pointer_moves(
    folder: SnapshotFolder, writer: ReplicaWriter, reader: ReplicaReader, clock: FakeClock
) -> None:
    """An open read is not disturbed by a swap and a removal."""
    with reader.read() as view:
        assert view.state().cursor == 2
        build(folder, clock, [make_frame([make_document(7)], epoch=2)], seed=2)
        folder.remove_unneeded(keep=set())
        assert view.document("a", "payment", "1") is not None
    assert read_all(reader)[0].cursor == 7


def test_without_a_snapshot_the_reader_says_so(folder: SnapshotFolder, clock: FakeClock) -> None:
    """A node that has not bootstrapped yet is not ready."""
    reader = ReplicaReader(folder.directory, clock=clock)
    with pytest.raises(NoSnapshot), reader.read():
        pass
    assert not reader.ready()


def test_damaged_and_missing_files_are_named_so(
    folder: SnapshotFolder, writer: ReplicaWriter, clock: FakeClock, tmp_path: Path
) -> None:
    """No driver's error comes out of the adapter."""
    path = folder.current()
    assert path is not None
    copy = tmp_path / "other"
    shutil.copytree(folder.directory, copy)
    (copy / path.name).write_bytes(b"nonsense" * 4096)
    for companion in copy.glob("*-*.db-*"):
        companion.unlink()
    reader = ReplicaReader(copy, clock=clock)
    with pytest.raises(DamagedSnapshot), reader.read():
        pass
    (copy / path.name).unlink()
    with pytest.raises(StorageFailed), reader.read():
        pass
    with pytest.raises(DamagedSnapshot):
        ReplicaWriter(path, "another shard", clock=clock)


def test_view_finds_live_documents(writer: ReplicaWriter, reader: ReplicaReader) -> None:
    """By name, by account and kind, and credentials by their key alone; the deleted are unknown."""
    credential = CredentialBody(
        customer_id="c", account_ids=["a"], verifier="v", credential_version=1
    )
    rows = [
        Document("a", "payment", "1", 3, None),
        Document("a", CREDENTIAL, "k", 4, encode_body(credential)),
        Document("b", "payment", "9", 5, b"{}"),
    ]
    apply(writer, [make_frame(rows, onto=BASE, after=2)], 0.0)
    with reader.read() as view:
        assert view.document("a", "payment", "1") is None
        assert view.document("a", "payment", "9") is None
        assert [document.key for document in view.documents("a", "payment")] == ["2"]
        found = view.credential("k")
        assert view.credential("other") is None
        assert view.body(CredentialBody, "a", "k") == credential
        assert view.bodies(CredentialBody, "b") == []
    assert found == rows[1]
    assert decode_body(CredentialBody, found) == credential


def test_a_body_that_does_not_decode_is_damage_that_tells_nothing_of_it(
    writer: ReplicaWriter, reader: ReplicaReader
) -> None:
    """No personal data gets into a log through an error."""
    row = Document("a", "payment", "1", 3, b'{"secret": "4711"')
    apply(writer, [make_frame([row], onto=BASE, after=2)], 0.0)
    with reader.read() as view, pytest.raises(DamagedSnapshot) as caught:
        view.body(PaymentBody, "a", "1")
    assert "4711" not in str(caught.value)


def test_credential_look_up_uses_its_index(writer: ReplicaWriter) -> None:
    """A sign-in does not scan the documents of all accounts."""
    plan = writer._connection.execute(
        "EXPLAIN QUERY PLAN SELECT body FROM documents WHERE kind = 'credential' AND key = ?",
        ("k",),
    ).fetchall()
    assert any("credentials_by_key" in str(row) for row in plan)


@pytest.mark.parametrize("live", [{"live_hash": 7}, {"live_rows": 4}])
def test_a_barrier_that_does_not_sum_up_changes_nothing(
    writer: ReplicaWriter, reader: ReplicaReader, live: dict[str, int]
) -> None:
    """A row that was left out above, or never deleted here, shows at the next barrier."""
    before = read_all(reader)[1]
    with pytest.raises(InvalidFrame, match="hash"):
        apply(writer, [make_frame([make_document(3)], onto=BASE, after=2, **live)], 0.0)
    assert read_all(reader)[1] == before


def test_a_version_that_nobody_here_knows_is_not_applied(
    writer: ReplicaWriter, reader: ReplicaReader
) -> None:
    """Kinds that are new to this release are kept as they are; a newer body of a known kind is not."""
    stranger = Document("a", "tree_trimming", "k", 3, b"{}", 9)
    apply(writer, [make_frame([stranger], onto=BASE, after=2)], 0.0)
    assert len(read_all(reader)[1]) == 3
    newer = Document("a", "payment", "1", 4, b"{}", 2)
    with pytest.raises(UnknownVersion, match="payments of version 2"):
        apply(writer, [make_frame([newer], onto=[*BASE, stranger], after=3)], 0.0)
    assert len(read_all(reader)[1]) == 3
