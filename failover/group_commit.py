"""
Group commit: many changes, one transaction, one wait for the disk.

One thread owns the write connection. It takes whatever has gathered while the disk was busy, without lingering for
more, and answers all of it after one durable commit. A note that may be lost with the power, because it is made again,
need not wait for the disk at all.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from cache_sync.sqlite import Connection, Error, IntegrityError
from failover.errors import JournalFenced

GROUP_MAX = 256

T = TypeVar("T")
Change = Callable[[Connection], T]
_Outcome = tuple[object, BaseException | None]


class Committer(Protocol):
    """Runs changes durably, one after another; changes of different callers may share a transaction."""

    @property
    def fenced(self) -> bool:
        """Tell whether a commit failed, so that nothing is taken any more."""
        ...

    @property
    def waiting_seconds(self) -> float:
        """Tell how long the change has waited that was asked for first of those without an answer."""
        ...

    async def run(self, change: Change[T], *, durable: bool = True) -> T:
        """
        Run a change and return its result once it is durable; what it raises undoes it alone.

        Not ``durable``: return once every reader sees it. It is on the disk with the next durable change at the latest,
        and lost if the power fails before; a process that is killed loses nothing.

        Raises:
            JournalFenced: It was not committed, or that is unknown.
        """
        ...

    def close(self) -> None:
        """Finish what was taken, then close the connection; blocks."""
        ...


def commit_group(
    connection: Connection, changes: Sequence[Change[Any]], *, durable: bool = True
) -> list[_Outcome]:
    """
    Run changes in one transaction; a change that raises is undone alone. Only a ``durable`` one waits for the disk.

    Returns:
        For each change its result or what it raised.

    Raises:
        JournalFenced: The transaction failed as a whole; says whether it may have been committed all the same.
    """
    if durable:
        return _commit_group(connection, changes)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        return _commit_group(connection, changes)
    finally:
        _wait_for_disk_again(connection)


def _commit_group(connection: Connection, changes: Sequence[Change[Any]]) -> list[_Outcome]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_run_one(connection, change) for change in changes]
    except Error as error:
        _roll_back(connection)
        raise JournalFenced(uncertain=False) from error
    try:
        connection.execute("COMMIT")
    except Error as error:
        # The frames may be on the disk, complete, although the call failed.
        _roll_back(connection)
        raise JournalFenced(uncertain=True) from error
    return outcomes


def _wait_for_disk_again(connection: Connection) -> None:
    """Have the next commit wait for the disk: a connection that would not is never used again."""
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except Error as error:
        raise JournalFenced(uncertain=True) from error


def _run_one(connection: Connection, change: Change[Any]) -> _Outcome:
    connection.execute("SAVEPOINT change")
    try:
        result = change(connection)
    except Error as error:
        if not isinstance(error, IntegrityError):
            raise
        connection.execute("ROLLBACK TO change")
        return None, error
    except Exception as error:  # noqa: BLE001 — belongs to the caller of this change, not to its neighbours
        connection.execute("ROLLBACK TO change")
        return None, error
    finally:
        with contextlib.suppress(Error):
            connection.execute("RELEASE change")
    return result, None


def _roll_back(connection: Connection) -> None:
    with contextlib.suppress(Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class InlineCommitter:
    """Commits in the caller's own step, one change a transaction: for simulations, where a thread has no place."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fenced = False

    @property
    def fenced(self) -> bool:
        """Tell whether a commit failed."""
        return self._fenced

    @property
    def waiting_seconds(self) -> float:
        """Tell that nothing ever waits."""
        return 0.0

    async def run(self, change: Change[T], *, durable: bool = True) -> T:
        """Run a change; see `Committer`."""
        if self._fenced:
            raise JournalFenced(uncertain=False)
        try:
            ((result, error),) = commit_group(self._connection, [change], durable=durable)
        except JournalFenced:
            self._fenced = True
            raise
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Taken(NamedTuple):
    change: Change[Any]
    answer: asyncio.Future[Any]
    durable: bool


class ThreadCommitter:
    """
    Commits in a thread of its own, so that the event loop never waits for the disk.

    Made and used from one event loop. ``connection`` is handed over: it must allow another thread.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fenced = False
        self._loop = asyncio.get_running_loop()
        self._asked: deque[float] = deque()
        self._taken: queue.SimpleQueue[_Taken | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def fenced(self) -> bool:
        """Tell whether a commit failed."""
        return self._fenced

    @property
    def waiting_seconds(self) -> float:
        """See `Committer`; it grows for as long as a disk does not answer."""
        return self._loop.time() - self._asked[0] if self._asked else 0.0

    async def run(self, change: Change[T], *, durable: bool = True) -> T:
        """Run a change; see `Committer`. A caller that goes away does not undo it."""
        if self._fenced:
            raise JournalFenced(uncertain=False)
        answer: asyncio.Future[T] = self._loop.create_future()
        self._asked.append(self._loop.time())
        self._taken.put(_Taken(change, answer, durable))
        return await answer

    def close(self) -> None:
        """Finish what was taken, then close the connection; blocks."""
        self._taken.put(None)
        self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            first = self._taken.get()
            if first is None:
                break
            group = [first]
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP_MAX:
                    taken = self._taken.get_nowait()
                    if taken is None:
                        closing = True
                        break
                    group.append(taken)
            self._commit(group)
        # A failing disk may refuse even this.
        with contextlib.suppress(Error):
            self._connection.close()

    def _commit(self, group: list[_Taken]) -> None:
        outcomes: list[_Outcome] = [(None, JournalFenced(uncertain=False))] * len(group)
        if not self._fenced:
            try:
                outcomes = commit_group(
                    self._connection,
                    [taken.change for taken in group],
                    durable=any(taken.durable for taken in group),
                )
            except JournalFenced as error:
                self._fenced = True
                outcomes = [(None, error)] * len(group)
        # The loop is gone when the process is being torn down: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer, group, outcomes)

    def _answer(self, group: list[_Taken], outcomes: list[_Outcome]) -> None:
        for taken, (result, error) in zip(group, outcomes, strict=True):
            # Changes are answered in the order in which they were asked for.
            self._asked.popleft()
            if taken.answer.done():
                continue
            if error is None:
                taken.answer.set_result(result)
            else:
                taken.answer.set_exception(error)
