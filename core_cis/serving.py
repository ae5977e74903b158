"""``core serve``: one process, a socket (or two, with TLS), a clean end."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog
from litestar import Litestar

from cache_sync.clock import SystemClock
from core_cis.app import create_app, in_front
from core_cis.errors import CoreBusy
from core_cis.keys import load_keys
from core_cis.listeners import Audience, Listener
from core_cis.settings import (
    DEFAULT_HOST,
    DEFAULT_OPERATOR_PORT,
    ServerSettings,
    named_processor,
    named_redis_feed,
)
from core_cis.snapshot_schedule import SnapshotSchedule
from core_cis.snapshot_settings import SnapshotSettings
from failover.http_server import open_socket, serve
from failover.logs import configure_logs
from failover.node_addresses import is_loopback
from failover.node_config import CORE_NODE_ID
from failover.node_tls import TlsFiles, server_files, write_server_files

LOCK_NAME = "core.lock"
_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """
    Hold the folder of a core as its only server, until the block or the process ends; the lock file says by whom.

    Raises:
        CoreBusy: Another process holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Not truncated before it is ours: the holder's process id stands in it.
    with (data_dir / LOCK_NAME).open("a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CoreBusy(f"another process serves the core in {data_dir}") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a core listens.

    With ``tls`` nodes come in at ``host`` and ``port`` with certificates of the fleet, and operators at
    ``operator_port`` of this machine without; otherwise both at ``host`` and ``port``, and plainly.
    """

    host: str
    port: int
    tls: bool = False
    operator_port: int = DEFAULT_OPERATOR_PORT

    def __post_init__(self) -> None:
        """Raise a ValueError for an address beyond this machine without TLS."""
        if not self.tls and not is_loopback(self.host):
            raise ValueError("host: beyond this machine nodes must speak TLS")


async def serve_core(
    data_dir: Path,
    listening: Listening,
    snapshots: SnapshotSettings | None = None,
    limits: ServerSettings | None = None,
) -> None:
    """
    Serve a core until SIGTERM or SIGINT; what is in flight is finished. Snapshot files are built beside it.

    Raises:
        CoreBusy: Another process serves this folder.
        OSError: The address is taken.
        ValueError: The payment processor's settings cannot be used.
    """
    configure_logs("core")
    with locked(data_dir), contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            contextlib.closing(open_socket(listening.host, listening.port))
        )
        operators = (
            stack.enter_context(
                contextlib.closing(open_socket(DEFAULT_HOST, listening.operator_port))
            )
            if listening.tls
            else None
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        host, port = listener.getsockname()[:2]
        _log.info(
            "serving",
            host=host,
            port=port,
            tls=listening.tls,
            operator_port=operators.getsockname()[1] if operators else port,
        )
        bounds = msgspec.structs.replace(
            limits or ServerSettings(),
            redis_feed=named_redis_feed(),
            processor=named_processor(),
        )
        app = create_app(data_dir, SystemClock(), bounds)
        schedule = SnapshotSchedule(
            data_dir, clock=SystemClock(), settings=snapshots or SnapshotSettings()
        )
        building = asyncio.create_task(schedule.run(stop))
        try:
            if operators is None:
                server_files(data_dir, None)
                await serve(in_front(app), listener, stop=stop)
            else:
                await _serve_apart(app, data_dir, listener, operators, stop)
        finally:
            stop.set()
            await building
        _log.info("stopped")


async def _serve_apart(
    app: Litestar,
    data_dir: Path,
    nodes: socket.socket,
    operators: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Serve nodes over TLS, with a certificate made now, and operators beside them."""
    certificate = load_keys(data_dir).certify(CORE_NODE_ID, SystemClock().now())
    tls = write_server_files(data_dir, certificate)
    async with app.lifespan(), asyncio.TaskGroup() as serving:
        doors: tuple[tuple[Audience, socket.socket, TlsFiles | None], ...] = (
            ("nodes", nodes, tls),
            ("operators", operators, None),
        )
        for audience, listener, files in doors:
            served = Listener(in_front(app), audience)
            refused = app.state.handshakes
            serving.create_task(serve(served, listener, stop=stop, tls=files, refused=refused))
