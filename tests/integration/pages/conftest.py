"""Pages on a portal in memory, for a browser without scripts and for a real one."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from failover.http_server import serve
from tests.integration.pages.world import World, pages_app


@pytest.fixture
def world() -> World:
    """Return the portal in memory, live, with one customer's account."""
    return World()


@pytest.fixture
def visitor(world: World) -> Iterator[TestClient[Litestar]]:
    """Return a browser without scripts that is not signed in."""
    with TestClient(pages_app(world), base_url="http://edge.test") as client:
        client.follow_redirects = False
        client.headers["Origin"] = "http://edge.test"
        yield client


@pytest.fixture
def customer(visitor: TestClient[Litestar]) -> TestClient[Litestar]:
    """Return a browser without scripts that is signed in."""
    visitor.cookies.set("ridethrough_session", "token")
    return visitor


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """Serve the pages for a real browser; yields the address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.setblocking(False)  # noqa: FBT003 - the name is the library's
        loop, stop = asyncio.new_event_loop(), asyncio.Event()
        done = threading.Thread(
            target=loop.run_until_complete, args=(serve(pages_app(world), listening, stop=stop),)
        )
        done.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            done.join(10)
            loop.close()
