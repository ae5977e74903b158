"""
A small fleet under virtual time: real journals on real files, the real code, a core and wires that can be broken.

One seed decides the order of everything that is ready at the same time and every fault that is drawn, so a failing
history repeats.
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from cache_sync.file_keys import PLAIN
from cache_sync.frames import Position
from cache_sync.offload import inline
from cache_sync.sqlite import Connection, connect
from failover.breaker import AsyncBreaker, BreakerSettings
from failover.capturing import CaptureSettings, Capturing
from failover.drain import Drain, DrainSettings
from failover.gossip import Gossip
from failover.group_commit import InlineCommitter
from failover.journal import Journal, JournalBounds
from failover.offering import SubmissionSettings
from failover.probe import CoreProbe
from failover.pruning import Pruning, PruningSettings
from failover.retry_budget import RetryBudget, RetryBudgetSettings
from failover.returning import Returning
from failover.signing import Signer, generate_signing_key, public_key
from failover.standin import Limits
from failover.submission import Submission
from failover.wishes import PaymentWish
from failover.witness import PeerWatch, WitnessHolder
from tests.unit.failover.virtual import VirtualClock, run_virtually
from tests.unit.failover.wires import CoreLink, FakeCore, FakeProcessor, SiblingLink, Wire

FLEET_KEY = b"a key of the fleet"


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
        self.keys = PLAIN

    @property
    def news(self) -> Path:
        """Where it writes down what siblings say."""
        return self.folder / "sibling-news"

    def connect_file(self, path: Path) -> Connection:
        """Open the journal's file; without waiting for the disk, because only processes crash here."""
        return connect(path, synchronous="NORMAL", same_thread=False, keys=self.keys)

    def open_journal(self) -> Journal:
        """Open the journal, or begin one."""
        return Journal.open(
            self.folder / "journal.db",
            node_id=self.name,
            signer=Signer(self.signing_key),
            random_bytes=self.world.rng.randbytes,
            bounds=self.world.bounds,
            free_bytes=lambda _: self.world.free_bytes,
            connect_file=self.connect_file,
            make_committer=InlineCommitter,
            keys=self.keys,
        )

    def start(self) -> None:
        """Start the agent."""
        world, clock, rng = self.world, self.world.clock, self.world.rng
        self.stop = asyncio.Event()
        self.journal = self.open_journal()
        siblings = {
            name: SiblingLink(self.name, node, self.peer_wires.setdefault(name, Wire(rng)))
            for name, node in world.nodes.items()
            if name != self.name
        }
        self.gossip = self.make_gossip(siblings)
        self.holder = WitnessHolder(
            self.journal,
            public_keys={name: public_key(node.signing_key) for name, node in world.nodes.items()},
            core_key=world.core.public_key,
            offload=inline,
            gossip=self.gossip,
        )
        core = CoreLink(self.name, world.core, self.core_wire)
        self.breaker = AsyncBreaker(clock=clock, rng=rng, settings=BreakerSettings())
        self.probe = CoreProbe(core, breaker=self.breaker, clock=clock, rng=rng)
        self.peers = PeerWatch(siblings, clock=clock, rng=rng, gossip=self.gossip)
        self.returning = Returning(
            journal=self.journal,
            core=core,
            breaker=self.breaker,
            probe=self.probe,
            clock=clock,
            rng=rng,
        )
        self.live_budget, self.drain_budget = (RetryBudget(clock, world.retries) for _ in range(2))
        self.submission = Submission(
            journal=self.journal,
            core=core,
            breaker=self.breaker,
            probe=self.probe,
            siblings=siblings,
            peers=self.peers,
            limits=lambda: world.limits,
            outage_seconds=lambda: world.outage_seconds,
            core_key=world.core.public_key,
            core_takes=self.returning.core_takes_intents,
            budget=self.live_budget,
            clock=clock,
            settings=SubmissionSettings(),
            capturing=self.make_capturing() if world.charging else None,
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
            core_takes=self.returning.core_takes_intents,
            budget=self.drain_budget,
            clock=clock,
            rng=rng,
            settings=DrainSettings(),
        )
        self.pruning = self.make_pruning()
        self.probe.on_answer(self.hear_cover)
        parts = (self.probe, self.peers, self.returning, self.submission, self.drain, self.pruning)
        self.tasks = [asyncio.create_task(part.run(self.stop)) for part in parts]

    def make_pruning(self) -> Pruning:
        """Let this node drop what the core's backups cover."""
        world = self.world
        return Pruning(
            journal=self.journal,
            probe=self.probe,
            shown=lambda: world.shown,
            core_key=world.core.public_key,
            clock=world.clock,
            settings=world.pruning,
        )

    def hear_cover(self) -> None:
        """Take over what the core says of its backups."""
        told = self.probe.latest
        if told is not None and told.cover is not None:
            self.pruning.note(told.cover)

    def make_gossip(self, siblings: Iterable[str]) -> Gossip:
        """Tell siblings what waits here, and keep what they tell."""
        world = self.world
        return Gossip(
            self.name,
            reader=self.journal.reader,
            signer=Signer(self.signing_key),
            public_keys={name: public_key(world[name].signing_key) for name in siblings},
            expelled=lambda peer: peer in world.expelled,
            fleet_key=FLEET_KEY,
            normal=lambda: world.normal,
            core_now=world.clock.now,
            clock=world.clock,
            path=self.news,
        )

    def make_capturing(self) -> Capturing:
        """Let this node charge every saved method at the world's processor."""
        return Capturing(
            journal=self.journal,
            processor=self.world.processor,
            token_of=lambda _, method_id: f"tok-{method_id}",
            core_now=self.world.clock.now,
            clock=self.world.clock,
            settings=self.world.capturing,
        )

    async def crash(self, *, lose_disk: bool = False) -> None:
        """End everything between two steps, as kill -9 would; the files stay, or not."""
        self.holder = None
        flights = [flight.task for flight in self.submission._flights.values()]
        offering = self.submission._offering
        batchers = [offering._to_core, *offering._to_peer.values()]
        requests = [task for batcher in batchers for task in cast("Any", batcher)._requests]
        doomed = [*self.tasks, *flights, *requests, *self.submission._background]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        self.journal.close()
        if lose_disk:
            shutil.rmtree(self.folder)


class World:
    """A core and some edges; `bounds` and `free_bytes` apply to every node started after they were set."""

    def __init__(
        self,
        folder: Path,
        seed: int = 0,
        names: tuple[str, ...] = ("east", "west"),
        *,
        charging: bool = False,
        capturing: CaptureSettings | None = None,
        retries: RetryBudgetSettings | None = None,
    ) -> None:
        self.retries = retries
        self.capturing = capturing
        self.charging = charging
        self.processor = FakeProcessor()
        self.folder = folder
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.core = FakeCore(self.clock)
        self.limits = Limits()
        self.normal = False
        self.expelled: set[str] = set()
        self.outage_seconds = 0.0
        self.pruning = PruningSettings(pass_seconds=1.0, pause=0.01, batch_max=4, whole=2.0)
        self.shown: list[Position] = []
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
            method_type="card",
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
    charging: bool = False,
    capturing: CaptureSettings | None = None,
    retries: RetryBudgetSettings | None = None,
) -> None:
    """Tell a story in a running world, after it has had time to find itself."""

    async def main() -> None:
        made = World(folder, seed, names, charging=charging, capturing=capturing, retries=retries)
        with made.running() as world:
            await asyncio.sleep(settle_seconds)
            await story(world)

    run_virtually(seed, main)
