"""
Bringing back to a restored core what it has forgotten.

A core that was restored from a backup begins a new epoch. What it decided after the backup it does not know any more,
but whoever recorded such an intent, or held a copy, has kept it with the outcome that the core signed. These outcomes
go back before anything that is undecided: the core might else decide anew, and differently, what a customer was told
for good. When there is nothing more to bring, the core is told so; it takes intents again when it has heard that from
every edge.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.breaker import AsyncBreaker
from failover.errors import BreakerOpen, JournalError, NodeError
from failover.intents import DecidedBatch, DecidedIntent, OutcomeBatch
from failover.journal import Journal
from failover.journal_schema import JournalEntry
from failover.peer_messages import Source
from failover.probe import CoreProbe

_log = structlog.get_logger(__name__)


class CoreReturns(Protocol):
    """Takes outcomes back; implemented over HTTP by the edge portal."""

    async def take_back(self, batch: DecidedBatch, *, deadline_seconds: float) -> OutcomeBatch:
        """
        Have the core take back what it once decided; safe to repeat.

        Raises:
            NodeError: No answer that helps.
        """
        ...


class ReturningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often it is looked for work, how many outcomes go in one call, in seconds and intents."""

    first: float = 0.05
    interval: float = 0.5
    again: float = 5.0
    deadline: float = 5.0
    batch_max: int = 100


class Returning:
    """Brings back what this node keeps of earlier epochs; one instance in its agent."""

    def __init__(
        self,
        *,
        journal: Journal,
        core: CoreReturns,
        breaker: AsyncBreaker,
        probe: CoreProbe,
        clock: Clock,
        rng: random.Random,
        settings: ReturningSettings | None = None,
    ) -> None:
        self._journal = journal
        self._core = core
        self._breaker = breaker
        self._probe = probe
        self._clock = clock
        self._rng = rng
        self._settings = settings or ReturningSettings()
        self._told_epoch = 0

    def core_takes_intents(self) -> bool:
        """Tell whether undecided intents may go to the core: it waits for no edge, and not for this one."""
        latest = self._probe.latest
        return latest is None or (not latest.edges_awaited and latest.epoch <= self._told_epoch)

    async def run(self, stop: asyncio.Event) -> None:
        """Bring back what there is until ``stop`` is set."""
        while not stop.is_set():
            pause = self._settings.interval
            try:
                if not await self.step():
                    pause = self._settings.again
                elif not self._told_epoch:
                    # Just started, and customers may be waiting: look again as soon as the core has answered a probe.
                    pause = self._settings.first
            except JournalError as error:
                _log.warning("bringing outcomes back has to wait for the journal", why=str(error))
            except (BreakerOpen, NodeError) as error:
                _log.warning("outcomes could not be brought back yet", why=str(error))
            await self._clock.sleep(pause * self._rng.uniform(0.8, 1.2))

    async def step(self) -> bool:
        """
        Bring back everything of earlier epochs once, then tell the core, if it waits for that, that this was all.

        Returns:
            Whether nothing is left; what the core did not take is tried again later.

        Raises:
            JournalError: What is kept cannot be read, or what came back not be kept.
            NodeError: The core did not answer.
            BreakerOpen: It is not asked now.
        """
        latest = self._probe.latest
        if latest is None:
            return True
        left = await self._bring_all(latest.epoch, "own") + await self._bring_all(
            latest.epoch, "copies"
        )
        if left:
            _log.error("the core does not take back what it once decided", alarm="not_taken_back")
            return False
        if latest.edges_awaited:
            pruned_by = self._journal.reader.pruned_by()
            await self._post(DecidedBatch(complete_for=latest.epoch, pruned_by=pruned_by))
        self._told_epoch = max(self._told_epoch, latest.epoch)
        return True

    async def _bring_all(self, epoch: int, source: Source) -> int:
        """Bring back what one list holds of epochs before this one; returns how many the core did not take."""
        left = after = 0
        while held := self._journal.reader.decided_before(
            epoch, source, after=after, limit=self._settings.batch_max
        ):
            left += await self._bring(held)
            after = held[-1].position
        return left

    async def _bring(self, held: Sequence[JournalEntry]) -> int:
        items = [DecidedIntent(each.intent, each.outcome) for each in held if each.outcome]
        answer = await self._post(DecidedBatch(items=items))
        brought = {(item.intent.intent_id, item.intent.fingerprint) for item in items}
        taken = [each for each in answer.outcomes if (each.intent_id, each.fingerprint) in brought]
        if taken:
            await self._journal.renew(taken)
            _log.info("the core took back what it had decided", count=len(taken))
        return len(brought) - len({(each.intent_id, each.fingerprint) for each in taken})

    async def _post(self, batch: DecidedBatch) -> OutcomeBatch:
        deadline = self._settings.deadline
        # It shares the breaker with customers' payments, and yields to them: that it takes long is no sign of trouble.
        async with self._breaker.calling(deadline_seconds=deadline, patient=True):
            answer = await self._core.take_back(batch, deadline_seconds=deadline)
        self._probe.answered()
        return answer
