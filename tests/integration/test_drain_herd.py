"""
A thousand edges wake up together: the product's drains and the core's pace, under virtual time.

Only the journals and the core's books are made up: a list for each edge, and a writer that takes a fixed time.
"""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any, cast

from cache_sync.clock import Clock
from core_cis.pacing import DrainPacing, PacingSettings
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
DECIDES_SECONDS = 0.002
LIVE_SECONDS = 0.01
LIVE_EVERY_SECONDS = 0.05
QUIET_SECONDS = 20.0
MINUTES_MAX = 5


class Queue:
    """The journal of an edge as its drain sees it, with payments that nobody decided yet."""

    def __init__(self, name: str) -> None:
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
            for number in range(QUEUED)
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


class Core:
    """Decides one after the other, customers before drains, at the product's pace; counts everything."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.pacing = DrainPacing(PacingSettings())
        self.posted: Counter[str] = Counter()
        self.let_in: list[tuple[float, int, int]] = []
        self.asked: Counter[int] = Counter()
        self.live: list[float] = []
        self._live_waiting = 0
        self._turn = asyncio.Condition()
        self._busy = False

    async def _work(self, seconds: float, *, live: bool) -> None:
        self._live_waiting += live
        async with self._turn:
            await self._turn.wait_for(lambda: not self._busy and (live or not self._live_waiting))
            self._busy = True
            self._live_waiting -= live
        await asyncio.sleep(seconds)
        async with self._turn:
            self._busy = False
            self._turn.notify_all()

    async def post(self, name: str, batch: IntentBatch) -> OutcomeBatch:
        """Decide a drain's batch as the product's intake does."""
        now = self.clock.boot_seconds()
        self.asked[int(now)] += 1
        pace = self.pacing.credits
        passage = self.pacing.take(name, len(batch.intents), now)
        self.let_in.append((now, passage.taken, pace))
        left = batch.intents[: passage.taken]
        decided: list[Intent] = []
        while left:
            part = left[: self.pacing.part(self.clock.boot_seconds())]
            queued = self.clock.boot_seconds()
            await self._work(DECIDES_SECONDS * len(part), live=False)
            now = self.clock.boot_seconds()
            took = DECIDES_SECONDS * len(part)
            self.pacing.waited(now - queued - took, now)
            self.pacing.decided(len(part), took, now)
            decided += part
            left = left[len(part) :]
        self.posted.update(intent.intent_id for intent in decided)
        return OutcomeBatch(
            [_outcome(intent) for intent in decided],
            credits=self.pacing.share(self.clock.boot_seconds()),
            retry_after_seconds=passage.pause_seconds or None,
            held=len(decided) < len(batch.intents),
        )

    async def customers(self) -> None:
        """Pay at a steady rate."""
        async with asyncio.TaskGroup() as paying:
            while True:
                await asyncio.sleep(LIVE_EVERY_SECONDS)
                paying.create_task(self._pay())

    async def _pay(self) -> None:
        begun = self.clock.boot_seconds()
        await self._work(LIVE_SECONDS, live=True)
        now = self.clock.boot_seconds()
        self.pacing.live_took(now - begun, now)
        self.live.append(now - begun)


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
            return await self._core.post(self._name, batch)


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


def _drain(name: str, core: Core, rng: random.Random) -> tuple[Queue, Drain]:
    queue, clock = Queue(name), VirtualClock()
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
        assert len(core.posted) == EDGES * QUEUED
        assert set(core.posted.values()) == {1}
        assert _slow_ones(core.live) <= 2 * quiet
        _never_more_than_granted(core)
        # However many wake at once: the core does not spend its time on turning them away.
        busiest = [count for _, count in core.asked.most_common(3)]
        assert busiest[-1] <= EDGES

    run_virtually(1, story)


def _never_more_than_granted(core: Core) -> None:
    begun = core.let_in[0][0]
    settings = PacingSettings()
    for second in range(int(core.let_in[-1][0] - begun) + 1):
        within = [each for each in core.let_in if second <= each[0] - begun < second + 1]
        highest = max((pace for _, _, pace in within), default=0)
        taken = sum(count for _, count, _ in within)
        assert taken <= (highest + 1) * (1 + settings.burst_seconds) + 1
