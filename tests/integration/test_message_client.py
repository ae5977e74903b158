"""Small messages over kept connections: what came back, what may have left, and what is never taken for an answer."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edge_portal.message_client import MessageClient
from failover.errors import Ambiguous, NodeError, NotSent, Overloaded

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Node:
    """A node on a real socket that answers as told and remembers what it was asked, by connection."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.asked: list[list[bytes]] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        messages: list[bytes] = []
        self.asked.append(messages)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                told = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                length = int(told or 0)
                messages.append(head + await reader.readexactly(length))
                await self.serve(messages[-1], writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(serve: Serve) -> AsyncIterator[Node]:
    """Run a node for the block."""
    node = Node(serve)
    server = await asyncio.start_server(node.handle, "127.0.0.1", 0)
    node.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield node
    finally:
        server.close()


def answering(*parts: bytes) -> Serve:
    """Answer with these bytes, part by part."""

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


def client(url: str, calls_max: int = 4) -> MessageClient:
    """Make a client of a node."""
    return MessageClient(url, node_id="east", secret="s", purpose="test", calls_max=calls_max)


async def post(to: MessageClient, *, bytes_max: int = 100, seconds: float = 5.0) -> bytes:
    """Post one message; return the answer's body."""
    return (
        await to.call(
            "POST", "/x", content=b"message", deadline_seconds=seconds, bytes_max=bytes_max
        )
    ).body


async def test_one_connection_carries_one_message_after_the_other() -> None:
    """With who sends it and how long he waits; at once, each takes a connection of its own."""
    async with running(answering(OK)) as node:
        tried = client(node.url)
        assert [await post(tried) for _ in range(3)] == [b"ok"] * 3
        ((first, *others),) = node.asked
        assert len(others) == 2
        assert first.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nAuthorization: Node east:s\r\nRidethrough-Deadline-Ms: 5000\r\n" in first
        assert b"\r\nContent-Length: 7\r\n" in first
        assert first.endswith(b"\r\n\r\nmessage")
        assert list(await asyncio.gather(post(tried), post(tried))) == [b"ok", b"ok"]
        assert len(node.asked) == 2
        await tried.close()


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\no", b"k"],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n",
            b"1\r\nk\r\n0\r\n\r\n",
        ],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"],
    ],
)
async def test_an_answer_may_come_in_any_form_of_the_protocol(parts: list[bytes]) -> None:
    """In pieces, in chunks, as the last of its connection; the next message finds its way all the same."""
    async with running(answering(*parts)) as node:
        tried = client(node.url)
        assert [await post(tried), await post(tried)] == [b"ok", b"ok"]


async def test_a_busy_node_says_so_and_for_how_long() -> None:
    """As by any other client."""
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with running(answering(busy)) as node:
        with pytest.raises(Overloaded) as told:
            await post(client(node.url))
        assert told.value.retry_after == 7


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
    ],
)
async def test_what_is_no_usable_answer_leaves_it_unknown(content: bytes) -> None:
    """A broken node, a stranger, one that sends more than was asked for: the message may have been heard."""
    async with running(answering(content)) as node:
        with pytest.raises(Ambiguous):
            await post(client(node.url))


async def test_a_connection_that_ends_without_an_answer_leaves_it_unknown() -> None:
    """And the next message goes over a new one."""
    hangs_up = True

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        if hangs_up:
            writer.close()
        else:
            writer.write(OK)

    async with running(serve) as node:
        tried = client(node.url)
        with pytest.raises(Ambiguous):
            await post(tried)
        hangs_up = False
        assert await post(tried) == b"ok"


async def test_nobody_there_means_nothing_left() -> None:
    """Nor while no connection was to be had in time."""
    async with running(answering(OK)) as node:
        pass
    with pytest.raises(NotSent):
        await post(client(node.url))


async def test_calls_that_were_given_up_take_their_connection_with_them() -> None:
    """Their answers, late, are not taken for those of the next."""
    late: list[asyncio.StreamWriter] = []
    slow = True

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        if slow:
            late.append(writer)
        else:
            writer.write(OK)

    async with running(serve) as node:
        tried = client(node.url, calls_max=2)
        given_up = await asyncio.gather(
            *(post(tried, seconds=0.05) for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(each, NodeError) for each in given_up)
        slow = False
        for writer in late:
            writer.write(OK.replace(b"ok", b"no"))
        assert await post(tried) == b"ok"


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    """Two answers to one message: the second is not kept for the next."""
    async with running(answering(OK + OK.replace(b"ok", b"no"))) as node:
        tried = client(node.url)
        assert [await post(tried), await post(tried)] == [b"ok", b"ok"]
        assert len(node.asked) == 2


async def test_an_expelled_node_is_not_called() -> None:
    """The question comes before the connection."""

    def check() -> None:
        raise NotSent("the core has expelled this node")

    async with running(answering(OK)) as node:
        tried = MessageClient(
            node.url, node_id="east", secret="s", purpose="test", calls_max=1, check=check
        )
        with pytest.raises(NotSent):
            await post(tried)
        assert node.asked == []


@pytest.mark.parametrize(
    ("body", "bytes_max"),
    [(b"x" * 100, 100), (b"x" * 101, 100), (b"x" * 1_000_000, 100), (b"", 100)],
)
async def test_a_packed_answer_is_bounded_by_what_is_in_it(body: bytes, bytes_max: int) -> None:
    """A small one may hold a large one."""
    packed = gzip.compress(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with running(answering(head.encode() + packed)) as node:
        asked = client(node.url).call(
            "GET",
            "/feed/0",
            params={"after": 7, "proof": "a b"},
            headers={"Accept-Encoding": "gzip"},
            deadline_seconds=5,
            bytes_max=bytes_max,
        )
        if len(body) > bytes_max:
            with pytest.raises(Ambiguous):
                await asked
        else:
            assert (await asked).body == body
        ((question,),) = node.asked
        assert question.startswith(b"GET /feed/0?after=7&proof=a+b HTTP/1.1\r\n")
        assert question.count(b"Accept-Encoding") == 1


@pytest.mark.parametrize(
    "packed",
    [b"no gzip at all", gzip.compress(b"x" * 50, mtime=0)[:-9]],
    ids=["not packed", "cut off"],
)
async def test_a_packed_answer_that_is_broken_is_none(packed: bytes) -> None:
    """Rubbish, or a part of one."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with running(answering(head.encode() + packed)) as node:
        with pytest.raises(Ambiguous):
            await client(node.url).call("GET", "/x", deadline_seconds=5, bytes_max=100)
