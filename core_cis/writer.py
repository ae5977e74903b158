"""The server's one writer: everything that changes the core's database waits here for its turn."""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, TypeVar

import structlog

from cache_sync.clock import Clock
from core_cis.errors import NotBegun, WriterFull
from core_cis.store import CoreStore

WAITING_MAX = 256
_log = structlog.get_logger(__name__)
_ResultT = TypeVar("_ResultT")


class Turn(IntEnum):
    """Whose work goes first: core time (labels depend on it), customers who are waiting, then drains."""

    TIME = 0
    LIVE = 1
    DRAIN = 2


class _Job(NamedTuple):
    turn: int
    number: int
    work: Callable[[CoreStore], Any] | None
    begin_before: float
    answer: "asyncio.Future[Any] | None"
    # Taken once: by the thread that begins the job, or by the time that is over.
    claim: threading.Lock


class Writer(Protocol):
    """Owns the store and does one job after the other."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        ...

    async def start(self) -> None:
        """Open the store; whatever its opening raises is raised here."""
        ...

    async def stop(self) -> None:
        """Finish the jobs that wait, then close the store."""
        ...

    async def run(
        self, work: Callable[[CoreStore], _ResultT], *, turn: Turn, within_seconds: float
    ) -> _ResultT:
        """
        Do a job and return its result; what it raises is raised here.

        Raises:
            NotBegun: Its turn did not come in time: nothing was done.
            WriterFull: Too many jobs wait: nothing was done.
        """
        ...


MakeWriter = Callable[[Callable[[], CoreStore], Clock], Writer]
"""Makes a writer of what opens the store, and of the clock that deadlines are measured on."""


class InlineWriter:
    """Does each job in its caller's own step: for simulations, where a thread has no place."""

    def __init__(self, open_store: Callable[[], CoreStore], _: Clock) -> None:
        self._open_store = open_store
        self._store: CoreStore | None = None

    @property
    def waiting(self) -> int:
        """Tell that nothing ever waits."""
        return 0

    async def start(self) -> None:
        """Open the store."""
        self._store = self._open_store()

    async def stop(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    async def run(
        self, work: Callable[[CoreStore], _ResultT], *, turn: Turn, within_seconds: float
    ) -> _ResultT:
        """Do a job; see `Writer`."""
        del turn
        if within_seconds <= 0 or self._store is None:
            raise NotBegun
        return work(self._store)


class ThreadWriter:
    """
    A thread that owns the store and does one job after the other, by turn and then by arrival.

    Args:
        open_store: Opens the store, in the writer's thread.
        clock: What deadlines are measured on.
        waiting_max: The most jobs that may wait; more are refused at once. Of drains' jobs half as many: however long
            they wait for customers, there is room for these.
    """

    def __init__(
        self, open_store: Callable[[], CoreStore], clock: Clock, *, waiting_max: int = WAITING_MAX
    ) -> None:
        self._open_store = open_store
        self._clock = clock
        self._waiting_max = waiting_max
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        return self._jobs.qsize()

    async def start(self) -> None:
        """Open the store; whatever its opening raises is raised here."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="writer", daemon=True
        )
        self._thread.start()
        await opened

    async def stop(self) -> None:
        """Finish the jobs that wait, then close the store."""
        if self._thread is not None:
            self._jobs.put(
                _Job(max(Turn) + 1, next(self._numbers), None, 0.0, None, threading.Lock())
            )
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def run(
        self, work: Callable[[CoreStore], _ResultT], *, turn: Turn, within_seconds: float
    ) -> _ResultT:
        """
        Do a job in the writer's thread and return its result; what it raises is raised here.

        A job whose caller has gone, or whose time is over before its turn comes, is not begun, and its caller told so
        by then, however many go before it. One that was begun is finished, whoever still listens.

        Raises:
            NotBegun: Its turn did not come in time: nothing was done.
            WriterFull: Too many jobs wait: nothing was done.
        """
        room = self._waiting_max // 2 if turn is Turn.DRAIN else self._waiting_max
        if self._jobs.qsize() >= room and turn is not Turn.TIME:
            raise WriterFull
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_ResultT] = loop.create_future()
        begin_before = self._clock.boot_seconds() + within_seconds
        job = _Job(turn, next(self._numbers), work, begin_before, answer, threading.Lock())
        self._jobs.put(job)
        over = loop.call_later(max(0.0, within_seconds), _not_begun, job)
        try:
            return await answer
        finally:
            over.cancel()

    def _run(self, opened: "asyncio.Future[None]") -> None:
        try:
            store = self._open_store()
        except BaseException as error:  # noqa: BLE001 - handed over to whoever starts the server
            self._tell(_refuse, opened, error)
            return
        self._tell(_settle, opened, None)
        with store:
            while (job := self._jobs.get()).work is not None:
                self._do(store, job.work, job)

    def _do(self, store: CoreStore, work: Callable[[CoreStore], Any], job: _Job) -> None:
        assert job.answer is not None, "every job but the last is waited for"
        if job.answer.cancelled() or not job.claim.acquire(blocking=False):
            return
        if self._clock.boot_seconds() > job.begin_before:
            self._tell(_refuse, job.answer, NotBegun())
            return
        try:
            result = work(store)
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits for the job
            self._tell(_refuse, job.answer, error)
        else:
            self._tell(_settle, job.answer, result)

    def _tell(self, how: Callable[..., None], answer: "asyncio.Future[Any]", what: object) -> None:
        assert self._loop is not None, "the thread starts after the loop is known"
        try:
            self._loop.call_soon_threadsafe(how, answer, what)
        except RuntimeError:
            # The loop was closed before the thread was done: nobody is left to be told.
            _log.warning("a job ended after the server")


def _not_begun(job: _Job) -> None:
    """Tell a job's caller that its time is over, unless it was begun."""
    if job.answer is not None and job.claim.acquire(blocking=False):
        _refuse(job.answer, NotBegun())


def _settle(answer: "asyncio.Future[Any]", result: object) -> None:
    if not answer.done():
        answer.set_result(result)


def _refuse(answer: "asyncio.Future[Any]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
