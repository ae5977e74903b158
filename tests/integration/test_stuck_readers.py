"""Nodes that ask for much and never read: what serves them keeps little for them, serves others, and cuts them off."""

import contextlib
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from cache_sync.clock import SystemClock
from cache_sync.snapshot_file import decode_manifest, decode_offer
from chaos.bench.process_facts import anonymous_megabytes
from core_cis.registry import Serving, add_edge, write_edge_config
from core_cis.settings import Utility
from core_cis.store import CoreStore
from failover.held_answers import ANSWERS_OF_ONE_MAX, LARGE_BYTES_MIN
from failover.node_config import read_config, write_config
from failover.web import authorization_header
from tests.integration.edge_fleet import EdgeProcess, free_ports, wait_until

STUCK = 48
"""Of each kind, at each of two nodes."""
ANSWER_MB = 4.2
ALLOWED_MB = 3 * 2 * ANSWERS_OF_ONE_MAX * ANSWER_MB
"""
What the answers of one node may take: as many of each kind as it has places for, each read, encoded and being sent.

Without a bound it would be 2 * STUCK of them, four times as much.
"""
DOCUMENTS, DOCUMENT_BYTES = 12, 900_000


class World:
    """A core and an edge that passes documents on, both with more than a page holds; two other nodes are names."""

    def __init__(self, folder: Path) -> None:
        self.core_port, *ports = free_ports(4)
        self.core_data, self.log = folder / "core", folder / "core.log"
        self.feeder = EdgeProcess(folder, "feeder", ports[0], feed_port=ports[1], workers=1)
        self.headers: dict[str, dict[str, str]] = {}
        url = f"http://127.0.0.1:{self.core_port}"
        with CoreStore.open(self.core_data, SystemClock(), utility=Utility()) as store:
            with store.transaction() as tx:
                for name, port in zip(("feeder", "bad", "good"), (ports[2], 9, 9), strict=True):
                    add_edge(tx, name, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ports[1]}")
                for number in range(DOCUMENTS):
                    text = b'{"a": "%s"}' % secrets.token_hex(DOCUMENT_BYTES // 2).encode()
                    tx.publish_encoded(f"A-{number}", "archive", "long", text)
            for name in ("feeder", "bad", "good"):
                serving = Serving(
                    core_url=url,
                    port=ports[0],
                    peer_port=ports[2],
                    feed_port=ports[1],
                    workers=1,
                    upstreams=["core"],
                )
                target = folder / f"{name}.json"
                with store.transaction() as tx:
                    config = write_edge_config(tx, name, serving, target, keys=store.keys)
                header = authorization_header(name, config.node_secret)
                self.headers[name] = {"Authorization": header}
        config = msgspec.structs.replace(read_config(self.feeder.config), snapshot_documents_min=1)
        write_config(self.feeder.config, config, overwrite=True)

    def start(self) -> None:
        """Start the core and the edge."""
        command = [sys.executable, "-P", "-m", "core_cis", "serve", "--snapshot-documents", "1"]
        command += ["--data", str(self.core_data), "--port", str(self.core_port)]
        with self.log.open("ab") as log:
            self.core = subprocess.Popen(command, stderr=log)
        self.feeder.start()

    def stop(self) -> None:
        """Stop both; whoever never reads does not hold them up."""
        for process in (self.feeder.process, self.core):
            if process is not None:
                process.terminate()
        for process in (self.feeder.process, self.core):
            if process is not None:
                process.wait(60)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one."""
    made = World(tmp_path_factory.mktemp("stuck"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Server:
    """Where documents are asked for: its port, its process, and what it was asked by those who never read."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.most_mb = 0.0
        self.stuck: list[socket.socket] = []

    def ask(self, path: str, headers: dict[str, str]) -> httpx.Response:
        """Ask as one who reads."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers=headers, timeout=20, trust_env=False)

    def offers(self, headers: dict[str, str]) -> bool:
        """Tell whether it has a snapshot file."""
        return self.ask("/snapshots/0", headers).status_code == 200

    def file_path(self, headers: dict[str, str]) -> str:
        """Tell where its snapshot file is."""
        offer = decode_offer(self.ask("/snapshots/0", headers).content)
        return f"/snapshots/0/{decode_manifest(offer.manifest).name}"

    def ask_and_never_read(self, path: str, headers: dict[str, str]) -> None:
        """Ask, and leave the answer where it is."""
        asking = socket.socket()
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.connect(("127.0.0.1", self.port))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        self.stuck.append(asking)

    def holds(self, count: int) -> bool:
        """Tell whether something waits to be taken on so many connections, or more; for 0, on none."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        untaken = sum(
            int(row[1].rpartition(":")[2], 16) == self.port
            and int(row[4].partition(":")[0], 16) > 0
            for row in rows
        )
        return untaken >= count if count else not untaken

    def look(self) -> None:
        """Note how much memory it has."""
        self.most_mb = max(self.most_mb, anonymous_megabytes(self.pid))


def is_whole(answer: httpx.Response) -> bool:
    """Tell whether a large answer came, with every byte."""
    return answer.is_success and len(answer.content) > LARGE_BYTES_MIN


def read_what_came(asking: socket.socket) -> tuple[int, bool]:
    """Return the status of an answer that nobody has read yet, and whether it comes to its end."""
    asking.settimeout(5)
    content = b""
    with contextlib.suppress(OSError):
        while part := asking.recv(1 << 20):
            content += part
            head, _, body = content.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length and len(body) == int(length[1]):
                return int(head.split()[1]), True
    return int(content.split()[1]), False


def test_who_never_reads_costs_little_and_is_cut_off(world: World) -> None:
    """
    Dozens of connections of one node ask for frames and for parts of a file, of the core and of an edge that feeds.

    Both hold a few answers, not all; another node is answered as always; whoever takes nothing for its time is cut
    off, and the node is served again.
    """
    bad, good = world.headers["bad"], world.headers["good"]
    core = Server(world.core_port, world.core.pid)
    servers = [core, Server(world.feeder.feed_port, world.feeder.pids()["feeder"])]
    for server in servers:
        wait_until("a snapshot file", partial(server.offers, good))
        part = server.file_path(good)
        assert is_whole(server.ask("/feed/0", good))
        assert is_whole(server.ask(part, {**good, "Range": "bytes=0-"}))
        server.look()
        before_mb = server.most_mb
        for _ in range(STUCK):
            server.ask_and_never_read("/feed/0?after=0&limit=5000", bad)
            server.ask_and_never_read(part, {**bad, "Range": "bytes=0-"})
        wait_until("they are stuck", partial(server.holds, 2 * ANSWERS_OF_ONE_MAX))
        for _ in range(20):
            server.look()
            time.sleep(0.05)
        assert server.most_mb - before_mb < ALLOWED_MB
        assert is_whole(server.ask("/feed/0", good))
        assert is_whole(server.ask(part, {**good, "Range": "bytes=0-"}))
    for server in servers:
        wait_until("they are cut off", partial(server.holds, 0))
        came = [read_what_came(asking) for asking in server.stuck]
        assert came.count((200, False)) >= ANSWERS_OF_ONE_MAX
        assert came.count((206, False)) >= ANSWERS_OF_ONE_MAX
        assert not {(200, True), (206, True)} & set(came), "who is cut off does not get the rest"
        assert is_whole(server.ask("/feed/0", bad))
        for asking in server.stuck:
            asking.close()
