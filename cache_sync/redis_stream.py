"""
The core's frames in a Redis Stream, one a shard: many edges read one copy, and the core answers none of them for it.

An entry is a frame with its signature, under the id ``epoch-upto``: a stream takes only growing ids, so that a frame
which is there already, or comes from a core that was replaced, is refused by the Redis itself. Frames follow each other
as pages of the feed do; where the stream was cut, a reader sees a hole and asks the core. Heartbeats are not in it: how
fresh something is cannot be told through a buffer.

A frame in which an account is deleted, because a person was forgotten, is the first of its stream: all before it goes.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, Protocol

import msgspec

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.documents import ACCOUNT
from cache_sync.errors import (
    BelowFloor,
    EpochChanged,
    FeedUnavailable,
    Forked,
    RedisFull,
    RedisUnavailable,
)
from cache_sync.frames import Frame, encode_frame
from cache_sync.offload import Offload, in_thread
from cache_sync.redis_link import RedisLink, RedisRefusal

log = logging.getLogger(__name__)

FRAME_FIELD: Final = b"f"
SIGNATURE_FIELD: Final = b"s"
_SMALLER_ID: Final = "equal or smaller"
_TAKES_NOTHING: Final = frozenset({"OOM", "MISCONF"})

Sign = Callable[[bytes], bytes]
Place = tuple[int, int]
"""Epoch and seq: the id of an entry."""


def stream_key(shard: str) -> bytes:
    """Name a shard's stream."""
    return f"ridethrough:{{feed.{shard}}}:frames".encode()


def signed_part(frame: bytes) -> bytes:
    """Return what the core signs of a frame: it stands for nothing else that the core's key may sign."""
    return b"ridethrough stream\0" + frame


class FrameSource(Protocol):
    """What a publisher needs of `cache_sync.feed.FeedSource`."""

    async def page(
        self, *, after: int, epoch: int, limit: int, wait_seconds: float, bytes_max: int
    ) -> Frame:
        """Answer one question of the feed."""
        ...


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Bounds of a stream.

    It keeps about ``entries_max`` frames of at most ``page_bytes`` each; a publisher that is more than ``pages_max``
    pages behind skips them: readers ask the core for those.
    """

    entries_max: int = 2000
    page_rows: int = 500
    page_bytes: int = 256 * 1024
    pages_max: int = 20
    wait_seconds: float = 0.5
    retry_first_seconds: float = 0.2
    retry_cap_seconds: float = 5.0


class StreamStatus(msgspec.Struct, kw_only=True):
    """What a publisher has done, and ``reason`` says why it does nothing now; empty while it publishes."""

    reason: str = "starting"
    entries: int = 0
    rows: int = 0
    skips: int = 0


class StreamPublisher:
    """
    Writes one shard's frames into its stream; several may, of which the furthest wins.

    Args:
        source: The core's feed.
        link: To the Redis; used by nobody else at the same time.
        shard: The shard.
        sign: Signs with the core's key.
        clock: Time.
        rng: Where jitter comes from.
        settings: Bounds.
        offload: Where the Redis is asked.
    """

    def __init__(
        self,
        source: FrameSource,
        link: RedisLink,
        shard: str,
        *,
        sign: Sign,
        clock: Clock,
        rng: Random,
        settings: StreamSettings | None = None,
        offload: Offload = in_thread,
    ) -> None:
        self._source = source
        self._link = link
        self._shard = shard
        self._key = stream_key(shard)
        self._sign = sign
        self._clock = clock
        self._settings = settings or StreamSettings()
        self._offload = offload
        self._place: Place | None = None
        self._pages = 0
        self._retry = Backoff(
            self._settings.retry_first_seconds, self._settings.retry_cap_seconds, rng
        )
        self.status = StreamStatus()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until told to stop."""
        while not stop.is_set():
            delay = await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stop.wait()
        self._link.close()

    async def step(self) -> float:
        """Publish what is new; return for how many seconds nothing is to be done. Raises nothing of feed or Redis."""
        try:
            await self._step()
        except EpochChanged as error:
            published, self._place = self._place, None
            if published is not None and published[0] > error.epoch:
                return self._wait("a core of a later epoch publishes")
            return await self._skip()
        except BelowFloor:
            # What lies between is not known any more: readers that stand there ask the core.
            self._place = None
            return await self._skip()
        except Forked as error:
            # The stream is of a history that this core does not know, and readers with it: they ask the core, and it
            # finds out whose history is true.
            return self._wait(f"the stream is ahead of the core, which is at {error.head}")
        except (FeedUnavailable, RedisUnavailable) as error:
            self._place = None
            return self._wait(str(error))
        self._retry.reset()
        self._say("")
        return 0.0

    async def _step(self) -> None:
        if self._place is None:
            self._place = await self._offload(self._last)
        if self._place is None:
            self._place = await self._head()
        epoch, after = self._place
        settings = self._settings
        frame = await self._source.page(
            after=after,
            epoch=epoch,
            limit=settings.page_rows,
            wait_seconds=settings.wait_seconds,
            bytes_max=settings.page_bytes,
        )
        if not frame.rows:
            return
        self._pages = 0 if frame.barrier else self._pages + 1
        if self._pages > settings.pages_max:
            await self._skip()
            return
        await self._offload(lambda: self._add(frame))

    def _last(self) -> Place | None:
        """Return the newest id that the stream has taken, trimmed or not."""
        (answer,) = self._link.ask(("XREVRANGE", self._key, "+", "-", "COUNT", 1))
        _refuse_refusal(answer)
        if not isinstance(answer, list) or not answer or not isinstance(answer[0], list):
            return None
        return parse_id(answer[0][0])

    async def _head(self) -> Place:
        frame = await self._source.page(
            after=0, epoch=0, limit=1, wait_seconds=0.0, bytes_max=self._settings.page_bytes
        )
        return frame.epoch, frame.head

    async def _skip(self) -> float:
        """Go on from the head, without what leads nowhere: a deletion of an account may be among what is skipped."""
        self._pages = 0
        try:
            place = await self._head()
            await self._offload(lambda: self._cut(place))
        except (FeedUnavailable, RedisUnavailable) as error:
            self._place = None
            return self._wait(str(error))
        self._place = place
        self.status.skips += 1
        log.info("the stream of shard %s goes on from the core's head", self._shard)
        return 0.0

    def _add(self, frame: Frame) -> None:
        content = encode_frame(frame)
        name = f"{frame.epoch}-{frame.upto}"
        fields = (FRAME_FIELD, content, SIGNATURE_FIELD, self._sign(signed_part(content)))
        command = ("XADD", self._key, "MAXLEN", "~", self._settings.entries_max, name, *fields)
        if any(row.body is None and row.kind == ACCOUNT for row in frame.rows):
            # Before it is added: where this is interrupted, the stream is empty, and not whole for ever.
            self._cut((frame.epoch, frame.upto))
        (answer,) = self._link.ask(command)
        if isinstance(answer, RedisRefusal) and _SMALLER_ID in str(answer):
            # It is there already: from another core, or from us, and the answer to that was lost.
            self._place = None
            return
        _refuse_refusal(answer)
        self._place = (frame.epoch, frame.upto)
        self.status.entries += 1
        self.status.rows += frame.count

    def _cut(self, place: Place) -> None:
        """Remove all entries before a place."""
        epoch, seq = place
        (answer,) = self._link.ask(("XTRIM", self._key, "MINID", f"{epoch}-{seq}"))
        _refuse_refusal(answer)

    def _wait(self, reason: str) -> float:
        self._say(reason)
        return self._retry.next_seconds()

    def _say(self, reason: str) -> None:
        if reason != self.status.reason:
            log.log(
                logging.WARNING if reason else logging.INFO,
                "the stream of shard %s: %s",
                self._shard,
                reason or "published",
            )
            self.status.reason = reason


def parse_id(name: object) -> Place | None:
    """Read an entry's id; None when it is none."""
    if not isinstance(name, bytes):
        return None
    epoch, _, seq = name.partition(b"-")
    return (int(epoch), int(seq)) if epoch.isdigit() and seq.isdigit() else None


def _refuse_refusal(answer: object) -> None:
    if isinstance(answer, RedisRefusal):
        refused = RedisFull if answer.code in _TAKES_NOTHING else RedisUnavailable
        raise refused(f"the redis answers {answer.code}")
