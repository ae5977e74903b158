"""The door of a server for nodes: who is let in, as whom, and that it holds up whatever comes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cache_sync.clock import SystemClock
from core_cis.authority import issue_certificate, make_authority
from failover.http_server import open_socket, serve
from failover.node_config import NodeTls
from failover.node_tls import client_context, node_name, tls_reason, write_server_files
from failover.tls_door import RefusedHandshakes
from failover.web import CERTIFIED_NODE
from tests.unit.cache_sync.feed_world import FakeClock

AUTHORITY = make_authority()
BODY_BYTES = 3 * 1024 * 1024


def certified(node_id: str) -> NodeTls:
    """Make a node's certificate."""
    return issue_certificate(*AUTHORITY, node_id, now=SystemClock().now())


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say who called; at /echo send back what came, at /large much more than any buffer holds."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = str(scope["state"].get(CERTIFIED_NODE)).encode()
    if scope["path"] == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
    elif scope["path"] == "/large":
        body = bytes(BODY_BYTES)
    elif scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A server for nodes, and those who call it."""

    def __init__(self, port: int, refused: RefusedHandshakes, stop: asyncio.Event) -> None:
        self.port, self.refused, self.stop = port, refused, stop
        self.others: set[int] = set()

    def client(self, node_id: str) -> httpx.AsyncClient:
        """Call as a node."""
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=client_context(certified(node_id)),
            trust_env=False,
            timeout=20,
        )


NAMES = {"sni_hostname": node_name("core")}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """Serve as the core."""
    others = listening_ports()
    listener, stop = open_socket("127.0.0.1", 0), asyncio.Event()
    refused = RefusedHandshakes(FakeClock())
    files = write_server_files(tmp_path, certified("core"))
    serving = asyncio.create_task(
        serve(application, listener, stop=stop, tls=files, refused=refused)
    )
    await asyncio.sleep(0.2)
    made = Served(listener.getsockname()[1], refused, stop)
    made.others = others
    yield made
    stop.set()
    await serving
    assert listener.fileno() >= 0, "the socket stays its owner's"
    listener.close()


async def test_each_request_is_told_whose_certificate_it_came_with(served: Served) -> None:
    """Many at once, on connections that are kept: nobody is taken for another."""
    names = ["east", "west", "north"] * 5
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.client(name)) for name in names]
        for _ in range(3):
            answers = await asyncio.gather(
                *(client.get("/who", extensions=NAMES) for client in clients)
            )
            assert [answer.text for answer in answers] == names


async def test_large_bodies_come_whole_both_ways(served: Served) -> None:
    """More than any buffer between holds."""
    sent = bytes(range(256)) * (BODY_BYTES // 256)
    async with served.client("east") as client:
        echoed = await client.post("/echo", content=sent, extensions=NAMES)
        assert echoed.content == sent
        assert len((await client.get("/large", extensions=NAMES)).content) == BODY_BYTES


async def test_what_is_in_flight_is_finished_when_it_stops(served: Served) -> None:
    """Through the door too."""
    async with served.client("east") as client:
        asking = asyncio.create_task(client.get("/slow", extensions=NAMES))
        await asyncio.sleep(0.15)
        served.stop.set()
        assert (await asking).text == "east"


async def test_who_takes_nothing_holds_up_nobody(served: Served) -> None:
    """One that asks for much and reads nothing, one that hangs up in the middle: others are answered."""
    context = client_context(certified("east"))
    idle: list[asyncio.StreamWriter] = []
    for hang_up in (True, False):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", served.port, ssl=context, server_hostname=node_name("core")
        )
        writer.write(b"GET /large HTTP/1.1\r\nHost: core\r\n\r\n")
        await writer.drain()
        if hang_up:
            writer.transport.abort()
        idle.append(writer)
    async with served.client("west") as client:
        assert (await client.get("/who", extensions=NAMES)).text == "west"
    for writer in idle:
        writer.transport.abort()


async def test_the_server_itself_is_reached_by_the_door_alone(served: Served) -> None:
    """Its own socket, which others on this machine can find, hears nobody."""
    inner = listening_ports() - served.others - {served.port}
    refused = 0
    for port in inner:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/who")
        assert (answer.status_code, answer.content) == (403, b"")
        refused += 1
    assert refused == 1


def listening_ports() -> set[int]:
    """List the TCP ports that this process listens on."""
    inodes = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


async def test_a_refused_caller_is_told_why(served: Served) -> None:
    """By TLS's own alert, also when it has sent its request already."""
    then = SystemClock().now() - timedelta(days=1000)
    expired = issue_certificate(*AUTHORITY, "east", now=then, days=500)
    async with httpx.AsyncClient(verify=client_context(expired), trust_env=False) as client:
        with pytest.raises((httpx.TransportError, ssl.SSLError)) as refused:
            await client.post(
                f"https://127.0.0.1:{served.port}/echo", content=bytes(65_536), extensions=NAMES
            )
    assert "certificate expired" in tls_reason(refused.value)
    assert served.refused.count == 1


async def test_handshakes_that_fail_are_counted(served: Served, tmp_path: Path) -> None:
    """Without a certificate, with another fleet's, with plain HTTP."""
    strange = issue_certificate(*make_authority(), "east", now=SystemClock().now())
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    foreign.check_hostname, foreign.verify_mode = False, ssl.CERT_NONE
    foreign.load_cert_chain(write_server_files(tmp_path / "strange", strange).node)
    for number, context in enumerate((bare, foreign), 1):
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await client.get(f"https://127.0.0.1:{served.port}/who")
        assert served.refused.count == number
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{served.port}/who")
    assert served.refused.count == 3
