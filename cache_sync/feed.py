"""
The feed's source: pages of documents after a cursor, barriers, and core time.

T is closed before a page is read, so everything committed before T is in the page or below its cursor. Closing is a
write at the core; readers that ask at the same time share one, and each frame says how old its T is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cache_sync.clock import Clock
from cache_sync.document_source import DocumentSource, FileSource
from cache_sync.document_table import PAGE_BYTES_MAX, READ_SECONDS_MAX, Page, read_page
from cache_sync.errors import BelowFloor, EpochChanged, FeedUnavailable, Forked
from cache_sync.frames import FRAME_FORMAT, Frame, sealed
from cache_sync.offload import Offload, in_thread
from cache_sync.row_hash import seal_position
from cache_sync.sql import Connection, Error

PAGE_ROWS_MAX = 5000
WAIT_SECONDS_MAX = 0.5
LOOK_SECONDS = 0.05
T_SHARED_SECONDS = 0.01
CLOSE_SECONDS_MAX = 2.0

CloseTime = Callable[[], Awaitable[datetime]]
_ResultT = TypeVar("_ResultT")


class ClosedTime(NamedTuple):
    """A T that was closed, and the boot-clock reading before it was: never less old than its age says."""

    as_of: datetime
    closed_boot_seconds: float


class CoreTimeSource:
    """
    Closes core time for everyone who asks, once for all who ask at the same time.

    Args:
        close_time: Closes T in a committed write transaction (`core_time.close`) through the core's one writer.
        clock: What T's age is measured on.
        shared_seconds: How old a T may be and still be given out.
    """

    def __init__(
        self, close_time: CloseTime, clock: Clock, *, shared_seconds: float = T_SHARED_SECONDS
    ) -> None:
        self._close_time = close_time
        self._clock = clock
        self._shared_seconds = shared_seconds
        self._closing: asyncio.Task[ClosedTime] | None = None
        self._newest: ClosedTime | None = None

    async def closed(self, *, fresh: bool = False) -> ClosedTime:
        """
        Return a T that is closed now; `fresh` for one whose closing begins after this call.

        Whoever stops waiting does not stop the closing: others may be waiting for it.

        Raises:
            FeedUnavailable: The core's writer does not answer.
        """
        newest = self._newest
        if (
            not fresh
            and newest is not None
            and self._clock.boot_seconds() - newest.closed_boot_seconds <= self._shared_seconds
        ):
            return newest
        if fresh and self._closing is not None:
            await self._shared(self._closing)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
            self._closing.add_done_callback(_look_at_result)
        return await self._shared(self._closing)

    async def _shared(self, closing: asyncio.Task[ClosedTime]) -> ClosedTime:
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                return await asyncio.shield(closing)
        except (TimeoutError, Error) as error:
            raise FeedUnavailable("core time cannot be closed") from error

    async def _close(self) -> ClosedTime:
        begun = self._clock.boot_seconds()
        try:
            as_of = await self._close_time()
            self._newest = ClosedTime(as_of, begun)
            return self._newest
        finally:
            self._closing = None


class PageReader:
    """
    Reads pages in a thread, one at a time, through one connection; several shards' feeds may share it.

    Call `close` at the end.

    Args:
        source: The documents table.
        offload: Where a page is read; it may take some 10 ms.
    """

    def __init__(self, source: DocumentSource, *, offload: Offload = in_thread) -> None:
        self._connection = source.open_pages()
        self._offload = offload
        self._turn = asyncio.Lock()

    async def read(self, build: Callable[[Connection], _ResultT]) -> _ResultT:
        """
        Read when its turn comes.

        Raises:
            Error: The database does not answer.
        """
        # An asker who hangs up must not let the next page begin on a connection that a thread still reads from.
        reading = asyncio.create_task(self._in_turn(build))
        reading.add_done_callback(_look_at_result)
        return await asyncio.shield(reading)

    async def _in_turn(self, build: Callable[[Connection], _ResultT]) -> _ResultT:
        async with self._turn:
            return await self._offload(lambda: build(self._connection))

    async def close(self) -> None:
        """Let the connection go, when nobody reads from it."""
        async with self._turn:
            self._connection.close()


class FeedSource:
    """
    Answers followers from one shard's documents table.

    Call `close` at the end.

    Args:
        source: The documents table, or the path of the SQLite file that it is in.
        shard: The shard it holds.
        time_source: Where T comes from.
        clock: Time.
        seal_key: What the core seals positions with; None at a node that passes on the seals it was given.
        offload: Where a page is read, without `pages`.
        pages: What pages are read through, where it is shared with other shards and closed by whoever made it.
    """

    def __init__(
        self,
        source: DocumentSource | Path,
        shard: str,
        *,
        time_source: CoreTimeSource,
        clock: Clock,
        seal_key: bytes | None = None,
        offload: Offload = in_thread,
        pages: PageReader | None = None,
    ) -> None:
        self._shard = shard
        self._seal_key = seal_key
        self._time_source = time_source
        self._clock = clock
        self._moved = asyncio.Event()
        self._waiting = 0
        self._watcher: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        documents = FileSource(source) if isinstance(source, Path) else source
        # Looked at in the loop; pages are read beside it.
        self._watch = documents.open_watch(shard, self.notify)
        self._shares_pages = pages is not None
        try:
            self._pages = pages or PageReader(documents, offload=offload)
        except BaseException:
            self._watch.close()
            raise
        self._head = self._watch.look()

    async def page(
        self,
        *,
        after: int,
        epoch: int,
        limit: int = PAGE_ROWS_MAX,
        wait_seconds: float = 0.0,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> Frame:
        """
        Answer one question: the documents after a cursor, or at its end a heartbeat.

        Without news it waits for a commit, of any process, for at most `wait_seconds`.

        Args:
            after: The cursor; 0 to begin.
            epoch: The cursor's epoch; 0 while a snapshot is being built from the beginning: then any epoch is
                answered, and it is the asker who makes sure that epoch and floor do not move under the build.
            limit: Rows, cut to `PAGE_ROWS_MAX`.
            wait_seconds: Cut to `WAIT_SECONDS_MAX`.
            bytes_max: Where a page of large bodies ends.

        Raises:
            EpochChanged: The cursor is of another epoch.
            Forked: The cursor is above the head.
            BelowFloor: Tombstones after the cursor are gone.
            FeedUnavailable: Core time cannot be closed, or the file cannot be read.
        """
        await self.wait_for_news(after, epoch, wait_seconds)
        closed = await self._time_source.closed()
        limit = max(1, min(limit, PAGE_ROWS_MAX))

        def build(connection: Connection) -> Frame:
            page = read_page(
                connection,
                self._shard,
                after,
                limit,
                bytes_max=bytes_max,
                overdue=overdue_after(READ_SECONDS_MAX, self._clock),
            )
            _refuse_what_cannot_follow(page, after=after, epoch=epoch)
            return self._frame(page, after, closed)

        try:
            return await self._pages.read(build)
        except Error as error:
            raise FeedUnavailable("the documents cannot be read") from error

    def _frame(self, page: Page, after: int, closed: ClosedTime) -> Frame:
        head = page.shard
        seal = head.seal
        if self._seal_key is not None:
            seal = seal_position(self._seal_key, head.epoch, self._shard, head.head, head.chain)
        barrier = page.reached_head
        return sealed(
            Frame(
                format=FRAME_FORMAT,
                epoch=head.epoch,
                shard=self._shard,
                after=after,
                upto=page.upto,
                count=len(page.rows),
                rows=page.rows,
                digest="",
                barrier=barrier,
                head=head.head,
                as_of=closed.as_of,
                age_seconds=max(0.0, self._clock.boot_seconds() - closed.closed_boot_seconds),
                age_at_least=False,
                floor=head.floor,
                live_hash=head.live_hash if barrier else 0,
                live_rows=head.live_rows if barrier else 0,
                chain=head.chain if barrier else b"",
                seal=seal if barrier else b"",
            )
        )

    def notify(self) -> None:
        """Say that this process has committed: waiting readers are answered at once. From any thread."""
        loop = self._loop
        if loop is not None and self._waiting:
            loop.call_soon_threadsafe(self._look)

    async def wait_for_news(self, after: int, epoch: int, wait_seconds: float) -> None:
        """Wait, for at most `WAIT_SECONDS_MAX`, until there is something after a cursor that stands at the head."""
        if wait_seconds <= 0:
            return
        self._loop = asyncio.get_running_loop()
        deadline = self._clock.boot_seconds() + min(wait_seconds, WAIT_SECONDS_MAX)
        self._waiting += 1
        try:
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch_commits())
            self._look()
            while self._is_at_head(after, epoch):
                remaining = deadline - self._clock.boot_seconds()
                if remaining <= 0:
                    return
                moved = self._moved
                try:
                    async with asyncio.timeout(remaining):
                        await moved.wait()
                except TimeoutError:
                    return
        finally:
            self._waiting -= 1

    def _is_at_head(self, after: int, epoch: int) -> bool:
        # Only who stands exactly at the head has anything to wait for; all others get their answer now.
        head = self._head
        return head is not None and (head.head, head.epoch) == (after, epoch or head.epoch)

    async def _watch_commits(self) -> None:
        # Other processes write to the file too (a billing run, an import) and cannot notify.
        try:
            while self._waiting:
                await self._clock.sleep(LOOK_SECONDS)
                self._look()
        finally:
            self._watcher = None

    def _look(self) -> None:
        head = self._watch.look()
        if head is not None and head != self._head:
            self._head = head
            self._moved.set()
            self._moved = asyncio.Event()

    async def close(self) -> None:
        """Stop watching and let the documents go."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if not self._shares_pages:
            await self._pages.close()
        self._watch.close()


def overdue_after(seconds: float, clock: Clock) -> Callable[[], bool]:
    """Make what tells, some seconds from now on, that they are over."""
    until = clock.boot_seconds() + seconds
    return lambda: clock.boot_seconds() > until


def _look_at_result(task: asyncio.Task[Any]) -> None:
    # Those who waited have been told; with nobody left, asyncio would report an error that nobody missed.
    if not task.cancelled():
        task.exception()


def _refuse_what_cannot_follow(page: Page, *, after: int, epoch: int) -> None:
    head = page.shard
    if epoch not in (0, head.epoch):
        raise EpochChanged(head.epoch)
    if after > head.head:
        raise Forked(head.head)
    # A build from the beginning has seen no deleted document that it would have to forget: its first page is newer
    # than every forgotten tombstone, and the builder checks that the floor does not pass it meanwhile.
    if epoch != 0 and 0 < after < head.floor:
        raise BelowFloor(head.floor)
