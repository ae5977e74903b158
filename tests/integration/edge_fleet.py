"""A core and two edges as real processes on ports of their own, for tests that kill them."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from edge_portal.node_status import ProcessList

PATIENCE_SECONDS = 90.0
ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for number in sockets:
            number.bind(("127.0.0.1", 0))
        return [number.getsockname()[1] for number in sockets]


def wait_until(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds; a busy machine gets all the time it needs."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def has_threads(pid: int) -> bool:
    """Tell whether a process got as far as its server, whose threads are the first that it starts."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


class EdgeProcess:
    """
    One edge: its supervisor, and what it writes down about the others; a feed where it passes documents on.

    With `older` it is of an older release (`tests.integration.older_edge`), from its next start on; `environment` is
    what its processes are given in place of this one's.
    """

    def __init__(
        self, folder: Path, name: str, port: int, *, feed_port: int = 0, workers: int = 2
    ) -> None:
        self.name, self.port, self.feed_port = name, port, feed_port
        self.older = False
        self.environment: dict[str, str] | None = None
        self.workers = workers
        self.config = folder / f"{name}.json"
        # Deeper than a socket address is long.
        self.data = folder / ("a-long-way-down-" * 6) / name
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The public address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """The argv that runs it."""
        if self.older:
            older = "tests.integration.older_edge"
            return [sys.executable, "-P", "-m", older, str(self.config), str(self.data)]
        serve = ["serve", "--config", str(self.config), "--data", str(self.data)]
        return [sys.executable, "-P", "-m", "edge_portal", *serve]

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self.log.open("ab") as log:
            # The tests' own modules are found from the root of the repository.
            environment = (
                {**os.environ, "PYTHONPATH": str(ROOT)} if self.older else self.environment
            )
            self.process = subprocess.Popen(self.command, stderr=log, env=environment)
        wait_until(f"{self.name} serves", self.ready)

    def ready(self) -> bool:
        """Tell whether it has a snapshot to serve, and every worker serves it."""
        try:
            ready = httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
        pids = self.pids()
        whole = len(pids) == self.workers + 2 + (self.feed_port > 0)
        workers = [pid for name, pid in pids.items() if name.startswith("worker-")]
        return ready and whole and all(has_threads(pid) for pid in workers)

    def pids(self) -> dict[str, int]:
        """Return the children by name."""
        try:
            raw = (self.data / "processes.json").read_bytes()
        except FileNotFoundError:
            return {}
        return {
            child.name: child.pid for child in msgspec.json.decode(raw, type=ProcessList).processes
        }

    def status(self) -> dict[str, Any]:
        """Ask how it is."""
        told: dict[str, Any] = httpx.get(f"{self.url}/status", timeout=10, trust_env=False).json()
        return told

    def mode(self) -> str:
        """Ask its mode."""
        return str(self.status()["mode"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


class EdgeFleet:
    """
    A core with a few made-up customers, and edges that are each other's witness.

    `upstreams` makes them pass documents on, and says whom each asks for them. The core has `shards`; `holding` says
    which of them an edge holds, where it does not hold all. `config_arguments` go to every edge's ``edges config``.
    With `tls` nodes speak it; operators have a port of their own then, which `core_port` is not.
    """

    def __init__(
        self,
        folder: Path,
        accounts: int = 6,
        *,
        names: Sequence[str] = ("east", "west"),
        upstreams: Mapping[str, Sequence[str]] | None = None,
        workers: int = 2,
        shards: int = 1,
        holding: Mapping[str, Sequence[str]] | None = None,
        config_arguments: Sequence[str] = (),
        tls: bool = False,
        snapshot_documents: int | None = None,
    ) -> None:
        self.folder = folder
        self.core_data = folder / "core"
        self.core_port, self.operator_port, *ports = free_ports(2 + 3 * len(names))
        self._tls = tls
        self._snapshot_documents = snapshot_documents
        scheme = "https" if tls else "http"
        self.core_url = f"{scheme}://127.0.0.1:{self.core_port}"
        self.core: subprocess.Popen[bytes] | None = None
        self._clients = contextlib.ExitStack()
        self.edges = [
            EdgeProcess(
                folder,
                name,
                ports.pop(),
                feed_port=ports.pop() if upstreams is not None else 0,
                workers=workers,
            )
            for name in names
        ]
        self.run_core("init", "--shards", str(shards))
        self.run_core("demo-data", "--accounts", str(accounts))
        peers = dict(zip(names, ports, strict=False))
        for edge in self.edges:
            feed = f"{scheme}://127.0.0.1:{edge.feed_port}" if edge.feed_port else ""
            peer = f"{scheme}://127.0.0.1:{peers[edge.name]}"
            self.run_core("edges", "add", edge.name, "--peer-url", peer, "--feed-url", feed)
        for edge in self.edges:
            ports_of = ["--port", str(edge.port), "--peer-port", str(peers[edge.name])]
            ports_of += ["--feed-port", str(edge.feed_port), "--workers", str(workers)]
            named = (upstreams or {}).get(edge.name, ())
            self.run_core(
                *("edges", "config", edge.name, "--core-url", self.core_url),
                *(*ports_of, "--out", str(edge.config), "--normal-min-seconds", "1"),
                *(word for name in named for word in ("--upstream", name)),
                *config_arguments,
                *(
                    word
                    for held in (holding or {}).get(edge.name, ())
                    for word in ("--shard", held)
                ),
            )
        logins = (self.core_data / "logins.json").read_bytes()
        self.customers: list[dict[str, str]] = msgspec.json.decode(logins)

    def run_core(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the core."""
        command = [sys.executable, "-P", "-m", "core_cis", *arguments]
        done = subprocess.run(
            [*command, "--data", str(self.core_data)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def start_core(self) -> None:
        """Start the core and wait until it answers."""
        command = [sys.executable, "-P", "-m", "core_cis", "serve", "--data", str(self.core_data)]
        command += ["--port", str(self.core_port)]
        if self._tls:
            command += ["--tls", "--operator-port", str(self.operator_port)]
        if self._snapshot_documents is not None:
            command += ["--snapshot-documents", str(self._snapshot_documents)]
        with (self.folder / "core.log").open("ab") as log:
            self.core = subprocess.Popen(command, stderr=log)

        def answers() -> bool:
            try:
                port = self.operator_port if self._tls else self.core_port
                url = f"http://127.0.0.1:{port}/healthz"
                return httpx.get(url, timeout=5, trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_until("the core answers", answers)

    def kill_core(self) -> None:
        """Kill the core and wait until the edges know."""
        assert self.core is not None
        self.core.kill()
        self.core.wait()
        for edge in self.edges:
            if edge.process is not None and edge.process.poll() is None:
                wait_until("degraded", lambda edge=edge: edge.mode() == "degraded")  # type: ignore[misc]

    def heal(self) -> None:
        """Bring back whatever a test took away, and part from its customers."""
        self._clients.close()
        if self.core is None or self.core.poll() is not None:
            self.start_core()
        for edge in self.edges:
            if edge.process is None or edge.process.poll() is not None:
                edge.start()
        for edge in self.edges:
            wait_until(f"{edge.name} is well", edge.ready)
            wait_until(f"{edge.name} is normal", lambda edge=edge: edge.mode() == "normal")  # type: ignore[misc]

    def stop(self) -> None:
        """Stop everything."""
        self._clients.close()
        for edge in self.edges:
            if edge.process is not None and edge.process.poll() is None:
                edge.stop()
        if self.core is not None and self.core.poll() is None:
            self.core.kill()
            self.core.wait()

    def forget(self, edge: EdgeProcess) -> None:
        """Lose an edge's disk."""
        shutil.rmtree(edge.data)

    def customer(self, number: int, edge: EdgeProcess) -> "Customer":
        """Sign a customer in at an edge."""
        login = self.customers[number]
        client = self._client(edge)
        answer = client.post(
            "/session", json={"email": login["email"], "password": login["password"]}
        )
        assert answer.status_code == 201, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return Customer(client, login["account_id"])

    def move(self, customer: "Customer", edge: EdgeProcess) -> "Customer":
        """Send a customer to another edge with the same token."""
        client = self._client(edge)
        client.headers["Authorization"] = customer.client.headers["Authorization"]
        return Customer(client, customer.account_id)

    def _client(self, edge: EdgeProcess) -> httpx.Client:
        url = f"{edge.url}/api/v1"
        return self._clients.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))

    def posted(self, account_id: str) -> list[dict[str, Any]]:
        """Return the account's payments in the core's ledger that came through an edge."""
        listed = msgspec.json.decode(self.run_core("ledger", account_id, "--json").stdout)
        return [
            entry
            for entry in listed["entries"]
            if entry["intent_id"] and not entry["intent_id"].startswith("office-")
        ]


class Customer:
    """A signed-in program of a customer."""

    def __init__(self, client: httpx.Client, account_id: str) -> None:
        self.client, self.account_id = client, account_id
        self._method = ""

    @property
    def method(self) -> str:
        """The first saved way to pay."""
        if not self._method:
            methods = self.client.get("/account").json()["payment_methods"]
            self._method = methods[0]["id"]
        return self._method

    def pay(self, amount: int = 100, key: str | None = None) -> httpx.Response:
        """Pay with the first saved method."""
        return self.client.post(
            "/payments",
            json={"amount": amount, "method_id": self.method},
            headers={"Idempotency-Key": key or secrets.token_hex(8)},
        )

    def state(self, payment_id: str) -> str:
        """Ask what became of a payment."""
        return str(self.client.get(f"/payments/{payment_id}").json().get("state"))


@contextlib.contextmanager
def steady_reads(customer: Customer, edge: EdgeProcess) -> Iterator[list[int]]:
    """Yield a list that fills with what fresh connections were answered when the block ends."""
    answers: list[int] = []
    yield answers
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        url = f"{edge.url}/api/v1/account"
        with httpx.Client(headers=customer.client.headers, timeout=10, trust_env=False) as fresh:
            answers.append(fresh.get(url).status_code)


def children_of(edge: EdgeProcess) -> list[int]:
    """Return the pids of everything that runs for an edge."""
    assert edge.process is not None
    return [edge.process.pid, *edge.pids().values()]


def is_running(pid: int) -> bool:
    """Tell whether a process can be signalled."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not is_gone(pid)
