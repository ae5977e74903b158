"""
Builds the core's snapshot files: follows its own feed into a replica, and cuts a file at a barrier of that.

The replica stays for the next file, which then costs what has changed since, and a copy. Reading the feed keeps every
read transaction at the core short, however many documents there are.
"""

import contextlib
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from shutil import rmtree

import structlog

from cache_sync.clock import Clock
from cache_sync.core_time import close
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.offload import in_thread
from cache_sync.snapshot_file import CHUNK_BYTES
from cache_sync.snapshot_file_cut import copy_closed, cut
from cache_sync.snapshot_file_shelf import Shelved
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sql import write
from core_cis.database_choice import find_database
from core_cis.errors import SnapshotsBusy, SnapshotStuck
from core_cis.keys import load_keys
from core_cis.snapshot_shelves import FOLDER_NAME, replica_folder, shelf_of
from failover.node_config import CORE_NODE_ID
from failover.signing import sign_bytes

LOCK_NAME = "builder.lock"
# A replica that stops so often is not one of this core's history any more: it is begun anew, once.
_STOPS_MAX = 5
_STEP_SETTINGS = FollowerSettings(wait_seconds=0.0, rebuild_first_seconds=0.1, status_seconds=5.0)

log = structlog.get_logger(__name__)


class _OwnFeed:
    """Implements `cache_sync.feed_client.FeedClient` within the process."""

    def __init__(self, feed: FeedSource) -> None:
        self._feed = feed

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask the feed."""
        return await self._feed.page(after=after, epoch=epoch, limit=limit, wait_seconds=wait)


@contextlib.contextmanager
def building(data_dir: Path) -> Iterator[None]:
    """
    Be the only one who builds snapshot files of a core, until the block or the process ends.

    Raises:
        SnapshotsBusy: Another process builds.
    """
    folder = data_dir / FOLDER_NAME
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / LOCK_NAME).open("a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SnapshotsBusy(f"another process builds snapshot files in {folder}") from error
        yield


@contextlib.asynccontextmanager
async def _own_feed(data_dir: Path, shard: str, clock: Clock) -> AsyncIterator[FeedSource]:
    """Open the core's feed beside whoever serves it."""
    database = find_database(data_dir)
    writing = database.open_writer()

    async def close_time() -> datetime:
        with write(writing) as connection:
            return close(connection, clock.now())

    try:
        feed = FeedSource(
            database.documents(),
            shard,
            time_source=CoreTimeSource(close_time, clock),
            clock=clock,
            seal_key=load_keys(data_dir).seal_key_bytes,
        )
        try:
            yield feed
        finally:
            await feed.close()
    finally:
        writing.close()
        database.close()


async def build_snapshot(
    data_dir: Path,
    shard: str,
    *,
    clock: Clock,
    rng: Random,
    chunk_bytes: int = CHUNK_BYTES,
    told: Callable[[int], None] = lambda _: None,
) -> Shelved:
    """
    Build a shard's next snapshot file, beside a core that serves or not; the one before stays as it is.

    Safe to kill at any moment: the replica goes on where it was, or begins anew. Within `building`.

    Args:
        data_dir: The core's folder.
        shard: The shard.
        clock: Time.
        rng: Where names and jitter come from.
        chunk_bytes: What is hashed and handed out at once.
        told: Called with the number of documents read so far.

    Raises:
        SnapshotStuck: The replica cannot follow the feed.
        SnapshotRefused: The replica is not what its head says.
        StorageFailed: The disk refused, or is too full.
    """
    folder = replica_folder(data_dir, shard)
    async with _own_feed(data_dir, shard, clock) as feed:
        try:
            await _follow(folder, shard, feed, clock=clock, rng=rng, told=told)
        except SnapshotStuck as error:
            log.warning("the replica of snapshot files is begun anew", reason=str(error))
            rmtree(folder)
            await _follow(folder, shard, feed, clock=clock, rng=rng, told=told)
    current = SnapshotFolder(folder).current()
    assert current is not None, "it was followed to a barrier"
    key = load_keys(data_dir).signing_key
    return await in_thread(
        lambda: cut(
            shelf_of(data_dir, shard),
            copy_closed(current),
            signer=CORE_NODE_ID,
            sign=lambda content: sign_bytes(key, content),
            rng=rng,
            chunk_bytes=chunk_bytes,
        )
    )


async def _follow(
    folder: Path,
    shard: str,
    feed: FeedSource,
    *,
    clock: Clock,
    rng: Random,
    told: Callable[[int], None],
) -> None:
    """Follow to a barrier of now, and let the file go with nothing left in its write-ahead log."""
    follower = Follower(
        _OwnFeed(feed), folder, shard=shard, clock=clock, rng=rng, settings=_STEP_SETTINGS
    )
    stops = 0
    try:
        while True:
            delay = await follower.step()
            status = follower.status
            told(status.rows_applied)
            if status.phase == "following" and not status.reason:
                break
            if status.phase in ("stopped", "disconnected"):
                stops += 1
                if stops > _STOPS_MAX:
                    raise SnapshotStuck(f"{status.phase}: {status.reason}")
            if delay > 0:
                await clock.sleep(delay)
    finally:
        follower.close()
