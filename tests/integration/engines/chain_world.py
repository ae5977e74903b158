"""A real core, each way to its documents, and each engine that an edge's customers are answered from."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

import httpx

from cache_sync.clock import SystemClock
from cache_sync.document_table import forget_tombstones, read_head
from cache_sync.errors import SyncError
from cache_sync.feed_client import FeedClient
from cache_sync.follower import Follower
from cache_sync.follower_settings import FollowerSettings
from cache_sync.frames import Frame
from cache_sync.offload import inline
from cache_sync.publication import raise_epoch
from cache_sync.redis_layout import RedisLayout
from cache_sync.redis_link import RedisLink
from cache_sync.redis_mirror import RedisMirror
from cache_sync.redis_reader import RedisReader
from cache_sync.redis_replica import RedisReplica
from cache_sync.redis_stream import StreamPublisher
from cache_sync.redis_stream_feed import StreamFeed, StreamFeedSettings
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.sql import write
from core_cis.app import create_app
from core_cis.keys import load_keys
from core_cis.registry import Serving, add_edge, write_edge_config
from core_cis.services import CoreServices
from core_cis.settings import Utility
from core_cis.store import CoreStore
from edge_portal.core_client import CoreFeed
from edge_portal.links import Links
from failover.node_config import EdgeConfig
from failover.signing import is_signed, sign_bytes
from tests.integration.engines.engines import NODE_KEY
from tests.unit.cache_sync.feed_world import Change, State, read_all

SHARD = "0"
ACCOUNTS = [f"account-{number}" for number in range(6)]
SETTINGS = FollowerSettings(
    wait_seconds=0.1,
    page_rows=50,
    retry_first_seconds=0.02,
    retry_cap_seconds=0.1,
    rebuild_first_seconds=0.02,
    rebuild_cap_seconds=0.1,
    heartbeat_seconds_min=0.01,
)
STREAM_SETTINGS = StreamFeedSettings(
    heartbeat_seconds=0.3, retry_first_seconds=0.1, retry_cap_seconds=0.3
)
PATIENCE_SECONDS = 30.0


class Core:
    """A core in process, with a record of what it held after every commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "core"
        self.clock = SystemClock()
        utility = Utility(name="Test Light", timezone="America/Chicago")
        self.store = CoreStore.open(self.folder, self.clock, utility=utility)
        with self.store.transaction(alone=True) as tx:
            add_edge(tx, "east", "http://127.0.0.1:2")
        with self.store.transaction(alone=True) as tx:
            serving = Serving(core_url="http://127.0.0.1", port=1, peer_port=2)
            self.config: EdgeConfig = write_edge_config(
                tx, "east", serving, folder / "east.json", keys=self.store.keys
            )
        self.history: dict[tuple[int, int], State] = {self.place: {}}
        self.stamps: list[tuple[int, int, datetime]] = []

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and head."""
        head = read_head(self.store.connection, SHARD)
        return head.epoch, head.head

    @property
    def state(self) -> State:
        """What it holds."""
        return self.history[self.place]

    def commit(self, changes: Iterable[Change]) -> None:
        """Publish changes in one transaction."""
        state = dict(self.state)
        with self.store.transaction() as tx:
            for name, body in changes:
                tx.publish_encoded(*name, body)
                state.pop(name, None)
                if body is not None:
                    state[name] = body
            stamp = tx.stamp
        self.history[self.place] = state
        self.stamps.append((*self.place, stamp))

    def fill(self, count: int, body: bytes = b"{}") -> None:
        """Publish some documents, one commit each."""
        for number in range(count):
            self.commit([((ACCOUNTS[number % len(ACCOUNTS)], "payment", f"{number}"), body)])

    def enter_epoch(self) -> None:
        """Begin another epoch."""
        state = self.state
        with write(self.store.connection) as connection:
            raise_epoch(connection, SHARD)
        self.history[self.place] = state

    def forget(self) -> None:
        """Forget all deletes."""
        with write(self.store.connection) as connection:
            forget_tombstones(connection, SHARD, self.place[1])

    def check(self, seen: ReplicaState, state: State) -> None:
        """Check what a reader saw: a state that there was, and a label that is true."""
        assert state == self.history.get((seen.epoch, seen.cursor)), "no state of the core"
        for epoch, seq, stamp in self.stamps:
            if epoch == seen.epoch and stamp < seen.as_of:
                assert seq <= seen.cursor, "a commit before T is missing"
        # Both clocks are this machine's, so that the age can be held against the truth.
        truth = (self.clock.now() - seen.as_of).total_seconds()
        assert seen.age_seconds >= truth - 0.1, "the label is too young"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[CoreServices, httpx.ASGITransport]]:
        """Serve, in this loop."""
        app = create_app(self.folder, self.clock)
        async with app.lifespan():
            transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
            yield cast("CoreServices", app.state.services), transport


class DirectClient:
    """The feed in the same process."""

    def __init__(self, services: CoreServices) -> None:
        self._services = services

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask the source itself."""
        return await self._services.feeds.of(SHARD).page(
            after=after, epoch=epoch, limit=limit, wait_seconds=wait
        )


class Altered:
    """A source whose answers a test may damage, repeat or lose."""

    def __init__(self, source: FeedClient) -> None:
        self._source = source
        self.alter: Callable[[Frame], Frame] | None = None
        self.questions = 0

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Ask, and do what the test wants done to the answer."""
        self.questions += 1
        frame = await self._source.fetch(after, epoch, limit, wait)
        return self.alter(frame) if self.alter is not None else frame


@contextlib.asynccontextmanager
async def transport_of(
    kind: str, core: Core, services: CoreServices, wire: httpx.ASGITransport, redis_url: str
) -> AsyncIterator[FeedClient]:
    """Open one way to the core's documents."""
    if kind == "in process":
        yield DirectClient(services)
        return
    node = Links(core.config, transport=wire).core("feed", 1)
    by_http = CoreFeed(node, SHARD)
    if kind == "http":
        yield by_http
    else:
        async with streamed(core, services, by_http, redis_url) as by_stream:
            yield by_stream
    await node.close()


@contextlib.asynccontextmanager
async def streamed(
    core: Core, services: CoreServices, by_http: FeedClient, redis_url: str
) -> AsyncIterator[StreamFeed]:
    """Publish into a stream, and read out of it."""
    keys, clock = load_keys(core.folder), SystemClock()
    publisher = StreamPublisher(
        services.feeds.of(SHARD),
        RedisLink(redis_url, clock=clock),
        SHARD,
        sign=lambda content: sign_bytes(keys.signing_key, content),
        clock=clock,
        rng=Random(1),
    )
    stop = asyncio.Event()
    publishing = asyncio.create_task(publisher.run(stop))
    feed = StreamFeed(
        by_http,
        RedisLink(redis_url, clock=clock),
        SHARD,
        verify=lambda content, signature: is_signed(content, signature, keys.public_key),
        clock=clock,
        rng=Random(2),
        settings=STREAM_SETTINGS,
    )
    try:
        yield feed
    finally:
        stop.set()
        await publishing
        await feed.close()


class View(Protocol):
    """What customers are answered from."""

    def read(self) -> tuple[ReplicaState, State]:
        """Read everything at one barrier."""
        ...

    async def step(self) -> None:
        """Bring it on after the snapshot on the disk."""
        ...

    def restart(self) -> None:
        """Lose what the process knows."""
        ...

    async def close(self) -> None:
        """Let it go."""
        ...


class DiskView:
    """The snapshot itself."""

    def __init__(self, directory: Path) -> None:
        self._reader = ReplicaReader(directory, clock=SystemClock())

    def read(self) -> tuple[ReplicaState, State]:
        """Read the snapshot."""
        return read_all(self._reader)

    async def step(self) -> None:
        """Do nothing: it is the snapshot."""

    def restart(self) -> None:
        """Open it anew."""
        self._reader.close()

    async def close(self) -> None:
        """Close it."""
        self._reader.close()


class RedisView:
    """The copy of the snapshot in a Redis."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory, self._url = directory, url
        self._layout = RedisLayout("east", SHARD, NODE_KEY)
        self._links: list[RedisLink] = []
        self._mirrors: list[RedisMirror] = []
        self._reader = RedisReader(self._link(), self._layout, clock=SystemClock(), seconds=5.0)
        self.restart()

    def _link(self) -> RedisLink:
        link = RedisLink(self._url, clock=SystemClock(), seconds=5.0)
        self._links.append(link)
        return link

    def restart(self) -> None:
        """Make a mirror that knows nothing."""
        replica = RedisReplica(self._link(), self._layout, clock=SystemClock())
        self._mirror = RedisMirror(
            self._directory,
            replica,
            shard=SHARD,
            clock=SystemClock(),
            rng=Random(len(self._mirrors)),
            offload=inline,
        )
        self._mirrors.append(self._mirror)

    def read(self) -> tuple[ReplicaState, State]:
        """Read all accounts; nobody writes meanwhile."""
        found: State = {}
        for account_id in ACCOUNTS:
            reading = self._reader.account(account_id)
            found |= {name: one.body or b"" for name, one in reading.by_name.items()}
        return self._reader.state(), found

    async def step(self) -> None:
        """Let the mirror do one thing."""
        await self._mirror.step()

    async def close(self) -> None:
        """Close everything."""
        for mirror in self._mirrors:
            await mirror.close()
        for link in self._links:
            link.close()


class Chain:
    """From the core to what customers are answered from."""

    def __init__(self, core: Core, source: FeedClient, directory: Path, view: View) -> None:
        self.core, self.view = core, view
        self.source = Altered(source)
        self._directory = directory
        self._position = (0, 0)
        self.follower = self._new_follower()

    def _new_follower(self) -> Follower:
        return Follower(
            self.source,
            self._directory,
            clock=SystemClock(),
            rng=Random(7),
            settings=SETTINGS,
            offload=inline,
        )

    async def step(self) -> None:
        """Let everything do one thing, and look at what customers see."""
        await self.follower.step()
        await self.view.step()
        self.look()

    def look(self) -> tuple[int, int] | None:
        """Check what customers see: a true state with a true label, never an older one; return where it stands."""
        try:
            seen, state = self.view.read()
        except SyncError:
            # Nothing is there yet; what was there does not go.
            assert self._position == (0, 0)
            return None
        self.core.check(seen, state)
        assert (seen.epoch, seen.cursor) >= self._position, "customers went back"
        self._position = (seen.epoch, seen.cursor)
        return self._position

    async def catch_up(self) -> None:
        """Step until customers see the core's head."""
        until = self.core.clock.boot_seconds() + PATIENCE_SECONDS
        while self.look() != self.core.place:
            assert self.core.clock.boot_seconds() < until, self.follower.status
            await self.step()

    def restart(self) -> None:
        """Kill follower and mirror, and start them again."""
        self.follower.close()
        self.follower = self._new_follower()
        self.view.restart()
