"""
Serving an ASGI application on a socket that is already open.

The socket belongs to whoever opened it: a supervisor opens one public socket and hands it to several workers, so that a
killed or frozen worker owns no connection that another could have accepted.
"""

import asyncio
import contextlib
import copy
import logging
import os
import socket
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.log import LOGGING_CONFIG, LogLevels
from granian.server.embed import Server

from cache_sync.clock import SystemClock
from failover.node_tls import TlsFiles
from failover.tls_door import RefusedHandshakes, TlsDoor, server_context
from failover.tls_stream import TAKE_SECONDS

BACKLOG = 1024


def _log_to_stderr() -> dict[str, Any]:
    """Granian's logging, moved off standard output, where commands print what scripts read."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    for handler in config["handlers"].values():
        handler["stream"] = "ext://sys.stderr"
    return config


def open_socket(host: str, port: int, *, take_seconds: float = TAKE_SECONDS) -> socket.socket:
    """
    Open a listening socket for `serve`; port 0 lets the kernel choose (ask ``getsockname``).

    A caller who takes nothing of an answer for ``take_seconds`` is cut off, by the kernel: the server would keep the
    answer for as long as the connection lasts.

    Raises:
        OSError: The address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections have it from their listener.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(take_seconds * 1000))
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.settimeout(0.0)
    except OSError:
        listener.close()
        raise
    return listener


class _SocketServer(Server):
    """Granian's embedded server on a socket that exists, instead of one that it binds itself."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            log_level=LogLevels.warning,
            log_dictconfig=_log_to_stderr(),
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian's own stub knows neither this constructor nor that a server may have no socket of its own.
        holder: Any = SocketHolder
        self._ssp: Any = None
        # Granian closes what it is handed when it stops; the caller's descriptor stays the caller's.
        own = os.dup(self._listener.fileno())
        self._shd: Any = holder(own, bool(self.bind_uds), BACKLOG)


class _NotExperimental(logging.Filter):
    """Granian announces at every start that its embedded server is experimental; our tests cover what we use."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop that one announcement."""
        return "experimental" not in record.getMessage()


async def serve(
    app: Any,
    sock: socket.socket,
    *,
    stop: asyncio.Event,
    tls: TlsFiles | None = None,
    refused: RefusedHandshakes | None = None,
) -> None:
    """
    Serve ``app`` (ASGI with lifespan) on ``sock`` until ``stop`` is set; then finish what is in flight.

    With ``tls`` only callers are heard that show a certificate of the authority, and the application is told whose it
    is (`CERTIFIED_NODE`); ``refused`` counts the others. Does not close the socket. Raises a RuntimeError when the
    application does not start.
    """
    if tls is None:
        await _serve(app, sock, stop)
        return
    with contextlib.closing(open_socket("127.0.0.1", 0)) as inner:
        door = TlsDoor(
            inner.getsockname(), server_context(tls), refused or RefusedHandshakes(SystemClock())
        )
        serving = asyncio.create_task(_serve(door.guarded(app), inner, stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await door.open(sock)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            door.shut()
            await serving
        finally:
            stopping.cancel()
            serving.cancel()
            await door.close()
            await asyncio.gather(serving, stopping, return_exceptions=True)


async def _serve(app: Any, sock: socket.socket, stop: asyncio.Event) -> None:
    server = _SocketServer(app, sock)
    logger = logging.getLogger("_granian")
    logger.setLevel(logging.WARNING)
    if not any(isinstance(known, _NotExperimental) for known in logger.filters):
        logger.addFilter(_NotExperimental())
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set() and serving.done():
            raise RuntimeError("the HTTP server ended by itself") from serving.exception()
    finally:
        stopping.cancel()
        server.interrupt_signal = True
        server.main_loop_interrupt.set()
        await asyncio.gather(serving, stopping, return_exceptions=True)
