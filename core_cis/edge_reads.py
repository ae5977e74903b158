"""Hears from edges, with every probe, which versions of bodies they read, and keeps it for operators' orders."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from cache_sync.clock import Clock
from cache_sync.sql import Connection, Error
from core_cis.errors import NotBegun, WriterFull
from core_cis.instants import to_text
from core_cis.written_versions import keep_reads, read_reads, read_written, who_cannot_read

LOOK_SECONDS = 1.0

_ResultT = TypeVar("_ResultT")
log = structlog.get_logger(__name__)


class Writes(Protocol):
    """Runs work within one write transaction of the core."""

    def __call__(self, work: Callable[[Connection], _ResultT], /) -> Awaitable[_ResultT]:
        """Raises `DatabaseError`, `NotBegun` and `WriterFull`: nothing was done then."""
        ...


class Reads(Protocol):
    """Answers a short question out of the core's database."""

    def __call__(self, question: Callable[[Connection], _ResultT], /) -> Awaitable[_ResultT]:
        """Raises `DatabaseError`."""
        ...


class EdgeReads:
    """
    What edges say that they read: written down when it is news, and compared with what is written.

    Args:
        write: How it writes.
        ask: How it reads.
        clock: Time.
    """

    def __init__(self, write: Writes, ask: Reads, *, clock: Clock) -> None:
        self._write = write
        self._ask = ask
        self._clock = clock
        self._said: dict[str, dict[str, int]] = {}
        self._kept: dict[str, dict[str, int]] = {}
        self._alarmed: dict[str, set[str]] = {}
        self.unread: dict[str, set[str]] = {}

    def note(self, node_id: str, reads: Mapping[str, int]) -> None:
        """Note what a registered edge reads; nothing for one of a release that does not say."""
        self._said[node_id] = dict(reads)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop; what goes wrong is logged and tried again at the next look."""
        while not stop.is_set():
            try:
                await self.step()
            except (Error, NotBegun, WriterFull) as error:
                log.warning("what edges read is not looked at now", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()

    async def step(self) -> None:
        """
        Write down what is new, and raise an alarm for every edge that was heard and cannot read what is written.

        Raises:
            DatabaseError: The database does not answer, or refused.
            NotBegun: Others have the writer; likewise `WriterFull`.
        """
        news = {
            node_id: said for node_id, said in self._said.items() if self._kept.get(node_id) != said
        }
        if news:
            at = to_text(self._clock.now())
            await self._write(lambda connection: keep_reads(connection, news.items(), at))
            self._kept |= news
        # Not those whose word came after this: what is asked for below may not hold it yet.
        heard = frozenset(self._kept)
        found = await self._ask(unread_by)
        self.unread, before = found, self._alarmed
        # One that was not heard yet since the start may say in a moment that it reads it.
        self._alarmed = {kind: edges & heard for kind, edges in found.items()}
        for kind, edges in self._alarmed.items():
            for node_id in sorted(edges - before.get(kind, set())):
                log.error(
                    "an edge cannot read what is written: it serves what it holds until it is upgraded",
                    alarm="unread_version",
                    edge=node_id,
                    kind=kind,
                )


def unread_by(connection: Connection) -> dict[str, set[str]]:
    """Tell, by kind, the active edges that have not said that they read the version that is written."""
    reads = read_reads(connection)
    return {
        kind: {edge.node_id for edge in who_cannot_read(reads, kind, version)}
        for kind, version in read_written(connection).items()
    }
