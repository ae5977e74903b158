"""
One payment or message from the customer's wish to the answer.

The same path in every mode: record on the own disk, then copy to a witness and submit to the core at the same time,
and answer with the core's outcome, or after at most a second with what is certain by then. Only the breaker decides
whether the core is asked. A customer who goes away stops nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.breaker import AsyncBreaker
from failover.capturing import Capturing
from failover.errors import (
    InvalidPayment,
    JournalError,
    JournalFenced,
    JournalFull,
    KeyReused,
    NodeError,
    NotTaken,
    OutcomeUnknown,
    OverLimit,
)
from failover.intents import (
    CORE_FINAL,
    Outcome,
    Receipt,
    fingerprint_of,
    has_its_own_body,
)
from failover.journal import Journal
from failover.journal_changes import (
    Draft,
    Existing,
    Finished,
    Offers,
    Recorded,
    Recording,
    Refused,
    finished,
)
from failover.journal_schema import JournalEntry
from failover.offering import CoreIntake, Offering, SubmissionSettings
from failover.peer_messages import Ask
from failover.probe import CoreProbe
from failover.retry_budget import RetryBudget
from failover.signing import verify_outcome
from failover.standin import Limits
from failover.wishes import MessageWish, PaymentWish, draft_message, draft_payment
from failover.witness import PeerWatch, Sibling

EMPTY_SECONDS = 3600.0
EMPTIED_MAX = 200

_log = structlog.get_logger(__name__)


class _Flight(msgspec.Struct):
    fingerprint: str
    task: asyncio.Task[Receipt]


class Submission:
    """
    Takes payments and messages for one node; one instance in its agent, used from one event loop.

    ``limits`` and ``outage_seconds`` tell the stand-in limits in force and how long the outage has lasted, for each
    payment anew. ``core_key`` is what the core signs outcomes with; ``core_takes`` tells whether it takes intents just
    now; ``budget`` is what repetitions may cost the core. ``run`` must run beside it: it copies again what has no
    second copy yet, counts what siblings hold of an earlier incarnation, and reopens a fenced journal.
    """

    def __init__(  # noqa: PLR0913 — everything it touches is a parameter
        self,
        *,
        journal: Journal,
        core: CoreIntake,
        breaker: AsyncBreaker,
        probe: CoreProbe,
        siblings: Mapping[str, Sibling],
        peers: PeerWatch,
        limits: Callable[[], Limits],
        outage_seconds: Callable[[], float],
        core_key: str,
        core_takes: Callable[[], bool],
        budget: RetryBudget,
        clock: Clock,
        settings: SubmissionSettings | None = None,
        capturing: Capturing | None = None,
    ) -> None:
        self._journal = journal
        self._capturing = capturing
        self._breaker = breaker
        self._probe = probe
        self._siblings = siblings
        self._peers = peers
        self._limits = limits
        self._outage_seconds = outage_seconds
        self._core_key = core_key
        self._core_takes = core_takes
        self._clock = clock
        self._settings = settings or SubmissionSettings()
        self._flights: dict[str, _Flight] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._counted: dict[str, int] | None = None
        self._empty_at = 0.0
        self._offering = Offering(
            journal=journal,
            core=core,
            breaker=breaker,
            probe=probe,
            siblings=siblings,
            peers=peers,
            budget=budget,
            settings=self._settings,
        )

    @property
    def payments_open(self) -> bool:
        """Tell whether a payment tried now has somewhere to go."""
        somewhere = self._core_open() or any(self._peers.liveness().values())
        able = not (self._journal.fenced or self._journal.stalled or self._journal.full)
        return somewhere and able and not self._probe.expelled

    def in_flight(self, id_: str) -> bool:
        """Tell whether an intent is being submitted right now, so that nobody else need deliver it."""
        return id_ in self._flights

    # -- the customer's question ---------------------------------------------------------------------------------------

    async def pay(self, wish: PaymentWish) -> Receipt:
        """
        Take a payment, or find out what became of it: the same key again never pays twice.

        Raises:
            InvalidPayment: The amount is not positive.
            SubmissionError: As `send` does.
        """
        if wish.amount_cents <= 0:
            raise InvalidPayment("amount", "must be greater than 0")
        return await self._take(draft_payment(wish))

    async def send(self, wish: MessageWish) -> Receipt:
        """
        Take a message, or find out what became of it: the same key again never sends twice.

        Raises:
            KeyReused: The key names a payment or message with other content.
            OverLimit: Over a stand-in limit while the core does not answer.
            NotTaken: Nobody was reached; the same key may be sent again.
            OutcomeUnknown: The journal cannot tell; repeat with the same key.
        """
        return await self._take(draft_message(wish))

    async def _take(self, draft: Draft) -> Receipt:
        flight = self._flights.get(draft.intent_id)
        if flight is None:
            task = asyncio.create_task(self._fly(draft))
            flight = _Flight(draft.fingerprint, task)
            self._flights[draft.intent_id] = flight
            task.add_done_callback(lambda _: self._flights.pop(draft.intent_id, None))
            # With every customer gone nobody collects the error.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        elif flight.fingerprint != draft.fingerprint:
            raise KeyReused
        return await asyncio.shield(flight.task)

    async def ask(self, account_id: str, id_: str) -> Receipt | None:
        """
        Find out what is known of one payment: here, else at the siblings. None when all were asked and none knows it.

        Raises:
            OutcomeUnknown: The journal cannot be read, or a sibling that may know more was not reached.
        """
        try:
            known = self._journal.reader.receipt(account_id, id_)
        except JournalError as error:
            raise OutcomeUnknown from error
        if known is not None and known.state != "void":
            return known
        question = Ask(account_id=account_id, intent_id=id_)
        answers = await asyncio.gather(
            *(self._ask_peer(peer, question) for peer in self._siblings if self._peers.live(peer))
        )
        told = [each for each in answers if isinstance(each, Receipt) and each.state != "void"]
        if told:
            # Who has the core's word knows more than who has not heard it yet.
            return max(told, key=lambda each: (each.state in CORE_FINAL, each.durable))
        everybody = len(answers) == len(self._siblings) and "silent" not in answers
        if known is None and not everybody:
            raise OutcomeUnknown
        return known

    async def close(self) -> None:
        """Let what is under way finish; each step has its own deadline."""
        while tasks := {*self._background, *(flight.task for flight in self._flights.values())}:
            await asyncio.wait(tasks)

    # -- one flight ----------------------------------------------------------------------------------------------------

    async def _fly(self, draft: Draft) -> Receipt:
        try:
            recording = await self._record(draft)
        except JournalFenced as error:
            if error.uncertain:
                raise OutcomeUnknown from error
            raise NotTaken("journal_fenced") from error
        except JournalError as error:
            raise OutcomeUnknown from error
        match recording:
            case Recorded(entry) if entry.intent.kind == "captured":
                return await self._capture(entry)
            case Recorded(entry):
                return await self._pursue(entry, fresh=True)
            case Finished(receipt):
                return receipt
            case Existing(entry):
                if entry.settled:
                    return entry.receipt()
                return await self._pursue(self._journal.reader.promised(entry), fresh=False)
            case Refused("conflict", _):
                raise KeyReused
            case Refused("limit", which):
                raise OverLimit(which)
            case _:
                raise NotTaken("journal_full")

    async def _record(self, draft: Draft) -> Recording:
        if self._probe.expelled:
            # What a revoked node accepts the core rejects: no customer is promised it.
            return self._known(draft, otherwise="not_registered")
        core = self._core_open()
        witnesses = self._peers.choose(draft.account_id)
        if not core and not witnesses:
            return self._known(draft, otherwise="nobody_reachable")
        if not core and self._can_capture(draft):
            draft = msgspec.structs.replace(draft, kind="captured")
        until = None
        if core and self._core_answers():
            until = draft.accepted_at + timedelta(seconds=self._settings.core_only)
        offers = Offers(
            witness=witnesses[0] if witnesses else None, core=core, core_only_until=until
        )
        try:
            return await self._journal.record(
                draft,
                offers,
                limits=self._limits(),
                edge_share_known=self.share_known,
                outage_seconds=self._outage_seconds(),
            )
        except JournalFull:
            return self._known(draft, otherwise="journal_full")

    def _known(self, draft: Draft, *, otherwise: str) -> Recording:
        """Find what was taken before, where nothing new can be."""
        known = self._journal.reader.find(draft.intent_id)
        if known is None:
            if told := self._journal.reader.pruned(draft.intent_id):
                return finished(told, draft.fingerprint)
            if self._journal.in_doubt(draft.intent_id):
                raise OutcomeUnknown
            raise NotTaken(otherwise)
        same = known.intent.fingerprint == draft.fingerprint
        return Existing(known) if same else Refused("conflict")

    async def _pursue(self, entry: JournalEntry, *, fresh: bool) -> Receipt:
        """Offer an undecided intent to the core and a witness at once; answer with what is certain in time."""
        tasks: set[asyncio.Task[Any]] = set()
        core = copy = None
        if self._core_open() or (fresh and entry.offered_core):
            core = self._spawn(
                self._offering.to_core(entry, again=entry.offered_core and not fresh)
            )
            tasks.add(core)
        if entry.source == "own" and entry.reserved and not entry.durable:
            copy = self._spawn(self._offering.to_witnesses(entry))
            tasks.add(copy)
        deadline = self._clock.boot_seconds() + self._settings.answer
        while tasks:
            left = max(0.0, deadline - self._clock.boot_seconds())
            done, tasks = await asyncio.wait(
                tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            if core is not None and core.done() and isinstance(core.result(), Outcome):
                return msgspec.structs.replace(
                    entry, state="settled", outcome=core.result()
                ).receipt()
            # With the core's part over, a second copy is all that can still be had.
            if core not in tasks and copy is not None and copy.done() and copy.result() == "done":
                break
        if fresh and not tasks and _nobody_reached(core, copy):
            return await self._void(entry)
        receipt = entry.receipt()
        if copy is not None and copy.done() and copy.result() == "done":
            receipt = msgspec.structs.replace(receipt, durable=True)
            if receipt.reason == "":
                receipt = msgspec.structs.replace(receipt, state="accepted")
        return receipt

    def _can_capture(self, draft: Draft) -> bool:
        return (
            draft.type == "payment"
            and self._capturing is not None
            and self._capturing.can(draft.account_id, draft.method_id)
        )

    async def _capture(self, entry: JournalEntry) -> Receipt:
        """Have a payment charged from here; answer with what is certain in time. It goes on without the customer."""
        assert self._capturing is not None, (
            "only a node that captures records what is to be captured"
        )
        task = self._spawn(self._capturing.capture(entry, self._offering))
        done, _ = await asyncio.wait({task}, timeout=self._settings.answer)
        if not done:
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            return entry.receipt()
        try:
            known = task.result()
        except JournalError as error:
            raise OutcomeUnknown from error
        return await self._void(entry) if known == "not_sent" else known.receipt()

    async def _void(self, entry: JournalEntry) -> Receipt:
        try:
            voided = await self._journal.void(entry.position)
        except JournalError as error:
            raise OutcomeUnknown from error
        if not voided:
            return entry.receipt()
        raise NotTaken("nobody_reachable")

    def _core_open(self) -> bool:
        return self._breaker.admits() and self._core_takes()

    def _core_answers(self) -> bool:
        silence = self._probe.silence_seconds()
        return silence is not None and silence <= self._settings.core_answers

    async def _ask_peer(self, peer: str, question: Ask) -> Receipt | Literal["silent"] | None:
        deadline = self._settings.ask
        try:
            async with asyncio.timeout(deadline):
                told = await self._siblings[peer].ask(question, deadline_seconds=deadline)
        except (NodeError, TimeoutError):
            return "silent"
        if told is not None and not self._is_credible(told, question):
            _log.error("a sibling tells what cannot be", alarm="forged_outcome", peer=peer)
            return "silent"
        return told

    def _is_credible(self, told: Receipt, question: Ask) -> bool:
        """Tell whether a sibling's answer is to the question and, where it is final, the core's word."""
        if (told.account_id, told.intent_id) != (question.account_id, question.intent_id):
            return False
        if told.state not in CORE_FINAL:
            return True
        outcome = told.outcome()
        if outcome is None or not verify_outcome(outcome, self._core_key):
            return False
        return told.fingerprint == fingerprint_of(told) and has_its_own_body(told)

    # -- housekeeping --------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the journal open, the share counted and second copies made, until ``stop`` is set."""
        asking = asyncio.create_task(self._ask_processor(stop))
        try:
            await self._keep_house(stop)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask_processor(self, stop: asyncio.Event) -> None:
        if self._capturing is not None:
            await self._capturing.run(stop, self._offering)

    async def _keep_house(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if self._journal.fenced:
                    self._journal.reopen()
                await self._count_share()
                await self._copy_again()
                await self._empty_bodies()
            except JournalError as error:
                _log.warning("housekeeping of the journal has to wait", why=str(error))
            await self._clock.sleep(self._settings.housekeeping)

    @property
    def share_known(self) -> bool:
        """Tell whether every sibling has said what it holds of earlier incarnations; until then the share is zero."""
        return self._counted is not None and self._counted.keys() >= self._siblings.keys()

    async def _count_share(self) -> None:
        """Count what siblings hold of earlier incarnations of this node; until all said so the share is zero."""
        if self._counted is None:
            self._counted = await self._journal.inherited()
        for peer in self._siblings:
            held = self._peers.held_of(peer, but=self._journal.incarnation)
            if held is not None and self._counted.get(peer) != held:
                await self._journal.inherit(peer, held)
                self._counted[peer] = held

    async def _copy_again(self) -> None:
        """Find a witness for intents whose first did not confirm, oldest first."""
        if not any(self._peers.liveness().values()):
            return
        waiting = self._journal.reader.unconfirmed(limit=self._settings.copy_again_max)
        await self._gather(
            self._offering.to_witnesses(entry)
            for entry in waiting
            if not self.in_flight(entry.intent.intent_id)
        )

    async def _empty_bodies(self) -> None:
        """Empty bodies that were kept for long enough, now and then: personal data does not stay here for ever."""
        now = self._clock.boot_seconds()
        if now < self._empty_at:
            return
        before = self._clock.now() - timedelta(days=self._settings.bodies_days)
        emptied = await self._journal.empty_bodies(decided_before=before, limit=EMPTIED_MAX)
        if emptied < EMPTIED_MAX:
            self._empty_at = now + EMPTY_SECONDS

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _gather(self, work: Iterable[Coroutine[Any, Any, Any]]) -> None:
        await asyncio.gather(*[self._spawn(one) for one in work])

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _nobody_reached(*offers: asyncio.Task[Any] | None) -> bool:
    return all(offer is None or offer.result() == "not_sent" for offer in offers)
