"""
A source for a follower that takes documents out of a Redis Stream, and everything else from the core.

What a stream cannot say is how fresh it is: an entry may have waited in it for a second or an hour, and one that says
"as of T" would look as young as it is read. So a stream moves documents and nothing else. Twice a second the core is
asked by HTTP, and its answer, a heartbeat or a page of documents that the stream did not bring, is given to the
follower as it is. Frames of the stream are given out only from there on, with the T and the age of that answer: it
covers the place that the follower stood at, so it covers whatever is above, and T is as old as it says or older.

Whatever else is the case, a hole, an unknown signature, another epoch, no answer in time, the core is asked, waiting
for news as without a stream.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Final, NamedTuple, TypeVar

import msgspec

from cache_sync.backoff import Backoff
from cache_sync.clock import Clock
from cache_sync.documents import KNOWN_VERSIONS
from cache_sync.errors import InvalidFrame, NotTakenHere, RedisUnavailable
from cache_sync.feed_client import FeedClient
from cache_sync.frame_guards import check_frame, check_versions
from cache_sync.frames import Frame, decode_frame, sealed
from cache_sync.offload import Offload
from cache_sync.redis_link import RedisLink, Reply
from cache_sync.redis_stream import FRAME_FIELD, SIGNATURE_FIELD, signed_part, stream_key

log = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT")
_MILLISECONDS: Final = 1000
_SLACK_SECONDS: Final = 0.25

Verify = Callable[[bytes, bytes], bool]
"""Tells whether a signature of some content is the core's."""


class StreamFeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a stream's reader reads, and its bounds.

    An entry with a later version of a body than ``known_versions`` names for its kind is left to the core to tell of.
    The core is asked every ``heartbeat_seconds``. When it had to bring documents ``missed_max`` times in a row that
    the stream should have brought, the stream is left alone for a while, as after trouble.
    """

    known_versions: Mapping[str, int] = KNOWN_VERSIONS
    heartbeat_seconds: float = 0.5
    missed_max: int = 3
    retry_first_seconds: float = 1.0
    retry_cap_seconds: float = 30.0


class _Told(NamedTuple):
    """What the core last said by HTTP, and how far the follower was led since: only from there may a stream lead on."""

    epoch: int
    cursor: int
    asked: float
    heard: Frame


class _Unusable(Exception):
    """What the stream gives cannot be used here and now."""


class StreamFeed:
    """
    Implements `cache_sync.feed_client.FeedClient`. Call `close` at the end.

    Args:
        core: The core by HTTP.
        link: To the Redis; used by nobody else at the same time.
        shard: The shard.
        verify: Tells whether the core signed something.
        clock: Time.
        rng: Where jitter comes from.
        settings: Bounds.
        offload: Where the Redis is asked; a thread of its own unless it is said.
    """

    def __init__(
        self,
        core: FeedClient,
        link: RedisLink,
        shard: str,
        *,
        verify: Verify,
        clock: Clock,
        rng: Random,
        settings: StreamFeedSettings | None = None,
        offload: Offload | None = None,
    ) -> None:
        self._core = core
        self._link = link
        self._shard = shard
        self._key = stream_key(shard)
        self._verify = verify
        self._clock = clock
        self._settings = settings or StreamFeedSettings()
        # Waiting for news takes a thread nearly all the time: the others' pool would run out of them.
        self._pool = ThreadPoolExecutor(1, f"stream-{shard}") if offload is None else None
        self._offload = offload or self._in_own_thread
        self._told: _Told | None = None
        self._missed = 0
        self._left_until = 0.0
        self._retry = Backoff(
            self._settings.retry_first_seconds, self._settings.retry_cap_seconds, rng
        )
        self.rows = 0

    @property
    def used(self) -> bool:
        """Whether the stream is being read now."""
        return self._clock.boot_seconds() >= self._left_until

    async def fetch(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        """Answer with the next documents of the stream, or with what the core answers. Raises as the core's client."""
        begun = self._clock.boot_seconds()
        told = self._told
        if told is None or not self._continues(told, after, epoch) or not self.used:
            return await self._ask_core(after, epoch, limit, wait)
        due = told.asked + self._settings.heartbeat_seconds
        if begun < due:
            try:
                frame = await self._next(told, begun, min(wait, due - begun))
            except (RedisUnavailable, _Unusable) as trouble:
                self._leave(str(trouble))
                left = max(0.0, wait - (self._clock.boot_seconds() - begun))
                return await self._ask_core(after, epoch, limit, left)
            if frame is not None:
                return frame
        return await self._ask_core(after, epoch, limit, 0.0)

    async def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._link.close()

    def _continues(self, told: _Told, after: int, epoch: int) -> bool:
        """Tell whether the follower took what it was last given, and asks for what is above."""
        return (epoch, after) == (told.epoch, told.cursor)

    # The core

    async def _ask_core(self, after: int, epoch: int, limit: int, wait: float) -> Frame:
        before, self._told = self._told, None
        asked = self._clock.boot_seconds()
        frame = await self._core.fetch(after, epoch, limit, wait)
        if frame.barrier:
            self._told = _Told(frame.epoch, frame.upto, asked, frame)
        if before is not None and self._continues(before, after, epoch) and self.used:
            self._judge(frame)
        return frame

    def _judge(self, frame: Frame) -> None:
        """Leave a stream alone that does not bring what there is."""
        self._missed = self._missed + 1 if frame.rows else 0
        if self._missed >= self._settings.missed_max:
            self._leave("it does not bring what the core has")

    def _leave(self, why: str) -> None:
        wait = self._retry.next_seconds()
        log.warning("the stream of shard %s is not read for %.0f s: %s", self._shard, wait, why)
        self._missed = 0
        self._left_until = self._clock.boot_seconds() + wait

    # The stream

    async def _next(self, told: _Told, begun: float, wait: float) -> Frame | None:
        """Return the next frame of the stream as the follower may take it; None without news."""
        content = await self._offload(lambda: self._read(told, wait))
        if content is None:
            return None
        frame = self._checked(content)
        if frame.epoch != told.epoch or not frame.after <= told.cursor < frame.upto:
            raise _Unusable(f"it goes on after {frame.after} in epoch {frame.epoch}")
        heard = told.heard
        rows = [row for row in frame.rows if row.seq > told.cursor]
        self._told = told._replace(cursor=frame.upto)
        self.rows += len(rows)
        self._missed = 0
        self._retry.reset()
        return sealed(
            msgspec.structs.replace(
                frame,
                after=told.cursor,
                rows=rows,
                count=len(rows),
                as_of=heard.as_of,
                # Counted to when the follower asked, from where its own clock goes on.
                age_seconds=heard.age_seconds + max(0.0, begun - told.asked),
                age_at_least=heard.age_at_least,
            )
        )

    def _read(self, told: _Told, wait: float) -> bytes | None:
        milliseconds = max(1, int(wait * _MILLISECONDS))
        place = f"{told.epoch}-{told.cursor}"
        (answer,) = self._link.ask(
            ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._key, place),
            seconds=wait + _SLACK_SECONDS,
        )
        if answer is None:
            return None
        fields = _fields(answer)
        content, signature = fields.get(FRAME_FIELD), fields.get(SIGNATURE_FIELD)
        if (
            content is None
            or signature is None
            or not self._verify(signed_part(content), signature)
        ):
            raise _Unusable("an entry is not the core's")
        return content

    def _checked(self, content: bytes) -> Frame:
        try:
            frame = decode_frame(content)
            check_frame(frame)
            check_versions(frame, self._settings.known_versions)
        except InvalidFrame as error:
            raise _Unusable(str(error)) from error
        except NotTakenHere as error:
            # The core's own answer says it to the follower.
            raise _Unusable(str(error)) from error
        if frame.shard != self._shard:
            raise _Unusable("an entry is of another shard")
        return frame

    async def _in_own_thread(self, work: Callable[[], _ResultT]) -> _ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _fields(answer: Reply) -> dict[bytes, bytes]:
    """Return the fields of the first entry of an `XREAD`; empty for an answer that is none."""
    try:
        words = answer[0][1][0][1]  # type: ignore[index]
        return dict(zip(words[::2], words[1::2], strict=True))  # type: ignore[index,arg-type]
    except (TypeError, IndexError, ValueError):
        return {}
