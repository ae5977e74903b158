"""
Whatever happens to the Redis of an edge, its customers see no error and no older balance than they have seen.

The same Redis carries the feed and the accounts that the edge's workers share.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from cache_sync.frames import Position
from cache_sync.redis_stream import stream_key
from edge_portal.redis_accounts import STALE_SECONDS
from edge_portal.settings import REDIS_FEED_VARIABLE
from failover.node_config import RedisReplica, read_config, write_config
from tests.integration.edge_fleet import Customer, EdgeFleet, wait_until
from tests.integration.engines.redis_servers import RedisServer, running

READERS = 3
PASSWORD = "a-secret-of-the-redis"
# What an edge's user needs, and no more.
RIGHTS = (
    "~ridethrough:* +get +set +hget +hgetall +hset +hdel +hexists +del +unlink +scan"
    " +eval +evalsha +multi +exec +ping +xadd +xread +xrevrange"
)
FAULT_SECONDS = 1.5
# What a request may take on a busy machine; waiting for a frozen Redis without a bound would take longer.
ANSWER_SECONDS_MAX = 5.0


def address(redis: RedisServer) -> str:
    """Return the address that fits the rights."""
    return redis.url.replace("//", f"//edge:{PASSWORD}@")


class Fleet(EdgeFleet):
    """A core, and one edge whose workers read out of a Redis."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        super().__init__(folder, accounts=READERS + 1, names=("east",))
        self.redis = redis
        (self.edge,) = self.edges
        config = read_config(self.edge.config)
        shared = RedisReplica(url=address(redis), read_seconds=0.1)
        write_config(
            self.edge.config, msgspec.structs.replace(config, redis=shared), overwrite=True
        )
        # The mirror is one more process to wait for.
        self.edge.workers += 1

    def counted(self, name: str, **labels: str) -> float:
        """Read one figure out of the edge's metrics; 0 for what was not counted yet."""
        shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
        wanted = f"ridethrough_edge_{name}{{{shown}}} " if labels else f"ridethrough_edge_{name} "
        text = httpx.get(f"{self.edge.url}/metrics", timeout=10, trust_env=False).text
        lines = (line for line in text.splitlines() if line.startswith(wanted))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def answered_by_redis(self) -> bool:
        """Tell whether the Redis answers the reads of now."""
        before = self.counted("account_reads_total", engine="redis")
        for _ in range(10):
            self.customer_of_all.client.get("/account")
        return self.counted("account_reads_total", engine="redis") >= before + 10

    @property
    def customer_of_all(self) -> Customer:
        """The customer who looks whether everything is well."""
        if not hasattr(self, "_looking"):
            self._looking = self.customer(READERS, self.edge)
        return self._looking


class Reader(threading.Thread):
    """One customer who pays and reads without end, and remembers what should not have been."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__(daemon=True)
        self._customer = fleet.customer(number, fleet.edge)
        self._stop_asked = threading.Event()
        self.wrong: list[str] = []
        self.reads = self.payments = 0

    def run(self) -> None:
        """Read, carrying the position along; pay now and then."""
        seen = Position(0, "0", 0)
        balance: int | None = None
        while not self._stop_asked.is_set():
            begun = time.monotonic()
            answer = self._customer.client.get(
                "/account", headers={"Ridethrough-Position": str(seen)} if seen.epoch else {}
            )
            self.reads += 1
            if answer.status_code != 200 or time.monotonic() - begun > ANSWER_SECONDS_MAX:
                self.wrong.append(f"{answer.status_code} after {time.monotonic() - begun:.1f} s")
                continue
            position = Position.parse(answer.headers["Ridethrough-Position"])
            assert position is not None
            if (position.epoch, position.seq) < (seen.epoch, seen.seq):
                self.wrong.append(f"went back from {seen} to {position}")
            seen = position
            account = answer.json()
            left = account["balance"] - account["pending_amount"]
            if balance is not None and left != balance:
                self.wrong.append(f"{left} left to pay instead of {balance}")
            balance = left
            if self.reads % 20 == 0:
                balance -= self._pay()

    def _pay(self) -> int:
        answer = self._customer.pay(amount=1)
        if answer.status_code not in {201, 202}:
            self.wrong.append(f"a payment was answered {answer.status_code}")
        self.payments += 1
        return 1

    def stop(self) -> None:
        """End, and wait for it."""
        self._stop_asked.set()
        self.join(30)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Run a core, an edge and its Redis."""
    folder = tmp_path_factory.mktemp("redis-fleet")
    rights = ["--user", "edge", "on", f">{PASSWORD}", *RIGHTS.split()]
    redis = RedisServer(folder / "redis", *rights)
    with running(redis), pytest.MonkeyPatch.context() as environment:
        # Core and edge are told where the streams are.
        environment.setenv(REDIS_FEED_VARIABLE, address(redis))
        made = Fleet(folder, redis)
        try:
            made.heal()
            yield made
        finally:
            made.stop()


def freeze(redis: RedisServer) -> None:
    """Hang it, and let it go on after a while."""
    redis.freeze()
    time.sleep(FAULT_SECONDS)
    redis.thaw()


def kill(redis: RedisServer) -> None:
    """Kill it, and start it again, empty, after a while."""
    redis.kill()
    time.sleep(FAULT_SECONDS)
    redis.start()


def flush(redis: RedisServer) -> None:
    """Empty it, again and again."""
    for _ in range(5):
        redis.ask("FLUSHALL")
        time.sleep(FAULT_SECONDS / 5)


def pause(redis: RedisServer) -> None:
    """Have it answer nobody for a while."""
    redis.ask("CLIENT", "PAUSE", int(FAULT_SECONDS * 1000), "ALL")
    time.sleep(FAULT_SECONDS)


def fill_up(redis: RedisServer) -> None:
    """Have it take nothing for so long that what is there is old."""
    redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    time.sleep(STALE_SECONDS + FAULT_SECONDS)
    redis.ask("CONFIG", "SET", "maxmemory", "0")


def scribble(redis: RedisServer) -> None:
    """Write nonsense over everything that is there."""
    for name in keys(redis):
        redis.ask("SET", name, "nonsense")
    time.sleep(FAULT_SECONDS)


def evict(redis: RedisServer) -> None:
    """Take all accounts away and leave the state that says where they stand."""
    for name in keys(redis):
        if not name.endswith(b":state"):
            redis.ask("UNLINK", name)
    time.sleep(FAULT_SECONDS)


def keys(redis: RedisServer) -> list[bytes]:
    """List what is there."""
    found = redis.ask("KEYS", "*")
    assert isinstance(found, list)
    return [name for name in found if isinstance(name, bytes)]


@pytest.mark.parametrize("fault", [freeze, kill, flush, pause, fill_up, scribble, evict])
def test_customers_notice_nothing(fleet: Fleet, fault: Callable[[RedisServer], None]) -> None:
    """Reads and payments go on through the fault; the Redis answers before it, and again when it is well."""
    wait_until("the redis answers", fleet.answered_by_redis)
    readers = [Reader(fleet, number) for number in range(READERS)]
    fallbacks = fleet.counted("account_reads_total", engine="disk")
    for reader in readers:
        reader.start()
    time.sleep(0.3)
    try:
        fault(fleet.redis)
        wait_until("the redis answers again", fleet.answered_by_redis)
    finally:
        for reader in readers:
            reader.stop()
    assert [reader.wrong for reader in readers] == [[]] * READERS
    assert all(reader.reads > 20 and reader.payments > 0 for reader in readers)
    assert fleet.counted("account_reads_total", engine="disk") > fallbacks


def test_operators_see_how_the_copy_is(fleet: Fleet) -> None:
    """Status and metrics tell cursor and lag of the copy, and who answers."""
    wait_until("the redis answers", fleet.answered_by_redis)

    def a_payment_is_in_the_stream() -> bool:
        # After a fault the core goes on from its head: what is committed before that, the stream does not bring.
        fleet.customer_of_all.pay(amount=1)
        return fleet.redis.ask("XLEN", stream_key("0")) != 0

    wait_until("a payment is in the stream", a_payment_is_in_the_stream)
    told = fleet.edge.status()
    mirror = told["redis"]["0"]
    assert mirror["phase"] == "following"
    assert mirror["cursor"] <= told["shards"]["0"]["cursor"]
    assert fleet.counted("redis_following", shard="0") == 1
    # A worker's breaker may have been looking whether it serves.
    wait_until("all breakers close", lambda: fleet.counted("redis_breakers_open") == 0)
    metrics = httpx.get(f"{fleet.edge.url}/metrics", timeout=10, trust_env=False).text
    logs = fleet.edge.log.read_text() + (fleet.folder / "core.log").read_text()
    assert not any(PASSWORD in text for text in (logs, metrics, str(told)))


def test_an_edge_starts_without_its_redis(fleet: Fleet) -> None:
    """Nothing at start-up needs it: the edge serves from its disk, and uses the Redis when it comes."""
    fleet.edge.stop()
    fleet.redis.kill()
    fleet.edge.start()
    answers = [fleet.customer_of_all.client.get("/account").status_code for _ in range(5)]
    assert answers == [200] * 5
    fleet.redis.start()
    wait_until("the redis answers", fleet.answered_by_redis)
