"""Copying a snapshot that is being written: one moment of it, and not for ever."""

from pathlib import Path
from random import Random

import pytest

from cache_sync.errors import StorageFailed
from cache_sync.snapshot_file_cut import COPY_SECONDS_MAX, check_file, copy_open, cut
from cache_sync.snapshot_file_shelf import Shelved, SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import Connection, connect
from tests.unit.cache_sync.feed_world import Core, FakeClock
from tests.unit.cache_sync.file_world import check_signature, cut_from, sign


class WritingClock(FakeClock):
    """A clock on which somebody writes whenever it is looked at, and time passes."""

    def __init__(self, writing: Connection, step_seconds: float = 0.0) -> None:
        super().__init__()
        self.writing, self.step_seconds = writing, step_seconds
        self.written = 0

    def boot_seconds(self) -> float:
        """Write, and tell the time."""
        self.written += 1
        self.writing.execute("UPDATE shard_head SET floor = ?", (self.written,))
        self.boot += self.step_seconds
        return super().boot_seconds()


async def test_an_open_snapshot_is_copied_as_it_stood_at_one_moment(
    core: Core, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is written to meanwhile: the copy neither begins again nor is a mixture."""
    monkeypatch.setattr("cache_sync.snapshot_file_cut._COPY_PAGES", 1)
    core.fill(50, b'{"a": 1}')
    await cut_from(core, tmp_path, clock)
    current = SnapshotFolder(tmp_path / "replica").current()
    assert current is not None
    writing = connect(current, synchronous="NORMAL")
    busy = WritingClock(writing)
    shelved = cut(
        SnapshotShelf(tmp_path / "open"),
        copy_open(current, clock=busy),
        signer="core",
        sign=sign,
        rng=Random(5),
    )
    writing.close()
    assert busy.written > 5
    assert shelved.manifest.floor == 1, "as it stood when the copy was begun"
    check_file(shelved, check_signature)


async def test_a_copy_that_takes_too_long_is_given_up(
    core: Core, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its read transaction keeps the write-ahead log growing; what was offered before stays."""
    monkeypatch.setattr("cache_sync.snapshot_file_cut._COPY_PAGES", 1)
    core.fill(50, b'{"a": 1}')
    await cut_from(core, tmp_path, clock)
    current = SnapshotFolder(tmp_path / "replica").current()
    assert current is not None
    shelf = SnapshotShelf(tmp_path / "open")

    def cut_by(clock: FakeClock) -> Shelved:
        copy = copy_open(current, clock=clock)
        return cut(shelf, copy, signer="core", sign=sign, rng=Random(5))

    before = cut_by(clock)
    writing = connect(current, synchronous="NORMAL")
    with pytest.raises(StorageFailed, match="took more than"):
        cut_by(WritingClock(writing, step_seconds=COPY_SECONDS_MAX / 3))
    # Nobody reads the file any more: the log can be written back whole.
    busy, _, _ = writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    writing.close()
    assert busy == 0
    assert [found.path for found in shelf.files()] == [before.path]
    check_file(before, check_signature)
