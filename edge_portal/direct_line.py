"""
Kept HTTP/1.1 connections to one node, for small messages that customers wait for.

A payment waits for one such message to its witness, and what is committed waits for one to be seen at an edge. A
general client spends ten times as much on it: here a message is one write, and its answer goes through a parser in C.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httptools

from cache_sync.clock import Clock, SystemClock
from failover.node_tls import TlsLink

IDLE_SECONDS_MAX: Final = 5.0
KEPT_MAX: Final = 8
_PORTS: Final = {"http": 80, "https": 443}


class LineAnswer(NamedTuple):
    """A whole answer."""

    status: int
    retry_after: str | None
    body: bytes
    packed: bool


class LineBroken(ConnectionError):
    """The connection ended, or what came over it is no answer."""


class DirectLine:
    """
    Sends messages to one node, one at a time on each connection; used from one event loop.

    It knows no deadlines: a call that is given up takes its connection with it.

    Args:
        url: The node's address; a path in it stands before every path.
        tls: What an ``https`` address is called with.
        clock: What idle connections are timed by.
    """

    def __init__(self, url: str, *, tls: TlsLink | None = None, clock: Clock | None = None) -> None:
        address = urlsplit(url)
        self._host = address.hostname or ""
        self._port = address.port or _PORTS[address.scheme]
        self._prefix = address.path.rstrip("/")
        self._authority = address.netloc.rpartition("@")[2]
        self._secure = address.scheme == "https"
        self._tls = tls
        self._clock = clock or SystemClock()
        self._idle: list[_Connection] = []

    async def connect(self) -> "_Connection":
        """
        Take a kept connection, or make one; for one `exchange`.

        Raises:
            OSError: The node was not reached; no byte of a message left.
        """
        now = self._clock.boot_seconds()
        while self._idle:
            kept = self._idle.pop()
            if kept.is_open and now - kept.idle_since < IDLE_SECONDS_MAX:
                return kept
            kept.close()
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            self._host,
            self._port,
            ssl=self._tls.context if self._tls is not None else self._secure or None,
            server_hostname=self._tls.name if self._tls is not None else None,
        )
        return connection

    async def exchange(
        self,
        connection: "_Connection",
        target: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        bytes_max: int,
    ) -> LineAnswer:
        """
        Send a message and wait for its whole answer; the connection is kept for the next afterwards, or closed.

        With ``content`` it is a POST, without a GET.

        Raises:
            LineBroken: The connection ended, its answer is larger than ``bytes_max``, or none.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if content is None:
            method, length = "GET", ""
        else:
            method, length = "POST", f"Content-Length: {len(content)}\r\n"
        message = (
            f"{method} {self._prefix}{target} HTTP/1.1\r\nHost: {self._authority}\r\n{head}{length}\r\n"
        ).encode("ascii")
        try:
            answer = await connection.send(message + (content or b""), bytes_max)
        except BaseException:
            connection.close()
            raise
        if connection.is_open and len(self._idle) < KEPT_MAX:
            connection.idle_since = self._clock.boot_seconds()
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().close()


class _Connection(asyncio.Protocol):
    """One connection: a message goes out, an answer comes back, and nothing comes unasked."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._retry_after: str | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[LineAnswer] | None = None
        self._bytes_max = 0
        self._begin()

    @property
    def is_open(self) -> bool:
        """Whether another message may be sent over it."""
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, message: bytes, bytes_max: int) -> LineAnswer:
        """Send one message and wait for its answer. Raises `LineBroken`."""
        if self._transport is None or self._transport.is_closing():
            raise LineBroken("the connection has ended")
        self._bytes_max = bytes_max
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._answer

    def close(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- the event loop tells ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.WriteTransport), "a stream is written to"
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        if not self._is_awaited():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(LineBroken("the answer is not HTTP"), error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._fail(LineBroken("the connection ended"), exc)

    # -- the parser tells ----------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the two headers that matter."""
        if not self._is_awaited():
            return
        name = name.lower()
        if name == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif name == b"content-encoding":
            self._packed = value.strip().lower() == b"gzip"

    def on_body(self, body: bytes) -> None:
        """Collect, up to the bound."""
        if not self._is_awaited():
            return
        self._received += len(body)
        if self._received > self._bytes_max:
            self._fail(LineBroken("an answer larger than any of theirs"), None)
            return
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        if self._answer is None or not self._is_awaited():
            return
        status = self._parser.get_status_code()
        keeps = self._parser.should_keep_alive()
        body = b"".join(self._parts)
        self._answer.set_result(LineAnswer(status, self._retry_after, body, self._packed))
        if keeps:
            self._begin()
        else:
            self.close()

    def _is_awaited(self) -> bool:
        """Tell whether anybody asked; else end it: what comes would be taken for the answer to the next message."""
        if self._answer is not None and not self._answer.done():
            return True
        self.close()
        return False

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after = None
        self._packed = False
        self._parts: list[bytes] = []
        self._received = 0

    def _fail(self, error: LineBroken, cause: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            error.__cause__ = cause
            self._answer.set_exception(error)
        self.close()
