"""
Delivering what waits: this node's undecided intents, and its siblings' copies that it takes over.

Oldest first, in batches, only while the breaker lets ordinary calls out, at a pace that the core grants and failures
cut down. An intent on which the core fails again and again is set aside alone. Everything may be delivered twice: the
core takes an id once and repeats its first outcome.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.breaker import AsyncBreaker
from failover.errors import BreakerOpen, JournalError, NodeError, NodeRefused, NotSent, Overloaded
from failover.intents import IntentBatch, Outcome, OutcomeBatch
from failover.journal import Journal
from failover.journal_schema import JournalEntry
from failover.offering import CoreIntake
from failover.peer_messages import OutcomeNotice
from failover.probe import CoreProbe
from failover.retry_budget import RetryBudget
from failover.witness import PeerWatch, Sibling

_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)

Pair = tuple[str, str]


class DrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The drain's pace and patience, in seconds and intents.

    The ``window`` of intents offered in one step grows by ``window_step`` with every step that went well and halves
    with every failure. A copy is taken over when its writer was silent for ``takeover``, came back as another
    incarnation, or has not got rid of it for ``patience`` although it is there. An intent that failed alone
    ``failures_max`` times while the core answered others is parked, for ``park`` doubled each time up to ``park_max``.
    ``listed_idle`` is how many are looked at while the core takes nothing.
    """

    interval: float = 0.5
    busy_interval: float = 0.02
    deadline: float = 2.0
    peer_deadline: float = 1.0
    batch_max: int = 100
    batches_in_flight: int = 2
    window_min: int = 1
    window_start: int = 20
    window_step: int = 50
    window_max: int = 500
    listed_idle: int = 50
    takeover: float = 5.0
    patience: float = 30.0
    failures_max: int = 3
    park: float = 5.0
    park_max: float = 300.0
    release_max: int = 500


class _Trouble(msgspec.Struct):
    """What is remembered of an intent that the core failed on."""

    first_at: float
    failures: int = 0
    parked_until: float = 0.0
    parked_times: int = 0


class Drain:
    """
    Delivers for one node; one instance in its agent.

    ``in_flight`` tells whether an intent is being submitted just now; ``core_now`` estimates core time (None while
    nothing is known of it); ``core_takes`` whether the core takes intents, and not only what it had decided before.
    After a call that failed, every call is a retry and taken from ``budget`` until one is answered.
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
        in_flight: Callable[[str], bool],
        core_now: Callable[[], datetime | None],
        core_takes: Callable[[], bool],
        budget: RetryBudget,
        clock: Clock,
        rng: random.Random,
        settings: DrainSettings | None = None,
    ) -> None:
        self._journal = journal
        self._core = core
        self._breaker = breaker
        self._probe = probe
        self._siblings = siblings
        self._peers = peers
        self._in_flight = in_flight
        self._core_now = core_now
        self._core_takes = core_takes
        self._budget = budget
        self._retrying = False
        self._clock = clock
        self._rng = rng
        self._settings = settings or DrainSettings()
        self._window = self._settings.window_start
        self._credits: int | None = None
        self._pause_until = 0.0
        self._trouble: dict[Pair, _Trouble] = {}
        self._oldest: datetime | None = None

    @property
    def parked(self) -> int:
        """Count the intents that are set aside."""
        now = self._clock.boot_seconds()
        return sum(trouble.parked_until > now for trouble in self._trouble.values())

    def oldest_unparked_seconds(self) -> float | None:
        """Tell how long the oldest intent waits that is not set aside; None when none waits."""
        core_now = self._core_now()
        if self._oldest is None or core_now is None:
            return None
        return max(0.0, (core_now - self._oldest).total_seconds())

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set."""
        while not stop.is_set():
            delivered = 0
            try:
                delivered = await self.step()
            except JournalError as error:
                _log.warning("the drain has to wait for the journal", why=str(error))
            interval = self._settings.busy_interval if delivered else self._settings.interval
            # The core asks for pauses shorter than the interval, too: it grants the pace.
            pause = self._pause_until - self._clock.boot_seconds()
            if pause > 0:
                interval = min(self._settings.interval, max(self._settings.busy_interval, pause))
            await self._clock.sleep(interval * self._rng.uniform(0.8, 1.2))

    async def step(self) -> int:
        """
        Offer what is due once, and tell holders of copies what was decided.

        Returns:
            How many intents the core decided.
        """
        delivered = 0
        allowance = self._allowance()
        takes = self._core_takes() and self._breaker.admits()
        due = self._due(takes=takes and allowance > 0)
        if due and allowance and takes:
            delivered = await self._deliver(due[:allowance])
        await asyncio.gather(*(self._release(peer) for peer in self._siblings))
        return delivered

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _due(self, *, takes: bool) -> list[JournalEntry]:
        """
        List what should be offered now: those that never failed first, then oldest first; each pair once.

        While nothing may be offered only the oldest are read, to tell how long they wait: reading hundreds of them over
        and over would take the time in which new ones are accepted.
        """
        listed = self._settings.window_max if takes else self._settings.listed_idle
        limit = listed + len(self._trouble)
        own = self._journal.reader.undecided(limit=limit)
        entries = [self._journal.reader.promised(entry) for entry in own]
        entries += self._taken_over(limit)
        # Charged here, and decided otherwise before the core could know: it has to give the money back.
        entries += self._journal.reader.owed_captures(limit=limit)
        now = self._clock.boot_seconds()
        if takes:
            known = {pair(entry) for entry in entries}
            self._trouble = {of: trouble for of, trouble in self._trouble.items() if of in known}
        waiting = {
            pair(entry): entry
            for entry in entries
            if not self._in_flight(entry.intent.intent_id) and not self._is_parked(entry, now)
        }
        self._oldest = min((entry.intent.accepted_at for entry in waiting.values()), default=None)

        def turn(entry: JournalEntry) -> tuple[int, datetime]:
            trouble = self._trouble.get(pair(entry))
            return trouble.failures if trouble else 0, entry.intent.accepted_at

        return sorted(waiting.values(), key=turn)

    def _taken_over(self, limit: int) -> list[JournalEntry]:
        """List siblings' copies that this node should deliver by now."""
        found: list[JournalEntry] = []
        core_now = self._core_now()
        for writer, incarnation, _, _ in self._journal.reader.holdings():
            silent = self._peers.silence_seconds(writer) >= self._settings.takeover
            known = self._peers.incarnation(writer)
            if silent or known not in (None, incarnation):
                until = _END_OF_TIME
            elif core_now is not None:
                # The writer is there but did not get it delivered: perhaps it alone is cut off from the core.
                until = core_now - timedelta(seconds=self._settings.patience)
            else:
                continue
            found += self._journal.reader.held(writer, incarnation, until=until, limit=limit)
        return found

    def _is_parked(self, entry: JournalEntry, now: float) -> bool:
        trouble = self._trouble.get(pair(entry))
        return trouble is not None and trouble.parked_until > now

    def _allowance(self) -> int:
        if self._paused():
            return 0
        credit, self._credits = self._credits, None
        return self._window if credit is None else min(self._window, credit)

    # -- to the core ---------------------------------------------------------------------------------------------------

    async def _deliver(self, entries: Sequence[JournalEntry]) -> int:
        size = self._settings.batch_max
        batches = [entries[start : start + size] for start in range(0, len(entries), size)]
        gate = asyncio.Semaphore(self._settings.batches_in_flight)

        async def send(batch: Sequence[JournalEntry]) -> int:
            async with gate:
                if self._paused():
                    # The core has asked for it meanwhile.
                    return 0
                if self._retrying and not self._budget.take():
                    return 0
                if not self._retrying:
                    self._budget.tried()
                return await self._offer(batch)

        return sum(await asyncio.gather(*(send(batch) for batch in batches)))

    async def _offer(self, batch: Sequence[JournalEntry]) -> int:
        """
        Offer a batch; where the core refuses it as a whole, find the one that spoils it by halves.

        The halves are no retries: the core is there and answers, and they go one after the other.
        """
        try:
            answer = await self._post(batch)
        except NodeRefused:
            self._retrying = False
            return await self._offer_halves(batch)
        except (BreakerOpen, NodeError) as error:
            self._not_answered(batch, error)
            return 0
        return await self._decided(batch, answer)

    async def _offer_halves(self, batch: Sequence[JournalEntry]) -> int:
        if len(batch) == 1:
            self._failed(batch, core_is_there=True)
            return 0
        middle = len(batch) // 2
        return await self._offer(batch[:middle]) + await self._offer(batch[middle:])

    def _not_answered(self, batch: Sequence[JournalEntry], error: BreakerOpen | NodeError) -> None:
        self._slow_down()
        if isinstance(error, BreakerOpen):
            return
        self._retrying = True
        if isinstance(error, Overloaded):
            self._pause(error.retry_after or self._settings.interval)
        elif not isinstance(error, NotSent):
            self._failed(batch, core_is_there=False)

    async def _post(self, batch: Sequence[JournalEntry]) -> OutcomeBatch:
        for entry in batch:
            if entry.source == "own" and not entry.offered_core:
                await self._journal.offer(entry.position, core=True)
        deadline = self._settings.deadline
        intents = IntentBatch([entry.intent for entry in batch])
        # It shares the breaker with customers' payments, and yields to them: that it takes long is no sign of trouble.
        async with self._breaker.calling(deadline_seconds=deadline, patient=True):
            answer = await self._core.post(intents, deadline_seconds=deadline, drain=True)
        self._probe.answered()
        self._retrying = False
        self._credits = answer.credits
        if answer.retry_after_seconds:
            self._pause(answer.retry_after_seconds)
        return answer

    async def _decided(self, batch: Sequence[JournalEntry], answer: OutcomeBatch) -> int:
        offered = {pair(entry): entry for entry in batch}
        decided = {
            (outcome.intent_id, outcome.fingerprint): outcome
            for outcome in answer.outcomes
            if (outcome.intent_id, outcome.fingerprint) in offered
        }
        if decided:
            await self._journal.settle(decided.values())
        told = [
            entry.position for known, entry in offered.items() if entry.settled and known in decided
        ]
        if told:
            await self._journal.told_capture(told)
        for known in decided:
            self._trouble.pop(known, None)
        left_over = [entry for known, entry in offered.items() if known not in decided]
        self._failed(_tried(left_over, batch, answer), core_is_there=True)
        if not left_over:
            self._window = min(self._settings.window_max, self._window + self._settings.window_step)
        copies = [offered[known] for known in decided if offered[known].source == "copies"]
        await self._tell_writers(copies, decided)
        return len(decided)

    def _slow_down(self) -> None:
        self._window = max(self._settings.window_min, self._window // 2)

    def _paused(self) -> bool:
        return self._clock.boot_seconds() < self._pause_until

    def _pause(self, seconds: float) -> None:
        # Jitter upwards only: the core asked for this long at least.
        pause = seconds * self._rng.uniform(1.0, 1.3)
        self._pause_until = max(self._pause_until, self._clock.boot_seconds() + pause)

    def _failed(self, batch: Sequence[JournalEntry], *, core_is_there: bool) -> None:
        """
        Remember a failure of each; one that fails again and again while the core answers others is set aside.

        Without ``core_is_there`` only an intent offered alone can be to blame, and only if the core has answered
        something else since it first failed.
        """
        now = self._clock.boot_seconds()
        silence = self._probe.silence_seconds()
        alone = len(batch) == 1
        for entry in batch:
            trouble = self._trouble.setdefault(pair(entry), _Trouble(first_at=now))
            trouble.failures += 1
            answered_since = silence is not None and now - silence > trouble.first_at
            to_blame = core_is_there or (alone and answered_since)
            if to_blame and trouble.failures >= self._settings.failures_max:
                self._park(trouble, now)

    def _park(self, trouble: _Trouble, now: float) -> None:
        seconds = min(self._settings.park_max, self._settings.park * 2.0**trouble.parked_times)
        trouble.parked_until = now + seconds * self._rng.uniform(0.8, 1.2)
        trouble.parked_times = min(trouble.parked_times + 1, 32)
        _log.error("an intent is set aside: the core keeps failing on it", times=trouble.failures)

    # -- to siblings ---------------------------------------------------------------------------------------------------

    async def _release(self, peer: str) -> None:
        """Tell a holder of copies what was decided; until it answered, it is told again."""
        if not self._peers.live(peer):
            return
        owed = self._journal.reader.releases(peer, limit=self._settings.release_max)
        if owed and await self._tell(peer, [release.outcome for release in owed]):
            await self._journal.released([release.ordinal for release in owed], peer)

    async def _tell_writers(
        self, copies: Iterable[JournalEntry], decided: Mapping[Pair, Outcome]
    ) -> None:
        """Tell writers that are there what was decided of the copies that were taken over from them."""
        by_writer: dict[str, list[Outcome]] = {}
        for entry in copies:
            by_writer.setdefault(entry.intent.edge_id, []).append(decided[pair(entry)])
        await asyncio.gather(
            *(
                self._tell(writer, outcomes)
                for writer, outcomes in by_writer.items()
                if self._peers.live(writer)
            )
        )

    async def _tell(self, peer: str, outcomes: list[Outcome]) -> bool:
        deadline = self._settings.peer_deadline
        try:
            async with asyncio.timeout(deadline):
                answer = await self._siblings[peer].outcomes(
                    OutcomeNotice(outcomes), deadline_seconds=deadline
                )
        except (NodeError, TimeoutError):
            return False
        if answer.refused:
            # Telling it again would not help: it will ask the core itself.
            _log.error("a sibling does not believe outcomes", peer=peer, count=len(answer.refused))
        return True


def _tried(
    left_over: Sequence[JournalEntry], batch: Sequence[JournalEntry], answer: OutcomeBatch
) -> Sequence[JournalEntry]:
    """Keep of what has no outcome what the core looked at: the rest, at the batch's end, was only left for later."""
    if answer.held and not answer.held_last:
        return []
    later = {pair(entry) for entry in batch[len(batch) - answer.held_last :]}
    return [entry for entry in left_over if pair(entry) not in later]


def pair(entry: JournalEntry) -> Pair:
    """Return what an intent is asked, answered and overlaid by: its id and fingerprint."""
    return entry.intent.intent_id, entry.intent.fingerprint
