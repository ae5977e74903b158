"""
Large answers, each held until whoever asked has taken it, and only so many of them at once.

The HTTP server takes from an application whatever it sends, and keeps in memory what the asker does not take. So the
application goes on handing over nothing, a few times, behind the last byte: the server takes so much only when hardly
anything is left of the answer, or when the connection is dead (`failover.http_server.open_socket` sees to that). Until
then the answer has its place, and a node has only a few.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from cache_sync.places import Places
from failover.tls_stream import TAKE_SECONDS
from failover.web import Problem

LARGE_BYTES_MIN: Final = 64 * 1024
"""What is smaller leaves with hardly a wait: the kernel takes it."""
ANSWERS_MAX: Final = 24
ANSWERS_OF_ONE_MAX: Final = 4
# The server (granian 2.8) takes five pieces ahead of what it has written.
_NOTHING_TIMES: Final = 16

_log = structlog.get_logger(__name__)


Pack = Callable[[bytes], Awaitable[tuple[bytes, Mapping[str, str]]]]


async def _at_once() -> None:
    pass


async def _as_it_is(content: bytes) -> tuple[bytes, Mapping[str, str]]:
    return content, {}


def answer_places() -> Places:
    """Make the places of a server's large answers."""
    return Places(of_all=ANSWERS_MAX, of_one=ANSWERS_OF_ONE_MAX)


class LargeAnswer:
    """
    Answers a node with what may be large, once there is a place for it; an ASGI application for one request.

    Args:
        places: Of the large answers of this server.
        node_id: Who asked.
        make: Makes the answer, in a place: nobody who waits for one holds any memory.
        media_type: What it is.
        seconds: How long to wait for a place.
        before: What is to be waited for first, without a place.
        pack: Packs the answer; returns it with the headers that say how.
    """

    def __init__(
        self,
        places: Places,
        node_id: str,
        make: Callable[[], Awaitable[bytes]],
        *,
        media_type: str,
        seconds: float,
        before: Callable[[], Awaitable[None]] = _at_once,
        pack: Pack = _as_it_is,
    ) -> None:
        self._places = places
        self._node_id = node_id
        self._make = make
        self._media_type = media_type
        self._seconds = seconds
        self._before = before
        self._pack = pack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Send it.

        Raises:
            Problem: Before anything is sent: what ``before`` and ``make`` raise, and 503 `too_many_answers`.
        """
        assert scope["type"] == ScopeType.HTTP, "answers a request"
        del receive
        await self._before()
        await self._wait()
        with self._places.take(self._node_id):
            content, packed = await self._pack(await self._make())
            headers = {"content-type": self._media_type, **packed}
            await send_whole(content, 200, headers, send, node_id=self._node_id)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.free(self._node_id)
        except TimeoutError as error:
            raise Problem(
                "too_many_answers",
                status=503,
                title="Too many answers wait to be taken",
                retry="same",
                headers={"Retry-After": "1"},
            ) from error


async def send_whole(
    content: bytes, status: int, headers: Mapping[str, str], send: Send, *, node_id: str
) -> None:
    """Send an answer, and return when the asker has taken it or is gone; one that is not taken is logged."""
    head = {**headers, "content-length": str(len(content))}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in head.items()],
        }
    )
    if len(content) < LARGE_BYTES_MIN:
        await send({"type": "http.response.body", "body": content, "more_body": False})
        return
    handing = asyncio.create_task(_hand_over(content, send))
    try:
        done, _ = await asyncio.wait({handing}, timeout=TAKE_SECONDS)
        if not done:
            _log.warning("an answer is not taken", node=node_id, content_bytes=len(content))
        await handing
    finally:
        handing.cancel()


async def _hand_over(content: bytes, send: Send) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})
    for left in range(_NOTHING_TIMES, 0, -1):
        await send({"type": "http.response.body", "body": b"", "more_body": left > 1})
