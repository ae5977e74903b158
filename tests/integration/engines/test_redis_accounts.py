"""When an account is read out of the Redis, and when the disk must answer, on a real Redis."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from cache_sync.clock import SystemClock
from cache_sync.documents import ACCOUNT
from cache_sync.errors import RedisUnavailable
from cache_sync.frames import Position
from cache_sync.redis_link import RedisLink
from cache_sync.redis_reader import RedisReader
from edge_portal.redis_accounts import STALE_SECONDS, Answered, SharedAccounts, SharedShard
from tests.integration.engines.mirror_world import MirrorWorld, SystemClockBut
from tests.integration.engines.redis_servers import RedisServer

READ_SECONDS = 0.2
MINE = "account-1"


class World(MirrorWorld):
    """What a worker has: the Redis, the disk, and what was counted."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        self.core.commit([((MINE, ACCOUNT, ""), b'{"balance": 1}')])
        self.counted: Counter[Answered] = Counter()
        self.open_breakers = 0
        reader = RedisReader(
            self._link(5.0), self.layout, clock=BootClock(self), seconds=READ_SECONDS
        )
        self.shared = SharedAccounts(
            {"0": SharedShard(reader, self.local)},
            1,
            clock=SystemClock(),
            rng=Random(1),
            count=lambda answered: self.counted.update([answered]),
            changed=lambda count: setattr(self, "open_breakers", count),
        )

    async def brought_on(self) -> None:
        """Bring disk and Redis to the core's head."""
        await self.follow()
        await self.mirror_until("following")

    def answered(self, seen: Position | None = None, account_id: str = MINE) -> str:
        """Read an account; tell who answered."""
        self.counted.clear()
        reading = self.shared.reading(account_id, () if seen is None else (seen,))
        (answered,) = self.counted
        assert (answered == "redis") == (reading is not None)
        return answered

    async def looked(self, until: str) -> None:
        """Let it look beside the requests until a request is answered so."""
        stop = asyncio.Event()
        looking = asyncio.create_task(self.shared.run(stop))
        for _ in range(300):
            await asyncio.sleep(0.05)
            if self.answered() == until:
                break
        stop.set()
        await looking
        assert self.answered() == until


class BootClock(SystemClockBut):
    """The clock of the world for ages; a question's deadline is short against its ticks."""

    def __init__(self, world: MirrorWorld) -> None:
        super().__init__(world.clock)
        self._world = world

    def boot_seconds(self) -> float:
        """Tell the world's seconds."""
        return self._world.clock.boot


@pytest.fixture
async def world(tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[World]:
    """Return a world in which the Redis answers."""
    made = World(tmp_path, own_redis.url)
    await made.brought_on()
    await made.looked("redis")
    yield made
    made.shared.close()
    await made.close()


async def test_requests_never_connect(tmp_path: Path, own_redis: RedisServer) -> None:
    """Before a connection was made beside, the disk answers at once."""
    world = World(tmp_path, own_redis.url)
    await world.brought_on()
    assert world.answered() == "open"
    await world.looked("redis")
    world.shared.close()
    await world.close()


async def test_nothing_older_than_was_seen_is_shown(world: World) -> None:
    """A customer who has seen a later barrier, or a later epoch, is answered by the disk."""
    here = world.reader.state().position
    assert world.answered(here) == "redis"
    world.core.commit([((MINE, ACCOUNT, ""), b'{"balance": 2}')])
    seen = (await world.follow()).position
    assert seen.seq > here.seq
    assert world.answered(seen) == "behind"
    assert world.answered(Position(2, "0", 1)) == "behind"
    assert world.answered() == "redis"
    await world.mirror_until("following")
    assert world.answered(seen) == "redis"


async def test_a_copy_that_stands_still_is_left_when_the_disk_goes_on(world: World) -> None:
    """An old copy is as good as an old disk, and worse than a newer one."""
    world.clock.advance(STALE_SECONDS + 1)
    assert world.answered() == "redis"
    await world.follow()
    assert world.answered() == "stale"
    await world.mirror_until("following")
    assert world.answered() == "redis"


async def test_the_redis_does_not_decide_what_does_not_exist(
    world: World, own_redis: RedisServer
) -> None:
    """An unknown account, one that was dropped, one without its summary: the disk is asked."""
    assert world.answered(account_id="unknown") == "missing"
    state = world.mirror._replica.state
    assert state is not None
    own_redis.ask("UNLINK", world.layout.account(state.generation, MINE))
    assert world.answered() == "missing"
    assert world.open_breakers == 0


async def test_what_is_damaged_opens_no_breaker(world: World, own_redis: RedisServer) -> None:
    """One bad account costs the others nothing."""
    state = world.mirror._replica.state
    assert state is not None
    own_redis.ask("SET", world.layout.account(state.generation, MINE), "nonsense")
    assert world.answered() == "damaged"
    assert world.open_breakers == 0


@pytest.mark.parametrize("fault", ["frozen", "dead", "flushed"])
async def test_a_redis_that_does_not_serve_is_asked_once(
    world: World, own_redis: RedisServer, fault: str
) -> None:
    """The first request waits for its deadline at most, the others not at all; it is used again when it serves."""
    if fault == "frozen":
        own_redis.freeze()
    elif fault == "dead":
        own_redis.kill()
    else:
        own_redis.ask("FLUSHALL")
    clock = SystemClock()
    begun = clock.boot_seconds()
    assert world.answered() == ("empty" if fault == "flushed" else "unavailable")
    assert clock.boot_seconds() - begun < 5 * READ_SECONDS
    assert world.open_breakers == 1
    begun = clock.boot_seconds()
    assert {world.answered() for _ in range(1000)} == {"open"}
    assert clock.boot_seconds() - begun < 1000 * READ_SECONDS / 10
    if fault == "frozen":
        own_redis.thaw()
    elif fault == "dead":
        own_redis.start()
    world.clock.advance(1)
    await world.brought_on()
    await world.looked("redis")
    assert world.open_breakers == 0


async def test_a_server_that_drips_is_given_up_at_the_deadline(world: World) -> None:
    """One deadline covers the whole answer, however many pieces it comes in."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for byte in b"+OK\r\n$100000\r\n" + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = SystemClock()
    link = RedisLink(f"redis://127.0.0.1:{port}", clock=clock, seconds=READ_SECONDS)
    reader = RedisReader(link, world.layout, clock=clock, seconds=READ_SECONDS)
    begun = clock.boot_seconds()
    with pytest.raises(RedisUnavailable):
        await asyncio.to_thread(reader.account, MINE)
    assert clock.boot_seconds() - begun < 10 * READ_SECONDS
    await gone.wait()
    server.close()
    await server.wait_closed()
