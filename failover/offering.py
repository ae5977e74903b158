"""
Offering one recorded intent: to the core, and to witnesses.

Whom an intent is offered to is durable before the first byte leaves, and how far an offer came is told honestly: only
what certainly left no byte may ever be voided.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog

from failover.batching import Batcher
from failover.breaker import AsyncBreaker
from failover.errors import Ambiguous, BreakerOpen, JournalError, NodeError, NotSent, where
from failover.intents import Intent, IntentBatch, Outcome, OutcomeBatch
from failover.journal import Journal
from failover.journal_schema import JournalEntry
from failover.peer_messages import CopyBatch
from failover.probe import CoreProbe
from failover.retry_budget import RetryBudget
from failover.witness import PeerWatch, Sibling, rank_witnesses

_log = structlog.get_logger(__name__)

COPIES_IN_FLIGHT: Final = 2
"""Requests to one witness at a time: one is being written there while the next gathers, and is the larger for it."""

Reached = Literal["done", "not_sent", "unknown"]
"""How far an offer came: it is certain, no byte left this node, or nobody knows."""


class CoreIntake(Protocol):
    """The core's intake; implemented over HTTP by the edge portal."""

    async def post(
        self, batch: IntentBatch, *, deadline_seconds: float, drain: bool
    ) -> OutcomeBatch:
        """
        Have the core apply intents, each at most once; ``drain`` marks queued work, which live traffic goes before.

        Raises:
            NotSent: No byte left this node.
            Ambiguous: Anything else without an answer.
            Overloaded: 429 or 503.
            NodeRefused: Another 4xx.
        """
        ...


class SubmissionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long each step may take, in seconds.

    ``answer`` bounds the customer's wait; ``core_only`` is how long after recording the core may still post a payment
    over a stand-in limit; ``core_answers`` is the silence up to which the core counts as answering. ``bodies_days`` is
    how long the body of a decided message is kept, in days: a core that is restored from a backup of that time hears
    from it what was said.
    """

    answer: float = 1.0
    core: float = 1.0
    copy: float = 0.5
    core_only: float = 30.0
    core_answers: float = 2.0
    ask: float = 0.3
    housekeeping: float = 0.5
    copy_again_max: int = 100
    bodies_days: float = 35.0


class Offering:
    """Offers intents for one node: what gathers while a request is on its way leaves with the next."""

    def __init__(
        self,
        *,
        journal: Journal,
        core: CoreIntake,
        breaker: AsyncBreaker,
        probe: CoreProbe,
        siblings: Mapping[str, Sibling],
        peers: PeerWatch,
        budget: RetryBudget,
        settings: SubmissionSettings,
    ) -> None:
        self._journal = journal
        self._core = core
        self._breaker = breaker
        self._probe = probe
        self._siblings = siblings
        self._peers = peers
        self._budget = budget
        self._settings = settings
        self._to_core: Batcher[Intent, Outcome | None] = Batcher(self._send_core)
        self._to_peer: dict[str, Batcher[JournalEntry, bool]] = {
            peer: Batcher(
                lambda entries, peer=peer: self._send_copies(peer, entries),  # type: ignore[misc]
                in_flight_max=COPIES_IN_FLIGHT,
            )
            for peer in siblings
        }

    async def to_core(self, entry: JournalEntry, *, again: bool = False) -> Outcome | Reached:
        """
        Submit an intent to the core and take its outcome over into the journal; never raises.

        ``again`` says that it has been offered before: then only where the budget has a retry left, and "unknown"
        otherwise. The drain asks in any case.
        """
        if not again:
            self._budget.tried()
        elif not self._budget.take():
            return "unknown"
        return await _surely(self._to_core_at_once(entry))

    async def to_witnesses(self, entry: JournalEntry) -> Outcome | Reached:
        """Have one sibling after another asked to keep a copy, until one confirms; never raises."""
        return await _surely(self._to_witnesses_in_turn(entry))

    # -- to the core ---------------------------------------------------------------------------------------------------

    async def _to_core_at_once(self, entry: JournalEntry) -> Outcome | Reached:
        try:
            if (
                entry.source == "own"
                and not entry.offered_core
                and not await self._journal.offer(entry.position, core=True)
            ):
                return "unknown"
            outcome = await self._to_core.submit(entry.intent)
        except (BreakerOpen, NotSent):
            return "not_sent"
        except (NodeError, JournalError):
            return "unknown"
        if outcome is None:
            return "unknown"
        try:
            await self._journal.settle([outcome])
        except JournalError:
            # The core's word is final whether or not this node can write it down; the drain will ask again.
            _log.warning("an outcome could not be journaled yet")
        return outcome

    async def _send_core(self, intents: Sequence[Intent]) -> list[Outcome | None]:
        deadline = self._settings.core
        async with self._breaker.calling(deadline_seconds=deadline):
            answer = await self._core.post(
                IntentBatch(list(intents)), deadline_seconds=deadline, drain=False
            )
        self._probe.answered()
        decided = {(outcome.intent_id, outcome.fingerprint): outcome for outcome in answer.outcomes}
        return [decided.get((intent.intent_id, intent.fingerprint)) for intent in intents]

    # -- to witnesses --------------------------------------------------------------------------------------------------

    async def _to_witnesses_in_turn(self, entry: JournalEntry) -> Reached:
        live = self._peers.choose(entry.intent.account_id)
        asked = rank_witnesses(entry.intent.account_id, entry.witnesses)
        reached: Reached = "not_sent"
        for peer in dict.fromkeys([*asked, *live]):
            try:
                if peer not in entry.witnesses and not await self._journal.offer(
                    entry.position, witness=peer
                ):
                    return "unknown"
                held = await self._to_peer[peer].submit(entry)
            except (NotSent, KeyError):
                # A sibling that is no longer configured cannot be asked.
                continue
            except (NodeError, JournalError):
                reached = "unknown"
                continue
            if held:
                return "done"
        return reached

    async def _confirmed(self, peer: str, positions: Sequence[int]) -> None:
        try:
            await self._journal.confirm(positions, peer)
        except JournalError:
            # Both copies exist all the same; the note is made when the copy is asked for again.
            _log.warning("confirmed copies could not be journaled yet")

    async def _send_copies(self, peer: str, entries: Sequence[JournalEntry]) -> list[bool]:
        deadline = self._settings.copy
        try:
            async with asyncio.timeout(deadline):
                answer = await self._siblings[peer].copy(
                    CopyBatch([entry.intent for entry in entries]), deadline_seconds=deadline
                )
        except TimeoutError as error:
            raise Ambiguous("no answer in time") from error
        if answer.refused:
            _log.error("a sibling refuses to keep copies", peer=peer, count=len(answer.refused))
        ids = set(answer.intent_ids)
        held = [entry.intent.intent_id in ids for entry in entries]
        positions = [
            entry.position for entry, is_held in zip(entries, held, strict=True) if is_held
        ]
        if positions:
            # One note of all that a sibling confirmed at once; whoever is told "accepted" then reads it everywhere.
            await self._confirmed(peer, positions)
        return held


async def _surely(offering: Coroutine[Any, Any, Outcome | Reached]) -> Outcome | Reached:
    """Turn a fault of our own into "unknown": the customer's answer must stay true whatever broke."""
    try:
        return await offering
    except Exception as error:  # noqa: BLE001 — see above; the money is safe in the journal
        _log.error("an offer failed unexpectedly", error=type(error).__name__, frames=where(error))
        return "unknown"
