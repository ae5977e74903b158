"""Serving on a socket that is already open."""

import asyncio
import socket
from typing import Any

import httpx
import pytest

from failover.held_answers import send_whole
from failover.http_server import open_socket, serve


async def slow_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer after a third of a second; start and stop quietly."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def url(listener: socket.socket) -> str:
    """Return where a socket listens."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def test_requests_in_flight_are_finished_when_it_stops() -> None:
    """And the socket stays open for whoever opened it."""
    listener, stop = open_socket("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(slow_app, listener, stop=stop))
    async with httpx.AsyncClient(trust_env=False) as client:
        asking = asyncio.create_task(client.get(url(listener)))
        await asyncio.sleep(0.15)
        stop.set()
        assert (await asking).text == "done"
    await serving
    assert listener.fileno() >= 0
    listener.close()


async def test_two_servers_share_one_socket_and_one_may_end() -> None:
    """What one no longer accepts the other does."""
    listener = open_socket("127.0.0.1", 0)
    stops = [asyncio.Event(), asyncio.Event()]
    serving = [asyncio.create_task(serve(slow_app, listener, stop=stop)) for stop in stops]
    await asyncio.sleep(0.2)
    stops[0].set()
    await serving[0]
    for _ in range(3):
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url(listener))).status_code == 200
    stops[1].set()
    await serving[1]
    listener.close()


async def test_an_address_in_use_is_refused() -> None:
    """At once, not at the first request."""
    listener = open_socket("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        open_socket("127.0.0.1", listener.getsockname()[1])
    listener.close()


async def test_an_application_that_does_not_start_is_reported() -> None:
    """Serving ends with an error instead of waiting for ever."""

    async def broken_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    listener = open_socket("127.0.0.1", 0)
    with pytest.raises(RuntimeError):
        await serve(broken_app, listener, stop=asyncio.Event())
    listener.close()


async def sent_to(listener: socket.socket, content: bytes, read: asyncio.Event) -> list[str]:
    """Send an answer to who reads it when told to; return what happened, in order."""
    happened: list[str] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await slow_app(scope, receive, send)
        await send_whole(content, 200, {}, send, node_id="east")
        happened.append("sent")

    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, listener, stop=stop))
    loop = asyncio.get_running_loop()
    try:
        with socket.socket() as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            asking.settimeout(0)
            await loop.sock_connect(asking, listener.getsockname())
            await loop.sock_sendall(asking, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read.wait()
            happened.append("read")
            came = b""
            while not came.endswith(content):
                came += await loop.sock_recv(asking, 1 << 20)
    finally:
        stop.set()
        await serving
        listener.close()
    return happened


async def test_an_answer_is_sent_when_it_was_taken() -> None:
    """Not when the server has it: what nobody reads is still being sent, and what is read arrives whole."""
    read = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, read.set)
    listener = open_socket("127.0.0.1", 0)
    assert await sent_to(listener, bytes(range(256)) * 40_000, read) == ["read", "sent"]


async def test_who_takes_nothing_is_cut_off() -> None:
    """After the listener's time, and the answer counts as sent: nothing of it is kept."""
    read = asyncio.Event()
    asyncio.get_running_loop().call_later(4.0, read.set)
    listener = open_socket("127.0.0.1", 0, take_seconds=0.5)
    with pytest.raises(ConnectionResetError):
        await sent_to(listener, bytes(range(256)) * 40_000, read)
