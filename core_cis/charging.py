"""
Charging what customers promised, and finding out what edges charged, before the intake decides.

The attempt is in the books before the processor is called, with the intent's id as the key. Whatever is not certain is
resolved by asking. Only a promise of which the processor, asked long after the attempt, knows nothing is sent again,
under the same key and while the processor surely remembers keys; after that a person decides.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeVar

import msgspec
import structlog

from cache_sync.clock import Clock
from cache_sync.sql import DatabaseError
from core_cis.charge_records import answer_charge, begin_charge, find_charge
from core_cis.domain.payments import reason_to_reject
from core_cis.errors import NotBegun, WriterFull
from core_cis.payment_posting import read_account_facts, wish_of
from core_cis.settings import ProcessorSettings
from core_cis.store import CoreStore, Transaction
from core_cis.writer import Turn, Writer
from failover.intents import Intent
from failover.processor import (
    Captured,
    Charge,
    Declined,
    KeyTaken,
    Nothing,
    PaymentProcessor,
    Unknown,
)

RECORD_SECONDS_MAX = 10.0
_SLACK = timedelta(hours=1)
_CHARGED: frozenset[str] = frozenset({"payment"})
_DECIDED = "SELECT fingerprint FROM inbox WHERE intent_id = ?"
_TOKEN = "SELECT token FROM payment_methods WHERE method_id = ? AND account_id = ?"  # noqa: S105 - a statement

Pair = tuple[str, str]
Certain = Captured | Declined | KeyTaken | Nothing | Literal["review"]
_ResultT = TypeVar("_ResultT")
_log = structlog.get_logger(__name__)


class Step(NamedTuple):
    """
    What has to be done at the processor before an intent can be decided.

    ``fresh`` attempts are charged; the others are asked for, since ``since``; ``age_seconds`` is how old the attempt
    is, ``wanted`` whether the books would still take the payment.
    """

    intent: Intent
    token: str
    fresh: bool
    since: datetime
    age_seconds: float
    wanted: bool


def plan(tx: Transaction, intents: list[Intent]) -> list[Step]:
    """Find the intents whose money has to be seen to first; a fresh attempt is in the books when this commits."""
    steps = [_step(tx, intent) for intent in intents]
    return [step for step in steps if step is not None]


def _step(tx: Transaction, intent: Intent) -> Step | None:
    if intent.type not in _CHARGED:
        return None
    if isinstance(intent.capture, msgspec.Struct):
        return None
    decided = tx.connection.execute(_DECIDED, (intent.intent_id,)).fetchall()
    known = find_charge(tx.connection, intent.intent_id, intent.fingerprint)
    # Another payment has its id. What was begun for this one has an answer all the same, and is waited for.
    if (intent.fingerprint,) in decided or (decided and known is None):
        return None
    if known is not None and known.state != "attempting":
        return None
    facts = read_account_facts(tx.connection, intent.account_id, tx.utility.currency)
    wanted = not decided and reason_to_reject(wish_of(intent), facts, tx.stamp) is None
    promise = intent.kind == "promise"
    if promise and known is None and not wanted:
        return None
    if known is None:
        begin_charge(tx, intent)
    row = tx.connection.execute(_TOKEN, (intent.method_id, intent.account_id)).fetchone()
    begun_at = known.begun_at if known is not None else tx.stamp
    if not promise:
        # The edge began, if it did, when it recorded the payment.
        begun_at = min(begun_at, intent.accepted_at)
    return Step(
        intent=intent,
        token=row[0] if row else "",
        fresh=promise and known is None,
        since=begun_at - _SLACK,
        age_seconds=(tx.stamp - begun_at).total_seconds(),
        wanted=wanted,
    )


class Charging:
    """
    Sees to the money of intents that are about to be decided.

    Args:
        processor: Who is charged and asked; None where there is none: promises are then taken as money that is
            collected elsewhere, and what an edge charged waits for that edge's word.
        writer: The thread that owns the books.
        clock: Time.
        settings: Deadlines and the processor's memory.
    """

    def __init__(
        self,
        processor: PaymentProcessor | None,
        writer: Writer,
        clock: Clock,
        settings: ProcessorSettings | None = None,
    ) -> None:
        self._processor = processor
        self._writer = writer
        self._clock = clock
        self._settings = settings or ProcessorSettings(url="", secret="")
        self._under_way: dict[Pair, asyncio.Task[bool]] = {}

    async def settle(
        self, intents: list[Intent], *, turn: Turn, within_seconds: float
    ) -> list[Intent]:
        """
        See to the money of these intents; returns those that can be decided now.

        What the processor has not answered in time goes on without the caller, who is to ask again.

        Raises:
            NotBegun: Its turn did not come in time: nothing was done.
            WriterFull: Too many wait: nothing was done.
            DatabaseError: The database refused: nothing was done.
        """
        begun = self._clock.boot_seconds()
        if self._processor is None:
            return [intent for intent in intents if not _waits_for_its_edge(intent)]
        busy = {pair for pair in map(_pair, intents) if pair in self._under_way}
        free = [intent for intent in intents if _pair(intent) not in busy]
        steps = await self._writer.run(
            lambda store: store.run(lambda tx: plan(tx, free)),
            turn=turn,
            within_seconds=within_seconds,
        )
        for step in steps:
            self._begin(step, self._processor)
        tasks = {
            pair: self._under_way[pair]
            for pair in {*busy, *(_pair(step.intent) for step in steps)}
            if pair in self._under_way
        }
        if tasks:
            left = max(0.0, within_seconds - (self._clock.boot_seconds() - begun))
            await asyncio.wait(tasks.values(), timeout=left)
        unsure = {pair for pair, task in tasks.items() if not (task.done() and task.result())}
        return [intent for intent in intents if _pair(intent) not in unsure]

    async def close(self) -> None:
        """Let what is under way finish; each call has its own deadline."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    def _begin(self, step: Step, processor: PaymentProcessor) -> None:
        pair = _pair(step.intent)
        if pair in self._under_way:
            return
        task = asyncio.create_task(self._surely(step, processor))
        self._under_way[pair] = task
        task.add_done_callback(lambda _: self._under_way.pop(pair, None))

    async def _surely(self, step: Step, processor: PaymentProcessor) -> bool:
        """Tell whether the payment can be decided; whatever fails on the way leaves it to be asked for again."""
        try:
            answer = await self._charge_or_ask(step, processor)
            if answer is None:
                return False
            intent = step.intent
            await self._record(
                lambda tx: answer_charge(tx, intent.intent_id, intent.fingerprint, answer)
            )
        except (NotBegun, WriterFull, DatabaseError) as error:
            _log.warning(
                "a processor's answer could not be written down yet", why=type(error).__name__
            )
            return False
        return True

    async def _charge_or_ask(self, step: Step, processor: PaymentProcessor) -> Certain | None:
        seconds = self._settings.deadline_seconds
        if not step.fresh:
            found = await processor.find(
                step.intent.intent_id,
                token=step.token or None,
                since=step.since,
                deadline_seconds=seconds,
            )
            if isinstance(found, Unknown):
                _log.warning("the payment processor could not be asked", why=found.why)
                return None
            if not isinstance(found, Nothing):
                return _checked(found, step.intent)
            again = self._after_nothing(step)
            if again != "send":
                return again
        charge = Charge(
            key=step.intent.intent_id,
            amount_cents=step.intent.amount_cents,
            currency=step.intent.currency,
            token=step.token,
        )
        answer = await processor.charge(charge, deadline_seconds=seconds)
        if isinstance(answer, Unknown):
            _log.warning("a charge is not answered yet", why=answer.why, sent=answer.sent)
            return None
        return _checked(answer, step.intent)

    def _after_nothing(self, step: Step) -> Literal["send", "review"] | Nothing | None:
        """Judge an attempt of which the processor knows nothing; None to ask again later."""
        settings, age = self._settings, step.age_seconds
        promise = step.intent.kind == "promise"
        if age < (settings.resend_seconds if promise else settings.capture_seconds):
            return None
        if age >= settings.horizon_seconds:
            _log.error("a charge that nobody can tell of any more", alarm="charge_review")
            return "review"
        # A key surely remembered only for the first half of what the processor promises.
        if promise and step.wanted and age < settings.horizon_seconds / 2:
            return "send"
        return None if promise and step.wanted else Nothing()

    async def _record(self, work: Callable[[Transaction], _ResultT]) -> _ResultT:
        def job(store: CoreStore) -> _ResultT:
            return store.run(work)

        return await self._writer.run(job, turn=Turn.LIVE, within_seconds=RECORD_SECONDS_MAX)


def _checked(found: Certain, intent: Intent) -> Certain:
    """Believe a charge only of what was asked for: another sum under this key is another payment's."""
    if isinstance(found, Captured) and (found.amount_cents, found.currency) != (
        intent.amount_cents,
        intent.currency,
    ):
        return KeyTaken()
    return found


def _waits_for_its_edge(intent: Intent) -> bool:
    return intent.kind == "captured" and not isinstance(intent.capture, msgspec.Struct)


def _pair(intent: Intent) -> Pair:
    return intent.intent_id, intent.fingerprint
