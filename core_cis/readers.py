"""
Short questions to the database from the event loop.

A file answers in microseconds, so it is asked in the loop itself. A server may be slow, or never answer: it is asked in
threads, a few at a time, and whoever has waited long enough is told.
"""

import asyncio
import queue
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from cache_sync.once_a_turn import OnceATurn
from cache_sync.sql import Connection, OperationalError
from cache_sync.sqlite import connect, data_version
from core_cis.database import Database

THREADS = 4
_ResultT = TypeVar("_ResultT")


class Readers(Protocol):
    """Asks the database."""

    def ask(
        self, question: Callable[[Connection], _ResultT], *, within_seconds: float
    ) -> Awaitable[_ResultT]:
        """
        Answer a question that only reads.

        Raises:
            DatabaseError: The database does not answer, or not in time.
        """
        ...

    def version(self) -> int | None:
        """Return a number that changes with every commit; None where that cannot be told without waiting."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class FileReaders:
    """Asks a file, here and now."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, synchronous="FULL", read_only=True)
        self._version = OnceATurn(lambda: data_version(self._connection))

    async def ask(
        self, question: Callable[[Connection], _ResultT], *, within_seconds: float
    ) -> _ResultT:
        """Answer a question that only reads."""
        del within_seconds
        return question(self._connection)

    def version(self) -> int | None:
        """Return a number that changes with every commit."""
        return self._version.get()

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


class ServerReaders:
    """Asks a server, in threads with a connection each."""

    def __init__(self, database: Database, *, threads: int = THREADS) -> None:
        self._connections: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for _ in range(threads):
            self._connections.put(database.open_reader(same_thread=False))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._free = asyncio.Semaphore(threads)

    async def ask(
        self, question: Callable[[Connection], _ResultT], *, within_seconds: float
    ) -> _ResultT:
        """Answer a question that only reads; a thread that is not answered in time is left to it until it is."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._free.acquire()
                asking = asyncio.get_running_loop().run_in_executor(
                    self._threads, self._answer, question
                )
                asking.add_done_callback(self._release)
                return await asyncio.shield(asking)
        except TimeoutError as error:
            raise OperationalError("the database does not answer in time") from error

    def version(self) -> int | None:
        """Tell nothing: a server would have to be asked."""
        return None

    def _answer(self, question: Callable[[Connection], _ResultT]) -> _ResultT:
        # As many connections as threads: there is always one.
        connection = self._connections.get()
        try:
            return question(connection)
        finally:
            self._connections.put(connection)

    def _release(self, asked: "asyncio.Future[_ResultT]") -> None:
        self._free.release()
        # Whoever waited has been told; with nobody left, asyncio would report an error that nobody missed.
        if not asked.cancelled():
            asked.exception()

    def close(self) -> None:
        """Stop asking, without waiting for who is not answered."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._connections.empty():
            self._connections.get().close()


def open_readers(database: Database) -> Readers:
    """Open what asks a core's database."""
    return ServerReaders(database) if database.file is None else FileReaders(database.file)
