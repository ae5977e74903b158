"""Where the core's snapshot files lie, and which of them still belong to the history that it serves."""

from collections.abc import Iterable
from pathlib import Path

from cache_sync.clock import Clock
from cache_sync.document_table import read_head
from cache_sync.errors import UnknownShard
from cache_sync.publication import read_chain
from cache_sync.snapshot_file import SnapshotManifest
from cache_sync.snapshot_file_shelf import SnapshotShelf
from cache_sync.sql import Connection
from core_cis.erasures import erased_through

FOLDER_NAME = "snapshots"


def shard_folder(data_dir: Path, shard: str) -> Path:
    """Return the folder of a shard: its files, and the replica that they are cut from."""
    return data_dir / FOLDER_NAME / shard


def replica_folder(data_dir: Path, shard: str) -> Path:
    """Return where the replica lies that a shard's files are cut from."""
    return shard_folder(data_dir, shard) / "replica"


def shelf_of(data_dir: Path, shard: str) -> SnapshotShelf:
    """Return the shelf of a shard's files."""
    return SnapshotShelf(shard_folder(data_dir, shard) / "files")


def shelves(data_dir: Path, shards: Iterable[str]) -> dict[str, SnapshotShelf]:
    """Return the shelves of all shards."""
    return {shard: shelf_of(data_dir, shard) for shard in shards}


def newest_file_seq(
    connection: Connection, data_dir: Path, shard: str, *, clock: Clock, age_seconds_max: float
) -> int | None:
    """Tell where the newest file stands that is handed out of a shard; None without one, or when it is too old."""
    newest = shelf_of(data_dir, shard).newest(lambda manifest: is_of_history(connection, manifest))
    if newest is None or newest.kept.offer(clock).age_seconds > age_seconds_max:
        return None
    return newest.manifest.seq


def is_of_history(connection: Connection, manifest: SnapshotManifest) -> bool:
    """
    Tell whether a file's barrier is one of this core's, and one that its feed leads on from.

    After a restore from a backup there may be files of commits that were forgotten, or of the epoch before. A file that
    shows somebody who was forgotten since is nobody's any more.
    """
    try:
        head = read_head(connection, manifest.shard)
    except UnknownShard:
        return False
    if manifest.epoch != head.epoch or not head.floor <= manifest.seq <= head.head:
        return False
    erased = erased_through(connection, manifest.shard, head.epoch)
    if erased is not None and manifest.seq <= erased:
        return False
    chain = read_chain(connection, manifest.shard, manifest.seq)
    # Chains of commits long ago are not kept; those of a restored core are younger than that.
    return chain is None or chain == manifest.chain
