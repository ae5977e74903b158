"""Serving on a socket that is already open."""

import asyncio
import socket
from typing import Any

import httpx
import pytest

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
