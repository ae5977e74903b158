"""How snapshot files travel over HTTP: the same at the core and at an edge that passes documents on."""

import asyncio
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from litestar import Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from cache_sync.errors import SnapshotUnavailable, UnknownShard
from cache_sync.snapshot_file import CHUNK_BYTES_MAX, encode_offer
from cache_sync.snapshot_file_desk import SnapshotDesk
from cache_sync.sql import DatabaseError
from failover.held_answers import send_whole
from failover.web import Problem, remaining_seconds

FILE_CONTENT_TYPE: Final = "application/octet-stream"
# Whoever asks for more is answered with so much, and asks on: no answer keeps a place for long, or much memory.
ANSWER_BYTES_MAX: Final = CHUNK_BYTES_MAX
OFFER_SECONDS: Final = 10.0

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
_STATUS = {"none": 404, "gone": 404, "being_made": 503, "busy": 503}
_SLUGS = {
    "none": "no_snapshot_file",
    "gone": "no_snapshot_file",
    "being_made": "snapshot_being_made",
    "busy": "too_many_downloads",
}


async def answer_offer(
    desk: SnapshotDesk, shard: str, headers: Mapping[str, str]
) -> Response[bytes]:
    """
    Answer with a `SnapshotOffer` as JSON, as long as the caller waits.

    Raises:
        Problem: 404 `unknown_shard`, 404 `no_snapshot_file`, 503 `snapshot_being_made` with ``Retry-After``, 503
            `offer_unavailable`.
    """
    seconds = remaining_seconds(headers, default=OFFER_SECONDS, maximum=OFFER_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            offer = await desk.offer(shard)
    except UnknownShard as error:
        raise _unknown(error) from error
    except SnapshotUnavailable as error:
        raise _unavailable(error) from error
    except (DatabaseError, TimeoutError) as error:
        raise Problem(
            "offer_unavailable", status=503, title="No offer can be made now", retry="same"
        ) from error
    return Response(
        encode_offer(offer), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def answer_range(
    desk: SnapshotDesk, shard: str, name: str, headers: Mapping[str, str], *, node_id: str
) -> ASGIApp:
    """
    Answer a node with a part of a file, 206, as the ``Range`` header asks for; at most `ANSWER_BYTES_MAX` of it.

    Problems: 400 `range_required`, 404 `unknown_shard`, 404 `no_snapshot_file`, 416 `range_not_satisfiable`, 503
    `too_many_downloads` with ``Retry-After``.
    """
    return _FilePart(desk, shard, name, headers.get("range"), node_id)


def _wanted(header: str | None, path: Path) -> tuple[int, int, int]:
    """Return begin and end (exclusive) of the part that is asked for, and the file's size."""
    found = _RANGE.fullmatch((header or "").strip())
    if found is None:
        raise Problem(
            "range_required",
            status=400,
            title="Snapshot files are handed out in ranges",
            detail="Ask with one range of bytes that begins somewhere: Range: bytes=0-4194303",
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SnapshotUnavailable("gone") from error
    begin, last = int(found[1]), int(found[2] or size)
    if begin >= size or last < begin:
        raise Problem(
            "range_not_satisfiable",
            status=416,
            title="The file has no such range",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return begin, min(last + 1, size, begin + ANSWER_BYTES_MAX), size


class _FilePart:
    """Sends a part of a file; takes its place when it begins and gives it up when the asker has all, or is gone."""

    def __init__(
        self, desk: SnapshotDesk, shard: str, name: str, wanted: str | None, node_id: str
    ) -> None:
        self._desk = desk
        self._shard, self._name = shard, name
        self._wanted = wanted
        self._node_id = node_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises `Problem` before anything is sent."""
        assert scope["type"] == ScopeType.HTTP, "answers a request"
        del receive
        try:
            with self._desk.download(self._shard, self._name, self._node_id) as path:
                await self._answer(path, send)
        except UnknownShard as error:
            raise _unknown(error) from error
        except SnapshotUnavailable as error:
            raise _unavailable(error) from error

    async def _answer(self, path: Path, send: Send) -> None:
        begin, end, size = _wanted(self._wanted, path)
        try:
            part = await asyncio.to_thread(_read, path, begin, end)
        except OSError as error:
            raise SnapshotUnavailable("gone") from error
        headers = {
            "content-type": FILE_CONTENT_TYPE,
            "content-range": f"bytes {begin}-{end - 1}/{size}",
            "cache-control": "no-store",
        }
        await send_whole(part, 206, headers, send, node_id=self._node_id)


def _read(path: Path, begin: int, end: int) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        part = os.pread(file, end - begin, begin)
    finally:
        os.close(file)
    if len(part) < end - begin:
        raise RuntimeError("a snapshot file became shorter")
    return part


def _unknown(error: UnknownShard) -> Problem:
    del error
    return Problem("unknown_shard", status=404, title="There is no such shard")


def _unavailable(error: SnapshotUnavailable) -> Problem:
    headers = {}
    if error.retry_after_seconds:
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    status = _STATUS[error.reason]
    return Problem(
        _SLUGS[error.reason],
        status=status,
        title="There is no snapshot file to hand out" if status == 404 else "Not now",  # noqa: PLR2004
        detail=str(error),
        retry="same" if status == 503 else None,  # noqa: PLR2004
        headers=headers,
    )
