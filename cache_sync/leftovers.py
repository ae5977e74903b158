"""
What deleted documents leave on the disk, and when it goes.

SQLite overwrites what is deleted (`cache_sync.sqlite`). Three places are left: the write-ahead log, until it is
emptied; the snapshot that was replaced, which a reader may be about to open; and pages that rows were moved out of, for
which a file is written anew when a person was forgotten (`cache_sync.erased`).
"""

from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.follower_settings import FollowerSettings
from cache_sync.replica import ReplicaWriter
from cache_sync.snapshot_folder import SnapshotFolder


class Leftovers:
    """
    Empties the log of the current snapshot and removes the one before, when it is time.

    Args:
        folder: Where the snapshots lie.
        clock: Time.
        settings: When.
    """

    def __init__(self, folder: SnapshotFolder, *, clock: Clock, settings: FollowerSettings) -> None:
        self._folder = folder
        self._clock = clock
        self._settings = settings
        self._erase_at = clock.boot_seconds()
        self._rewrite_at = self._erase_at
        self._previous_until: float | None = None

    def replaced(self, previous: Path | None) -> None:
        """
        Remove what lies there beside the current snapshot and the one before, whose time begins.

        Raises:
            StorageFailed: The disk refused.
        """
        self._folder.remove_unneeded(keep={previous} if previous is not None else set())
        self._previous_until = self._clock.boot_seconds() + self._settings.previous_seconds

    def clear(self, writer: ReplicaWriter) -> bool:
        """
        Clear away what is due, between two transactions; tell whether the file is to be written anew now.

        Raises:
            DamagedSnapshot: The file cannot be read.
            StorageFailed: The disk refused.
        """
        now = self._clock.boot_seconds()
        if self._previous_until is not None and now >= self._previous_until:
            self._folder.remove_unneeded(keep=set())
            self._previous_until = None
        # While somebody is reading it cannot be done, and is tried again the next time.
        if writer.log_holds_deleted and now >= self._erase_at and writer.empty_log():
            self._erase_at = now + self._settings.erase_seconds
        if now < self._rewrite_at or not writer.may_hold_traces():
            return False
        self._rewrite_at = now + self._settings.rewrite_seconds
        return True
