# ruff: noqa: D102 - the methods are those of the protocol that is stood in for
"""Upstreams in memory, and a follower that asks on from what it was answered, on a clock that is turned by hand."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

from cache_sync.errors import Behind, SyncError
from cache_sync.frames import FRAME_FORMAT, Frame, sealed
from cache_sync.standing import Standing
from edge_portal.upstreams import NEVER, Newness, Upstreams, UpstreamSettings
from tests.unit.edge_portal.edge_world import HandClock

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = UpstreamSettings()


class Node:
    """An upstream whose place, T and health tests set; its T moves with the clock while it is well."""

    def __init__(self, name: str, clock: HandClock) -> None:
        self.name = name
        self.path: list[str] = [] if name == "core" else ["core"]
        self.epoch, self.head, self.pages = 1, 10, 0
        self.stopped_at: float | None = None
        self.lag_seconds = 0.0
        self.trouble: SyncError | None = None
        self.asked = 0
        self.looked = 0
        self._clock = clock

    def stop(self) -> None:
        """Hear nothing new any more, and answer all the same."""
        self.stopped_at = self._clock.seconds

    @property
    def as_of(self) -> datetime:
        return NOON + timedelta(seconds=self.stopped_at or self._clock.seconds - self.lag_seconds)

    @property
    def relays(self) -> bool:
        return self.name != "core"

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        if after > self.head:
            raise Behind(self.epoch, self.head)
        paged = self.pages > 0
        self.pages -= paged
        upto = after + 1 if paged else self.head
        return sealed(
            Frame(
                format=FRAME_FORMAT,
                epoch=self.epoch,
                shard="0",
                after=after,
                upto=upto,
                count=upto - after,
                rows=[("a", "payment", str(seq), seq, b"{}") for seq in range(after, upto)],  # type: ignore[misc]
                digest="",
                barrier=not paged,
                head=self.head,
                as_of=self.as_of,
                age_seconds=0.0,
                age_at_least=False,
                floor=0,
                live_hash=0,
                live_rows=0,
                chain=b"",
                seal=b"",
            )
        )

    async def look(self, after: int, epoch: int) -> Standing:
        self.looked += 1
        if self.trouble is not None:
            raise self.trouble
        return Standing(
            epoch=self.epoch,
            shard="0",
            cursor=self.head,
            as_of=self.as_of,
            age_seconds=0.0,
            age_at_least=False,
            path=self.path,
        )

    async def close(self) -> None:
        pass


class Following:
    """A follower that asks on from what it was answered, half a second later each time."""

    def __init__(self, *names: str, newest: Newness = NEVER) -> None:
        self.clock = HandClock()
        self.nodes = {name: Node(name, self.clock) for name in names}
        self.upstreams = Upstreams(
            "me",
            list(self.nodes.values()),
            newest=newest,
            clock=self.clock,
            rng=Random(1),
            settings=SETTINGS,
        )
        self.cursor, self.epoch = 0, 0
        self.newest = newest
        self.errors: list[str] = []

    async def ask(self, seconds: float = 0.5) -> Frame | None:
        self.clock.seconds += seconds
        try:
            frame = await self.upstreams.fetch(self.cursor, self.epoch, 100, 0.5)
        except SyncError as error:
            self.errors.append(type(error).__name__)
            frame = None
        for _ in range(5):
            await asyncio.sleep(0)
        if frame is not None:
            self.cursor = frame.upto
            self.epoch = frame.epoch if frame.barrier else self.epoch
            if frame.barrier:
                assert (frame.epoch, frame.as_of) >= self.newest, "T went back"
                self.newest = (frame.epoch, frame.as_of)
        return frame

    async def ask_for(self, seconds: float) -> None:
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            await self.ask()

    @property
    def name(self) -> str:
        return self.upstreams.path[0]
