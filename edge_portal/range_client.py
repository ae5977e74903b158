"""
Parts of large files over HTTP, straight from the socket into memory of their size.

An ordinary client hands a file on in pieces of 32 KB through layers of generators, which costs more than hashing and
writing it. This one speaks just what is needed: GET with one range, an answer of a known length, one question at a time
on a connection that is kept. Whatever else comes ends the connection.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from failover.errors import Ambiguous, AnswerTooLarge, NotSent, Overloaded
from failover.node_tls import TlsLink
from failover.web import DEADLINE_HEADER, authorization_header, deadline_header

HEAD_BYTES_MAX: Final = 16 * 1024
PROBLEM_BYTES_MAX: Final = 65_536
_PARTIAL: Final = 206
_SERVER_ERROR: Final = 500
_BUSY: Final = frozenset({429, 503})
_SECONDS_DIGITS_MAX: Final = 5


class RangeAnswer(NamedTuple):
    """An answer: its status, and its whole body."""

    status: int
    body: bytearray


class _Broken(Exception):
    """What came is not an answer to the question, or the connection ended before it was one."""


class _Longer(_Broken):
    """More is announced than was asked for."""


class RangeClient:
    """
    Asks one node for parts of files.

    Args:
        url: The node's address, without a path.
        node_id: Who we are.
        secret: What proves it.
        tls: What an ``https`` address is called with.
        check: Called first; raises `NotSent` when the node is not to be called at all.
    """

    def __init__(
        self,
        url: str,
        *,
        node_id: str,
        secret: str,
        tls: TlsLink | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._host_header = parts.netloc
        self._authorization = authorization_header(node_id, secret)
        self._tls = tls
        self._check = check
        self._connection: _Connection | None = None

    async def get(self, path: str, begin: int, end: int, *, deadline_seconds: float) -> RangeAnswer:
        """
        Ask for the bytes ``[begin, end)`` of a path, which must be quoted.

        Only one question may be under way.

        Raises:
            NotSent: No byte left this node.
            Ambiguous: No usable answer came in time.
            AnswerTooLarge: It is longer than what was asked for; nothing of it was kept.
            Overloaded: 429 or 503.
        """
        if self._check is not None:
            self._check()
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {self._host_header}\r\n"
            f"Authorization: {self._authorization}\r\n"
            f"{DEADLINE_HEADER}: {deadline_header(deadline_seconds)}\r\n"
            f"Accept-Encoding: identity\r\nRange: bytes={begin}-{end - 1}\r\n\r\n"
        ).encode("ascii")
        try:
            async with asyncio.timeout(deadline_seconds):
                return await self._ask(head, end - begin)
        except _Longer as error:
            raise AnswerTooLarge(str(error)) from error
        except (TimeoutError, OSError, _Broken) as error:
            raise Ambiguous(type(error).__name__) from error

    async def close(self) -> None:
        """Close the connection."""
        self._drop()

    async def _ask(self, head: bytes, wanted: int) -> RangeAnswer:
        kept = self._connection
        try:
            if kept is not None and kept.usable:
                try:
                    return await self._exchange(kept, head, wanted)
                except _Broken:
                    # The node closes connections that were idle for a while, or was started anew.
                    if kept.answered:
                        raise
            self._drop()
            return await self._exchange(await self._connect(), head, wanted)
        except BaseException as error:
            if not isinstance(error, Overloaded):
                self._drop()
            raise

    async def _exchange(self, connection: "_Connection", head: bytes, wanted: int) -> RangeAnswer:
        answer = await connection.ask(head, wanted)
        if answer.status in _BUSY:
            raise Overloaded(connection.retry_after, "")
        if answer.status >= _SERVER_ERROR:
            raise Ambiguous(f"answered with {answer.status}")
        return answer

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                _Connection,
                self._host,
                self._port,
                ssl=self._tls and self._tls.context,
                server_hostname=self._tls and self._tls.name,
            )
        except OSError as error:
            raise NotSent(type(error).__name__) from error
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


class _Connection(asyncio.BufferedProtocol):
    """One connection; the socket is read into the head's buffer, then into one of the body's size."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = bytearray(HEAD_BYTES_MAX)
        self._received = 0
        self._wanted = 0
        self._status = 0
        self._body: bytearray | None = None
        self._answer: asyncio.Future[RangeAnswer] | None = None
        self._closes = False
        self.answered = False
        self.retry_after: float | None = None

    @property
    def usable(self) -> bool:
        """Whether another question can be asked here."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._closes

    async def ask(self, head: bytes, wanted: int) -> RangeAnswer:
        """Send a question and return its answer. Raises `_Broken`."""
        assert self._answer is None, "one question at a time"
        if self._transport is None or not self.usable:
            raise _Broken("closed")
        self._received = 0
        self._wanted = wanted
        self._body = None
        self.answered = False
        self.retry_after = None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head)
        try:
            return await self._answer
        finally:
            self._answer = None

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # As the event loop calls it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._transport = None
        self._fail("the connection ended")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes go."""
        del sizehint
        target = self._head if self._body is None else self._body
        return memoryview(target)[self._received :]

    def buffer_updated(self, nbytes: int) -> None:
        """Look at the bytes that came."""
        if self._answer is None or self._answer.done():
            self._fail("more than an answer")
            return
        self.answered = True
        self._received += nbytes
        if self._body is None:
            self._take_head()
        if self._body is not None and self._received == len(self._body):
            body, self._body, self._received = self._body, None, 0
            self._answer.set_result(RangeAnswer(self._status, body))

    def _take_head(self) -> None:
        found = self._head.find(b"\r\n\r\n", 0, self._received)
        if found < 0:
            if self._received == len(self._head):
                self._fail("a head without an end")
            return
        try:
            length = self._read_head(bytes(self._head[:found]).decode("latin-1"))
        except (ValueError, IndexError):
            self._fail("no head of an answer")
            return
        surplus = self._head[found + 4 : self._received]
        limit = self._wanted if self._status == _PARTIAL else PROBLEM_BYTES_MAX
        if length > limit or len(surplus) > length:
            self._fail("a longer answer than was asked for", _Longer)
            return
        self._body = bytearray(length)
        self._body[: len(surplus)] = surplus
        self._received = len(surplus)

    def _read_head(self, text: str) -> int:
        """Read status and headers; return the body's length."""
        status_line, *lines = text.split("\r\n")
        version, status = status_line.split(" ")[:2]
        if version != "HTTP/1.1" or not status.isdigit():
            raise ValueError(status_line)
        fields = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        self._status = int(status)
        self._closes = fields.get("connection", "").lower() == "close"
        after = fields.get("retry-after", "")
        if after.isdigit() and len(after) <= _SECONDS_DIGITS_MAX:
            self.retry_after = float(after)
        length = "" if "transfer-encoding" in fields else fields.get("content-length", "")
        if not length.isdigit() or not length.isascii():
            raise ValueError("no length")
        return int(length)

    def _fail(self, detail: str, kind: type[_Broken] = _Broken) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(kind(detail))
        self.abort()
