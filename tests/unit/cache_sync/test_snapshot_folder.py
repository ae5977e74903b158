"""The snapshot folder: the pointer is old or new, and nothing piles up."""

from pathlib import Path
from random import Random

import pytest

from cache_sync.errors import StorageFailed
from cache_sync.snapshot_folder import SnapshotFolder


def make_build(folder: SnapshotFolder, seed: int) -> Path:
    """Make a file that stands for a finished build."""
    path = folder.new_build(Random(seed))
    path.write_bytes(b"a snapshot")
    return path


def test_adopting_a_build_moves_the_pointer(tmp_path: Path) -> None:
    """The pointer holds a file name with the seq, and its mark changes."""
    folder = SnapshotFolder(tmp_path / "snapshot")
    assert folder.current() is None
    assert folder.pointer_mark() is None
    first = folder.adopt(make_build(folder, 1), 7)
    mark = folder.pointer_mark()
    assert folder.current() == first
    assert first.name.startswith("7-")
    second = folder.adopt(make_build(folder, 2), 9)
    assert folder.current() == second
    assert folder.pointer_mark() != mark


def test_builds_and_old_snapshots_are_removed_with_their_companions(tmp_path: Path) -> None:
    """The current one, what is kept, and other files stay."""
    folder = SnapshotFolder(tmp_path)
    first, second, third = (folder.adopt(make_build(folder, seed), seed) for seed in (1, 2, 3))
    abandoned = make_build(folder, 4)
    for path in (first, third, abandoned):
        path.with_name(path.name + "-wal").touch()
    (tmp_path / "current.0123").touch()
    (tmp_path / "follower.json").touch()
    folder.remove_unneeded(keep={second})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"current", "follower.json", second.name, third.name, third.name + "-wal"}


def test_a_build_with_a_log_beside_it_is_not_adopted(tmp_path: Path) -> None:
    """Under its new name the file would be without what is still in its write-ahead log."""
    folder = SnapshotFolder(tmp_path)
    path = make_build(folder, 1)
    path.with_name(path.name + "-wal").touch()
    with pytest.raises(StorageFailed, match="write-ahead log"):
        folder.adopt(path, 1)
    assert folder.current() is None


def test_pointer_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Whatever stands in it is a name in the folder."""
    (tmp_path / "current").write_text("../../etc/passwd\n", encoding="utf-8")
    assert SnapshotFolder(tmp_path).current() == tmp_path / "passwd"


class DyingFolder(SnapshotFolder):
    """A folder whose process dies before one of its operations on the disk."""

    remaining = 0

    def _replace(self, source: Path, target: Path) -> None:
        self._tick()
        super()._replace(source, target)

    def _sync(self, path: Path) -> None:
        self._tick()
        super()._sync(path)

    def _tick(self) -> None:
        if self.remaining == 0:
            raise KeyboardInterrupt
        self.remaining -= 1


@pytest.mark.parametrize("operations", range(6))
def test_a_death_during_adoption_leaves_the_old_or_the_new_snapshot(
    tmp_path: Path, operations: int
) -> None:
    """The pointer always names a whole file, and the next start clears the rest away."""
    folder = SnapshotFolder(tmp_path)
    old = folder.adopt(make_build(folder, 1), 1)
    dying = DyingFolder(tmp_path)
    dying.remaining = operations
    with pytest.raises(KeyboardInterrupt):
        dying.adopt(make_build(folder, 2), 2)
    current = folder.current()
    assert current is not None
    assert current.read_bytes() == b"a snapshot"
    # The sixth operation only makes durable what has been swapped.
    assert (current == old) == (operations < 5)
    folder.remove_unneeded(keep=set())
    assert {path.name for path in tmp_path.iterdir()} == {"current", current.name}


def test_a_repeated_generator_gives_another_name(tmp_path: Path) -> None:
    """A new file under a used name would be read together with the old one's write-ahead log."""
    folder = SnapshotFolder(tmp_path)
    first = folder.adopt(make_build(folder, 1), 7)
    assert folder.adopt(make_build(folder, 1), 7) != first


def test_disk_errors_are_told_as_such(tmp_path: Path) -> None:
    """A folder that cannot be made is a matter of storage, not of data."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed):
        SnapshotFolder(tmp_path / "file" / "snapshot").new_build(Random(1))
