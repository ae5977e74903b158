"""Wires between nodes that can be broken, and a core that lives in memory."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from cache_sync.clock import Clock
from failover.covers import Cover, sign_cover
from failover.errors import Ambiguous, NodeRefused, NotSent, Overloaded
from failover.intents import (
    Capture,
    DecidedBatch,
    Intent,
    IntentBatch,
    Outcome,
    OutcomeBatch,
    Receipt,
)
from failover.peer_messages import (
    Ask,
    CopyAnswer,
    CopyBatch,
    Hello,
    OutcomeAnswer,
    OutcomeNotice,
)
from failover.probe import ProbeAnswer
from failover.processor import (
    Captured,
    Charge,
    ChargeAnswer,
    Declined,
    FoundCharge,
    FoundRefund,
    Nothing,
    RefundAnswer,
    RefundRefused,
    Unknown,
)
from failover.signing import Signer, generate_signing_key, public_key, verify_outcome
from failover.witness import WitnessHolder

T = TypeVar("T")


class Target(Protocol):
    """A node that may be down: then it has no holder."""

    @property
    def holder(self) -> WitnessHolder | None:
        """Return what answers siblings."""
        ...


class Wire:
    """
    The way from one node to another: `up`, `refused` (nothing leaves), `cut` (swallowed) or `lossy`.

    A lossy wire draws for each call: delivered late, lost on the way there, delivered twice, or delivered while the
    answer is lost.
    """

    def __init__(self, rng: random.Random) -> None:
        self.state = "up"
        self._rng = rng
        self._stragglers: set[asyncio.Task[Any]] = set()

    async def carry(self, call: Callable[[], Awaitable[T]]) -> T:
        """Carry one call, or not."""
        if self.state == "refused":
            raise NotSent("connection refused")
        if self.state == "cut":
            await asyncio.sleep(3600)
        if self.state == "lossy":
            return await self._carry_badly(call)
        await asyncio.sleep(0.001)
        return await call()

    async def _carry_badly(self, call: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._rng.expovariate(10))
        match self._rng.choice(["fine", "fine", "lost", "twice", "deaf", "refused", "late"]):
            case "lost":
                raise Ambiguous("connection reset")
            case "refused":
                raise NotSent("connection refused")
            case "twice":
                await call()
            case "deaf":
                await call()
                raise Ambiguous("connection reset")
            case "late":
                # Delivered after the sender has long given up.
                self._stragglers.add(asyncio.create_task(self._deliver_late(call)))
                await asyncio.sleep(3600)
        return await call()

    async def _deliver_late(self, call: Callable[[], Awaitable[T]]) -> None:
        await asyncio.sleep(self._rng.uniform(1, 20))
        try:
            await call()
        except (Ambiguous, NotSent, Overloaded, NodeRefused):
            return


class FakeProcessor:
    """
    A payment processor in memory; `calls` lists every call that reached it, so a second one would show.

    ``answer`` is what is said in place of "captured"; the money is taken all the same where the answer is lost.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.charges: dict[str, Captured] = {}
        self.declines: dict[str, Declined] = {}
        self.answer: Declined | Unknown | None = None
        self.findable = True

    async def charge(self, charge: Charge, *, deadline_seconds: float) -> ChargeAnswer:
        """Take the money, or say why not."""
        await asyncio.sleep(0.003)
        if isinstance(self.answer, Unknown) and not self.answer.sent:
            return self.answer
        self.calls.append(charge.key)
        if isinstance(self.answer, Declined):
            self.declines[charge.key] = self.answer
        else:
            self.charges[charge.key] = Captured(
                charge_id=f"ch-{len(self.calls)}",
                amount_cents=charge.amount_cents,
                currency=charge.currency,
            )
        await asyncio.sleep(0.003)
        return self.answer or self.charges[charge.key]

    async def find(
        self, key: str, *, token: str | None, since: datetime, deadline_seconds: float
    ) -> FoundCharge:
        """Tell what became of a charge."""
        await asyncio.sleep(0.001)
        if not self.findable:
            return Nothing()
        return self.charges.get(key) or self.declines.get(key) or Nothing()

    async def refund(
        self, charge_id: str, amount_cents: int, *, key: str, deadline_seconds: float
    ) -> RefundAnswer:
        """Refuse: edges give nothing back."""
        return RefundRefused("not_here")

    async def find_refund(self, charge_id: str, *, deadline_seconds: float) -> FoundRefund:
        """Find none."""
        return Nothing()


class FakeCore:
    """A core that posts each id once, in memory; `ledger` lists every posting, so a double one would show."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.signing_key = generate_signing_key(lambda count: bytes(range(count)))
        self.public_key = public_key(self.signing_key)
        self.signer = Signer(self.signing_key)
        self.cover: Cover | None = None
        self.pruned_by: dict[str, str] = {}
        self.up = True
        self.expels = False
        self.ledger: list[str] = []
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.batches: list[list[str]] = []
        self.fails_on: set[str] = set()
        self.refuses: set[str] = set()
        self.skips: set[str] = set()
        self.credits: int | None = None
        self.held = False
        self.looks_at: int | None = None
        self.pause: float | None = None
        self.overloaded_for: float | None = None
        self.heard_late: list[str] = []
        self.epoch = 1
        self.awaited: set[str] = set()
        self.taken_back: list[str] = []
        self.takes_back_seconds = 0.0

    def back_up(self) -> dict[tuple[str, str], Outcome]:
        """Return what can be restored."""
        return dict(self.outcomes)

    def name(self, backup: dict[tuple[str, str], Outcome], mark: str) -> None:
        """Name a backup that was just made: edges need not keep what it holds."""
        self.cover = Cover(
            mark=mark, epoch=self.epoch, heads={"0": len(backup)}, timezone="America/New_York"
        )

    def restore(self, backup: dict[tuple[str, str], Outcome], edges: set[str]) -> None:
        """Forget what is not in a backup, begin a new epoch, and wait for edges."""
        self.outcomes = dict(backup)
        self.ledger = [pair[0] for pair, outcome in backup.items() if outcome.state == "posted"]
        self.epoch += 1
        self.awaited = set(edges)

    def decide(self, intent: Intent) -> Outcome:
        """Post an intent, or repeat what was decided of it."""
        pair = (intent.intent_id, intent.fingerprint)
        if pair in self.outcomes and isinstance(intent.capture, Capture):
            self.heard_late.append(intent.intent_id)
        if pair not in self.outcomes:
            expired = intent.not_after is not None and self.clock.now() > intent.not_after
            taken = any(known == intent.intent_id for known, _ in self.outcomes)
            reason = "id_conflict" if taken else "expired" if expired else ""
            if isinstance(intent.capture, Capture) and intent.capture.state != "captured":
                reason = reason or "not_captured"
            if not reason:
                self.ledger.append(intent.intent_id)
            self._keep(
                Outcome(
                    intent_id=intent.intent_id,
                    fingerprint=intent.fingerprint,
                    state="rejected" if reason else "posted",
                    accepted_at=intent.accepted_at,
                    reason=reason,
                    decided_at=self.clock.now(),
                    epoch=self.epoch,
                    shard="0",
                    seq=len(self.outcomes) + 1,
                )
            )
        return self.outcomes[pair]

    def _keep(self, outcome: Outcome) -> None:
        pair = (outcome.intent_id, outcome.fingerprint)
        self.outcomes[pair] = self.signer.sign_outcome(outcome)

    async def take_back(self, name: str, batch: DecidedBatch) -> OutcomeBatch:
        """Handle outcomes that come back."""
        if not self.up:
            raise NotSent("connection refused")
        await asyncio.sleep(self.takes_back_seconds)
        answers = []
        for item in batch.items:
            told = item.outcome
            assert verify_outcome(told, self.public_key)
            pair = (told.intent_id, told.fingerprint)
            if pair not in self.outcomes:
                if told.state == "posted":
                    self.ledger.append(told.intent_id)
                self.taken_back.append(told.intent_id)
                seq = len(self.outcomes) + 1
                self._keep(msgspec.structs.replace(told, epoch=self.epoch, seq=seq))
            known = self.outcomes[pair]
            # Where it stands is asked anew with every repetition.
            self._keep(msgspec.structs.replace(known, epoch=self.epoch))
            answers.append(self.outcomes[pair])
        if batch.complete_for is not None:
            self.pruned_by[name] = batch.pruned_by
        if batch.complete_for == self.epoch:
            self.awaited.discard(name)
        return OutcomeBatch(answers)

    def admit(self) -> None:
        """Refuse every caller while nobody is registered."""
        if self.expels:
            raise NodeRefused(401, "not_a_known_node")

    async def take(self, batch: IntentBatch) -> OutcomeBatch:
        """Handle one request."""
        if not self.up:
            raise NotSent("connection refused")
        self.admit()
        ids = [intent.intent_id for intent in batch.intents]
        self.batches.append(ids)
        if self.held:
            return OutcomeBatch([], held=True, retry_after_seconds=2.0)
        if self.awaited:
            raise Overloaded(1.0, "edges_awaited")
        if self.overloaded_for is not None:
            raise Overloaded(self.overloaded_for)
        if self.refuses.intersection(ids):
            raise NodeRefused(422, "invalid_body")
        if self.fails_on.intersection(ids):
            raise Ambiguous("500")
        later = 0 if self.looks_at is None else max(0, len(ids) - self.looks_at)
        decided = [
            self.decide(intent)
            for intent in batch.intents[: len(ids) - later]
            if intent.intent_id not in self.skips
            # It has no processor to ask: an edge's own word is waited for.
            and (intent.kind == "promise" or isinstance(intent.capture, Capture))
        ]
        return OutcomeBatch(
            decided,
            credits=self.credits,
            retry_after_seconds=self.pause,
            held=later > 0,
            held_last=later,
        )


class CoreLink:
    """What one edge sees of the core: `CoreIntake`, `CoreReturns` and `CoreProber` over a wire."""

    def __init__(self, name: str, core: FakeCore, wire: Wire) -> None:
        self._name = name
        self._core = core
        self.wire = wire

    async def post(
        self, batch: IntentBatch, *, deadline_seconds: float, drain: bool
    ) -> OutcomeBatch:
        """See `CoreIntake`."""
        async with _deadline(deadline_seconds):
            return await self.wire.carry(lambda: self._core.take(batch))

    async def take_back(self, batch: DecidedBatch, *, deadline_seconds: float) -> OutcomeBatch:
        """See `CoreReturns`."""
        async with _deadline(deadline_seconds):
            return await self.wire.carry(lambda: self._core.take_back(self._name, batch))

    async def probe(self, *, deadline_seconds: float) -> ProbeAnswer:
        """See `CoreProber`."""

        async def answer() -> ProbeAnswer:
            if not self._core.up:
                raise NotSent("connection refused")
            self._core.admit()
            return ProbeAnswer(
                epoch=self._core.epoch,
                head=1,
                as_of=self._core.clock.now(),
                edges_awaited=bool(self._core.awaited),
                covered="" if self._core.cover is None else self._core.cover.mark,
                cover=None
                if self._core.cover is None
                else sign_cover(self._core.cover, self._core.signing_key),
            )

        async with _deadline(deadline_seconds):
            return await self.wire.carry(answer)


class SiblingLink:
    """What one edge sees of another: `Sibling` over a wire."""

    def __init__(self, caller: str, target: Target, wire: Wire) -> None:
        self._caller = caller
        self._target = target
        self.wire = wire

    def _holder(self) -> WitnessHolder:
        if self._target.holder is None:
            raise NotSent("connection refused")
        return self._target.holder

    async def _call(self, seconds: float, call: Callable[[], Awaitable[T]]) -> T:
        async with _deadline(seconds):
            return await self.wire.carry(call)

    async def hello(self, have: Sequence[str] = (), *, deadline_seconds: float) -> Hello:
        """See `Sibling`."""

        async def answer() -> Hello:
            return self._holder().hello(self._caller, have)

        return await self._call(deadline_seconds, answer)

    async def copy(self, batch: CopyBatch, *, deadline_seconds: float) -> CopyAnswer:
        """See `Sibling`."""
        return await self._call(deadline_seconds, lambda: self._holder().copy(self._caller, batch))

    async def outcomes(self, notice: OutcomeNotice, *, deadline_seconds: float) -> OutcomeAnswer:
        """See `Sibling`."""
        return await self._call(
            deadline_seconds, lambda: self._holder().outcomes(self._caller, notice)
        )

    async def ask(self, ask: Ask, *, deadline_seconds: float) -> Receipt | None:
        """See `Sibling`."""

        async def answer() -> Receipt | None:
            return self._holder().ask(ask)

        return await self._call(deadline_seconds, answer)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    """End a call as an HTTP client does: too late means that nobody knows."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Ambiguous("no answer in time") from error
