"""
Replication under every fault that a network, a process and a clock can have, in any order.

The core's own record says what was true after every commit; readers at the edge are held against it after every action.
"""

import asyncio
import tempfile
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_sync.errors import FeedUnavailable
from cache_sync.follower import Follower, FollowerSettings
from cache_sync.frames import Frame, decode_frame, encode_frame
from cache_sync.offload import inline
from cache_sync.replica_reader import ReplicaReader
from cache_sync.snapshot_folder import SnapshotFolder
from cache_sync.sqlite import Connection
from tests.unit.cache_sync.feed_world import Change, Core, FakeClock, read_all

SETTINGS = FollowerSettings(tail_pages_max=2, refusals_max=2, rebuild_cap_seconds=4.0)
NAMES = [(f"account-{number}", "payment", "p") for number in range(6)]
SETTLING_STEPS_MAX = 500


class Commit(NamedTuple):
    """The core changes documents in one transaction; None deletes."""

    changes: list[Change]


class Step(NamedTuple):
    """The follower asks once; the answer is delivered, lost, old, or damaged at a byte."""

    fault: str
    byte: int


class Crash(NamedTuple):
    """The follower's process dies at some operation on its disk within its next steps, and starts again."""

    operations: int


class Pages(NamedTuple):
    """The core answers pages of this many rows."""

    rows: int


class Advance(NamedTuple):
    """Time passes."""

    seconds: float


class Event(NamedTuple):
    """Something happens to a machine."""

    what: str


Action = Commit | Step | Crash | Pages | Advance | Event

changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.none() | st.sampled_from([b"1", b"22", b"333"])),
    min_size=1,
    max_size=4,
)
commits = st.builds(Commit, changes)
good_steps = st.builds(Step, st.just(""), st.just(0))
bad_steps = st.builds(
    Step, st.sampled_from(["lost", "again", "damaged", "shortened"]), st.integers(0, 10_000)
)
actions = st.one_of(
    commits,
    commits,
    good_steps,
    good_steps,
    bad_steps,
    st.builds(Crash, st.integers(0, 40)),
    st.builds(Pages, st.integers(1, 4)),
    st.builds(Advance, st.floats(0.0, 100.0)),
    st.builds(
        Event,
        st.sampled_from(
            ["core restarts", "edge boots", "clock back", "clock ahead", "forget", "new epoch"]
        ),
    ),
)


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


class ProcessDied(BaseException):
    """The process is gone: nothing after this ran."""


class Doom:
    """Counts operations on the disk; at zero the process is dead and does nothing more."""

    def __init__(self) -> None:
        self.remaining: int | None = None
        self.connections: list[Connection] = []

    def tick(self) -> None:
        """Count an operation, or die."""
        if self.remaining is None:
            return
        if self.remaining <= 0:
            raise ProcessDied
        self.remaining -= 1


class MortalConnection:
    """A connection whose process may die before any statement."""

    def __init__(self, connection: Connection, doom: Doom) -> None:
        self._connection = connection
        self._doom = doom

    def execute(self, sql: str, parameters: object = ()) -> object:
        """Run a statement, or die before it."""
        self._doom.tick()
        return self._connection.execute(sql, parameters)  # type: ignore[arg-type]

    def executemany(self, sql: str, rows: object) -> object:
        """Run a statement for many rows, or die before it."""
        self._doom.tick()
        return self._connection.executemany(sql, rows)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class MortalFolder(SnapshotFolder):
    """A snapshot folder whose process may die before any operation."""

    def __init__(self, directory: Path, doom: Doom) -> None:
        super().__init__(directory)
        self._doom = doom

    def open_for_writing(self, path: Path) -> Connection:
        """Open a file, or die before it."""
        self._doom.tick()
        connection = super().open_for_writing(path)
        self._doom.connections.append(connection)
        return cast("Connection", MortalConnection(connection, self._doom))

    def _replace(self, source: Path, target: Path) -> None:
        self._doom.tick()
        super()._replace(source, target)

    def _sync(self, path: Path) -> None:
        self._doom.tick()
        super()._sync(path)


class FaultyClient:
    """Asks the core and does to the answer what the test says."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.page_rows = 3
        self.fault = Step("", 0)
        self._delivered: Frame | None = None

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask once."""
        fault, self.fault = self.fault, Step("", 0)
        if fault.fault == "again" and self._delivered is not None:
            return self._delivered
        frame = await self._core.feed.page(after=after, epoch=epoch, limit=self.page_rows)
        if fault.fault == "lost":
            raise FeedUnavailable("lost")
        if fault.fault == "shortened":
            return msgspec.structs.replace(frame, rows=frame.rows[1:], count=len(frame.rows[1:]))
        if fault.fault == "damaged":
            content = bytearray(encode_frame(frame))
            content[fault.byte % len(content)] ^= 1 << (fault.byte % 8)
            return decode_frame(bytes(content))
        self._delivered = frame
        return frame

    def reconnect(self) -> None:
        """Forget old answers: a new process has new connections."""
        self._delivered = None


class World:
    """A core and an edge in one folder, and what a customer of the edge has seen so far."""

    def __init__(self, directory: Path) -> None:
        self.core_clock = FakeClock()
        self.core = Core(directory / "core.db", self.core_clock)
        self.client = FaultyClient(self.core)
        self.doom = Doom()
        self.boots = 1
        self.epoch = 1
        self.snapshots = directory / "snapshot"
        self.clock = EdgeClock(self.core_clock, self.boots)
        self.reader = ReplicaReader(self.snapshots, clock=self.clock)
        self.follower = self.make_follower()
        self.seen = (0, 0)
        self.seen_as_of: dict[int, datetime] = {}
        self.ever_ready = False

    def make_follower(self) -> Follower:
        """Start the follower's process."""
        return Follower(
            self.client,
            self.snapshots,
            clock=self.clock,
            rng=Random(self.boots),
            settings=SETTINGS,
            offload=inline,
            folder=MortalFolder(self.snapshots, self.doom),
        )

    def restart_follower(self) -> None:
        """Let the follower's process be gone, and start another."""
        for connection in self.doom.connections:
            connection.close()
        self.doom.connections.clear()
        self.doom.remaining = None
        self.client.reconnect()
        self.follower = self.make_follower()

    async def act(self, action: Action) -> None:
        """Let one thing happen."""
        match action:
            case Commit(changes):
                self.core.commit(changes)
            case Step():
                self.client.fault = action
                await self.step()
            case Crash(operations):
                await self.crash(operations)
            case Pages(rows):
                self.client.page_rows = rows
            case Advance(seconds):
                self.clock.advance(seconds)
            case Event(what):
                await self.happen(what)

    async def happen(self, what: str) -> None:
        """Let something happen to a machine."""
        match what:
            case "core restarts":
                await self.core.restart()
            case "edge boots":
                self.boots += 1
                self.clock = EdgeClock(self.core_clock, self.boots)
                self.reader.close()
                self.reader = ReplicaReader(self.snapshots, clock=self.clock)
                self.restart_follower()
            case "clock back":
                self.core_clock.wall_ahead_seconds -= 3600
            case "clock ahead":
                self.core_clock.wall_ahead_seconds += 3600
            case "forget":
                self.core.forget(self.core.head)
            case "new epoch":
                self.epoch += 1
                self.core.enter_epoch(self.epoch)

    async def step(self) -> None:
        """Let the follower ask once, and wait as it says."""
        self.clock.advance(await self.follower.step())

    async def crash(self, operations: int) -> None:
        """Let the follower die at an operation on its disk, soon or a little later."""
        self.doom.remaining = operations
        try:
            for _ in range(4):
                await self.step()
        except ProcessDied:
            pass
        self.restart_follower()

    def check(self) -> None:
        """Look as a customer does: a real state, never an older one, never labelled fresher than it is."""
        if not self.reader.ready():
            assert not self.ever_ready, "a node that had a snapshot has lost it"
            return
        self.ever_ready = True
        seen, state = read_all(self.reader)
        self.core.check(seen, state)
        assert (seen.epoch, seen.cursor) >= self.seen
        self.seen = (seen.epoch, seen.cursor)
        assert seen.as_of >= self.seen_as_of.get(seen.epoch, seen.as_of)
        self.seen_as_of[seen.epoch] = seen.as_of
        true_age = self.core_clock.boot - self.core.closed_at[seen.as_of]
        assert seen.at_least or seen.age_seconds >= true_age - 1e-6

    async def settle(self) -> None:
        """Stop all faults and let the follower catch up."""
        self.client.fault = Step("", 0)
        for _ in range(SETTLING_STEPS_MAX):
            await self.step()
            self.check()
            if self.is_current():
                break
        seen, state = read_all(self.reader)
        assert (seen.epoch, seen.cursor) == (self.epoch, self.core.head)
        assert state == self.core.state
        assert not seen.at_least
        assert seen.age_seconds < 60

    def is_current(self) -> bool:
        """Tell whether readers see the core's head under a fresh label."""
        if self.seen != (self.epoch, self.core.head):
            return False
        return not read_all(self.reader)[0].at_least and self.follower.status.phase == "following"

    async def close(self) -> None:
        """Let all files go."""
        self.reader.close()
        for connection in self.doom.connections:
            connection.close()
        await self.core.close()


async def live(history: list[Action]) -> None:
    """Live through a history, looking after every action, and see that all ends well."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            for action in history:
                await world.act(action)
                world.check()
            await world.settle()
        finally:
            await world.close()


@settings(max_examples=150)
@given(history=st.lists(actions, min_size=5, max_size=60))
def test_readers_see_the_core_at_a_barrier_and_never_go_back(history: list[Action]) -> None:
    """
    Whatever happens, readers see exactly one state that the core was in, never an older one than before.

    Their label is true: everything before T is in it, and the age shown is not below the true one. When the faults
    stop, they see the core's present.
    """
    asyncio.run(live(history))
