"""
Where a node's snapshots lie, and which of them is the current one.

`current` holds the name of a file beside it and is replaced whole, so a reader sees the old snapshot or the new one,
after a crash too. Every snapshot has a name of its own: a new file beside an old write-ahead log would be read together
with it.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from cache_sync.errors import StorageFailed
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.rekey import BESIDE_SUFFIX, copy_rows
from cache_sync.sqlite import Connection, connect

POINTER = "current"
_BUILD_PREFIX = "building-"
_SUFFIX = ".db"
_COMPANIONS = ("-wal", "-shm", "-journal")

PointerMark = tuple[int, int]


class SnapshotFolder:
    """
    The folder of one shard's snapshots, and all that is done to its disk; tests pass one that fails on demand.

    Args:
        directory: Made when it is not there, by the writer only.
        keys: What its snapshots are encrypted under.
    """

    def __init__(self, directory: Path, *, keys: FileKeys = PLAIN) -> None:
        self.directory = directory
        self._keys = keys
        self._pointer = directory / POINTER

    def pointer_mark(self) -> PointerMark | None:
        """Return what changes whenever the pointer is replaced, at the price of one stat; None without a pointer."""
        try:
            found = self._pointer.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns)

    def current(self) -> Path | None:
        """Return the current snapshot's file; None before the first."""
        try:
            name = self._pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return self.directory / Path(name).name

    def open_for_writing(self, path: Path) -> Connection:
        """Open a snapshot's file as its only writer. A thread may verify or copy it while nothing else is done."""
        return connect(path, synchronous="NORMAL", same_thread=False, keys=self._keys)

    def copy_rows(self, snapshot: Path, target: Path) -> None:
        """
        Copy a snapshot's rows into a new file, without what its pages may keep of deleted ones; its writer waits.

        Raises:
            DatabaseError: It cannot be read, or the disk refused.
        """
        with closing(self.open_for_writing(snapshot)) as source:
            copy_rows(source, target, self._keys)

    def new_build(self, rng: Random) -> Path:
        """Name a file to build a snapshot in, which no reader will look at; no other file has its mark."""
        with _mapped_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            names = [path.name for path in self.directory.iterdir()]
        # A generator that was seeded alike in an earlier life repeats itself: under a name that was used, the new file
        # would stand beside the old one's write-ahead log.
        while True:
            mark = f"{rng.getrandbits(64):016x}"
            if not any(mark in name for name in names):
                return self.directory / f"{_BUILD_PREFIX}{mark}{_SUFFIX}"

    def take(self, path: Path, rng: Random) -> Path:
        """
        Give a finished file on the same disk the name of a new build; return its new path.

        Raises:
            StorageFailed: The disk refused.
        """
        build = self.new_build(rng)
        with _mapped_errors(self.directory):
            self._replace(path, build)
        return build

    def adopt(self, build: Path, seq: int) -> Path:
        """
        Make a finished build the current snapshot; return its new path.

        The build must be closed, with nothing left in its write-ahead log. After a crash at any point the pointer
        names the old snapshot or the new one, whole.

        Raises:
            StorageFailed: The disk refused. The pointer names the old snapshot, unless only its last flush failed.
        """
        if build.with_name(build.name + "-wal").exists():
            raise StorageFailed(f"{build.name} still has a write-ahead log")
        mark = build.name.removeprefix(_BUILD_PREFIX).removesuffix(_SUFFIX)
        snapshot = self.directory / f"{seq}-{mark}{_SUFFIX}"
        with _mapped_errors(self.directory):
            self._sync(build)
            self._replace(build, snapshot)
            self._sync(self.directory)
            pointer = self.directory / f"{POINTER}.{mark}"
            pointer.write_text(snapshot.name + "\n", encoding="utf-8")
            self._sync(pointer)
            self._replace(pointer, self._pointer)
            self._sync(self.directory)
        return snapshot

    def flush_log(self, snapshot: Path) -> None:
        """
        Have the disk take what was committed to an open snapshot so far: what a power loss then leaves.

        Only the write-ahead log is opened, never the file itself: closing that again would let go of SQLite's locks.
        What is in the file was flushed by the checkpoint that wrote it, before the log was begun anew.

        Raises:
            StorageFailed: The disk refused.
        """
        with _mapped_errors(self.directory):
            self._sync(snapshot.with_name(f"{snapshot.name}-wal"))
            self._sync(self.directory)

    def remove_unneeded(self, keep: set[Path]) -> None:
        """
        Remove what no reader can be sent to: abandoned builds, and snapshots other than the current one and `keep`.

        Keep the previous snapshot: a reader may have read the pointer and not opened the file yet. A reader that
        holds a removed file open reads on in it until it looks at the pointer again.
        """
        if not self.directory.is_dir():
            return
        current = self.current()
        kept = {path.name for path in keep}
        if current is not None:
            kept.add(current.name)
        with _mapped_errors(self.directory):
            for path in self.directory.iterdir():
                name = _snapshot_name(path.name)
                if name is not None and name not in kept:
                    path.unlink(missing_ok=True)

    def discard(self, build: Path) -> None:
        """Remove a build that will not be finished."""
        with _mapped_errors(self.directory):
            for suffix in ("", *_COMPANIONS):
                build.with_name(build.name + suffix).unlink(missing_ok=True)

    def _replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def _sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _mapped_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{directory.name}: {error.strerror}") from error


def _snapshot_name(name: str) -> str | None:
    """Return the name of the snapshot that a file belongs to; None for other files, such as the pointer."""
    if name.startswith(f"{POINTER}."):
        return name
    for companion in _COMPANIONS:
        name = name.removesuffix(companion)
    name = name.removesuffix(BESIDE_SUFFIX)
    return name if name.endswith(_SUFFIX) else None
