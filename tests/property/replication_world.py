"""A core, an edge that follows each of its shards, and what a customer of the edge has seen so far."""

import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from cache_sync.errors import SyncError
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Proof
from cache_sync.offload import inline
from cache_sync.publication import Name
from cache_sync.replica_reader import ReplicaReader
from tests.property.replication_core import Core
from tests.property.replication_faults import (
    HONEST,
    Doom,
    Fault,
    FaultyClient,
    MortalFolder,
    ProcessDied,
)
from tests.unit.cache_sync.feed_world import FakeClock, read_all

SETTINGS = FollowerSettings(
    tail_pages_max=2, refusals_max=2, retry_cap_seconds=1.0, rebuild_cap_seconds=4.0
)
SETTLING_STEPS_MAX = 600
CRASH_ROUNDS = 8


class Commit(NamedTuple):
    """The core changes documents in one transaction; None deletes."""

    changes: list[tuple[Name, bytes | None]]


class Steps(NamedTuple):
    """A shard's follower asks a few times; `fault` is what becomes of the first answer."""

    shard: int
    fault: Fault
    times: int


class Crash(NamedTuple):
    """The applier dies at some operation on its disk within its next steps, and starts again; see `Doom`."""

    operations: int
    only_files: bool


class Pages(NamedTuple):
    """The core answers pages of this many rows."""

    rows: int


class Advance(NamedTuple):
    """Time passes."""

    seconds: float


class Event(NamedTuple):
    """Something happens to a machine."""

    what: str


EVENTS = (
    "core restarts",
    "edge boots",
    "clock back",
    "clock ahead",
    "forget",
    "back up",
    "restore",
    "restore and raise",
    "new epoch",
)

Action = Commit | Steps | Crash | Pages | Advance | Event


class EdgeClock(FakeClock):
    """The edge machine's clock: the same time as the core's, counted from its own boot."""

    def __init__(self, core_clock: FakeClock, boot: int) -> None:
        super().__init__(boot_id=f"edge-boot-{boot}")
        self._core_clock = core_clock
        self._booted_at = core_clock.boot - 5.0

    def boot_seconds(self) -> float:
        """Tell the seconds since this machine's boot."""
        return self._core_clock.boot_seconds() - self._booted_at

    def advance(self, seconds: float) -> None:
        """Let time pass for both."""
        self._core_clock.advance(seconds)


class Watched:
    """What a customer of one shard's accounts has seen."""

    def __init__(self, directory: Path, core: Core, shard: str) -> None:
        self.directory = directory
        self.shard = shard
        self.client = FaultyClient(core, shard, self.proof)
        self.reader: ReplicaReader | None = None
        self.seen = (0, 0)
        self.seen_as_of: dict[int, datetime] = {}

    def open(self, clock: FakeClock) -> None:
        """Read on this machine's clock from now on."""
        self.close()
        self.reader = ReplicaReader(self.directory, clock=clock)

    def proof(self) -> Proof | None:
        """Show the barrier that is held."""
        assert self.reader is not None
        with suppress(SyncError), self.reader.read() as view:
            return view.proof()
        return None

    def check(self, core: Core, core_clock: FakeClock) -> None:
        """Look: a real state, never an older one, never labelled fresher than it is."""
        assert self.reader is not None
        if not self.reader.ready():
            assert self.seen == (0, 0), "a node that had a snapshot has lost it"
            return
        seen, state = read_all(self.reader)
        assert seen.shard == self.shard
        core.check(seen, state)
        assert (seen.epoch, seen.cursor) >= self.seen, "readers went back"
        self.seen = (seen.epoch, seen.cursor)
        assert seen.as_of >= self.seen_as_of.get(seen.epoch, seen.as_of), "core time went back"
        self.seen_as_of[seen.epoch] = seen.as_of
        assert seen.as_of in core.closed_at, "a T that the core never closed"
        true_age = core_clock.boot - core.closed_at[seen.as_of]
        assert seen.at_least or seen.age_seconds >= true_age - 1e-6, "older than the label says"

    def is_current(self, core: Core) -> bool:
        """Tell whether readers see the present under a fresh label."""
        if self.seen == (0, 0):
            return False
        assert self.reader is not None
        seen, state = read_all(self.reader)
        return core.is_at_head(seen, state) and not seen.at_least and seen.age_seconds < 60

    def close(self) -> None:
        """Let the file go."""
        if self.reader is not None:
            self.reader.close()


class World:
    """A core and an edge in one folder."""

    def __init__(self, directory: Path, shards: int) -> None:
        self.core_clock = FakeClock()
        self.core = Core(directory, self.core_clock, shards)
        self.doom = Doom()
        self.boots = 1
        self.clock = EdgeClock(self.core_clock, self.boots)
        self.watched = [
            Watched(directory / f"snapshot-{shard}", self.core, shard) for shard in self.core.shards
        ]
        for one in self.watched:
            one.open(self.clock)
        self.followers = self.start_followers()

    def start_followers(self) -> list[Follower]:
        """Start the applier's process."""
        return [
            Follower(
                one.client,
                one.directory,
                shard=one.shard,
                clock=self.clock,
                rng=Random(self.boots),
                settings=SETTINGS,
                offload=inline,
                folder=MortalFolder(one.directory, self.doom),
            )
            for one in self.watched
        ]

    def restart_followers(self) -> None:
        """Let the applier's process be gone, and start another."""
        for connection in self.doom.connections:
            connection.close()
        self.doom.connections.clear()
        self.doom.remaining = None
        for one in self.watched:
            one.client.reconnect()
        self.followers = self.start_followers()

    async def act(self, action: Action) -> None:
        """Let one thing happen."""
        match action:
            case Commit(changes):
                self.core.commit(changes)
            case Steps(shard, fault, times):
                number = shard % len(self.watched)
                self.watched[number].client.fault = fault
                for _ in range(times):
                    await self.step(number)
                    self.check()
            case Crash(operations, only_files):
                self.doom.only_files = only_files
                await self.crash(operations)
            case Pages(rows):
                for one in self.watched:
                    one.client.page_rows = rows
            case Advance(seconds):
                self.clock.advance(seconds)
            case Event(what):
                await self.happen(what)

    async def happen(self, what: str) -> None:
        """Let something happen to a machine, or an operator do it."""
        match what:
            case "core restarts":
                await self.core.restart()
            case "edge boots":
                self.boots += 1
                self.clock = EdgeClock(self.core_clock, self.boots)
                for one in self.watched:
                    one.open(self.clock)
                self.restart_followers()
            case "clock back":
                self.core_clock.wall_ahead_seconds -= 3600
            case "clock ahead":
                self.core_clock.wall_ahead_seconds += 3600
            case "forget":
                self.core.forget()
            case "back up":
                self.core.back_up()
            case "restore":
                await self.core.restore()
            case "restore and raise":
                await self.core.restore()
                self.core.enter_epoch()
            case "new epoch":
                self.core.enter_epoch()

    async def step(self, number: int) -> None:
        """Let a follower ask once, and wait as it says."""
        self.clock.advance(await self.followers[number].step())

    async def crash(self, operations: int) -> None:
        """Let the applier die at an operation on its disk, soon or a little later."""
        self.doom.remaining = operations
        try:
            for _ in range(CRASH_ROUNDS):
                for number in range(len(self.followers)):
                    await self.step(number)
        except ProcessDied:
            pass
        self.restart_followers()

    def check(self) -> None:
        """Look as customers do."""
        for one in self.watched:
            one.check(self.core, self.core_clock)

    async def settle(self) -> None:
        """Stop all faults, do after restores what operators must do, and let the followers catch up."""
        for one in self.watched:
            one.client.fault = Fault(HONEST, 0)
        for number, one in enumerate(self.watched):
            for _ in range(SETTLING_STEPS_MAX):
                self.core.tend()
                await self.step(number)
                one.check(self.core, self.core_clock)
                if one.is_current(self.core):
                    break
            status = self.followers[number].status
            assert one.is_current(self.core), f"{status.phase}: {status.reason}"
            assert status.phase == "following"

    async def close(self) -> None:
        """Let all files go."""
        for one in self.watched:
            one.close()
        for connection in self.doom.connections:
            connection.close()
        await self.core.close()


class Beginning(NamedTuple):
    """How many shards there are, and what was committed and followed before the history begins."""

    shards: int
    committed: Commit | None


async def live(beginning: Beginning, history: list[Action], *, settle: bool = True) -> None:
    """Live through a history, looking after every action, and see that all ends well."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), beginning.shards)
        try:
            if beginning.committed is not None:
                await world.act(beginning.committed)
                await world.settle()
            for action in history:
                await world.act(action)
                world.check()
            if settle:
                await world.settle()
        finally:
            await world.close()
