"""
Who waits for a shard's next commit, and when they are told of it.

A few followers are told at once. Many are told together, in waves: one page and one closed T answer all of a wave, and
the gap between two waves grows with their number, so that what followers cost a core is bounded whatever it commits.
What each costs the others is 12 ms of lag at most; a tree of edges (docs/operations.md) loses less.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from cache_sync.clock import Clock
from cache_sync.document_source import DocumentSource
from cache_sync.document_table import ShardHead

LOOK_SECONDS: Final = 0.05
AT_ONCE_MAX: Final = 4
"""How many are told of every commit at once."""
GAP_SECONDS_EACH: Final = 0.012
"""How much later the next wave comes for each one more: answering one takes some 2 % of that."""
_RECENT_SECONDS: Final = 1.0
_RECENT_MAX: Final = 32


class _Wave(NamedTuple):
    """When followers were told of which head, and how many were waiting then."""

    at: float
    head: ShardHead
    waiting: int


class FeedNews:
    """
    Lets followers of one shard wait until there is something after their cursor.

    Call `close` at the end.

    Args:
        documents: Where the shard's head is looked at, in the loop.
        shard: The shard.
        clock: Time.

    Raises:
        UnknownShard: There is no such shard.
    """

    def __init__(self, documents: DocumentSource, shard: str, *, clock: Clock) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0
        self._watcher: asyncio.Task[None] | None = None
        self._next_wave: asyncio.Task[None] | None = None
        self._wave = asyncio.Event()
        self._recent: deque[_Wave] = deque(maxlen=_RECENT_MAX)
        self._told_at = 0.0
        self._watch = documents.open_watch(shard, self.notify)
        self._head = self._watch.look()

    @property
    def told_at(self) -> float:
        """The boot-clock reading when followers were last told of a commit: a page from before may not have it."""
        return self._told_at

    def notify(self) -> None:
        """Say that there was a commit. From any thread."""
        loop = self._loop
        if loop is not None and self._waiting:
            loop.call_soon_threadsafe(self._look)

    async def wait(self, after: int, epoch: int, seconds: float) -> None:
        """Return when there is something after a cursor, after so many seconds at the latest."""
        self._loop = asyncio.get_running_loop()
        deadline = self._clock.boot_seconds() + seconds
        self._waiting += 1
        try:
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch_commits())
            self._look()
            waits = self._is_to_wait(after, epoch)
            while waits:
                remaining = deadline - self._clock.boot_seconds()
                if remaining <= 0:
                    return
                wave = self._wave
                try:
                    async with asyncio.timeout(remaining):
                        await wave.wait()
                except TimeoutError:
                    return
                # Who has waited for a wave goes with it, unless he knows already what it tells.
                waits = self._is_at_head(after, epoch)
        finally:
            self._waiting -= 1

    def _is_at_head(self, after: int, epoch: int) -> bool:
        head = self._head
        return head is not None and (head.head, head.epoch) == (after, epoch or head.epoch)

    def _is_to_wait(self, after: int, epoch: int) -> bool:
        if self._is_at_head(after, epoch):
            return True
        # Who stood at the head a moment ago is one of the crowd; all others are catching up, and are answered now.
        if not self._was_head(after, epoch) or self._due() <= 0:
            return False
        self._begin_wave()
        return True

    def _was_head(self, after: int, epoch: int) -> bool:
        if self._head is None or not self._recent:
            return False
        oldest = self._recent[0].head
        return oldest.epoch == epoch == self._head.epoch and oldest.head <= after < self._head.head

    async def _watch_commits(self) -> None:
        # Other processes write too (a billing run, an import) and cannot notify.
        try:
            while self._waiting:
                await self._clock.sleep(LOOK_SECONDS)
                self._look()
        finally:
            self._watcher = None

    def _look(self) -> None:
        head = self._watch.look()
        if head is None or head == self._head:
            return
        self._head = head
        if self._due() > 0:
            self._begin_wave()
        else:
            self._tell()

    def _due(self) -> float:
        """Tell in how many seconds the next wave may be: its gap grows while more and more join it."""
        now = self._clock.boot_seconds()
        while self._recent and self._recent[0].at < now - _RECENT_SECONDS:
            self._recent.popleft()
        if not self._recent:
            return 0.0
        crowd = max(self._waiting, *(wave.waiting for wave in self._recent))
        return self._recent[-1].at + GAP_SECONDS_EACH * max(0, crowd - AT_ONCE_MAX) - now

    def _begin_wave(self) -> None:
        if self._next_wave is None:
            self._next_wave = asyncio.create_task(self._tell_when_due())

    async def _tell_when_due(self) -> None:
        try:
            while (due := self._due()) > 0:
                await self._clock.sleep(due)
        finally:
            self._next_wave = None
        self._tell()

    def _tell(self) -> None:
        assert self._head is not None, "there is something to tell of"
        self._told_at = self._clock.boot_seconds()
        self._recent.append(_Wave(self._told_at, self._head, self._waiting))
        self._wave.set()
        self._wave = asyncio.Event()

    async def close(self) -> None:
        """Stop watching, once what was under way has ended."""
        tasks = [task for task in (self._watcher, self._next_wave) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.stop()

    def stop(self) -> None:
        """Stop watching where nobody has waited yet."""
        self._watch.close()
