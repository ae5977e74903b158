"""
A small fleet under virtual time: real journals on real files, the real code, a core and wires that can be broken.

One seed decides the order of everything that is ready at the same time and every fault that is drawn, so a failing
history repeats.
"""

import asyncio
import heapq
import random
import selectors
import shutil
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from cache_sync.sqlite import Connection, connect
from failover.breaker import AsyncBreaker, BreakerSettings
from failover.drain import Drain, DrainSettings
from failover.errors import Ambiguous, NodeRefused, NotSent, Overloaded
from failover.group_commit import InlineCommitter
from failover.intents import Intent, IntentBatch, Outcome, OutcomeBatch, Receipt
from failover.journal import Journal, JournalBounds
from failover.peer_messages import (
    Ask,
    CopyAnswer,
    CopyBatch,
    Hello,
    OutcomeAnswer,
    OutcomeNotice,
)
from failover.probe import CoreProbe, ProbeAnswer
from failover.signing import Signer, generate_signing_key, public_key
from failover.standin import Limits
from failover.submission import PaymentWish, Submission, SubmissionSettings
from failover.witness import PeerWatch, WitnessHolder

T = TypeVar("T")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer, and that shuffles what is ready at once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now = 0.0
        super().__init__(selectors.SelectSelector())

    def time(self) -> float:
        """Tell the virtual time."""
        return self._now

    def _run_once(self) -> None:
        loop = cast("Any", self)
        if not loop._ready and loop._scheduled:
            while loop._scheduled and loop._scheduled[0]._cancelled:
                heapq.heappop(loop._scheduled)._scheduled = False
            if loop._scheduled:
                self._now = max(self._now, loop._scheduled[0]._when)
        if len(loop._ready) > 1:
            ready = list(loop._ready)
            self._rng.shuffle(ready)
            loop._ready = deque(ready)
        cast("Any", super())._run_once()


def run_virtually(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end under virtual time."""
    loop = VirtualLoop(random.Random(seed))
    try:
        return loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class VirtualClock:
    """The clock of a `VirtualLoop`; `skew` moves the wall clock alone."""

    def __init__(self) -> None:
        self.skew = timedelta(0)

    def now(self) -> datetime:
        """Tell the wall-clock time."""
        return START + self.skew + timedelta(seconds=self.boot_seconds())

    def boot_seconds(self) -> float:
        """Tell the virtual time."""
        return asyncio.get_running_loop().time()

    def boot_id(self) -> str:
        """Tell the one boot there is."""
        return "boot"

    async def sleep(self, seconds: float) -> None:
        """Wait virtually."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall = START
        self.boot = "boot"

    def now(self) -> datetime:
        """Tell the wall-clock time as set."""
        return self.wall

    def boot_seconds(self) -> float:
        """Tell the boot time as set."""
        return self.seconds

    def boot_id(self) -> str:
        """Tell the boot as set."""
        return self.boot

    async def sleep(self, seconds: float) -> None:
        """Move on by itself."""
        self.seconds += seconds
        await asyncio.sleep(0)


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


class FakeCore:
    """A core that posts each id once, in memory; `ledger` lists every posting, so a double one would show."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.up = True
        self.ledger: list[str] = []
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.batches: list[list[str]] = []
        self.fails_on: set[str] = set()
        self.refuses: set[str] = set()
        self.skips: set[str] = set()
        self.credits: int | None = None
        self.overloaded_for: float | None = None

    def decide(self, intent: Intent) -> Outcome:
        """Post an intent, or repeat what was decided of it."""
        pair = (intent.intent_id, intent.fingerprint)
        if pair not in self.outcomes:
            expired = intent.not_after is not None and self.clock.now() > intent.not_after
            taken = any(known == intent.intent_id for known, _ in self.outcomes)
            reason = "id_conflict" if taken else "expired" if expired else ""
            if not reason:
                self.ledger.append(intent.intent_id)
            self.outcomes[pair] = Outcome(
                intent_id=intent.intent_id,
                fingerprint=intent.fingerprint,
                state="rejected" if reason else "posted",
                reason=reason,
                decided_at=self.clock.now(),
                epoch=1,
                shard="0",
                seq=len(self.outcomes) + 1,
            )
        return self.outcomes[pair]

    async def take(self, batch: IntentBatch) -> OutcomeBatch:
        """Handle one request."""
        if not self.up:
            raise NotSent("connection refused")
        ids = [intent.intent_id for intent in batch.intents]
        self.batches.append(ids)
        if self.overloaded_for is not None:
            raise Overloaded(self.overloaded_for)
        if self.refuses.intersection(ids):
            raise NodeRefused(422, "invalid_body")
        if self.fails_on.intersection(ids):
            raise Ambiguous("500")
        decided = [
            self.decide(intent) for intent in batch.intents if intent.intent_id not in self.skips
        ]
        return OutcomeBatch(decided, credits=self.credits)


class CoreLink:
    """What one edge sees of the core: `CoreIntake` and `CoreProber` over a wire."""

    def __init__(self, core: FakeCore, wire: Wire) -> None:
        self._core = core
        self.wire = wire

    async def post(
        self, batch: IntentBatch, *, deadline_seconds: float, drain: bool
    ) -> OutcomeBatch:
        """See `CoreIntake`."""
        async with _deadline(deadline_seconds):
            return await self.wire.carry(lambda: self._core.take(batch))

    async def probe(self, *, deadline_seconds: float) -> ProbeAnswer:
        """See `CoreProber`."""

        async def answer() -> ProbeAnswer:
            if not self._core.up:
                raise NotSent("connection refused")
            return ProbeAnswer(epoch=1, head=1, as_of=self._core.clock.now())

        async with _deadline(deadline_seconds):
            return await self.wire.carry(answer)


class SiblingLink:
    """What one edge sees of another: `Sibling` over a wire."""

    def __init__(self, caller: str, target: "Node", wire: Wire) -> None:
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

    async def hello(self, *, deadline_seconds: float) -> Hello:
        """See `Sibling`."""

        async def answer() -> Hello:
            return self._holder().hello(self._caller)

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


class Node:
    """One edge's agent: everything that `start` makes is gone with a `crash`, except the files."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.world = world
        self.folder = world.folder / name
        self.signing_key = generate_signing_key(world.rng.randbytes)
        self.core_wire = Wire(world.rng)
        self.peer_wires: dict[str, Wire] = {}
        self.holder: WitnessHolder | None = None
        self.tasks: list[asyncio.Task[Any]] = []

    def connect_file(self, path: Path) -> Connection:
        """Open the journal's file; without waiting for the disk, because only processes crash here."""
        return connect(path, synchronous="NORMAL", same_thread=False)

    def start(self) -> None:
        """Start the agent."""
        world, clock, rng = self.world, self.world.clock, self.world.rng
        self.stop = asyncio.Event()
        self.journal = Journal.open(
            self.folder / "journal.db",
            node_id=self.name,
            signer=Signer(self.signing_key),
            random_bytes=rng.randbytes,
            bounds=world.bounds,
            free_bytes=lambda _: world.free_bytes,
            connect_file=self.connect_file,
            make_committer=InlineCommitter,
        )
        siblings = {
            name: SiblingLink(self.name, node, self.peer_wires.setdefault(name, Wire(rng)))
            for name, node in world.nodes.items()
            if name != self.name
        }
        self.holder = WitnessHolder(
            self.journal,
            public_keys={name: public_key(node.signing_key) for name, node in world.nodes.items()},
        )
        core = CoreLink(world.core, self.core_wire)
        self.breaker = AsyncBreaker(clock=clock, rng=rng, settings=BreakerSettings())
        self.probe = CoreProbe(core, breaker=self.breaker, clock=clock, rng=rng)
        self.peers = PeerWatch(siblings, clock=clock, rng=rng)
        self.submission = Submission(
            journal=self.journal,
            core=core,
            breaker=self.breaker,
            probe=self.probe,
            siblings=siblings,
            peers=self.peers,
            limits=world.limits,
            clock=clock,
            settings=SubmissionSettings(),
        )
        self.drain = Drain(
            journal=self.journal,
            core=core,
            breaker=self.breaker,
            probe=self.probe,
            siblings=siblings,
            peers=self.peers,
            in_flight=self.submission.in_flight,
            core_now=clock.now,
            clock=clock,
            rng=rng,
            settings=DrainSettings(),
        )
        self.tasks = [
            asyncio.create_task(part.run(self.stop))
            for part in (self.probe, self.peers, self.submission, self.drain)
        ]

    async def crash(self, *, lose_disk: bool = False) -> None:
        """End everything between two steps, as kill -9 would; the files stay, or not."""
        self.holder = None
        flights = [flight.task for flight in self.submission._flights.values()]
        batchers = [self.submission._to_core, *self.submission._to_peer.values()]
        requests = [task for batcher in batchers for task in cast("Any", batcher)._requests]
        doomed = [*self.tasks, *flights, *requests, *self.submission._background]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        self.journal.close()
        if lose_disk:
            shutil.rmtree(self.folder)


class World:
    """A core and some edges; `limits`, `bounds` and `free_bytes` apply to every node started after they were set."""

    def __init__(
        self, folder: Path, seed: int = 0, names: tuple[str, ...] = ("east", "west")
    ) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.core = FakeCore(self.clock)
        self.limits = Limits()
        self.bounds = JournalBounds(free_bytes_min=1)
        self.free_bytes = 10**12
        self.nodes: dict[str, Node] = {}
        for name in names:
            self.nodes[name] = Node(self, name)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @contextmanager
    def running(self) -> Iterator["World"]:
        """Run every node within the block."""
        for node in self.nodes.values():
            node.start()
        try:
            yield self
        finally:
            for node in self.nodes.values():
                for task in node.tasks:
                    task.cancel()
                if node.holder is not None:
                    node.journal.close()

    def wish(
        self,
        key: str,
        amount_cents: int = 1000,
        *,
        account_id: str = "A-1",
        method_verified: bool = True,
        snapshot_age_seconds: float | None = 1.0,
    ) -> PaymentWish:
        """Make a customer's wish."""
        return PaymentWish(
            account_id=account_id,
            idempotency_key=key,
            amount_cents=amount_cents,
            currency="USD",
            method_id="M-1",
            method_verified=method_verified,
            core_time=self.clock.now(),
            snapshot_age_seconds=snapshot_age_seconds,
        )


def live(
    folder: Path,
    story: Callable[[World], Coroutine[Any, Any, None]],
    *,
    seed: int = 0,
    names: tuple[str, ...] = ("east", "west"),
    settle_seconds: float = 3.0,
) -> None:
    """Tell a story in a running world, after it has had time to find itself."""

    async def main() -> None:
        with World(folder, seed, names).running() as world:
            await asyncio.sleep(settle_seconds)
            await story(world)

    run_virtually(seed, main)
