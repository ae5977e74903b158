"""The client for parts of files, against a server that answers whatever it is told to, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edge_portal.range_client import HEAD_BYTES_MAX, RangeClient
from failover.errors import Ambiguous, AnswerTooLarge, NotSent, Overloaded

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello"


@asynccontextmanager
async def server(*answers: bytes | Answering) -> AsyncIterator[tuple[RangeClient, list[bytes]]]:
    """Serve one answer a question; yield a client of it and the questions. A connection ends with its answers."""
    left = list(answers)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = left.pop(0)
                if callable(answer):
                    await answer(reader, writer)
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = RangeClient(f"http://127.0.0.1:{port}", node_id="east", secret="s")
    try:
        yield client, heads
    finally:
        await client.close()
        listening.close()


async def get(client: RangeClient, seconds: float = 5.0) -> tuple[int, bytes]:
    """Ask for five bytes."""
    answer = await client.get("/snapshots/0/file", 10, 15, deadline_seconds=seconds)
    return answer.status, bytes(answer.body)


async def test_a_question_names_its_range_and_who_asks() -> None:
    """Several questions go over one connection."""
    async with server(OK, OK) as (client, heads):
        assert await get(client) == (206, b"hello")
        assert await get(client) == (206, b"hello")
    assert b"Range: bytes=10-14\r\n" in heads[0]
    assert b"Authorization: Node east:s\r\n" in heads[0]
    assert b"Ridethrough-Deadline-Ms: 5000\r\n" in heads[0]


async def test_an_answer_may_come_in_any_pieces() -> None:
    """Byte by byte, head and body."""

    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with server(slowly) as (client, _):
        assert await get(client) == (206, b"hello")


async def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    """A node that was started again, or closes idle connections, is asked again, once."""
    async with server(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK) as (client, _):
        assert await get(client) == (206, b"hello")
        assert await get(client) == (206, b"hello")


async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection without an answer."""
    writer.close()


async def half_an_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection in the middle of one."""
    writer.write(OK[:-2])
    await writer.drain()


async def half_closed(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close this end's sending half in the middle of an answer and stay."""
    writer.write(OK[:-2])
    writer.write_eof()
    await asyncio.sleep(30)


async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then."""
    writer.write(OK[:-5])
    while True:
        await writer.drain()
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    "answer",
    [
        hangs_up,
        half_an_answer,
        half_closed,
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 206\r\n\r\n",
        b"HTTP/1.1 206 P\r\nContent-Length: x\r\n\r\nhello",
        b"HTTP/1.1 206 P\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 206 P\r\nContent-Length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 206 P\r\nContent-Length: 5\r\n\r\nhello and more",
        b"HTTP/1.1 404 N\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 500 N\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 P\r\n" + b"x: y\r\n" * HEAD_BYTES_MAX,
    ],
)
async def test_what_is_no_answer_ends_the_connection(answer: bytes | Answering) -> None:
    """Cut, half closed, of another length than asked for, without one, or nothing that is HTTP."""
    async with server(answer, answer) as (client, _):
        with pytest.raises(Ambiguous):
            await get(client)


async def test_a_slow_drip_is_cut_at_the_deadline() -> None:
    """The deadline is for the whole answer, not for each byte."""
    async with server(drips) as (client, _):
        with pytest.raises(Ambiguous):
            await get(client, seconds=0.6)


async def test_problems_are_answers() -> None:
    """404 and 416 are told; 503 says when to ask again, on the same connection."""
    missing = b"HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\n{}"
    busy = b"HTTP/1.1 503 B\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with server(missing, busy, OK) as (client, _):
        assert await get(client) == (404, b"{}")
        with pytest.raises(Overloaded) as told:
            await get(client)
        assert told.value.retry_after == 7
        assert await get(client) == (206, b"hello")


async def test_nobody_there_is_not_sent() -> None:
    """A refused connection leaves nothing in doubt."""
    async with server() as (client, _):
        pass
    with pytest.raises(NotSent):
        await get(client)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 206 P\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 206 P\r\nContent-Length: 99999999999999\r\n\r\n",
    ],
)
async def test_a_longer_answer_is_refused_as_such(answer: bytes) -> None:
    """By what it announces, before a byte of it is kept."""
    async with server(answer) as (client, _):
        with pytest.raises(AnswerTooLarge):
            await get(client)
