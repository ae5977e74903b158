"""
Up to where a snapshot survives a power loss.

Its commits do not wait for the disk, so the newest may be gone after one, and the feed brings them again. But whoever
is told how far this node holds (tombstones are forgotten up to there) must not be told more than would survive. So the
write-ahead log is flushed every few seconds, and what it held before the flush is what is told.
"""

from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.errors import DamagedSnapshot, StorageFailed
from cache_sync.frame_guards import Held
from cache_sync.offload import Offload
from cache_sync.snapshot_folder import SnapshotFolder

NOTHING = (0, 0)


class DurablePlace:
    """
    Epoch and seq that are on the disk for good; `NOTHING` while that is not known.

    Args:
        folder: Where the snapshots lie.
        offload: Where the disk is waited for.
        clock: Time.
        every_seconds: How often the log is flushed at most.
    """

    def __init__(
        self, folder: SnapshotFolder, *, offload: Offload, clock: Clock, every_seconds: float
    ) -> None:
        self._folder = folder
        self._offload = offload
        self._clock = clock
        self._every_seconds = every_seconds
        self._next_at = clock.boot_seconds()
        self.place = NOTHING

    def forget(self) -> None:
        """Know nothing: of a file that another process may have left unflushed."""
        self.place = NOTHING
        self._next_at = self._clock.boot_seconds()

    def adopted(self, held: Held) -> None:
        """Take over where a snapshot stands that was flushed whole before the pointer named it."""
        self.place = (held.epoch, held.cursor)

    async def keep_up(self, snapshot: Path, held: Held) -> None:
        """
        Flush what the current snapshot has committed, when it is time.

        Raises:
            DamagedSnapshot: The disk did not take it. What it has dropped then, nobody can tell, so the file is not to
                be trusted any more, though it reads well now.
        """
        place, now = (held.epoch, held.cursor), self._clock.boot_seconds()
        if place == self.place or now < self._next_at:
            return
        self._next_at = now + self._every_seconds
        try:
            await self._offload(lambda: self._folder.flush_log(snapshot))
        except StorageFailed as error:
            raise DamagedSnapshot(f"{snapshot.name} could not be flushed") from error
        self.place = place
