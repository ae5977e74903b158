"""
The feed's source: pages of documents after a cursor, barriers, and core time.

T is closed before a page is read, so everything committed before T is in the page or below its cursor. Closing is a
write at the core; readers that ask at the same time share one, those that ask because of a commit take its stamp, and
each frame says how old its T is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from cache_sync.clock import Clock
from cache_sync.document_source import DocumentSource, FileSource
from cache_sync.document_table import PAGE_BYTES_MAX, Page, read_overdue, read_page
from cache_sync.errors import BelowFloor, EpochChanged, FeedUnavailable, Forked
from cache_sync.feed_news import FeedNews
from cache_sync.frames import FRAME_FORMAT, Frame, sealed
from cache_sync.offload import Offload, in_thread
from cache_sync.row_hash import seal_position
from cache_sync.sql import Connection, Error

PAGE_ROWS_MAX = 5000
WAIT_SECONDS_MAX = 0.5
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
        # A T that is given out never goes back, whoever notes one meanwhile.
        self._noting = Lock()

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

    def note(self, closed: ClosedTime) -> None:
        """
        Give out a T that is closed already: a durable commit's stamp. From any thread.

        Who asks because of a commit need not wait for another one.
        """
        with self._noting:
            if self._newest is None or closed.as_of > self._newest.as_of:
                self._newest = closed

    async def _shared(self, closing: asyncio.Task[ClosedTime]) -> ClosedTime:
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                return await asyncio.shield(closing)
        except (TimeoutError, Error) as error:
            raise FeedUnavailable("core time cannot be closed") from error

    async def _close(self) -> ClosedTime:
        begun = self._clock.boot_seconds()
        try:
            closed = ClosedTime(await self._close_time(), begun)
            self.note(closed)
            return closed
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


class _Question(NamedTuple):
    after: int
    epoch: int
    limit: int
    bytes_max: int


class _Reading(NamedTuple):
    """A page, still on its way or read, and the boot-clock reading before its T was looked for."""

    question: _Question
    begun: float
    task: asyncio.Task[Frame]


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
        # The newest page is kept: of those who are told of a commit together, not all ask for it at once.
        self._newest: _Reading | None = None
        documents = FileSource(source) if isinstance(source, Path) else source
        self._news = FeedNews(documents, shard, clock=clock)
        self._shares_pages = pages is not None
        try:
            self._pages = pages or PageReader(documents, offload=offload)
        except BaseException:
            self._news.stop()
            raise

    async def page(
        self,
        *,
        after: int,
        epoch: int,
        limit: int = PAGE_ROWS_MAX,
        wait_seconds: float = 0.0,
        bytes_max: int = PAGE_BYTES_MAX,
        asked: float | None = None,
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
            asked: The boot-clock reading from before the question was answered in any part; None for now. Who asked
                before a page was begun may share it: to him its T is not too young.

        Raises:
            EpochChanged: The cursor is of another epoch.
            Forked: The cursor is above the head.
            BelowFloor: Tombstones after the cursor are gone.
            FeedUnavailable: Core time cannot be closed, or the file cannot be read.
        """
        begun = self._clock.boot_seconds() if asked is None else asked
        await self.wait_for_news(after, epoch, wait_seconds)
        question = _Question(after, epoch, max(1, min(limit, PAGE_ROWS_MAX)), bytes_max)
        reading = self._newest
        # Its T's age was taken when it was begun: for a question that was sent later it would be too young. And it may
        # be another's heartbeat, from before the news that was waited for.
        since = max(begun, self._news.told_at)
        if reading is None or reading.question != question or reading.begun <= since:
            reading = self._begin(question)
        return await asyncio.shield(reading.task)

    async def wait_for_news(self, after: int, epoch: int, wait_seconds: float) -> None:
        """Wait, for at most `WAIT_SECONDS_MAX`, until there is something after a cursor that stands at the head."""
        if wait_seconds > 0:
            await self._news.wait(after, epoch, min(wait_seconds, WAIT_SECONDS_MAX))

    def _begin(self, question: _Question) -> _Reading:
        task = asyncio.create_task(self._read(question))
        task.add_done_callback(self._look_at_reading)
        self._newest = _Reading(question, self._clock.boot_seconds(), task)
        return self._newest

    def _look_at_reading(self, task: asyncio.Task[Frame]) -> None:
        _look_at_result(task)
        failed = task.cancelled() or task.exception() is not None
        if failed and self._newest is not None and self._newest.task is task:
            self._newest = None

    async def _read(self, question: _Question) -> Frame:
        closed = await self._time_source.closed()

        def build(connection: Connection) -> Frame:
            page = read_page(
                connection,
                self._shard,
                question.after,
                question.limit,
                bytes_max=question.bytes_max,
                overdue=read_overdue(self._clock),
            )
            _refuse_what_cannot_follow(page, after=question.after, epoch=question.epoch)
            return self._frame(page, question.after, closed)

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
        """Say that this process has committed: who waits need not be looked for. From any thread."""
        self._news.notify()

    async def close(self) -> None:
        """Stop watching and let the documents go."""
        await self._news.close()
        if not self._shares_pages:
            await self._pages.close()


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
