"""A core, a follower of it, and the copy of the follower's snapshot in a Redis, step by step."""

from pathlib import Path
from random import Random

from cache_sync.clock import Clock, SystemClock
from cache_sync.offload import inline
from cache_sync.redis_layout import RedisLayout
from cache_sync.redis_link import RedisLink
from cache_sync.redis_mirror import MirrorSettings, RedisMirror
from cache_sync.redis_reader import RedisReader
from cache_sync.redis_replica import RedisReplica
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from tests.integration.engines.engines import NODE_KEY
from tests.unit.cache_sync.feed_world import (
    Core,
    DirectClient,
    FakeClock,
    State,
    make_follower,
    read_all,
)

ACCOUNTS = [f"account-{number}" for number in range(9)]
LINK_SECONDS = 0.3
STEPS_MAX = 400


class MirrorWorld:
    """
    One shard from the core to the Redis, on a clock that is turned by hand; questions to the Redis take real time.

    Use `close` at the end.
    """

    def __init__(self, folder: Path, url: str, **settings: int) -> None:
        self.clock = FakeClock()
        self.core = Core(folder / "core.db", self.clock)
        self.client = DirectClient(self.core)
        self.directory = folder / "snapshot"
        self.follower = make_follower(self.client, self.directory, self.clock)
        self.local = ReplicaReader(self.directory, clock=self.clock)
        self.layout = RedisLayout("east", "0", NODE_KEY)
        self._links: list[RedisLink] = []
        self._url, self._settings = url, settings
        self.reader = RedisReader(
            self._link(5.0), self.layout, clock=SystemClockBut(self.clock), seconds=5.0
        )
        self.mirror = self.new_mirror()

    def _link(self, seconds: float) -> RedisLink:
        link = RedisLink(self._url, clock=SystemClock(), seconds=seconds)
        self._links.append(link)
        return link

    def new_mirror(self) -> RedisMirror:
        """Make a mirror that knows nothing yet, as a new process does."""
        return RedisMirror(
            self.directory,
            RedisReplica(self._link(LINK_SECONDS), self.layout, clock=self.clock),
            shard="0",
            clock=self.clock,
            rng=Random(5),
            settings=MirrorSettings(
                page_rows=self._settings.get("page_rows", 2000),
                tail_rows_max=self._settings.get("tail_rows_max", 10_000),
            ),
            offload=inline,
        )

    async def follow(self) -> ReplicaState:
        """Bring the local snapshot to the core's head; return where it stands."""
        for _ in range(STEPS_MAX):
            self.clock.advance(await self.follower.step())
            if self.follower.status.phase == "following":
                seen, state = read_all(self.local)
                if (seen.epoch, seen.cursor) == (self.core._epoch, self.core.head):
                    assert state == self.core.state
                    return seen
        raise AssertionError(f"still {self.follower.status}")

    async def mirror_until(self, phase: str, *, steps_max: int = STEPS_MAX) -> None:
        """Step, waiting as told, until the mirror has nothing to do in a phase."""
        for _ in range(steps_max):
            delay = await self.mirror.step()
            self.clock.advance(delay)
            if self.mirror.status.phase == phase and delay > 0:
                return
        raise AssertionError(f"still {self.mirror.status}")

    def check(self) -> ReplicaState:
        """Check that the Redis shows one of the core's states, with a true label; return where it stands."""
        state = self.reader.state()
        self.core.check(state, self.copied())
        local, _ = read_all(self.local)
        assert (state.epoch, state.cursor) <= (local.epoch, local.cursor), "ahead of the disk"
        return state

    def copied(self) -> State:
        """Read all accounts out of the Redis."""
        found: State = {}
        for account_id in ACCOUNTS:
            reading = self.reader.account(account_id)
            found |= {name: one.body or b"" for name, one in reading.by_name.items()}
        return found

    async def close(self) -> None:
        """Let everything go."""
        for link in self._links:
            link.close()
        await self.mirror.close()
        self.local.close()
        self.follower.close()
        await self.core.close()


class SystemClockBut(SystemClock):
    """A clock whose boot is another's, so that ages fit, and whose deadlines are real."""

    def __init__(self, other: Clock) -> None:
        super().__init__()
        self._other = other

    def boot_id(self) -> str:
        """Tell the other's boot."""
        return self._other.boot_id()
