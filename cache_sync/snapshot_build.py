"""A snapshot being built beside the one that serves, until it has reached a barrier and was verified."""

from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.errors import InvalidFrame
from cache_sync.frame_guards import Held
from cache_sync.frames import CheckedFrame
from cache_sync.replica import ReplicaWriter
from cache_sync.snapshot_folder import SnapshotFolder


class SnapshotBuild:
    """
    A snapshot under construction, from the beginning of the feed or in a copy of the current snapshot.

    Args:
        path: A file that no reader looks at.
        writer: Of that file.
        from_copy: Whether the file is a copy of a snapshot: it continues that one's epoch.
    """

    def __init__(self, path: Path, writer: ReplicaWriter, *, from_copy: bool) -> None:
        self.path = path
        self.from_copy = from_copy
        self._writer = writer
        self._floor_max: int | None = None
        held = self._writer.held()
        self.cursor = held.cursor
        self._epoch = held.epoch

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been read into it yet."""
        return self.cursor == 0

    def question_epoch(self) -> int:
        """Return the epoch to ask for: none in particular for a build from the beginning."""
        return self._epoch if self.from_copy else 0

    def add(self, frame: CheckedFrame, asked_boot_seconds: float) -> int:
        """
        Add the next frame; return the number of rows.

        Raises:
            InvalidFrame: The frame does not fit. When floor or epoch have moved under a build from the beginning it
                cannot be finished (`floor`, `epoch`).
            StorageFailed: The disk refused.
        """
        if not self.from_copy:
            # A document that was read and then deleted has its tombstone above the head of the first page. As long
            # as the floor stays below that head, no such tombstone is missing.
            if self._floor_max is None:
                self._floor_max = frame.head
            if frame.floor > self._floor_max:
                raise InvalidFrame("floor", "deletes were forgotten while the snapshot was built")
        writer = self._writer
        rows = writer.apply([frame], asked_boot_seconds) if frame.barrier else writer.stage(frame)
        self.cursor = frame.upto
        self._epoch = frame.epoch
        return rows

    def verify(self) -> Held:
        """
        Check the finished file and return where it stands.

        Raises:
            DamagedSnapshot: It cannot be trusted.
        """
        self._writer.verify()
        return self._writer.held()

    def finish(self) -> None:
        """
        Let the file go, with nothing left in its write-ahead log.

        Raises:
            StorageFailed: The disk refused.
        """
        self._writer.write_back()
        self._writer.close()

    def abandon(self) -> None:
        """Let the file go; it will be removed."""
        self._writer.close()


class SnapshotMaker:
    """
    Makes one shard's files, all in the same way.

    Args:
        folder: Where they lie, and how they are opened.
        shard: The shard that they hold.
        clock: Names the boot that ages are measured in.
    """

    def __init__(self, folder: SnapshotFolder, shard: str, *, clock: Clock) -> None:
        self._folder = folder
        self._shard = shard
        self._clock = clock

    def writer(self, path: Path) -> ReplicaWriter:
        """Open a file to write it. Raises as `ReplicaWriter`."""
        return ReplicaWriter(path, self._shard, clock=self._clock, folder=self._folder)

    def build(self, path: Path, *, from_copy: bool) -> SnapshotBuild:
        """Begin or go on with a build in a file. Raises as `ReplicaWriter`."""
        return SnapshotBuild(path, self.writer(path), from_copy=from_copy)
