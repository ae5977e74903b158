"""
Forgets tombstones that nobody needs any more, a few at a time, while the core serves.

Edges say with every probe what they hold for good. That is kept in memory, written down at every look, and decides
with the rest (`core_cis.floor`) how far the floor of each shard may be raised. A core that has just started knows no
age of anything: it forgets nothing for a while.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.document_table import ShardHead, count_tombstones, read_head
from cache_sync.frames import Position
from cache_sync.offload import Offload, in_thread
from cache_sync.publication import forget_deletes
from cache_sync.shards import first_seq
from cache_sync.sql import Connection, Error
from core_cis.edge_places import Place, keep_places, read_reports
from core_cis.errors import NotBegun, WriterFull
from core_cis.floor import Floor, decide_floor

_SEQ_MAX = 2**62
_ResultT = TypeVar("_ResultT")
log = structlog.get_logger(__name__)


class Writes(Protocol):
    """Runs work within one write transaction of the core."""

    def __call__(self, work: Callable[[Connection], _ResultT], /) -> Awaitable[_ResultT]:
        """Raises `DatabaseError`, `NotBegun` and `WriterFull`: nothing was done then."""
        ...


class FloorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    When tombstones are forgotten.

    An edge that has said nothing for ``away_seconds`` is no longer waited for. Tombstones are kept for
    ``keep_seconds`` at least, so that a node which reads the feed from its beginning can end. The core looks every
    ``look_seconds`` and raises a floor by at most ``step_seqs`` in one transaction, with ``pause_seconds`` between two.
    A report that only says the same again is written down every ``again_seconds``.
    """

    away_seconds: float = 30 * 86400.0
    keep_seconds: float = 3600.0
    look_seconds: float = 10.0
    step_seqs: int = 5000
    pause_seconds: float = 0.05
    again_seconds: float = 60.0


class ShardFloor(msgspec.Struct, frozen=True, kw_only=True):
    """
    A shard's floor as of the last look.

    ``floor`` is the oldest cursor that still sees every delete, ``may`` how far it may be raised, ``held_by`` who keeps
    it from going further (`core_cis.floor.Floor`), ``away`` who is no longer waited for. ``forgotten`` counts the
    tombstones that this process has forgotten.
    """

    shard: str
    epoch: int = 0
    head: int = 0
    floor: int = 0
    may: int = 0
    tombstones: int = 0
    held_by: str = ""
    away: list[str] = []
    forgotten: int = 0


class _Sample(NamedTuple):
    """Where a shard's head was at some time."""

    boot_seconds: float
    epoch: int
    head: int


class _Look(NamedTuple):
    head: ShardHead
    floor: Floor
    tombstones: int


NewestFile = Callable[[Connection, str], int | None]
"""Tells where the newest snapshot file stands that this core hands out of a shard."""


class FloorKeeper:
    """
    Keeps the floors of all shards of a core.

    Args:
        connection: To read with; in a thread, one look at a time.
        write: How it writes.
        shards: The core's.
        newest_file: Where the newest snapshot file of a shard stands.
        clock: Time.
        settings: When.
        offload: Where it reads.
    """

    def __init__(
        self,
        connection: Connection,
        write: Writes,
        shards: Iterable[str],
        *,
        newest_file: NewestFile,
        clock: Clock,
        settings: FloorSettings | None = None,
        offload: Offload = in_thread,
    ) -> None:
        self._connection = connection
        self._write = write
        self._newest_file = newest_file
        self._clock = clock
        self._settings = settings or FloorSettings()
        self._offload = offload
        self._samples: dict[str, deque[_Sample]] = {shard: deque() for shard in shards}
        self._said: dict[tuple[str, str], Place] = {}
        self._kept: dict[tuple[str, str], Place] = {}
        self.floors = {shard: ShardFloor(shard=shard) for shard in self._samples}

    def note(self, node_id: str, places: Iterable[Position]) -> None:
        """Note what a registered edge holds for good; what cannot be true is not listened to."""
        now = self._clock.now()
        for place in places:
            begin = first_seq(place.shard) if place.shard in self._samples else _SEQ_MAX
            if place.epoch < _SEQ_MAX and begin <= place.seq < _SEQ_MAX:
                said = Place(node_id, place.shard, place.epoch, place.seq, now)
                self._said[node_id, place.shard] = said

    async def run(self, stop: asyncio.Event) -> None:
        """Look and forget until told to stop; what goes wrong is logged and tried again at the next look."""
        while not stop.is_set():
            try:
                await self.step(stop)
            except (Error, OSError, NotBegun, WriterFull) as error:
                log.warning("tombstones are not looked after now", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.look_seconds):
                    await stop.wait()

    async def step(self, stop: asyncio.Event | None = None) -> None:
        """
        Write down what edges said, and forget what may be forgotten.

        Raises:
            DatabaseError: The database does not answer, or refused.
            NotBegun: Others have the writer; likewise `WriterFull`.
        """
        await self._keep_reports()
        for shard in self._samples:
            look = await self._offload(lambda shard=shard: self._look(shard))  # type: ignore[misc]
            self._tell(shard, look)
            floor = look.head.floor
            while floor < look.floor.through and not (stop is not None and stop.is_set()):
                floor = await self._raise(shard, floor, look.floor.through)
                await self._clock.sleep(self._settings.pause_seconds)

    async def _keep_reports(self) -> None:
        again = timedelta(seconds=self._settings.again_seconds)
        news = {
            key: said
            for key, said in self._said.items()
            if (kept := self._kept.get(key)) is None
            or said[:4] != kept[:4]
            or said.reported_at - kept.reported_at >= again
        }
        if news:
            await self._write(lambda connection: keep_places(connection, news.values()))
            self._kept |= news

    def _look(self, shard: str) -> _Look:
        connection, settings = self._connection, self._settings
        head = read_head(connection, shard)
        floor = decide_floor(
            head.floor,
            head.head,
            epoch=head.epoch,
            reports=read_reports(connection, shard),
            now=self._clock.now(),
            away_max=timedelta(seconds=settings.away_seconds),
            aged=self._aged(shard, head),
            file_seq=self._newest_file(connection, shard),
        )
        return _Look(head, floor, count_tombstones(connection, shard))

    def _aged(self, shard: str, head: ShardHead) -> int:
        """Return the head as it was `keep_seconds` ago; the floor while that is not known."""
        samples, now = self._samples[shard], self._clock.boot_seconds()
        samples.append(_Sample(now, head.epoch, head.head))
        while len(samples) > 1 and now - samples[1].boot_seconds >= self._settings.keep_seconds:
            samples.popleft()
        oldest = samples[0]
        old = now - oldest.boot_seconds >= self._settings.keep_seconds
        return oldest.head if old and oldest.epoch == head.epoch else head.floor

    async def _raise(self, shard: str, floor: int, through: int) -> int:
        """Raise a floor one step; return where it is."""
        upto = min(through, floor + self._settings.step_seqs)
        removed = await self._write(lambda connection: forget_deletes(connection, shard, upto))
        told = self.floors[shard]
        self.floors[shard] = msgspec.structs.replace(
            told,
            floor=upto,
            forgotten=told.forgotten + removed,
            tombstones=max(0, told.tombstones - removed),
        )
        return upto

    def _tell(self, shard: str, look: _Look) -> None:
        told, floor = self.floors[shard], look.floor
        for node_id in floor.away:
            if node_id not in told.away:
                log.warning(
                    "an edge is no longer waited for: it begins anew when it comes back",
                    edge=node_id,
                    shard=shard,
                )
        self.floors[shard] = msgspec.structs.replace(
            told,
            epoch=look.head.epoch,
            head=look.head.head,
            floor=look.head.floor,
            may=floor.through,
            tombstones=look.tombstones,
            held_by=floor.held_by,
            away=list(floor.away),
        )
