"""How each shard's snapshot is: where it stands, how old it is, who feeds it, and when it was last compared."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from cache_sync.clock import Clock
from cache_sync.errors import SyncError
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.follower_status import FollowerStatus, read_status
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.verification import VerificationReport

_BADNESS: Final = {
    phase: number
    for number, phase in enumerate(
        ("following", "catching_up", "bootstrapping", "starting", "disconnected", "stopped")
    )
}


class ShardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far the snapshot of a shard is.

    ``head`` is the feed's as last heard and ``lag`` how many seqs the snapshot is behind it; ``lag_seconds`` is the age
    of ``as_of``, at least where ``lag_at_least`` says so. ``heartbeat_seconds`` is how long ago the feed last answered.
    ``phase`` and ``reason`` say what the follower does, ``file_refused`` why the newest snapshot file was not taken;
    ``bytes`` is what the current snapshot takes on the disk.
    ``verified_at`` is the end of the last comparison with the node above that was clean.
    ``key`` is the id of the key that the file is encrypted under, empty for a plain one.
    """

    epoch: int = 0
    cursor: int = 0
    head: int = 0
    lag: int = 0
    as_of: datetime | None = None
    lag_seconds: float | None = None
    lag_at_least: bool = False
    heartbeat_seconds: float | None = None
    phase: str = "starting"
    reason: str = ""
    upstream: str = ""
    path: list[str] = []
    bytes: int = 0
    rows_applied: int = 0
    frames_refused: int = 0
    snapshots_built: int = 0
    file_refused: str = ""
    verified_at: datetime | None = None
    key: str = ""


def read_shards(
    snapshot: Path,
    reports: dict[str, VerificationReport],
    clock: Clock,
    keys: FileKeys = PLAIN,
) -> dict[str, ShardStatus]:
    """
    Read how the shards of a data folder are, by shard.

    Args:
        snapshot: The first shard's snapshot folder; those of others lie beside it.
        reports: The newest comparison of each shard.
        clock: Time.
        keys: What the snapshots are encrypted under.
    """
    found = {}
    for folder in sorted(snapshot.parent.glob(f"{snapshot.name}*")):
        follower = read_status(folder)
        state, key = _state(folder, clock, keys)
        if follower is None and state is None:
            continue
        shard = state.shard if state is not None else follower.shard if follower else ""
        found[shard] = msgspec.structs.replace(
            _status(folder, follower, state, reports.get(shard), clock), key=key
        )
    return found


def oldest_shard(shards: Iterable[ShardStatus]) -> ShardStatus:
    """Choose the shard whose label holds for all: without a snapshot, else of the oldest T; an empty one for none."""
    return max(shards, key=_age, default=ShardStatus())


def _age(shard: ShardStatus) -> tuple[bool, bool, float]:
    return shard.lag_seconds is None, shard.lag_at_least, shard.lag_seconds or 0.0


def worst_shard(shards: Iterable[ShardStatus]) -> ShardStatus:
    """Choose the shard whose follower is worst off, the oldest of those; an empty one for none."""
    return max(
        shards, key=lambda shard: (_BADNESS[shard.phase], _age(shard)), default=ShardStatus()
    )


def _status(
    folder: Path,
    follower: FollowerStatus | None,
    state: ReplicaState | None,
    report: VerificationReport | None,
    clock: Clock,
) -> ShardStatus:
    told = follower or FollowerStatus(phase="starting", since=clock.now(), shard="")
    heartbeat = told.answer_age_seconds(clock)
    epoch, cursor = (state.epoch, state.cursor) if state is not None else (0, 0)
    head = max(cursor, told.head if told.epoch == epoch else 0)
    return ShardStatus(
        epoch=epoch,
        cursor=cursor,
        head=head,
        lag=head - cursor,
        as_of=state.as_of if state is not None else None,
        lag_seconds=round(state.age_seconds, 3) if state is not None else None,
        lag_at_least=state is not None and state.at_least,
        heartbeat_seconds=None if heartbeat is None else round(heartbeat, 3),
        phase=told.phase,
        reason=told.reason,
        upstream=told.upstream,
        path=told.path,
        bytes=_bytes(folder),
        rows_applied=told.rows_applied,
        frames_refused=told.frames_refused,
        snapshots_built=told.snapshots_built,
        file_refused=told.file_refused,
        verified_at=report.ended_at if report is not None and report.clean else None,
    )


def _state(folder: Path, clock: Clock, keys: FileKeys) -> tuple[ReplicaState | None, str]:
    reader = ReplicaReader(folder, clock=clock, keys=keys)
    try:
        with reader.read() as view:
            state = view.state()
        return state, reader.key_id()
    except SyncError:
        return None, ""
    finally:
        reader.close()


def _bytes(folder: Path) -> int:
    try:
        current = SnapshotFolder(folder).current()
        if current is None:
            return 0
        companions = (current, current.with_name(f"{current.name}-wal"))
        return sum(path.stat().st_size for path in companions if path.exists())
    except (OSError, SyncError):
        return 0
