"""
Keeps a node's copy in a Redis at the barrier of the snapshot on its disk: at it or behind it, never ahead.

It follows the local snapshot as one node follows another, with the same checks, and asks nobody else: whatever happens
to the Redis, the copy is made good from the disk and the core hears nothing of it. A small step is applied to what is
there; what would be too much for one script, and everything that begins anew, is built as another generation beside.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import (
    Behind,
    BelowFloor,
    DamagedSnapshot,
    EpochChanged,
    FeedError,
    InvalidFrame,
    NoSnapshot,
    NotTakenHere,
    RedisFull,
    RedisLost,
    RedisUnavailable,
    StorageFailed,
    SyncError,
)
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.frame_guards import Held, check_frame, check_versions
from cache_sync.frames import CheckedFrame
from cache_sync.offload import Offload, in_thread
from cache_sync.redis_replica import RedisBuild, RedisReplica
from cache_sync.replica_feed import ReplicaFeed
from cache_sync.replica_reader import ReplicaReader

log = logging.getLogger(__name__)

STATUS_NAME = "redis.json"
SILENT_SECONDS = 10.0

MirrorPhase = Literal["starting", "following", "building", "waiting", "unreachable", "full"]


class MirrorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Bounds of a mirror.

    ``tail_rows_max`` rows at most are applied by one script, which holds up every reader: 10,000 take some 60 ms.
    A body of a later version than ``known_versions`` names for its kind is not copied.
    """

    page_rows: int = 2000
    tail_rows_max: int = 10_000
    look_seconds: float = 0.02
    retry_first_seconds: float = 0.2
    retry_cap_seconds: float = 2.0
    rebuild_first_seconds: float = 0.5
    rebuild_cap_seconds: float = 60.0
    status_seconds: float = 0.5
    known_versions: Mapping[str, int] = KNOWN_VERSIONS


class MirrorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a mirror was doing when it last wrote, for operators.

    ``phase`` is `following` at the local barrier or on the way to it, `building` while another generation is filled,
    `waiting` while there is no local snapshot to follow, `unreachable` or `full` for what the Redis is. ``lag`` is how
    many seqs it is behind the local snapshot; None while it holds nothing. ``lost`` counts how often the Redis held
    something else than was written last.
    """

    phase: MirrorPhase
    reason: str = ""
    shard: str
    epoch: int = 0
    cursor: int = 0
    lag: int | None = None
    rows: int = 0
    built: int = 0
    lost: int = 0
    written_boot_seconds: float = 0.0
    boot_id: str = ""


def read_mirror_status(directory: Path) -> MirrorStatus | None:
    """Read a mirror's status from a snapshot folder; None when there is none that can be read."""
    try:
        return msgspec.json.decode((directory / STATUS_NAME).read_bytes(), type=MirrorStatus)
    except (OSError, msgspec.DecodeError):
        return None


def read_mirrors(snapshot: Path, clock: Clock) -> dict[str, MirrorStatus]:
    """
    Read how the mirrors of a data folder are, by shard; one that has stopped writing is left out.

    Args:
        snapshot: The first shard's snapshot folder; those of others lie beside it.
        clock: What tells whether a status was written of late.
    """
    folders = sorted(snapshot.parent.glob(f"{snapshot.name}*"))
    written = [status for folder in folders if (status := read_mirror_status(folder)) is not None]
    since = clock.boot_seconds() - SILENT_SECONDS
    return {
        status.shard: status
        for status in written
        if status.boot_id == clock.boot_id() and status.written_boot_seconds > since
    }


class RedisMirror:
    """
    The only writer of one shard's copy in a Redis.

    Args:
        directory: The shard's snapshot folder, which it reads only; its status is written there.
        replica: The copy.
        shard: The shard.
        clock: Time.
        rng: Where jitter and the names of generations come from.
        settings: Bounds.
        offload: Where the Redis is asked: it may hang for as long as the replica's link lets it.
        keys: What the snapshots are encrypted under.
    """

    def __init__(
        self,
        directory: Path,
        replica: RedisReplica,
        *,
        shard: str,
        clock: Clock,
        rng: Random,
        settings: MirrorSettings | None = None,
        offload: Offload = in_thread,
        keys: FileKeys = PLAIN,
    ) -> None:
        self._directory = directory
        self._replica = replica
        self._clock = clock
        self._rng = rng
        self._settings = settings or MirrorSettings()
        self._offload = offload
        self._feed = ReplicaFeed(
            directory, shard, clock=clock, path=list, offload=offload, keys=keys
        )
        self._watch = ReplicaReader(directory, clock=clock, keys=keys)
        self._seen: object = None
        self._held: Held | None = None
        self._build: RedisBuild | None = None
        self._swept: int | None = 0
        self._retry = Backoff(
            self._settings.retry_first_seconds, self._settings.retry_cap_seconds, rng
        )
        self._rebuild = Backoff(
            self._settings.rebuild_first_seconds, self._settings.rebuild_cap_seconds, rng
        )
        self.status = MirrorStatus(phase="starting", shard=shard, boot_id=clock.boot_id())

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the snapshot until told to stop."""
        try:
            while not stop.is_set():
                delay = await self.step()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await stop.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Let the files go."""
        await self._feed.close()
        self._watch.close()

    async def step(self) -> float:
        """
        Bring the copy a step further; return for how many seconds nothing is to be done.

        Nothing that comes from the disk or the Redis is raised: it is in the status.
        """
        try:
            delay = await self._step()
            self._retry.reset()
        except RedisLost as error:
            self._note(lost=self.status.lost + 1)
            delay = self._forget("building", str(error), self._rebuild)
        except RedisFull as error:
            # What was begun is in the way of what is there: it is removed before anything is tried again.
            self._swept = 0
            delay = self._forget("full", str(error), self._retry)
            await self._make_room()
        except RedisUnavailable as error:
            delay = self._forget("unreachable", str(error), self._retry)
        except (EpochChanged, BelowFloor, InvalidFrame, DamagedSnapshot) as error:
            delay = self._begin_anew(error)
        except NotTakenHere as error:
            self._say("waiting", str(error))
            delay = self._settings.retry_cap_seconds
        except (FeedError, NoSnapshot, StorageFailed) as error:
            # Behind: it is the disk that lost its newest barriers, and the feed brings them again.
            self._say("waiting", "behind" if isinstance(error, Behind) else str(error))
            delay = self._retry.next_seconds()
        self._write_status()
        return delay

    async def _step(self) -> float:
        if self._build is not None:
            await self._continue_build(self._build)
            return 0.0
        if self._held is None:
            self._held = await self._offload(self._replica.held)
            self._seen = None
        if self._held.epoch == 0:
            await self._begin_build()
            return 0.0
        version = self._watch.version()
        if version == self._seen:
            await self._sweep_some()
            return self._settings.look_seconds
        await self._tail(self._held)
        if self._build is None:
            self._seen = version
            self._rebuild.reset()
            self._say("following")
        return 0.0

    async def _tail(self, held: Held) -> None:
        frames: list[CheckedFrame] = []
        cursor = held.cursor
        while True:
            frame, asked = await self._ask(cursor, held.epoch)
            frames.append(frame)
            cursor = frame.upto
            if frame.barrier:
                break
            if sum(one.count for one in frames) >= self._settings.tail_rows_max:
                log.info("too much to apply at once: another generation is built")
                await self._begin_build()
                return
        rows = await self._offload(lambda: self._replica.apply(frames, asked))
        self._reached(cursor, held.epoch, rows)

    async def _ask(self, after: int, epoch: int) -> tuple[CheckedFrame, float]:
        asked = self._clock.boot_seconds()
        answer = await self._feed.page(after=after, epoch=epoch, limit=self._settings.page_rows)
        check_frame(answer.frame)
        return check_versions(answer.frame, self._settings.known_versions), asked

    # Another generation beside

    async def _begin_build(self) -> None:
        generation = f"{self._rng.getrandbits(64):016x}"
        self._build = await self._offload(lambda: self._replica.begin(generation))
        self._say("building", self.status.reason if self.status.phase == "building" else "")

    async def _continue_build(self, build: RedisBuild) -> None:
        frame, asked = await self._ask(build.cursor, 0)
        await self._offload(lambda: build.add(frame, asked))
        self._note(rows=self.status.rows + frame.count)
        if not frame.barrier:
            return
        await self._offload(build.adopt)
        self._build = None
        self._note(built=self.status.built + 1)
        self._reached(frame.upto, frame.epoch, 0)
        self._swept = 0
        self._say("following")

    def _begin_anew(self, error: SyncError) -> float:
        """The copy cannot be continued: it stays readable while another is built."""
        reason = error.reason if isinstance(error, InvalidFrame) else type(error).__name__
        log.warning("the copy in the Redis is built anew: %s", reason)
        self._build = None
        self._held = Held(self.status.shard, 0, 0, 0, None)
        self._say("building", reason)
        return self._rebuild.next_seconds()

    def _forget(self, phase: MirrorPhase, reason: str, wait: Backoff) -> float:
        """Ask anew what is held: whether the last change was made is not known."""
        self._held = self._build = None
        self._say(phase, reason)
        return wait.next_seconds()

    # Keys that nobody reads

    async def _sweep_some(self) -> None:
        if self._swept is None:
            return
        at = self._swept
        self._swept = await self._offload(lambda: self._replica.sweep(at, set())) or None

    async def _make_room(self) -> None:
        with suppress(RedisUnavailable):
            while self._swept is not None:
                await self._sweep_some()

    # Status

    def _reached(self, cursor: int, epoch: int, rows: int) -> None:
        state = self._replica.state
        self._held = state.held if state is not None else None
        self._note(epoch=epoch, cursor=cursor, rows=self.status.rows + rows)

    def _say(self, phase: MirrorPhase, reason: str = "") -> None:
        if (phase, reason) != (self.status.phase, self.status.reason):
            level = logging.INFO if phase in {"following", "building"} else logging.WARNING
            log.log(level, "redis mirror %s%s", phase, f": {reason}" if reason else "")
            self._note(phase=phase, reason=reason, written_boot_seconds=0.0)

    def _note(self, **changes: float | str) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    def _write_status(self) -> None:
        now = self._clock.boot_seconds()
        if now - self.status.written_boot_seconds < self._settings.status_seconds:
            return
        self.status = msgspec.structs.replace(
            self.status, lag=self._lag(), written_boot_seconds=now
        )
        # It informs; a disk that refuses it is reported by what matters more.
        with suppress(OSError):
            beside = self._directory / f"{STATUS_NAME}.new"
            beside.write_bytes(msgspec.json.encode(self.status))
            beside.replace(self._directory / STATUS_NAME)

    def _lag(self) -> int | None:
        with suppress(SyncError), self._watch.read() as view:
            epoch, cursor = view.place
            if self._held is not None and self._held.epoch == epoch:
                return cursor - self._held.cursor
        return None
