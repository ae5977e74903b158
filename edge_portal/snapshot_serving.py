"""
The snapshot files that this node hands out: cut from its own snapshot when somebody asks, and kept while somebody does.

They are signed with this node's key, which its siblings know. Whoever is expelled from the fleet is asked no more.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.errors import SyncError
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.follower_status import read_status
from cache_sync.offload import Offload, in_thread
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.snapshot_file import CHUNK_BYTES, SnapshotManifest
from cache_sync.snapshot_file_cut import copy_open, cut
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.snapshot_folder import SnapshotFolder

ASK_AGAIN_SECONDS: Final = 2.0
TIDY_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class ServingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    When a node cuts a file, and how long it keeps it.

    A snapshot of fewer than ``documents_min`` rows is read through the feed as fast. A file is offered until more than
    ``moved_share`` of the rows have changed since, and removed when nobody has asked for ``idle_seconds``. After a cut
    that failed none is tried for ``failed_seconds``.
    """

    documents_min: int = 50_000
    moved_share: float = 0.2
    idle_seconds: float = 3600.0
    failed_seconds: float = 300.0
    chunk_bytes: int = CHUNK_BYTES


class ServedSnapshots:
    """
    The files of all shards that this node holds. Call `close` at the end.

    Args:
        folders: The snapshot folders by shard, which another process writes.
        directory: Where the files lie.
        node_id: Who signs.
        sign: Signs with this node's key.
        clock: Time.
        rng: Where names come from.
        keys: What this node's files are encrypted under.
        settings: Bounds.
        offload: Where a file is cut; it takes seconds a gigabyte.
    """

    def __init__(  # noqa: PLR0913 - everything it uses is handed in
        self,
        folders: Mapping[str, Path],
        directory: Path,
        *,
        node_id: str,
        sign: Callable[[bytes], bytes],
        clock: Clock,
        rng: Random,
        keys: FileKeys = PLAIN,
        settings: ServingSettings | None = None,
        offload: Offload = in_thread,
    ) -> None:
        self._folders = dict(folders)
        self._node_id = node_id
        self._sign = sign
        self._clock = clock
        self._rng = rng
        self._keys = keys
        self._settings = settings or ServingSettings()
        self._offload = offload
        self._shelves = {shard: SnapshotShelf(directory / shard, keys=keys) for shard in folders}
        self._readers = {
            shard: ReplicaReader(folder, clock=clock, keys=keys)
            for shard, folder in folders.items()
        }
        self._asked = dict.fromkeys(folders, clock.boot_seconds())
        self._not_before = dict.fromkeys(folders, 0.0)
        self._cutting: dict[str, asyncio.Task[None]] = {}
        self._tidying: asyncio.Task[None] | None = None
        self.desk = SnapshotDesk(self._shelves, clock=clock, accept=self._accept, order=self._order)

    def start(self) -> None:
        """Begin to tidy up: what an earlier life left here too, whether anybody asks or not."""
        self._tidying = asyncio.create_task(self._tidy())

    def note_asked(self, shard: str) -> None:
        """Note that somebody is interested in a shard's file."""
        if shard in self._asked:
            self._asked[shard] = self._clock.boot_seconds()

    async def _accept(self, manifest: SnapshotManifest) -> bool:
        try:
            with self._readers[manifest.shard].read() as view:
                state, erased = view.state(), view.newest_erased()
        except SyncError:
            # Nothing can be said against it: it was true when it was cut, and it is dated.
            return True
        moved = state.cursor - manifest.seq
        bound = self._settings.moved_share * max(1, manifest.rows)
        return not _is_outdated(manifest, state, erased) and 0 <= moved <= bound

    def _order(self, shard: str) -> float | None:
        if shard in self._cutting:
            return ASK_AGAIN_SECONDS
        if self._clock.boot_seconds() < self._not_before[shard]:
            return None
        current = self._worth_cutting(shard)
        if current is None:
            return None
        self._cutting[shard] = asyncio.create_task(self._cut(shard, current))
        return ASK_AGAIN_SECONDS

    def _worth_cutting(self, shard: str) -> Path | None:
        folder = self._folders[shard]
        try:
            current = SnapshotFolder(folder).current()
            with self._readers[shard].read() as view:
                rows, traces = view.live_rows(), view.may_hold_traces()
        except SyncError:
            return None
        # Until it was written anew, its pages may hold somebody who was forgotten.
        if current is None or rows < self._settings.documents_min or traces:
            return None
        status = read_status(folder)
        doubted = status is not None and status.rebuild_snapshot == current.name
        return None if doubted else current

    async def _cut(self, shard: str, current: Path) -> None:
        try:
            shelved = await self._offload(
                lambda: cut(
                    self._shelves[shard],
                    copy_open(current, self._keys, clock=self._clock),
                    signer=self._node_id,
                    sign=self._sign,
                    rng=self._rng,
                    chunk_bytes=self._settings.chunk_bytes,
                )
            )
            log.info("snapshot file cut", shard=shard, seq=shelved.manifest.seq)
        except SyncError as error:
            log.warning("no snapshot file was cut", shard=shard, error=str(error))
            self._not_before[shard] = self._clock.boot_seconds() + self._settings.failed_seconds
        finally:
            del self._cutting[shard]

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            self.remove_idle()
            self.remove_outdated()

    def remove_idle(self) -> None:
        """Remove the files that nobody has asked for in a while."""
        now = self._clock.boot_seconds()
        for shard, asked in self._asked.items():
            if now - asked > self._settings.idle_seconds and shard not in self._cutting:
                with suppress(SyncError):
                    self._shelves[shard].clear()

    def remove_outdated(self) -> None:
        """Remove the files that nobody can go on from, or that show somebody who was forgotten since."""
        for shard, shelf in self._shelves.items():
            if shard in self._cutting:
                continue
            with suppress(SyncError):
                with self._readers[shard].read() as view:
                    state, erased = view.state(), view.newest_erased()
                shelf.retire(partial(_is_outdated, state=state, erased=erased))

    async def close(self) -> None:
        """Stop, and let the snapshots go; a file that is being cut is not waited for."""
        tasks = [*self._cutting.values(), *([self._tidying] if self._tidying else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for reader in self._readers.values():
            reader.close()


def _is_outdated(manifest: SnapshotManifest, state: ReplicaState, erased: int) -> bool:
    """Tell whether a file is of another epoch, below the floor, or older than the newest deletion of an account."""
    return manifest.epoch != state.epoch or manifest.seq < max(state.floor, erased)
