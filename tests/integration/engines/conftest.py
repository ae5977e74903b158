"""Real servers, started once for all tests that need them, and the replica engines on top of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engines.engines import Engine, RedisEngine, SqliteEngine
from tests.integration.engines.redis_servers import RedisCluster, RedisServer, running
from tests.unit.cache_sync.feed_world import FakeClock

ENGINES = ("sqlite", "redis", "redis cluster")


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one Redis for all tests that break nothing."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    with running(server):
        yield server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run one cluster for all tests that break nothing."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    with running(cluster):
        yield cluster


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """Return the Redis, empty."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """Return the cluster, empty."""
    shared_cluster.ask("FLUSHALL")
    return shared_cluster


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a Redis of this test's own, to be broken."""
    server = RedisServer(tmp_path / "redis")
    with running(server):
        yield server


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that is turned by hand."""
    return FakeClock()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Engine]:
    """Return each engine in turn, empty."""
    made = make_engine(request, tmp_path, clock, "0")
    yield made
    made.close()


def make_engine(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, shard: str
) -> Engine:
    """Make the engine that a test's parameter names, for a shard."""
    if request.param == "sqlite":
        return SqliteEngine(tmp_path / f"shard-{shard}", shard, clock)
    server = request.getfixturevalue("redis" if request.param == "redis" else "cluster")
    return RedisEngine(server.url, shard, clock)


@pytest.fixture(params=ENGINES)
def shards(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> Iterator[dict[str, Engine]]:
    """Return three shards on each engine in turn, beside each other."""
    made = {shard: make_engine(request, tmp_path, clock, shard) for shard in ("0", "1", "2")}
    yield made
    for one in made.values():
        one.close()
