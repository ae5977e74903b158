"""
The feed out of a snapshot: a node that follows the core passes on what it holds, to siblings and to a tree of nodes.

It says what the core said. Every state of a snapshot that a reader can see is a barrier; rows, hashes, chain and seal
are relayed as they came. The as-of time is the core's, and its age is the snapshot's, which counted it from the sending
of its own question: with every hop the age can only be too old, never too young, and where nothing new comes it grows.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cache_sync.clock import Clock
from cache_sync.document_table import PAGE_BYTES_MAX, Page, read_overdue
from cache_sync.errors import (
    Behind,
    BelowFloor,
    DamagedSnapshot,
    EpochChanged,
    FeedUnavailable,
    NoSnapshot,
    StorageFailed,
)
from cache_sync.feed import PAGE_ROWS_MAX, WAIT_SECONDS_MAX
from cache_sync.feed_news import LOOK_SECONDS
from cache_sync.file_keys import PLAIN, FileKeys
from cache_sync.frames import FRAME_FORMAT, Frame, encode_frame, sealed
from cache_sync.offload import Offload, in_thread
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.standing import Standing

_UNREADABLE = (NoSnapshot, DamagedSnapshot, StorageFailed)


class Answer(NamedTuple):
    """A frame, and the bytes that everybody who asked the same question is sent."""

    frame: Frame
    content: bytes


class _Question(NamedTuple):
    after: int
    epoch: int
    limit: int
    bytes_max: int


class _Reading:
    """One page being read for everybody who asked before it was begun."""

    def __init__(self) -> None:
        self.begun: float | None = None
        self.task: asyncio.Task[Answer]


class ReplicaFeed:
    """
    Answers followers from a node's current snapshot, whichever that is at the moment, and changes nothing.

    It holds two read-only connections of its own. Call `close` at the end.

    Args:
        directory: The snapshot folder, which another process may write.
        shard: The shard it holds.
        clock: Time.
        path: Names the nodes that the documents come through, this node's upstream first.
        offload: Where a page is read; it may take some 10 ms.
        keys: What the snapshots are encrypted under.
    """

    def __init__(
        self,
        directory: Path,
        shard: str,
        *,
        clock: Clock,
        path: Callable[[], list[str]],
        offload: Offload = in_thread,
        keys: FileKeys = PLAIN,
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._path = path
        self._offload = offload
        # One reads pages in a thread, one at a time; the other looks for commits in the loop.
        self._pages = ReplicaReader(directory, clock=clock, same_thread=False, keys=keys)
        self._watch = ReplicaReader(directory, clock=clock, keys=keys)
        self._page_turn = asyncio.Lock()
        self._readings: dict[_Question, _Reading] = {}
        self._version: object = None
        self._place = (0, 0)
        self._moved = asyncio.Event()
        self._waiting = 0
        self._watcher: asyncio.Task[None] | None = None

    async def page(
        self,
        *,
        after: int,
        epoch: int,
        limit: int = PAGE_ROWS_MAX,
        wait_seconds: float = 0.0,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> Answer:
        """
        Answer one question as `FeedSource.page` does, from the snapshot.

        A page of a long catch-up may come out of another file than the page before: the file was replaced by a newer
        one, and what changed in between lies above the cursor as in the core's own table. Epoch, floor and head stand
        in every page, and it is the asker who makes sure that they fit.

        Raises:
            EpochChanged: This node is in a newer epoch than the cursor.
            Behind: This node is not as far as the cursor, or still in an older epoch. No fork.
            BelowFloor: Tombstones after the cursor are gone.
            FeedUnavailable: There is no snapshot that can be read.
            UnknownShard: The snapshot holds another shard.
        """
        asked = self._clock.boot_seconds()
        await self.wait_for_news(after, epoch, wait_seconds)
        question = _Question(after, epoch, max(1, min(limit, PAGE_ROWS_MAX)), bytes_max)
        reading = self._readings.get(question)
        # Its age was taken when it was begun: for a question that was sent later it would be too young.
        if reading is None or (reading.begun is not None and reading.begun < asked):
            reading = self._begin(question)
        return await asyncio.shield(reading.task)

    def standing(self) -> Standing:
        """
        Tell where this node stands.

        Raises:
            FeedUnavailable: There is no snapshot that can be read.
        """
        state = self._state()
        return Standing(
            epoch=state.epoch,
            shard=state.shard,
            cursor=state.cursor,
            as_of=state.as_of,
            age_seconds=state.age_seconds,
            age_at_least=state.at_least,
            path=self._path(),
        )

    def _state(self) -> ReplicaState:
        try:
            with self._watch.read() as view:
                return view.state()
        except _UNREADABLE as error:
            raise FeedUnavailable("there is no snapshot to pass on") from error

    # Reading

    def _begin(self, question: _Question) -> _Reading:
        reading = _Reading()
        reading.task = asyncio.create_task(self._in_turn(question, reading))
        self._readings[question] = reading

        def done(task: asyncio.Task[Answer]) -> None:
            if self._readings.get(question) is reading:
                del self._readings[question]
            # Those who waited have been told; with nobody left, asyncio would report an error that nobody missed.
            if not task.cancelled():
                task.exception()

        reading.task.add_done_callback(done)
        return reading

    async def _in_turn(self, question: _Question, reading: _Reading) -> Answer:
        async with self._page_turn:
            reading.begun = self._clock.boot_seconds()
            return await self._offload(lambda: self._read(question))

    def _read(self, question: _Question) -> Answer:
        try:
            with self._pages.read() as view:
                state = view.state()
                _refuse_what_cannot_follow(state, question)
                page = view.page(
                    self._shard,
                    question.after,
                    question.limit,
                    bytes_max=question.bytes_max,
                    overdue=read_overdue(self._clock),
                )
        except _UNREADABLE as error:
            raise FeedUnavailable("there is no snapshot to pass on") from error
        frame = _frame(page, state, self._shard, question.after)
        return Answer(frame, encode_frame(frame))

    # Waiting

    async def wait_for_news(self, after: int, epoch: int, wait_seconds: float) -> None:
        """Wait, for at most `WAIT_SECONDS_MAX`, until there is something after a cursor that stands at the head."""
        if wait_seconds <= 0:
            return
        deadline = self._clock.boot_seconds() + min(wait_seconds, WAIT_SECONDS_MAX)
        self._waiting += 1
        try:
            self._look()
            if (after, epoch or self._place[1]) != self._place:
                # Only who stands exactly where we do has anything to wait for.
                return
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch_commits())
            moved = self._moved
            remaining = deadline - self._clock.boot_seconds()
            try:
                async with asyncio.timeout(max(0.0, remaining)):
                    await moved.wait()
            except TimeoutError:
                return
        finally:
            self._waiting -= 1

    async def _watch_commits(self) -> None:
        try:
            while self._waiting:
                await self._clock.sleep(LOOK_SECONDS)
                self._look()
        finally:
            self._watcher = None

    def _look(self) -> None:
        """See whether the applier has committed: rows, or a newer as-of time, both are news."""
        try:
            version = self._watch.version()
            if version == self._version:
                return
            state = self._state()
        except (*_UNREADABLE, FeedUnavailable):
            # The page that the waiting reader asks for next will say what is wrong.
            return
        self._version = version
        self._place = (state.cursor, state.epoch)
        self._moved.set()
        self._moved = asyncio.Event()

    async def close(self) -> None:
        """Stop watching and let the files go."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        async with self._page_turn:
            self._pages.close()
            self._watch.close()


def _refuse_what_cannot_follow(state: ReplicaState, question: _Question) -> None:
    after, epoch = question.after, question.epoch
    if epoch and state.epoch > epoch:
        raise EpochChanged(state.epoch)
    if state.epoch < epoch or after > state.cursor:
        raise Behind(state.epoch, state.cursor)
    # As at the core: a build from the beginning checks by itself that the floor does not pass it.
    if epoch and 0 < after < state.floor:
        raise BelowFloor(state.floor)


def _frame(page: Page, state: ReplicaState, shard: str, after: int) -> Frame:
    head, barrier = page.shard, page.reached_head
    return sealed(
        Frame(
            format=FRAME_FORMAT,
            epoch=head.epoch,
            shard=shard,
            after=after,
            upto=page.upto,
            count=len(page.rows),
            rows=page.rows,
            digest="",
            barrier=barrier,
            head=head.head,
            as_of=state.as_of,
            age_seconds=state.age_seconds,
            age_at_least=state.at_least,
            floor=head.floor,
            live_hash=head.live_hash if barrier else 0,
            live_rows=head.live_rows if barrier else 0,
            chain=head.chain if barrier else b"",
            seal=head.seal if barrier else b"",
        )
    )
