"""
A thousand edges wake up together, or one into a core that is starved: the product's drains and the core's pace, under
virtual time.

Only the journals and the core's books are made up: a list for each edge, and a worker that takes a fixed time.
"""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any, cast

import pytest

from cache_sync.clock import Clock
from cache_sync.offload import inline
from core_cis.drain_orders import DrainOrders, read_orders
from core_cis.errors import NotBegun
from core_cis.intake import IntakeResult
from core_cis.intake_desk import IntakeDesk, _Decided
from core_cis.metrics import CoreMetrics
from core_cis.pacing import DrainPacing, PacingSettings, Passage
from core_cis.settings import ServerSettings
from core_cis.writer import Turn
from failover.breaker import AsyncBreaker
from failover.drain import Drain
from failover.intents import Intent, IntentBatch, Outcome, OutcomeBatch
from failover.journal_schema import JournalEntry
from failover.retry_budget import RetryBudget
from failover.witness import PeerWatch
from tests.integration.journals import NOON
from tests.unit.failover.virtual import VirtualClock, run_virtually

EDGES = 1000
QUEUED = 6
DECIDES_SECONDS = 0.001
COMMITS_SECONDS = 0.005
PART = 5
STARVED = 6.0
STARVED_QUEUED = 1000
LIVE_SECONDS = 0.01
LIVE_EVERY_SECONDS = 0.05
QUIET_SECONDS = 20.0
MINUTES_MAX = 5


class Queue:
    """The journal of an edge as its drain sees it, with payments that nobody decided yet."""

    def __init__(self, name: str, length: int) -> None:
        self.reader = self
        self.left = {
            f"{name}-{number}": JournalEntry(
                position=number,
                source="own",
                intent=_intent(name, number),
                state="offered",
                reserved=True,
                offered_core=True,
                outcome=None,
                witnesses={},
            )
            for number in range(length)
        }

    def undecided(self, *, limit: int) -> list[JournalEntry]:
        """List what waits."""
        return list(self.left.values())[:limit]

    def promised(self, entry: JournalEntry) -> JournalEntry:
        """Return it as it is."""
        return entry

    def owed_captures(self, *, limit: int) -> list[JournalEntry]:
        """List none."""
        del limit
        return []

    def holdings(self) -> list[Any]:
        """List none."""
        return []

    async def settle(self, outcomes: Any) -> None:
        """Forget what was decided."""
        for outcome in outcomes:
            del self.left[outcome.intent_id]


class Turns:
    """One worker: customers before drains, nothing begun after its time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._live_waiting = 0
        self._turn = asyncio.Condition()
        self._busy = False

    async def work(self, seconds: float, *, live: bool, until: float) -> float:
        """Work for so long, and tell when it was begun; raises `NotBegun`."""
        self._live_waiting += live
        try:
            async with asyncio.timeout(until - self.clock.boot_seconds()), self._turn:
                await self._turn.wait_for(
                    lambda: not self._busy and (live or not self._live_waiting)
                )
                self._busy = True
        except TimeoutError:
            raise NotBegun from None
        finally:
            self._live_waiting -= live
        begun = self.clock.boot_seconds()
        await asyncio.sleep(seconds)
        async with self._turn:
            self._busy = False
            self._turn.notify_all()
        return begun


class Desk(IntakeDesk):
    """The product's desk with made-up books; all work takes ``slowness`` times as long as a healthy core's."""

    def __init__(self, clock: Clock, *, slowness: float) -> None:
        async def ask(question: Any) -> Any:
            return DrainOrders() if question is read_orders else None

        super().__init__(
            ask=cast("Any", ask),
            writer=cast("Any", None),
            money=cast("Any", self),
            settings=ServerSettings(),
            metrics=CoreMetrics(),
            clock=clock,
            offload=inline,
            decided=lambda: None,
        )
        self.slowness = slowness
        self.turns = Turns(clock)
        self.posted: Counter[str] = Counter()

    async def settle(self, intents: list[Intent], **_: object) -> list[Intent]:
        """There is no payment processor."""
        return intents

    async def _check(self, intents: list[Intent], delivered_by: str) -> tuple[list[Intent], int]:
        del delivered_by
        return intents, 0

    async def _decide(
        self, intents: list[Intent], delivered_by: str, turn: Turn, until: float
    ) -> _Decided:
        del delivered_by
        queued, live = self.turns.clock.boot_seconds(), turn is Turn.LIVE
        healthy = LIVE_SECONDS if live else COMMITS_SECONDS + DECIDES_SECONDS * len(intents)
        took = self.slowness * healthy
        begun = await self.turns.work(took, live=live, until=until)
        if not live:
            self.posted.update(intent.intent_id for intent in intents)
        result = IntakeResult(outcomes=[_outcome(intent) for intent in intents])
        return _Decided(result, begun - queued, took)


class Core:
    """Answers drains and customers as the product does; counts everything."""

    def __init__(self, clock: Clock, *, slowness: float = 1.0) -> None:
        self.clock = clock
        self.desk = Desk(clock, slowness=slowness)
        self.let_in: list[tuple[float, int, int]] = []
        self.asked: Counter[int] = Counter()
        self.live: list[float] = []
        self._watch_what_is_let_in()

    def _watch_what_is_let_in(self) -> None:
        pacing = self.desk.pacing
        take = pacing.take

        def noting(node_id: str, wanted: int, now: float) -> Passage:
            pace = pacing.credits
            passage = take(node_id, wanted, now)
            self.asked[int(now)] += 1
            self.let_in.append((now, passage.taken, pace))
            return passage

        pacing.take = noting  # type: ignore[method-assign]

    def restart(self) -> None:
        """Forget what was seen of customers."""
        self.desk.pacing = DrainPacing()
        self._watch_what_is_let_in()

    async def post(self, name: str, batch: IntentBatch, seconds: float) -> OutcomeBatch:
        """Decide a drain's batch."""
        result = await self.desk.take(
            batch.intents, delivered_by=name, drain=True, within_seconds=seconds
        )
        return OutcomeBatch(
            result.outcomes,
            credits=self.desk.pacing.turn(self.clock.boot_seconds()),
            retry_after_seconds=result.pause_seconds or None,
            held=result.held > 0,
            held_last=result.held,
        )

    async def customers(self, every_seconds: float = LIVE_EVERY_SECONDS) -> None:
        """Pay at a rate that is steady but for chance."""
        rng = random.Random(3)
        async with asyncio.TaskGroup() as paying:
            while True:
                await asyncio.sleep(every_seconds * rng.uniform(0.5, 1.5))
                paying.create_task(self._pay())

    async def _pay(self) -> None:
        begun = self.clock.boot_seconds()
        intent = _intent("customer", 0)
        await self.desk.take([intent], delivered_by="live", drain=False, within_seconds=10)
        self.live.append(self.clock.boot_seconds() - begun)


class Link:
    """What one edge sees of the core."""

    def __init__(self, name: str, core: Core) -> None:
        self._name, self._core = name, core

    async def post(
        self, batch: IntentBatch, *, deadline_seconds: float, drain: bool
    ) -> OutcomeBatch:
        """See `CoreIntake`."""
        assert drain
        async with asyncio.timeout(deadline_seconds):
            return await self._core.post(self._name, batch, deadline_seconds)


class Answering:
    """A probe of a core that answers."""

    def answered(self) -> None:
        """Take note of nothing."""

    def silence_seconds(self) -> float:
        """Tell that it has just answered."""
        return 0.0


def _intent(name: str, number: int) -> Intent:
    return Intent(
        intent_id=f"{name}-{number}",
        fingerprint="f",
        account_id="A",
        idempotency_key="k",
        accepted_at=NOON + timedelta(seconds=number),
        edge_id=name,
        incarnation="i",
        ordinal=number,
    )


def _outcome(intent: Intent) -> Outcome:
    return Outcome(
        intent_id=intent.intent_id,
        fingerprint=intent.fingerprint,
        state="posted",
        decided_at=NOON,
        epoch=1,
        shard="0",
        seq=1,
    )


def _drain(
    name: str, core: Core, rng: random.Random, *, length: int = QUEUED
) -> tuple[Queue, Drain]:
    queue, clock = Queue(name, length), VirtualClock()
    drain = Drain(
        journal=cast("Any", queue),
        core=Link(name, core),
        breaker=AsyncBreaker(clock=clock, rng=rng),
        probe=cast("Any", Answering()),
        siblings={},
        peers=PeerWatch({}, clock=clock, rng=rng),
        in_flight=lambda _: False,
        core_now=clock.now,
        core_takes=lambda: True,
        budget=RetryBudget(clock),
        clock=clock,
        rng=rng,
    )
    return queue, drain


def _slow_ones(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


def test_a_thousand_edges_that_wake_together_leave_the_core_to_its_customers() -> None:
    """
    Each payment is posted once, all in bounded time; the core never lets in more than it granted.

    Customers' 99th percentile stays within twice its quiet value, and after the first moments the edges come in turns.
    """
    rng = random.Random(1)

    async def story() -> None:
        core = Core(VirtualClock())
        paying = asyncio.create_task(core.customers())
        await asyncio.sleep(QUIET_SECONDS)
        quiet, core.live = _slow_ones(core.live), []
        made = [_drain(f"edge-{number}", core, rng) for number in range(EDGES)]
        stop = asyncio.Event()
        running = [asyncio.create_task(drain.run(stop)) for _, drain in made]
        async with asyncio.timeout(60 * MINUTES_MAX):
            while any(queue.left for queue, _ in made):  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(1)
        stop.set()
        paying.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert len(core.desk.posted) == EDGES * QUEUED
        assert set(core.desk.posted.values()) == {1}
        assert _slow_ones(core.live) <= 2 * quiet
        _never_more_than_granted(core)
        # However many wake at once: the core does not spend its time on turning them away.
        busiest = [count for _, count in core.asked.most_common(3)]
        assert busiest[-1] <= EDGES

    run_virtually(1, story)


@pytest.mark.parametrize("known", [True, False], ids=["known", "just started"])
def test_a_starved_core_drains_all_the_same(known: bool) -> None:  # noqa: FBT001 - a parameter
    """
    It has a sixth of its time, and customers take more than half of that: the queue gets what is left, to its end.

    Where it has just started, and nobody knows how fast its customers are without a drain, too. Their 99th percentile
    stays within twice its quiet value.
    """
    rng = random.Random(2)

    async def story() -> None:
        core = Core(VirtualClock(), slowness=STARVED)
        paying = asyncio.create_task(core.customers(2 * LIVE_EVERY_SECONDS))
        await asyncio.sleep(QUIET_SECONDS)
        quiet, core.live = _slow_ones(core.live), []
        if not known:
            core.restart()
        queue, drain = _drain("edge", core, rng, length=STARVED_QUEUED)
        stop = asyncio.Event()
        running = asyncio.create_task(drain.run(stop))
        begun = core.clock.boot_seconds()
        async with asyncio.timeout(60 * MINUTES_MAX):
            while queue.left:  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(1)
        seconds = core.clock.boot_seconds() - begun
        stop.set()
        paying.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(core.desk.posted) == STARVED_QUEUED
        assert set(core.desk.posted.values()) == {1}
        assert _slow_ones(core.live) <= 2 * quiet
        # A third of what it could do for the drain beside its customers.
        busy = STARVED * LIVE_SECONDS / (2 * LIVE_EVERY_SECONDS)
        left = (1 - busy) / (STARVED * (COMMITS_SECONDS / PART + DECIDES_SECONDS))
        assert STARVED_QUEUED / seconds >= left / 3

    run_virtually(2, story)


def _never_more_than_granted(core: Core) -> None:
    begun = core.let_in[0][0]
    settings = PacingSettings()
    for second in range(int(core.let_in[-1][0] - begun) + 1):
        within = [each for each in core.let_in if second <= each[0] - begun < second + 1]
        highest = max((pace for _, _, pace in within), default=0)
        taken = sum(count for _, count, _ in within)
        assert taken <= (highest + 1) * (1 + settings.burst_seconds) + 1
