"""``core serve``: one process, one socket, a clean end."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from cache_sync.clock import SystemClock
from core_cis.app import create_app
from core_cis.errors import CoreBusy
from core_cis.settings import ServerSettings, named_processor, named_redis_feed
from core_cis.snapshot_schedule import SnapshotSchedule
from core_cis.snapshot_settings import SnapshotSettings
from failover.head_requests import HeadAsGet
from failover.http_server import open_socket, serve
from failover.logs import configure_logs

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


async def serve_core(
    data_dir: Path,
    host: str,
    port: int,
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
    with locked(data_dir):
        listener = open_socket(host, port)
        with contextlib.closing(listener):
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            address = listener.getsockname()
            _log.info("serving", host=address[0], port=address[1])
            bounds = msgspec.structs.replace(
                limits or ServerSettings(),
                redis_feed=named_redis_feed(),
                processor=named_processor(),
            )
            app = HeadAsGet(create_app(data_dir, SystemClock(), bounds))
            schedule = SnapshotSchedule(
                data_dir, clock=SystemClock(), settings=snapshots or SnapshotSettings()
            )
            building = asyncio.create_task(schedule.run(stop))
            try:
                await serve(app, listener, stop=stop)
            finally:
                stop.set()
                await building
            _log.info("stopped")
