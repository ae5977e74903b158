"""Nodes that follow a core or one another, in real files on a clock that tests turn by hand."""

from pathlib import Path
from random import Random

from cache_sync.documents import DEFAULT_SHARD
from cache_sync.feed_client import FeedClient
from cache_sync.follower import Follower
from cache_sync.frames import Frame
from cache_sync.offload import inline
from cache_sync.replica_feed import ReplicaFeed
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from tests.unit.cache_sync.feed_world import SETTINGS, Core, FakeClock, State, read_all


class Node:
    """A node: it follows its source, is read, and passes on what it holds."""

    def __init__(self, directory: Path, source: FeedClient, clock: FakeClock, seed: int) -> None:
        self.directory, self.source, self.clock = directory, source, clock
        self.page_rows = 5000
        self.feed = ReplicaFeed(
            directory, DEFAULT_SHARD, clock=clock, path=lambda: ["core"], offload=inline
        )
        self.reader = ReplicaReader(directory, clock=clock)
        self.follower = self._new_follower(seed)

    def _new_follower(self, seed: int) -> Follower:
        return Follower(
            self.source,
            self.directory,
            clock=self.clock,
            rng=Random(seed),
            settings=SETTINGS,
            offload=inline,
        )

    def restart(self) -> None:
        """Stop following and begin again on the same files."""
        self.follower.close()
        self.follower = self._new_follower(11)

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Answer a follower of this node."""
        answer = await self.feed.page(after=after, epoch=epoch, limit=min(limit, self.page_rows))
        return answer.frame

    async def step(self, steps: int = 1) -> None:
        """Follow for some questions, waiting as told."""
        for _ in range(steps):
            self.clock.advance(await self.follower.step())

    async def step_until(self, phase: str) -> None:
        """Follow until in a phase."""
        for _ in range(400):
            await self.step()
            if self.follower.status.phase == phase:
                return
        raise AssertionError(f"still {self.follower.status.phase}")

    async def step_until_built(self, snapshots: int) -> None:
        """Follow until so many snapshots were built."""
        for _ in range(400):
            await self.step()
            if self.follower.status.snapshots_built >= snapshots:
                return
        raise AssertionError(f"still {self.follower.status.phase}")

    def read(self) -> tuple[ReplicaState, State]:
        """Read everything."""
        return read_all(self.reader)

    def check(self, core: Core) -> ReplicaState:
        """Check what a reader sees here against the core's record: a real state, with a true label and age."""
        seen, state = self.read()
        core.check(seen, state)
        true_age = self.clock.boot - core.closed_at[seen.as_of]
        assert seen.age_seconds >= true_age, "younger than it is"
        return seen

    async def close(self) -> None:
        """Let the files go."""
        self.follower.close()
        self.reader.close()
        await self.feed.close()
