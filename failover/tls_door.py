"""
The door of a server for nodes of the fleet: TLS ends here, and the application learns whose certificate was shown.

The HTTP server tells an application nothing of certificates. So this ends TLS itself and passes the bytes on to the
server's own socket on this machine, one connection there for one here: by its address the application knows the caller.
What comes to that socket by another way is refused.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import structlog

from cache_sync.clock import Clock
from failover.node_tls import TlsFiles, node_of_certificate, tls_reason
from failover.tls_stream import READ_BYTES, TAKE_SECONDS, TlsStream
from failover.web import CERTIFIED_NODE

CONNECTIONS_MAX: Final = 1024
HANDSHAKE_SECONDS: Final = 10.0
LOG_EVERY_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 2.0

_Address = tuple[str, int]
_log = structlog.get_logger(__name__)


class RefusedHandshakes:
    """
    Counts callers that were refused before a byte of a request was read, and logs them at a bounded rate.

    Args:
        clock: What the rate is measured on.
        counted: Called for each.
    """

    def __init__(self, clock: Clock, counted: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._counted = counted
        self._logged_at: float | None = None
        self._untold = 0
        self.count = 0

    def note(self, reason: str) -> None:
        """Count one; ``reason`` is OpenSSL's."""
        self.count += 1
        self._counted()
        self._untold += 1
        now = self._clock.boot_seconds()
        if self._logged_at is None or now - self._logged_at >= LOG_EVERY_SECONDS:
            _log.warning("callers were refused: no TLS", callers=self._untold, last=reason)
            self._logged_at, self._untold = now, 0


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Make what callers are met with: TLS 1.3, and a certificate of the fleet's authority in every handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.load_cert_chain(files.node)
    context.load_verify_locations(files.authority)
    return context


class TlsDoor:
    """
    Passes connections on to a server of this machine, and knows whose they are.

    Args:
        inner: Where the server listens, on this machine.
        context: What callers are met with.
        refused: Counts those who are not let in.
    """

    def __init__(
        self, inner: _Address, context: ssl.SSLContext, refused: RefusedHandshakes
    ) -> None:
        self._inner = inner
        self._context = context
        self._refused = refused
        self._callers: dict[_Address, str] = {}
        self._visits: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket) -> None:
        """Begin to accept; the socket stays its owner's."""
        self._server = await asyncio.start_server(
            self._visit, sock=listener.dup(), limit=READ_BYTES
        )

    def shut(self) -> None:
        """Accept nobody any more; who is inside goes on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Part from everybody, once the server has ended."""
        self.shut()
        if self._visits:
            _, late = await asyncio.wait(self._visits, timeout=_CLOSE_SECONDS)
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def guarded(self, app: Any) -> Any:
        """Return an application that is told whose certificate a request came with, and hears nobody else."""

        async def heard(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
                return
            host, port = scope["client"]
            # This server writes ports as text.
            node_id = self._callers.get((host, int(port)))
            if node_id is None:
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            # The state may be one for all requests: it is copied.
            told = {**scope.get("state", {}), CERTIFIED_NODE: node_id}
            await app({**scope, "state": told}, receive, send)

        return heard

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        assert visit is not None, "a coroutine of the loop"
        if len(self._visits) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._visits.add(visit)
        try:
            with contextlib.suppress(OSError, TimeoutError):
                await self._let_in(TlsStream(reader, writer, self._context))
        finally:
            self._visits.discard(visit)
            writer.close()

    async def _let_in(self, caller: TlsStream) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await caller.shake_hands()
        except ssl.SSLError as error:
            self._refused.note(tls_reason(error))
            await caller.refuse()
            return
        inside, outside = await asyncio.open_connection(*self._inner, limit=READ_BYTES)
        try:
            with self._known(outside, node_of_certificate(caller.certificate())):
                await _both(_listen(caller, outside), _answer(inside, caller))
        finally:
            outside.close()

    @contextlib.contextmanager
    def _known(self, outside: asyncio.StreamWriter, node_id: str) -> Iterator[None]:
        """Have the application know a connection, from before its first byte until before it is closed."""
        address: _Address = outside.get_extra_info("sockname")[:2]
        self._callers[address] = node_id
        try:
            yield
        finally:
            del self._callers[address]


async def _both(*ways: Coroutine[Any, Any, None]) -> None:
    """Pass on both ways until one ends."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(caller: TlsStream, outside: asyncio.StreamWriter) -> None:
    while data := await caller.read():
        outside.write(data)
        async with asyncio.timeout(TAKE_SECONDS):
            await outside.drain()


async def _answer(inside: asyncio.StreamReader, caller: TlsStream) -> None:
    while data := await inside.read(READ_BYTES):
        await caller.write(data)
    await caller.end()
