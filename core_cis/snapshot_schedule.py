"""Has snapshot files built beside a core that serves, each by a process that gives way to everything else."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import structlog

from cache_sync.clock import Clock
from cache_sync.document_table import ShardHead, read_head, read_shards
from cache_sync.offload import in_thread
from cache_sync.snapshot_file import SnapshotManifest
from cache_sync.sql import Connection, Error
from core_cis.database_choice import find_database
from core_cis.snapshot_settings import SnapshotSettings
from core_cis.snapshot_shelves import is_of_history, shelf_of

_STOP_SECONDS = 5.0
_HOUR_SECONDS = 3600.0

log = structlog.get_logger(__name__)


def is_due(
    head: ShardHead, newest: SnapshotManifest | None, age_seconds: float, settings: SnapshotSettings
) -> bool:
    """
    Tell whether a shard's next file is to be built.

    Args:
        head: How far the shard is.
        newest: Its newest file that is of this core's history; None without one.
        age_seconds: How old that file is.
        settings: When.
    """
    if settings.hours <= 0 or head.live_rows < settings.documents_min:
        return False
    if newest is None:
        return True
    moved = head.head - newest.seq
    share = moved / max(1, head.live_rows)
    return share > settings.moved_share or (
        moved > 0 and age_seconds >= settings.hours * _HOUR_SECONDS
    )


class SnapshotSchedule:
    """
    Builds what is due, one shard at a time.

    Args:
        data_dir: The core's folder.
        clock: Time.
        settings: When.
    """

    def __init__(self, data_dir: Path, *, clock: Clock, settings: SnapshotSettings) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._settings = settings
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look and build until told to stop; what goes wrong is logged and tried again later."""
        while not stop.is_set():
            seconds = self._settings.check_seconds
            try:
                for shard in await in_thread(self._due_shards):
                    await self._build(shard, stop)
                self._failures = 0
            except (Error, OSError, _BuildFailed) as error:
                self._failures += 1
                doubled = self._settings.retry_seconds * 2.0 ** min(self._failures - 1, 16)
                seconds = min(doubled, self._settings.retry_seconds_max)
                log.error("no snapshot file was built", error=str(error), again_seconds=seconds)  # noqa: TRY400
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)

    def _due_shards(self) -> list[str]:
        database = find_database(self._data_dir, connections_max=1)
        connection = database.open_reader()
        try:
            return [shard for shard in read_shards(connection) if self._is_due(connection, shard)]
        finally:
            connection.close()
            database.close()

    def _is_due(self, connection: Connection, shard: str) -> bool:
        newest = shelf_of(self._data_dir, shard).newest(
            lambda manifest: is_of_history(connection, manifest)
        )
        head = read_head(connection, shard)
        manifest = newest.manifest if newest is not None else None
        age = newest.kept.offer(self._clock).age_seconds if newest is not None else 0.0
        return is_due(head, manifest, age, self._settings)

    async def _build(self, shard: str, stop: asyncio.Event) -> None:
        if stop.is_set():
            return
        words = ["snapshot", "build", "--data", str(self._data_dir), "--shard", shard]
        if self._settings.chunk_bytes:
            words += ["--chunk-bytes", str(self._settings.chunk_bytes)]
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core_cis", *words, "--parent", str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if child.returncode is None:
                await _end(child)
        if child.returncode != 0 and not stop.is_set():
            raise _BuildFailed(f"the builder of shard {shard} ended with {child.returncode}")


class _BuildFailed(Exception):
    """A builder ended without a file; its own log says why."""


async def _end(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
