"""Workers and agent understand each other, and a worker knows when nobody is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_portal.agent_link import (
    FRAME_BYTES_MAX,
    IN_FLIGHT_MAX,
    AgentLink,
    AgentServer,
    AgentSilent,
    AskRequest,
    ReceiptReply,
    RefusedReply,
    Reply,
    Request,
    short_path,
)
from tests.unit.edge_portal.edge_world import receipt

SECONDS = 5.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder whose path is longer than a socket address."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    return deep


@pytest.fixture
async def link(data: Path) -> AsyncIterator[AgentLink]:
    """Return a worker's end."""
    made = AgentLink(data)
    yield made
    await made.close()


def ask(number: int = 0) -> AskRequest:
    """Build a request."""
    return AskRequest("A-1", str(number))


async def echo(request: Request) -> Reply:
    """Answer later requests sooner."""
    assert isinstance(request, AskRequest)
    await asyncio.sleep(0.02 if request.intent_id == "0" else 0)
    return RefusedReply("not_taken", message=request.intent_id)


async def test_many_requests_share_a_connection_and_each_gets_its_own_reply(
    data: Path, link: AgentLink
) -> None:
    """Whatever the order in which they are answered."""
    server = AgentServer(data, echo)
    await server.start()
    replies = await asyncio.gather(
        *(link.ask(ask(number), deadline_seconds=SECONDS) for number in range(50))
    )
    assert [reply.message for reply in replies if isinstance(reply, RefusedReply)] == [
        str(number) for number in range(50)
    ]
    await server.close()


async def test_a_receipt_arrives_whole(data: Path, link: AgentLink) -> None:
    """With its instants."""
    sent = receipt("k", state="posted", seq=4)

    async def answer(_: Request) -> Reply:
        return ReceiptReply(sent)

    server = AgentServer(data, answer)
    await server.start()
    assert await link.ask(ask(), deadline_seconds=SECONDS) == ReceiptReply(sent)
    await server.close()


async def test_without_an_agent_it_is_silent(link: AgentLink) -> None:
    """At once, not at the deadline."""
    with pytest.raises(AgentSilent):
        await link.ask(ask(), deadline_seconds=60)


async def test_a_frozen_agent_is_silent_at_the_deadline(data: Path, link: AgentLink) -> None:
    """And the next one is found on the same path."""
    frozen = AgentServer(data, lambda _: asyncio.get_running_loop().create_future())
    await frozen.start()
    with pytest.raises(AgentSilent):
        await link.ask(ask(), deadline_seconds=0.05)
    assert frozen._server is not None
    frozen._server.close()
    for task in frozen._tasks:
        task.cancel()
    replacement = AgentServer(data, echo)
    await replacement.start()
    await link.close()
    reply = await link.ask(ask(7), deadline_seconds=SECONDS)
    assert reply == RefusedReply("not_taken", message="7")
    await replacement.close()


async def test_an_agent_that_dies_with_requests_under_way_is_silent(
    data: Path, link: AgentLink
) -> None:
    """They do not wait for their deadlines."""
    connections: list[asyncio.StreamWriter] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        connections.append(writer)
        writer.close()

    with short_path(data) as path:
        server = await asyncio.start_unix_server(hang_up, path)
    with pytest.raises(AgentSilent):
        await link.ask(ask(), deadline_seconds=60)
    assert len(connections) == 1
    server.close()


async def test_a_failing_answer_is_unknown(data: Path, link: AgentLink) -> None:
    """Never "not taken": it may have been recorded."""

    async def fail(_: Request) -> Reply:
        raise RuntimeError("broken")

    server = AgentServer(data, fail)
    await server.start()
    assert await link.ask(ask(), deadline_seconds=SECONDS) == RefusedReply("unknown")
    await server.close()


async def test_more_than_a_worker_may_have_under_way_are_not_taken(
    data: Path, link: AgentLink
) -> None:
    """The queue has an end and says so."""
    gate, all_sent, arrived = asyncio.Event(), asyncio.Event(), 0

    async def wait(_: Request) -> Reply:
        nonlocal arrived
        arrived += 1
        if arrived == IN_FLIGHT_MAX:
            all_sent.set()
        await gate.wait()
        return ReceiptReply(None)

    server = AgentServer(data, wait)
    await server.start()
    waiting = [
        asyncio.create_task(link.ask(ask(number), deadline_seconds=SECONDS))
        for number in range(IN_FLIGHT_MAX)
    ]
    await all_sent.wait()
    refused = await link.ask(ask(), deadline_seconds=SECONDS)
    assert isinstance(refused, RefusedReply)
    assert refused.kind == "not_taken"
    gate.set()
    assert set(await asyncio.gather(*waiting)) == {ReceiptReply(None)}
    await server.close()


async def test_rubbish_ends_the_connection_not_the_agent(data: Path, link: AgentLink) -> None:
    """A frame that is too long or cannot be read."""
    server = AgentServer(data, echo)
    await server.start()
    for rubbish in ((FRAME_BYTES_MAX + 1).to_bytes(4, "big"), (3).to_bytes(4, "big") + b"abc"):
        with short_path(data) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(rubbish)
        assert await reader.read() == b""
        writer.close()
    reply = await link.ask(ask(3), deadline_seconds=SECONDS)
    assert reply == RefusedReply("not_taken", message="3")
    await server.close()
