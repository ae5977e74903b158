"""
Where intents that edges bring are decided: what customers wait for at once, what drains bring at the pace granted.

A drain's batch is decided in parts, so that no customer waits for a long transaction. A batch of which only a part was
decided is answered with that part; the rest is brought again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.offload import Offload, inline
from cache_sync.sql import Connection, DatabaseError
from core_cis.awaited_edges import refuse_while_awaiting
from core_cis.drain_orders import read_orders
from core_cis.errors import NotBegun, WriterFull
from core_cis.intake import Intake, IntakeResult, check_signatures
from core_cis.metrics import CoreMetrics
from core_cis.money_desk import MoneyDesk
from core_cis.pacing import DrainGate, DrainPacing, Passage
from core_cis.registry import edge_keys
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from core_cis.writer import Turn, Writer
from failover.intents import Intent

_CHECKED_INLINE_MAX = 4
# How much of the caller's time may be waited for the payment processor: what it has answered is still to be decided.
_MONEY_SHARE = 0.7
# How much of it is kept for the answer of a drain's batch.
_ANSWER_SHARE = 0.4
_COUNTS = ("posted", "rejected", "dead_lettered", "repeated", "conflicts", "failed")
_ResultT = TypeVar("_ResultT")
_log = structlog.get_logger(__name__)


class Asks(Protocol):
    """Answers a short question out of the database; raises `DatabaseError` where it does not answer in time."""

    def __call__(self, question: Callable[[Connection], _ResultT], /) -> Awaitable[_ResultT]:
        """Answer it."""
        ...


class _Decided(NamedTuple):
    result: IntakeResult
    waited_seconds: float
    took_seconds: float


class IntakeDesk:
    """
    Decides for one running core; used from its event loop.

    Args:
        ask: Reads the database.
        writer: Changes it.
        money: Settles with the payment processor what is to be charged.
        settings: Limits of the server.
        metrics: Counts.
        clock: Time.
        offload: Where signatures of many are checked.
        decided: Called when something was.
    """

    def __init__(
        self,
        *,
        ask: Asks,
        writer: Writer,
        money: MoneyDesk,
        settings: ServerSettings,
        metrics: CoreMetrics,
        clock: Clock,
        offload: Offload,
        decided: Callable[[], None],
    ) -> None:
        self.pacing = DrainPacing()
        self.gate = DrainGate()
        self._ask = ask
        self._writer = writer
        self._money = money
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._offload = offload
        self._tell_decided = decided

    async def take(
        self, intents: list[Intent], *, delivered_by: str, drain: bool, within_seconds: float
    ) -> IntakeResult:
        """
        Check and decide intents; of a drain's batch as much as its pace and operators' orders let through.

        Raises:
            NotBegun: The caller's time was over before its turn came: nothing was done.
            WriterFull: Too many wait: nothing was done.
            DatabaseError: The database refused: nothing was done.
            EdgesAwaited: This core was restored and waits for edges: nothing was done.

        A drain is never refused for want of time: it is asked to come again.
        """
        begun = self._clock.boot_seconds()
        # Before anybody is charged; the transaction that decides looks again.
        await self._ask(refuse_while_awaiting)
        take = self._take_drained if drain else self._take_live
        result = await take(intents, delivered_by, begun + within_seconds)
        now = self._clock.boot_seconds()
        if not drain:
            self.pacing.live_took(now - begun, now)
        self._metrics.intake_seconds.observe(now - begun)
        self._metrics.count_intake(result)
        return result

    async def _take_live(
        self, intents: list[Intent], delivered_by: str, until: float
    ) -> IntakeResult:
        proven, refused = await self._check(intents, delivered_by)
        try:
            decidable = await self._settle(proven, Turn.LIVE, until)
            decided = await self._decide(decidable, delivered_by, Turn.LIVE, until)
        except (NotBegun, WriterFull):
            # Nothing is slower.
            self.pacing.refused(self._clock.boot_seconds())
            raise
        return msgspec.structs.replace(decided.result, refused=refused)

    async def _take_drained(
        self, intents: list[Intent], delivered_by: str, until: float
    ) -> IntakeResult:
        passage = await self._let_in(delivered_by, len(intents))
        nothing = IntakeResult(outcomes=[], held=len(intents), pause_seconds=passage.pause_seconds)
        if not passage.taken:
            return nothing
        proven, refused = await self._check(intents[: passage.taken], delivered_by)
        try:
            decidable = await self._settle(proven, Turn.DRAIN, until)
            result, left = await self._decide_in_parts(decidable, delivered_by, until)
        except (NotBegun, WriterFull):
            # Customers go first: no trouble of the core, which a refusal would look like to the edge's breaker.
            pause = max(passage.pause_seconds, self.pacing.pause_seconds)
            return msgspec.structs.replace(nothing, refused=refused, pause_seconds=pause)
        tried = intents.index(left[0]) if left else passage.taken
        return msgspec.structs.replace(
            result,
            refused=refused,
            held=len(intents) - tried,
            pause_seconds=passage.pause_seconds,
        )

    async def _let_in(self, node_id: str, brought: int) -> Passage:
        """Let in of a drain's batch what operators allow, and of that what the core's own pace does."""
        orders = await self._ask(read_orders)
        now = self._clock.boot_seconds()
        ordered = self.gate.take(node_id, brought, orders, now)
        if not ordered.taken:
            return ordered
        paced = self.pacing.take(node_id, ordered.taken, now)
        return Passage(paced.taken, max(ordered.pause_seconds, paced.pause_seconds))

    async def _check(self, intents: list[Intent], delivered_by: str) -> tuple[list[Intent], int]:
        """Return what edges provably recorded, and how many others there were."""
        keys = await self._ask(edge_keys)
        # 0.1 ms each: a long batch is checked in a thread, so that the loop goes on answering.
        offload = inline if len(intents) <= _CHECKED_INLINE_MAX else self._offload
        proven, refused = await offload(lambda: check_signatures(intents, keys))
        for intent, reason in refused:
            _log.error(
                "an intent nobody provably recorded",
                alarm="refused_intent",
                reason=reason,
                # The name is as unproven as the rest: only known ones are written down.
                edge=intent.edge_id if intent.edge_id in keys else "unknown",
                delivered_by=delivered_by,
            )
        return proven, len(refused)

    async def _settle(self, proven: list[Intent], turn: Turn, until: float) -> list[Intent]:
        """See to the money of intents; returns those that can be decided now."""
        left = until - self._clock.boot_seconds()
        return await self._money.settle(proven, turn=turn, within_seconds=left * _MONEY_SHARE)

    async def _decide_in_parts(
        self, intents: list[Intent], delivered_by: str, until: float
    ) -> tuple[IntakeResult, list[Intent]]:
        """Decide what a drain brought, live work going between; returns what is left over too."""
        results: list[IntakeResult] = []
        left = intents
        # An answer that comes when nobody waits for it any more tells nobody what was decided.
        enough = until - (until - self._clock.boot_seconds()) * _ANSWER_SHARE
        while left and not (results and self._clock.boot_seconds() > enough):
            part = left[: self.pacing.part(self._clock.boot_seconds())]
            try:
                decided = await self._decide(part, delivered_by, Turn.DRAIN, enough)
            except (NotBegun, WriterFull, DatabaseError):
                self.pacing.refused(self._clock.boot_seconds())
                if not results:
                    raise
                break
            now = self._clock.boot_seconds()
            self.pacing.waited(decided.waited_seconds, now)
            self.pacing.decided(len(part), decided.took_seconds, now)
            results.append(decided.result)
            left = left[len(part) :]
        return _together(results), left

    async def _decide(
        self, intents: list[Intent], delivered_by: str, turn: Turn, until: float
    ) -> _Decided:
        """Decide intents as one transaction in the writer's thread."""
        queued = self._clock.boot_seconds()

        def work(store: CoreStore) -> _Decided:
            begun = self._clock.boot_seconds()
            result = Intake(store, self._settings).take(intents, delivered_by=delivered_by)
            return _Decided(result, begun - queued, self._clock.boot_seconds() - begun)

        try:
            decided = await self._writer.run(work, turn=turn, within_seconds=until - queued)
        except (NotBegun, WriterFull):
            self._metrics.not_begun.inc()
            raise
        self._tell_decided()
        return decided


def _together(results: Sequence[IntakeResult]) -> IntakeResult:
    counts: dict[str, Any] = {
        name: sum(getattr(result, name) for result in results) for name in _COUNTS
    }
    return IntakeResult(outcomes=[one for result in results for one in result.outcomes], **counts)
