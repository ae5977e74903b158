"""When a follower begins with a snapshot file, and with which: what it needs of one, and whether it led on."""

from cache_sync.snapshot_file import Need
from cache_sync.snapshot_source import Fetched, Fetching, SnapshotSource


class SnapshotStart:
    """
    A follower's use of snapshot files; without a source there never is one.

    Args:
        source: Where they come from.
        gap_seqs_min: How far behind a follower must be to fetch a file instead of reading on.
    """

    def __init__(self, source: SnapshotSource | None, *, gap_seqs_min: int) -> None:
        self._source = source
        self._gap_seqs_min = gap_seqs_min
        self._need = Need()
        self._began_with = ""
        self._declined = False

    @property
    def exist(self) -> bool:
        """Whether there is a source of files."""
        return self._source is not None

    @property
    def refused(self) -> str:
        """Why the newest file was refused; empty without a source too."""
        return self._source.refused if self._source is not None else ""

    def need(self, *, epoch_min: int = 0, seq_min: int = 0) -> None:
        """Note what a file must be to be of use, for the time until something was begun with."""
        self._need = Need(epoch_min, seq_min)

    def is_cheaper(self, epoch: int, cursor: int, head: int) -> bool:
        """Tell whether to look for a file instead of reading what is missing, and note what it must be."""
        gap = head - cursor
        if self._source is None or self._declined or gap < self._gap_seqs_min:
            return False
        self._need = Need(epoch, cursor + gap // 2, rows_max=2 * gap)
        return True

    async def step(self, epoch_least: int) -> Fetching | Fetched | None:
        """Go on fetching for a moment; None when there is nothing to be had."""
        if self._source is None:
            return None
        need = self._need
        if need.epoch_min < epoch_least:
            need = need._replace(epoch_min=epoch_least)
        found = await self._source.step(need)
        if isinstance(found, Fetched):
            self._began_with = found.manifest.name
        self._declined = found is None
        return found

    def led_on(self) -> None:
        """Note that the feed went on to a barrier."""
        self._began_with = ""
        self._declined = False

    def failed(self) -> None:
        """Note that what is held must be replaced: a file that the feed did not lead on from is not fetched again."""
        if self._began_with and self._source is not None:
            self._source.distrust(self._began_with)
        self._began_with = ""
        self._need = Need()

    def clear(self) -> None:
        """Remove what was fetched and is not needed any more."""
        self._need = Need()
        if self._source is not None:
            self._source.clear()

    def close(self) -> None:
        """Stop fetching; what was fetched stays."""
        if self._source is not None:
            self._source.close()
