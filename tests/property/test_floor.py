"""
Edges, one below the other, that lose power, stay away and are forgotten about, while their core forgets deletes.

Real followers on a real core's feed, with the real keeper of its floor.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cache_sync.core_time import close
from cache_sync.document_table import read_head
from cache_sync.errors import SyncError
from cache_sync.feed import CoreTimeSource, FeedSource
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.offload import inline
from cache_sync.replica_feed import ReplicaFeed
from cache_sync.replica_reader import ReplicaReader
from cache_sync.sql import Connection, write
from core_cis.floor_keeper import FloorKeeper, FloorSettings
from core_cis.registry import add_edge, revoke_edge
from core_cis.store import CoreStore
from tests.unit.cache_sync.feed_world import FakeClock, State, read_all

AWAY_SECONDS = 600.0
KEEP_SECONDS = 20.0
SETTINGS = FollowerSettings(
    tail_pages_max=2,
    durable_seconds=0.5,
    retry_cap_seconds=0.5,
    rebuild_first_seconds=0.1,
    rebuild_cap_seconds=1.0,
)
NAMES = ("upper", "lower", "other")
ACCOUNTS = 6
SETTLING_STEPS_MAX = 300
_ResultT = TypeVar("_ResultT")


class CoreFeed:
    """Asks the core without a network."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask in small pages."""
        del limit, wait
        return await self._core.feed.page(after=after, epoch=epoch, limit=3)


class EdgeFeed:
    """Asks an edge above without a network."""

    def __init__(self, above: "Edge") -> None:
        self._above = above

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask in small pages."""
        del limit, wait
        return (await self._above.feed.page(after=after, epoch=epoch, limit=3)).frame


class Core:
    """A core that publishes and forgets, and a record of what it held at every seq."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.store = CoreStore.open(folder, clock)
        with self.store.transaction() as tx:
            for name in NAMES:
                add_edge(tx, name, "http://127.0.0.1:1")
        self.feed = FeedSource(
            self.store.database.documents(),
            "0",
            time_source=CoreTimeSource(self._close_time, clock),
            clock=clock,
            seal_key=b"the core's own",
            offload=inline,
        )
        self._clock = clock
        self._reading = self.store.database.open_reader()
        self.keeper = FloorKeeper(
            self._reading,
            self._write,
            ["0"],
            newest_file=lambda *_: None,
            clock=clock,
            settings=FloorSettings(
                away_seconds=AWAY_SECONDS, keep_seconds=KEEP_SECONDS, step_seqs=2
            ),
            offload=inline,
        )
        self.state: State = {}
        self.history: dict[int, State] = {0: {}}

    async def _close_time(self) -> datetime:
        with write(self.store.connection) as connection:
            return close(connection, self._clock.now())

    async def _write(self, work: Callable[[Connection], _ResultT], /) -> _ResultT:
        with write(self.store.connection) as connection:
            return work(connection)

    @property
    def head(self) -> int:
        """The newest seq."""
        return read_head(self.store.connection, "0").head

    def commit(self, changes: list[tuple[int, int]]) -> None:
        """Write documents, or delete them where the body is 0."""
        with self.store.transaction() as tx:
            for number, body in changes:
                name = (f"A-{number}", "payment", "p")
                tx.publish_encoded(*name, str(body).encode() if body else None)
                self.state = {key: value for key, value in self.state.items() if key != name}
                if body:
                    self.state[name] = str(body).encode()
        self.history[self.head] = self.state

    async def close(self) -> None:
        """Let everything go."""
        await self.feed.close()
        self._reading.close()
        self.store.close()


class Edge:
    """An edge's applier, and a copy of its disk as a power loss would leave it."""

    def __init__(self, folder: Path, name: str, core: Core, above: "Edge | None") -> None:
        self.name, self._core, self._above = name, core, above
        self._folder, self._kept_copy = folder, folder.with_name(f"{folder.name}-kept")
        folder.mkdir()
        self._clock = core._clock
        self._kept: object = None
        self._heard_at = self._clock.now()
        self._away = False
        self.start()

    def start(self) -> None:
        """Start on what is on the disk."""
        self.feed = ReplicaFeed(self._folder, "0", clock=self._clock, path=list, offload=inline)
        self.reader = ReplicaReader(self._folder, clock=self._clock)
        self._follower = Follower(
            CoreFeed(self._core) if self._above is None else EdgeFeed(self._above),
            self._folder,
            clock=self._clock,
            rng=Random(7),
            settings=SETTINGS,
            offload=inline,
        )

    async def stop(self) -> None:
        """Stop."""
        self._follower.close()
        self.reader.close()
        await self.feed.close()

    async def step(self) -> None:
        """Ask once, and look at what readers see."""
        before = self._follower.status.reason
        self._clock.advance(await self._follower.step())
        status = self._follower.status
        if status.kept != self._kept and status.kept is not None:
            self._kept = status.kept
            shutil.rmtree(self._kept_copy, ignore_errors=True)
            shutil.copytree(self._folder, self._kept_copy)
        if status.reason == "below_floor" != before:
            # Only one that was not waited for may ever have to begin anew.
            assert self._was_away(), f"{self.name} was waited for and passed all the same"
        self.check()

    def check(self) -> None:
        """Readers see what the core was at some barrier: nothing deleted has stayed."""
        with suppress(SyncError):
            state, _ = read_all(self.reader)
            assert _shown(self.reader) == self._core.history[state.cursor]

    def report(self) -> None:
        """Tell the core what a power loss would leave."""
        kept = self._follower.status.kept
        if kept is not None:
            self._away = self._was_away() and not self._is_well()
            self._core.keeper.note(self.name, [kept])
            self._heard_at = self._clock.now()

    def _was_away(self) -> bool:
        """Tell whether it was silent for too long, now or before it last began anew."""
        return self._away or (self._clock.now() - self._heard_at).total_seconds() > AWAY_SECONDS

    def _is_well(self) -> bool:
        kept = self._follower.status.kept
        return kept is not None and kept.seq >= self._core.keeper.floors["0"].floor

    async def lose_power(self) -> None:
        """Find the disk as it was when the newest durable place was told."""
        await self.stop()
        shutil.rmtree(self._folder)
        if self._kept_copy.exists():
            shutil.copytree(self._kept_copy, self._folder)
        else:
            self._folder.mkdir()
        self.start()

    @property
    def cursor(self) -> int:
        """How far it is."""
        return self._follower.status.cursor


def _shown(reader: ReplicaReader) -> State:
    state: State = {}
    with reader.read() as view:
        for number in range(ACCOUNTS):
            found = view.document(f"A-{number}", "payment", "p")
            if found is not None and found.body is not None:
                state[f"A-{number}", "payment", "p"] = found.body
    return state


changes = st.lists(
    st.tuples(st.integers(0, ACCOUNTS - 1), st.sampled_from([0, 0, 1, 2])), min_size=1, max_size=5
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), changes),
        st.tuples(st.just("steps"), st.tuples(st.integers(0, 2), st.integers(1, 4))),
        st.tuples(st.just("report"), st.integers(0, 2)),
        st.tuples(st.just("power"), st.integers(0, 2)),
        st.tuples(st.just("work"), changes),
        st.tuples(st.just("wait"), st.sampled_from([1, 25, 700])),
    ),
    max_size=40,
)


async def live(history: list[tuple[str, object]]) -> None:
    """Let a history happen, then let everybody come to the core's present."""
    with tempfile.TemporaryDirectory() as root:
        clock = FakeClock()
        core = Core(Path(root, "core"), clock)
        upper = Edge(Path(root, "upper"), "upper", core, None)
        edges = [
            upper,
            Edge(Path(root, "lower"), "lower", core, upper),
            Edge(Path(root, "other"), "other", core, None),
        ]
        try:
            core.commit([(number, 1) for number in range(ACCOUNTS)])
            for each in (*edges, *edges):
                for _ in range(5):
                    await each.step()
                clock.advance(2 * SETTINGS.durable_seconds)
                await each.step()
                each.report()
            for what, how in history:
                await _act(core, edges, what, how)
            for _ in range(SETTLING_STEPS_MAX):
                for edge in edges:
                    await edge.step()
                    edge.report()
                if all(edge.cursor == core.head for edge in edges):
                    break
            assert [_shown(edge.reader) for edge in edges] == [core.state] * 3
            # All have spoken: what they hold for good is forgotten, and nobody is in the way any more.
            clock.advance(2 * SETTINGS.durable_seconds)
            for edge in edges:
                await edge.step()
                await edge.step()
                edge.report()
            await core.keeper.step()
            clock.advance(2 * KEEP_SECONDS)
            for edge in edges:
                edge.report()
            await core.keeper.step()
            assert core.keeper.floors["0"].floor == core.head
            assert core.keeper.floors["0"].tombstones == 0
        finally:
            for edge in edges:
                await edge.stop()
            await core.close()


async def _act(core: Core, edges: list[Edge], what: str, how: object) -> None:
    match what, how:
        case "commit", list():
            core.commit(how)
        case "steps", (int(number), int(times)):
            for _ in range(times):
                await edges[number].step()
        case "report", int():
            edges[how].report()
        case "power", int():
            await edges[how].lose_power()
        case "work", list():
            core.commit(how)
            await core.keeper.step()
            core._clock.advance(2 * KEEP_SECONDS)
            await core.keeper.step()
        case "wait", int():
            core._clock.advance(how)


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(history=actions)
def test_no_edge_misses_a_delete(history: list[tuple[str, object]]) -> None:
    """
    Readers never see what was deleted at their barrier, and only who was silent too long has to begin anew.

    An edge below another one has its deletes from that one, and they are not forgotten there before it has them.
    """
    asyncio.run(live(history))


def test_an_edge_that_was_revoked_is_not_waited_for(tmp_path: Path) -> None:
    """It held the floor until then."""

    async def run() -> None:
        clock = FakeClock()
        core = Core(tmp_path / "core", clock)
        edge = Edge(tmp_path / "upper", "upper", core, None)
        try:
            core.commit([(0, 1), (1, 1)])
            core.commit([(0, 0)])
            for _ in range(6):
                clock.advance(1)
                await edge.step()
            edge.report()
            await core.keeper.step()
            clock.advance(2 * KEEP_SECONDS)
            await core.keeper.step()
            told = core.keeper.floors["0"]
            assert (told.floor, told.held_by, told.tombstones) == (0, "lower", 1)
            with core.store.transaction() as tx:
                revoke_edge(tx, "lower")
                revoke_edge(tx, "other")
            await core.keeper.step()
            told = core.keeper.floors["0"]
            assert (told.floor, told.held_by, told.tombstones) == (core.head, "", 0)
        finally:
            await edge.stop()
            await core.close()

    asyncio.run(run())
