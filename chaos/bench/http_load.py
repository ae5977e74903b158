"""
Asking for pages at a steady rate or as fast as answers come, over plain sockets, noting how long each answer took.

A closed HTTP client of a few lines: what it costs itself is small beside what it measures, and it is one process on
its own. For rates at which it would be the limit there is `wrk` (`chaos.bench.wrk`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import msgspec

ANSWER_SECONDS_MAX = 10.0
_OK_BELOW = 400


class Call(msgspec.Struct, frozen=True):
    """One request as it is written to the socket."""

    content: bytes


class Tally(msgspec.Struct, kw_only=True):
    """
    What came of a load.

    ``seconds`` are the answers' own, from the moment at which each was due: a late start counts. ``errors`` are
    answers of 400 and above and connections that failed, by what was said.
    """

    seconds: list[float] = []
    errors: dict[str, int] = {}
    elapsed: float = 0.0

    @property
    def answered(self) -> int:
        """How many good answers came."""
        return len(self.seconds)

    @property
    def failed(self) -> int:
        """How many did not."""
        return sum(self.errors.values())

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.answered / self.elapsed if self.elapsed else 0.0

    def add(self, more: "Tally") -> None:
        """Count what came of another load, after this one, too."""
        self.seconds += more.seconds
        for name, number in more.errors.items():
            self.errors[name] = self.errors.get(name, 0) + number
        self.elapsed += more.elapsed

    def slower_than(self, seconds: float) -> int:
        """Count the good answers that took longer."""
        return sum(1 for took in self.seconds if took > seconds)


def call(
    method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> Call:
    """Write a request down."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return Call("\r\n".join([*lines, "", ""]).encode() + body)


class _Connection:
    """One connection that is kept alive, and made anew when it breaks."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, one: Call) -> int:
        """Ask and read the whole answer; return its status. Raises OSError, TimeoutError and the like."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        try:
            writer.write(one.content)
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            begin = lower.find(b"content-length:")
            length = int(lower[begin + 15 : lower.index(b"\r\n", begin)]) if begin >= 0 else 0
            await reader.readexactly(length)
            return int(head[9:12])
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let it go."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


async def _one(connection: _Connection, what: Call, due: float, tally: Tally) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            status = await connection.ask(what)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        told = type(error).__name__
    else:
        if status < _OK_BELOW:
            tally.seconds.append(time.monotonic() - due)
            return
        told = str(status)
    tally.errors[told] = tally.errors.get(told, 0) + 1


async def paced(
    url: str, calls: Iterator[Call], *, rate: int, seconds: float, connections: int = 32
) -> Tally:
    """
    Ask at a steady rate, whether or not answers come: what waits for a free connection counts as waiting.

    Args:
        url: Of the server.
        calls: What is asked, one after the other, without end.
        rate: Requests a second.
        seconds: For how long.
        connections: How many there are at most.
    """
    tally = Tally(seconds=[], errors={})
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    made = [_Connection(url) for _ in range(connections)]
    for connection in made:
        free.put_nowait(connection)

    async def work(what: Call, due: float) -> None:
        connection = await free.get()
        try:
            await _one(connection, what, due, tally)
        finally:
            free.put_nowait(connection)

    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.create_task(work(next(calls), due))
    tally.elapsed = time.monotonic() - begun
    for connection in made:
        await connection.close()
    return tally


async def closed_loop(
    url: str, next_call: Callable[[], Call], *, waiting: int, seconds: float
) -> Tally:
    """Keep so many requests waiting, each asked when the one before it was answered."""
    tally = Tally(seconds=[], errors={})
    begun = time.monotonic()

    async def work() -> None:
        connection = _Connection(url)
        try:
            while time.monotonic() - begun < seconds:
                await _one(connection, next_call(), time.monotonic(), tally)
        finally:
            await connection.close()

    await asyncio.gather(*(work() for _ in range(waiting)))
    tally.elapsed = time.monotonic() - begun
    return tally
