"""
The core does no work for a caller who has gone: at every route that nodes call, whatever it would have waited for.

A route that is added later is found by itself, and fails here until a story of its own is told.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import httpx
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler

from cache_sync.clock import SystemClock
from cache_sync.core_time import stamp
from cache_sync.digests import DigestQuestion
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.sql import Connection, OperationalError, write
from core_cis.api.guards import fleet_guard
from core_cis.app import create_app
from core_cis.store import CoreStore
from core_cis.writer import Turn
from failover.intents import DecidedBatch, IntentBatch
from failover.snapshot_routes import answer_offer
from failover.web import DEADLINE_HEADER, Problem

NOW = {DEADLINE_HEADER: "0"}
SOON = {DEADLINE_HEADER: "150"}


class Ask(NamedTuple):
    """One question of a node."""

    method: str
    path: str
    body: bytes = b""


ASKED = {
    "/intents": Ask("POST", "/intents"),
    "/outcomes": Ask("POST", "/outcomes", msgspec.msgpack.encode(DecidedBatch())),
    "/probe": Ask("GET", "/probe"),
    "/feed/{shard:str}": Ask("GET", "/feed/0?after=0&epoch=1&limit=1000&wait=20.0&proof="),
    "/digests/{shard:str}": Ask(
        "POST",
        "/digests/0",
        msgspec.msgpack.encode(DigestQuestion(epoch=1, at=1, bounds=[])),
    ),
    "/archive/accounts/{account_id:str}/statements/{statement_id:str}": Ask(
        "GET", "/archive/accounts/A-1001/statements/S-1"
    ),
    "/snapshots/{shard:str}": Ask("GET", "/snapshots/0"),
    "/snapshots/{shard:str}/{name:str}": Ask("GET", "/snapshots/0/some.snapshot"),
}


def asked(core: Any, path: str) -> Ask:
    """Return the question that a node asks of a route."""
    ask = ASKED[path]
    if path == "/intents":
        return ask._replace(body=msgspec.msgpack.encode(IntentBatch([core.intent()])))
    return ask


async def answer(
    client: httpx.AsyncClient, core: Any, path: str, deadline: dict[str, str]
) -> httpx.Response:
    """Ask a route."""
    ask = asked(core, path)
    headers = core.node() | deadline
    return await client.request(ask.method, ask.path, content=ask.body, headers=headers)


def slug(told: httpx.Response) -> str:
    """Name a problem."""
    return str(told.json()["type"]).rpartition(":")[2]


def running(client: httpx.AsyncClient) -> Any:
    """Return the services of the application that a client asks."""
    return client._transport.app.state.services  # type: ignore[attr-defined]


def test_every_route_that_nodes_call_is_asked_here(file_core: Any) -> None:
    """The routes that have the fleet's guard, by the application itself."""
    app = create_app(file_core.data_dir, file_core.clock)
    guarded = {
        route.path
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler) and fleet_guard in handler.resolve_guards()
    }
    assert guarded == set(ASKED)


@pytest.mark.parametrize("path", ASKED)
async def test_a_caller_whose_deadline_has_passed_is_refused_at_once(
    file_core: Any, path: str
) -> None:
    """Before anything is read or written; whoever is no node hears only that."""
    async with file_core.serving() as client:
        late = await answer(client, file_core, path, NOW)
        stranger = await client.request(ASKED[path].method, ASKED[path].path, headers=NOW)
    assert (late.status_code, slug(late), late.json()["retry"]) == (503, "too_late", "same")
    assert stranger.status_code == 401
    with file_core.open() as store:
        for table in ("inbox", "payments"):
            assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 - our own names


async def test_outcomes_are_not_taken_back_for_a_caller_who_has_gone(file_core: Any) -> None:
    """Its time passes while the writer is at something else: its turn comes, and nothing is begun."""
    begun, free = threading.Event(), threading.Event()

    def hold(_: CoreStore) -> None:
        begun.set()
        free.wait(30)

    async with file_core.serving() as client:
        writer = running(client).writer
        holding = asyncio.create_task(writer.run(hold, turn=Turn.TIME, within_seconds=30))
        await asyncio.to_thread(begun.wait, 30)
        asking = asyncio.create_task(answer(client, file_core, "/outcomes", SOON))
        while not writer.waiting:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0.01)
        file_core.clock.move(1)
        free.set()
        await holding
        told = await asking
    assert (told.status_code, slug(told)) == (503, "core_busy")


@pytest.mark.parametrize("path", ["/probe", "/feed/{shard:str}"])
async def test_core_time_that_cannot_be_closed_is_waited_for_as_long_as_the_caller_does(
    file_core: Any, path: str
) -> None:
    """Another process holds the stamp of its commit, for longer than the caller waits."""
    async with file_core.serving() as client:
        with file_core.open() as other, write(other.connection) as held:
            stamp(held, file_core.clock.now())
            told = await answer(client, file_core, path, SOON)
    assert (told.status_code, told.json()["retry"]) == (503, "same")


class SilentServer:
    """Implements `core_cis.readers.Readers` with a database that answers nobody."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def ask(
        self, question: Callable[[Connection], object], *, within_seconds: float
    ) -> object:
        """Wait as long as asked."""
        del question
        self.waited.append(within_seconds)
        await asyncio.sleep(within_seconds)
        raise OperationalError("the database does not answer in time")


async def test_the_archive_asks_its_database_no_longer_than_the_caller_waits(
    file_core: Any,
) -> None:
    """A server that never answers costs a reader the caller's quarter of a second, not its own bound."""
    silent = SilentServer()
    path = "/archive/accounts/{account_id:str}/statements/{statement_id:str}"
    async with file_core.serving() as client:
        services = running(client)
        kept, services._readers = services._readers, silent
        told = await answer(client, file_core, path, SOON)
        services._readers = kept
    assert (told.status_code, slug(told)) == (503, "archive_unavailable")
    # What the core asks by itself waits for its own time.
    assert 0.15 in silent.waited


class OneFile:
    """A shelf with one file on it."""

    def files(self) -> list[Any]:
        """List it."""
        return [SimpleNamespace(manifest=None)]


def desk_with(accept: Callable[[object], Awaitable[bool]]) -> SnapshotDesk:
    """Make a desk with one file."""
    shelves = cast("Any", {"0": OneFile()})
    return SnapshotDesk(shelves, clock=SystemClock(), accept=accept)


async def test_an_offer_is_not_looked_for_longer_than_the_caller_waits() -> None:
    """Whether a file is still of this history is asked of the database, which may never answer."""
    begun: list[object] = []

    async def never(manifest: object) -> bool:
        begun.append(manifest)
        await asyncio.Event().wait()
        return True

    lower = {name.lower(): text for name, text in SOON.items()}
    with pytest.raises(Problem) as raised:
        await answer_offer(desk_with(never), "0", lower)
    assert (raised.value.status, raised.value.slug) == (503, "offer_unavailable")
    assert begun == [None]
