"""Where a node answers those that compare themselves with it: one at a time, a few waiting, off the event loop."""

import asyncio
from collections.abc import Callable

from cache_sync.digests import DigestAnswer, DigestQuestion
from cache_sync.errors import FeedUnavailable
from cache_sync.offload import Offload, in_thread

WAITING_MAX = 8

ReadDigests = Callable[[str, DigestQuestion], DigestAnswer]


class DigestDesk:
    """
    Answers digest questions at a bounded cost: comparing must never take from those who follow or pay.

    Args:
        read: Answers one question; blocks for as long as hashing a few thousand rows takes.
        offload: Where it runs.
    """

    def __init__(self, read: ReadDigests, *, offload: Offload = in_thread) -> None:
        self._read = read
        self._offload = offload
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def answer(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        """
        Answer one question; it was checked by `cache_sync.digests.check_question`.

        Raises:
            FeedUnavailable: Too many wait already.
            UnknownShard: This node does not hold the shard.
            EpochChanged: The asker is in another epoch.
            NotComparable: The two stand too far apart.
        """
        if self._waiting >= WAITING_MAX:
            raise FeedUnavailable("too many compare themselves with this node at once")
        self._waiting += 1
        try:
            # Nothing is read for whoever hangs up before the turn has come.
            await self._turn.acquire()
            # A thread cannot be stopped: whoever hangs up later leaves the turn to it until it is done.
            reading = asyncio.create_task(self._reading(shard, question))
            reading.add_done_callback(self._read_to_its_end)
            return await asyncio.shield(reading)
        finally:
            self._waiting -= 1

    async def _reading(self, shard: str, question: DigestQuestion) -> DigestAnswer:
        return await self._offload(lambda: self._read(shard, question))

    def _read_to_its_end(self, task: asyncio.Task[DigestAnswer]) -> None:
        self._turn.release()
        # With nobody left to tell, asyncio would report an error that nobody missed.
        if not task.cancelled():
            task.exception()
