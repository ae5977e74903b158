"""
Archive reads: what only the core holds, asked live, in a quarter of a second or not at all.

A breaker of their own (these are reads: they may test it themselves), a bulkhead, one deadline. While the agent knows
that the core is away nobody waits for it.
"""

import random
from collections.abc import Callable
from typing import Final, Protocol

from cache_sync.clock import Clock
from cache_sync.documents import StatementBody
from edge_portal.errors import ArchiveUnavailable, NotFound
from failover.breaker import AsyncBreaker, BreakerSettings
from failover.errors import BreakerOpen, NodeError

DEADLINE_SECONDS: Final = 0.25
READS_MAX: Final = 8


class StatementSource(Protocol):
    """What archive reads are asked of; `core_client.CoreArchiveClient` over HTTP."""

    async def statement(
        self, account_id: str, statement_id: str, *, deadline_seconds: float
    ) -> StatementBody | None:
        """Return a statement, None when it does not exist. Raises `NodeError`."""
        ...


class ArchiveReader:
    """
    Implements `edge_portal.portal.Archive`; one per worker.

    ``closed`` tells whether the agent knows that asking is in vain.
    """

    def __init__(
        self,
        source: StatementSource,
        *,
        closed: Callable[[], bool],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._source = source
        self._closed = closed
        self._reads = 0
        self._breaker = AsyncBreaker(
            clock=clock,
            rng=rng,
            settings=BreakerSettings(slow_seconds=DEADLINE_SECONDS),
            name="archive",
        )

    async def statement(self, account_id: str, statement_id: str) -> StatementBody:
        """Ask the core for a statement. Raises `ArchiveUnavailable`, `NotFound`."""
        if self._closed() or self._reads >= READS_MAX:
            raise ArchiveUnavailable("the archive is not asked now")
        self._reads += 1
        try:
            async with self._breaker.calling(deadline_seconds=DEADLINE_SECONDS, trial_allowed=True):
                found = await self._source.statement(
                    account_id, statement_id, deadline_seconds=DEADLINE_SECONDS
                )
        except (BreakerOpen, NodeError) as error:
            raise ArchiveUnavailable("the archive does not answer") from error
        finally:
            self._reads -= 1
        # Whatever the core says: a statement of somebody else is not shown.
        if found is None or found.account_id != account_id:
            raise NotFound("no such statement")
        return found
