"""
Charging at this node while the core is away and the payment processor is not.

The order is what makes it safe: the payment is recorded, a witness holds its copy, the attempt is on the own disk, and
only then is the processor called, once, with the intent's id as its key. An answer that is not certain is resolved by
asking, never by calling again. Whatever dies on the way, somebody who holds the payment asks: this node after its
restart, or the core. The core posts what was captured, or gives it back.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.errors import JournalError
from failover.intents import Capture
from failover.journal import Journal
from failover.journal_schema import JournalEntry
from failover.journal_views import OpenCapture
from failover.offering import Offering
from failover.processor import (
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    FoundCharge,
    Nothing,
    PaymentProcessor,
    Unknown,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(hours=1)
NEVER = Capture(state="nothing")
"""Said of a payment for which the processor was surely never called, or knows nothing long after the call."""

_log = structlog.get_logger(__name__)


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Times in seconds.

    A call may take ``charge``, a question ``ask``. After one that brought no answer no payment is captured for
    ``pause``: customers are promised instead. What the processor does not know ``nothing_after`` its attempt was never
    charged; from ``horizon`` on only the core, and a person, decide that. ``batch_max`` are asked about at once.
    """

    charge: float = 5.0
    ask: float = 3.0
    pause: float = 30.0
    interval: float = 2.0
    nothing_after: float = 120.0
    horizon: float = 24 * 3600.0
    batch_max: int = 20


class Capturing:
    """
    Captures for one node; one instance in its agent.

    Args:
        journal: The node's own.
        processor: Who is charged.
        token_of: Finds the token of a saved method (account, method); None where this node may not charge it.
        core_now: Estimates core time; None while nothing is known of it.
        clock: Time.
        settings: Patience.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        processor: PaymentProcessor,
        token_of: Callable[[str, str], str | None],
        core_now: Callable[[], datetime | None],
        clock: Clock,
        settings: CaptureSettings | None = None,
    ) -> None:
        self._journal = journal
        self._processor = processor
        self._token_of = token_of
        self._core_now = core_now
        self._clock = clock
        self._settings = settings or CaptureSettings()
        self._paused_until = 0.0
        self._flying: set[int] = set()

    def can(self, account_id: str, method_id: str) -> bool:
        """Tell whether a payment with this method may be captured here now."""
        ready = self._clock.boot_seconds() >= self._paused_until and self._core_now() is not None
        return ready and self._token_of(account_id, method_id) is not None

    async def capture(
        self, entry: JournalEntry, offering: Offering
    ) -> JournalEntry | Literal["not_sent"]:
        """
        Copy a payment just recorded, then charge it; returns what is known then, or that nobody was reached at all.

        Raises:
            JournalError: What was not written down is found out by `run`.
        """
        self._flying.add(entry.position)
        try:
            reached = await offering.to_witnesses(entry)
            if reached == "not_sent":
                return "not_sent"
            if reached != "done":
                # Without a second copy nothing is charged, and the core is told that nothing was.
                return await self._end(entry, NEVER, offering)
            token = self._token_of(entry.intent.account_id, entry.intent.method_id)
            core_now = self._core_now()
            if token is None or core_now is None:
                return await self._end(entry, NEVER, offering)
            if not await self._journal.begin_capture(entry.position, core_now):
                return entry
            answer = await self._processor.charge(
                Charge(
                    key=entry.intent.intent_id,
                    amount_cents=entry.intent.amount_cents,
                    currency=entry.intent.currency,
                    token=token,
                ),
                deadline_seconds=self._settings.charge,
            )
            said = self._heed(entry, answer)
            return entry if said is None else await self._end(entry, said, offering)
        finally:
            self._flying.discard(entry.position)

    async def run(self, stop: asyncio.Event, offering: Offering) -> None:
        """Find out what became of attempts without an answer until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.step(offering)
            except JournalError as error:
                _log.warning("captures have to wait for the journal", why=str(error))
            await self._clock.sleep(self._settings.interval)

    async def step(self, offering: Offering) -> None:
        """Ask once about every attempt that nobody is at."""
        waiting = self._journal.reader.open_captures(limit=self._settings.batch_max)
        free = [each for each in waiting if each.entry.position not in self._flying]
        await asyncio.gather(*(self._resolve(each, offering) for each in free))

    async def _resolve(self, attempt: OpenCapture, offering: Offering) -> None:
        entry = attempt.entry
        if attempt.attempted_micros is None:
            # The node died before it called: nobody was charged, and nobody will be.
            await self._end(entry, NEVER, offering)
            return
        attempted_at = _EPOCH + timedelta(microseconds=attempt.attempted_micros)
        found = await self._processor.find(
            entry.intent.intent_id,
            token=self._token_of(entry.intent.account_id, entry.intent.method_id),
            since=attempted_at - _SLACK,
            deadline_seconds=self._settings.ask,
        )
        said = self._heed(entry, found)
        if isinstance(found, Nothing) and self._is_never(attempted_at):
            said = NEVER
        if said is not None:
            await self._end(entry, said, offering)

    def _is_never(self, attempted_at: datetime) -> bool:
        core_now = self._core_now()
        if core_now is None:
            return False
        age_seconds = (core_now - attempted_at).total_seconds()
        return self._settings.nothing_after <= age_seconds < self._settings.horizon

    def _heed(self, entry: JournalEntry, answer: ChargeAnswer | FoundCharge) -> Capture | None:
        """Turn an answer into what is signed; None where it is not certain."""
        intent = entry.intent
        match answer:
            case Captured() if (answer.amount_cents, answer.currency) == (
                intent.amount_cents,
                intent.currency,
            ):
                return Capture(state="captured", charge_id=answer.charge_id)
            case Declined():
                return Capture(state="declined", code=answer.code)
            case Unknown():
                _log.warning(
                    "the payment processor gave no answer", why=answer.why, sent=answer.sent
                )
                self._paused_until = self._clock.boot_seconds() + self._settings.pause
                return None if answer.sent or entry.position not in self._flying else NEVER
            case Nothing():
                return None
            case _:
                # The key is another payment's: this call did nothing, and the core knows which one won.
                _log.error("the payment processor knows this key otherwise", alarm="key_taken")
                return NEVER

    async def _end(self, entry: JournalEntry, said: Capture, offering: Offering) -> JournalEntry:
        """Write the answer down, and give the witness a copy that has it; without one it asks the core."""
        ended = await self._journal.end_capture(entry.position, said)
        if ended is None:
            return entry
        if not ended.settled and ended.witnesses:
            await offering.to_witnesses(ended)
        return ended
