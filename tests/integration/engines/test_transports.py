"""
The same behaviours on every way from a core to what an edge's customers are answered from.

Ways for documents: the feed in process, over HTTP, through a Redis Stream. Engines: SQLite, one Redis, a cluster.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from cache_sync.errors import FeedUnavailable
from cache_sync.frames import Frame, sealed
from cache_sync.redis_stream_feed import StreamFeed
from tests.integration.engines.chain_world import (
    ACCOUNTS,
    Chain,
    Core,
    DiskView,
    RedisView,
    transport_of,
)
from tests.integration.engines.redis_servers import RedisCluster, RedisServer

TRANSPORTS = ("in process", "http", "stream")
ENGINES = ("sqlite", "redis", "redis cluster")


Opened = Callable[[], AbstractAsyncContextManager[Chain]]


@pytest.fixture(params=[(way, engine) for way in TRANSPORTS for engine in ENGINES], ids=" to ".join)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer, cluster: RedisCluster
) -> Opened:
    """Return how to open each chain in turn, with a core that holds a few documents."""
    way, engine = request.param
    directory = tmp_path / "snapshot"

    @asynccontextmanager
    async def open_chain() -> AsyncIterator[Chain]:
        core = Core(tmp_path)
        core.fill(8)
        url = redis.url if engine == "redis" else cluster.url
        view = DiskView(directory) if engine == "sqlite" else RedisView(directory, url)
        async with (
            core.serving() as (services, wire),
            transport_of(way, core, services, wire, redis.url) as source,
        ):
            made = Chain(core, source, directory, view)
            try:
                yield made
            finally:
                made.follower.close()
                await view.close()
        core.store.close()

    return open_chain


async def test_customers_see_every_barrier_in_turn(opened: Opened) -> None:
    """From nothing to everything, then new, changed and deleted documents, and forgotten deletes."""
    async with opened() as chain:
        await chain.catch_up()
        core = chain.core
        core.commit(
            [((ACCOUNTS[0], "payment", "0"), None), ((ACCOUNTS[1], "payment", "x"), b"[1]")]
        )
        await chain.catch_up()
        core.fill(12, b"[2]")
        core.commit([((ACCOUNTS[2], "payment", "2"), None)])
        await chain.catch_up()
        core.forget()
        core.commit([((ACCOUNTS[0], "payment", "0"), b'"back"')])
        await chain.catch_up()
        assert chain.follower.status.snapshots_built == 1
        source = chain.source._source
        if isinstance(source, StreamFeed):
            for number in range(20):
                core.commit([((ACCOUNTS[3], "payment", "s"), b"%d" % number)])
                await chain.catch_up()
            assert source.rows > 0, "nothing came through the stream"


async def test_bad_answers_change_nothing(opened: Opened) -> None:
    """Lost, repeated, reordered, damaged and hollowed answers are survived, and the newest barrier is reached."""
    async with opened() as chain:
        await chain.catch_up()
        old: list[Frame] = []

        def lost(_: Frame) -> Frame:
            raise FeedUnavailable("lost")

        def damaged(frame: Frame) -> Frame:
            return msgspec.structs.replace(frame, as_of=frame.as_of.replace(microsecond=1))

        def hollowed(frame: Frame) -> Frame:
            rows = frame.rows[1:]
            return sealed(msgspec.structs.replace(frame, rows=rows, count=len(rows)))

        def repeated(frame: Frame) -> Frame:
            old.append(frame)
            return old[0]

        alterations: list[Callable[[Frame], Frame]] = [lost, damaged, hollowed, repeated]
        for number, alter in enumerate(alterations):
            chain.core.fill(3, b"[%d]" % number)
            chain.source.alter = alter
            for _ in range(2):
                await chain.step()
            chain.source.alter = None
            await chain.catch_up()


async def test_another_epoch_replaces_everything_at_once(opened: Opened) -> None:
    """After the core was restored and raised its epoch, customers see the old state or the new one."""
    async with opened() as chain:
        await chain.catch_up()
        chain.core.fill(2, b'"of one"')
        chain.core.enter_epoch()
        chain.core.commit([((ACCOUNTS[0], "payment", "0"), b'"of two"')])
        await chain.catch_up()
        chain.core.commit([((ACCOUNTS[1], "payment", "1"), b'"later"')])
        await chain.catch_up()


async def test_any_order_of_commits_steps_and_deaths(opened: Opened) -> None:
    """Commits, steps, deaths of follower and mirror as they come: every look shows a true state, in order."""
    async with opened() as chain:
        rng = Random(11)
        for number in range(40):
            action = rng.random()
            if action < 0.4:
                names = rng.sample(ACCOUNTS, 2)
                bodies = [None if rng.random() < 0.2 else b"%d" % number for _ in names]
                chain.core.commit(
                    [
                        ((name, "payment", "p"), body)
                        for name, body in zip(names, bodies, strict=True)
                    ]
                )
            elif action < 0.9:
                await chain.step()
            else:
                chain.restart()
        await chain.catch_up()
