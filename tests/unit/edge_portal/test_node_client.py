"""Calls to other nodes: within a deadline, within bounds, and told apart by whether anything left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date

import httpx
import msgspec
import pytest

from cache_sync.documents import StatementBody, encode_body
from cache_sync.errors import BelowFloor, EpochChanged, FeedUnavailable, Forked, InvalidFrame
from edge_portal.core_client import CoreArchiveClient, CoreFeed, CoreIntakeClient, CoreProbeClient
from edge_portal.node_client import NodeClient
from failover.errors import Ambiguous, NodeError, NodeRefused, NotSent, Overloaded
from failover.intents import IntentBatch

Handler = Callable[[httpx.Request], httpx.Response]

DAY = date(2026, 11, 1)


def client(handler: Handler, calls_max: int = 4) -> NodeClient:
    """Build a client whose node is a function."""
    return NodeClient(
        "http://core.test",
        node_id="east",
        secret="secret",
        purpose="test",
        calls_max=calls_max,
        transport=httpx.MockTransport(handler),
    )


async def call(handler: Handler, **changes: int) -> bytes:
    """Make one call."""
    answer = await client(handler).call(
        "GET", "/x", deadline_seconds=1, bytes_max=changes.get("bytes_max", 100)
    )
    return answer.body


def raising(error: Exception) -> Handler:
    """Build a node to which every call fails."""

    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    return handle


def answering(status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> Handler:
    """Build a node that always answers the same."""
    return lambda _: httpx.Response(status, content=content, headers=headers)


async def test_a_call_says_who_calls_and_how_long_it_waits() -> None:
    """In headers, never in the address."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"ok")

    assert await call(handle) == b"ok"
    assert seen[0].headers["Authorization"] == "Node east:secret"
    assert seen[0].headers["Ridethrough-Deadline-Ms"] == "1000"
    assert "secret" not in str(seen[0].url)


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("late")])
async def test_a_connection_that_could_not_be_made_sent_nothing(error: Exception) -> None:
    """So it was certainly not done."""
    with pytest.raises(NotSent):
        await call(raising(error))


async def test_an_exhausted_pool_is_replaced() -> None:
    """The next call goes out through a new one."""
    failing = client(raising(httpx.PoolTimeout("none")))
    old = failing._client
    with pytest.raises(NotSent):
        await failing.call("GET", "/x", deadline_seconds=1, bytes_max=10)
    assert failing._client is not old
    assert old.is_closed


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_broken_answer_leaves_the_effect_unknown(status: int) -> None:
    """It may have been done."""
    with pytest.raises(Ambiguous):
        await call(answering(status))


async def test_an_answer_without_end_is_cut_off() -> None:
    """Bodies have a bound."""
    with pytest.raises(Ambiguous):
        await call(answering(200, b"x" * 101))


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("99999999999", None)])
async def test_a_busy_node_says_when_to_come_back(header: str, seconds: float | None) -> None:
    """If it says so sensibly."""
    for status in (429, 503):
        with pytest.raises(Overloaded) as busy:
            await call(answering(status, headers={"Retry-After": header}))
        assert busy.value.retry_after == seconds


async def test_a_busy_node_says_why() -> None:
    """Operators read at an edge that its core was restored, not that it has too much to do."""
    body = b'{"type":"urn:ridethrough:problem:restored","status":503}'
    with pytest.raises(Overloaded, match="takes nothing now: restored"):
        await call(answering(503, body))
    with pytest.raises(Overloaded, match="overloaded"):
        await call(answering(503, b"<html>"))


async def test_a_dripping_body_ends_at_the_deadline() -> None:
    """Timeouts of single reads would never fire."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"."

    slow = client(lambda _: httpx.Response(200, content=drip()))
    with pytest.raises(Ambiguous):
        await slow.call("GET", "/x", deadline_seconds=0.1, bytes_max=10_000)


async def test_waiting_for_a_turn_counts_against_the_deadline() -> None:
    """And nothing was sent by who never had one."""
    gate = asyncio.Event()

    async def hold(_: httpx.Request) -> httpx.Response:
        await gate.wait()
        return httpx.Response(200)

    one = NodeClient(
        "http://core.test",
        node_id="east",
        secret="s",
        purpose="test",
        calls_max=1,
        transport=httpx.MockTransport(hold),
    )
    first = asyncio.create_task(one.call("GET", "/x", deadline_seconds=5, bytes_max=10))
    await asyncio.sleep(0)
    with pytest.raises(NotSent):
        await one.call("GET", "/x", deadline_seconds=0.05, bytes_max=10)
    gate.set()
    assert (await first).status == 200


async def test_calls_that_were_given_up_leave_the_client_usable() -> None:
    """A hundred of them, and the next one still goes out."""
    slow = True

    async def handle(_: httpx.Request) -> httpx.Response:
        if slow:
            await asyncio.sleep(60)
        return httpx.Response(200, content=b"ok")

    tried = NodeClient(
        "http://core.test",
        node_id="east",
        secret="s",
        purpose="test",
        calls_max=2,
        transport=httpx.MockTransport(handle),
    )
    results = await asyncio.gather(
        *(tried.call("GET", "/x", deadline_seconds=0.02, bytes_max=10) for _ in range(100)),
        return_exceptions=True,
    )
    assert all(isinstance(result, NodeError) for result in results)
    slow = False
    assert (await tried.call("GET", "/x", deadline_seconds=5, bytes_max=10)).body == b"ok"


@pytest.mark.parametrize(
    ("status", "slug", "error"),
    [
        (409, "epoch_changed", EpochChanged),
        (409, "fork", Forked),
        (410, "below_floor", BelowFloor),
        (401, "not_a_known_node", FeedUnavailable),
        (404, "unknown_shard", FeedUnavailable),
    ],
)
async def test_what_the_feed_refuses_is_told_by_its_name(
    status: int, slug: str, error: type[Exception]
) -> None:
    """Statuses alone would not tell an epoch from a fork."""
    problem = b'{"type":"urn:ridethrough:problem:%s","epoch":3,"head":4}' % slug.encode()
    feed = CoreFeed(client(answering(status, problem)), "0")
    with pytest.raises(error):
        await feed.fetch(1, 1, 10, 0)


async def test_rubbish_is_never_taken_for_an_answer() -> None:
    """Whoever sent it with status 200."""
    rubbish = client(answering(200, b"<html>\xff"))
    with pytest.raises(InvalidFrame):
        await CoreFeed(rubbish, "0").fetch(1, 1, 10, 0)
    with pytest.raises(Ambiguous):
        await CoreProbeClient(rubbish).probe(deadline_seconds=1)
    with pytest.raises(Ambiguous):
        await CoreIntakeClient(rubbish).post(IntentBatch([]), deadline_seconds=1, drain=True)
    with pytest.raises(Ambiguous):
        await CoreArchiveClient(rubbish).statement("A-1", "st", deadline_seconds=1)


async def test_a_statement_of_a_later_version_is_not_shown() -> None:
    """It could say something else than the core means."""
    body = StatementBody(
        version=2, statement_id="st", account_id="A", issued_on=DAY, period_from=DAY, period_to=DAY, due_date=DAY,
        currency="USD", previous_balance_cents=0, payments_received_cents=0, total_cents=0, amount_due_cents=0,
        usage_wh=0, estimated_wh=0, lines=[], meters=[], tariffs=[],
    )  # fmt: skip
    archive = CoreArchiveClient(client(answering(200, encode_body(body))))
    with pytest.raises(Ambiguous, match="version 2"):
        await archive.statement("A", "st", deadline_seconds=1)
    known = msgspec.structs.replace(body, version=1)
    archive = CoreArchiveClient(client(answering(200, encode_body(known))))
    assert await archive.statement("A", "st", deadline_seconds=1) == known


async def test_a_probe_says_what_this_edge_reads() -> None:
    """So that the core writes nothing that it cannot read."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b'{"epoch":1,"head":2,"as_of":"2026-11-24T12:00:00Z"}')

    prober = CoreProbeClient(client(answer), reads={"usage": 2, "account": 1})
    assert (await prober.probe(deadline_seconds=1)).head == 2
    assert asked[0].url.params["reads"] == "account.1,usage.2"


async def test_a_refused_probe_shows_that_the_core_is_alive() -> None:
    """It is this node that is not welcome; an unknown statement is just that."""
    with pytest.raises(NodeRefused):
        await CoreProbeClient(client(answering(401))).probe(deadline_seconds=1)
    archive = CoreArchiveClient(client(answering(404)))
    assert await archive.statement("A/1", "../st", deadline_seconds=1) is None
