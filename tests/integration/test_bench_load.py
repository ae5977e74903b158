"""The plain HTTP client of the benchmarks, against a server that answers as told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat

from chaos.bench.http_load import Tally, call, closed_loop, paced


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Run a server that answers everything with the same bytes; an empty answer closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


async def test_every_request_is_asked_and_counted() -> None:
    """At the rate that was asked for, over connections that are kept."""
    async with answering(OK) as url:
        tally = await paced(url, repeat(call("GET", "/")), rate=200, seconds=0.2, connections=3)
    assert (tally.answered, tally.failed) == (40, 0)
    assert len(tally.seconds) == 40


async def test_refusals_and_broken_connections_are_errors() -> None:
    """By status, or by what happened."""
    async with answering(BUSY) as url:
        refused = await paced(url, repeat(call("GET", "/")), rate=50, seconds=0.1)
    async with answering(b"") as url:
        broken = await paced(url, repeat(call("GET", "/")), rate=50, seconds=0.1)
    assert refused.errors == {"503": 5}
    assert (broken.answered, broken.failed) == (0, 5)


async def test_a_closed_loop_asks_again_when_it_is_answered() -> None:
    """As many as are waiting, for as long as it lasts."""
    async with answering(OK) as url:
        tally = await closed_loop(url, lambda: call("GET", "/"), waiting=2, seconds=0.1)
    assert tally.answered >= 2
    assert tally.failed == 0
    assert tally.rate > 0


def test_slow_answers_are_counted_apart_from_errors() -> None:
    """A slow answer is still an answer."""
    tally = Tally(seconds=[0.1, 0.3, 0.25], errors={"503": 2}, elapsed=2.0)
    assert (tally.slower_than(0.25), tally.answered, tally.failed, tally.rate) == (1, 3, 2, 1.5)


def test_a_body_is_sent_with_its_length() -> None:
    """As JSON."""
    content = call("POST", "/pay", [("Authorization", "Bearer x")], b"{}").content
    assert content.startswith(b"POST /pay HTTP/1.1\r\n")
    assert b"Content-Length: 2\r\n" in content
    assert content.endswith(b"\r\n\r\n{}")
