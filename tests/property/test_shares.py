"""
Whatever joins, leaves, is cut off, is heard late or forgets, in whatever order: what edges may have outstanding in all
stays within the fleet's stand-in total, and where operators lowered that, nothing adds to what is over it.
"""

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_sync.clock import SystemClock
from core_cis.domain.share_plan import Pot, Share, planned
from core_cis.keys import CoreKeys
from core_cis.registry import add_edge, revoke_edge
from core_cis.settings import Utility
from core_cis.standin_limits import first_limits, read_limits, set_limits
from core_cis.standin_shares import ShareDesk, look, read_shares
from core_cis.store import CoreStore
from core_cis.writer import InlineWriter
from failover.signed_orders import SignedOrder
from failover.signing import public_key
from failover.standin import Holding, Limits
from failover.standin_orders import StandinLimits

STEPS = 60
TOTALS = (0, 999, 10_000, 60_000, 250_000)


class Edge:
    """An edge as far as its limits go: what it was told lies on its disk, what it accepted waits."""

    def __init__(self, folder: Path, name: str, keys: CoreKeys, configured: Limits) -> None:
        folder.mkdir()
        self.name = name
        self.outstanding = 0
        self._folder = folder
        self._core_key = public_key(keys.signing_key)
        self._configured = configured
        self.restart()

    @property
    def share(self) -> int:
        """Tell the share in force."""
        return self.limits.limits.edge_outstanding_cents

    @property
    def most(self) -> int:
        """Tell the most that can be outstanding here."""
        return max(self.share, self.outstanding)

    def restart(self) -> None:
        """Forget all that is not on the disk."""
        self.limits = StandinLimits(
            self._folder,
            node_id=self.name,
            core_key=self._core_key,
            configured=self._configured,
        )

    def pay(self, cents: int) -> None:
        """Accept a payment if it fits into the share; what was accepted before is never asked again."""
        if self.outstanding + cents <= self.share:
            self.outstanding += cents


class Fleet:
    """A core with its books on a disk, and edges that ask it in any order."""

    def __init__(self, folder: Path, store: CoreStore, writer: InlineWriter) -> None:
        self._folder = folder
        self._store = store
        self._desk = ShareDesk(writer, store.keys.signing_key)
        self._names = 0
        self._late: list[tuple[Edge, Holding]] = []
        self.edges: dict[str, Edge] = {}

    def join(self) -> None:
        """Register an edge, with the file that the core writes for it."""
        self._names += 1
        name = f"edge-{self._names}"
        with self._store.transaction() as tx:
            add_edge(tx, name, f"http://127.0.0.1:{9000 + self._names}")
            configured = first_limits(tx.connection)
        self.edges[name] = Edge(self._folder / name, name, self._store.keys, configured)

    def revoke(self, edge: Edge) -> None:
        """Expel an edge: what it accepts from now on the core takes of nobody."""
        with self._store.transaction() as tx:
            revoke_edge(tx, edge.name)
        del self.edges[edge.name]
        self._late = [each for each in self._late if each[0] is not edge]

    def order(self, total: int, most: int) -> None:
        """Set the total, and the most that one edge may own."""
        with self._store.transaction(alone=True) as tx:
            limits = read_limits(tx.connection).limits
            values = {"fleet_outstanding_cents": total, "edge_outstanding_cents": most}
            set_limits(tx, limits.changed(values))

    async def probe(self, edge: Edge, *, answered: bool) -> None:
        """Have an edge ask; the core's answer may be lost after it was written down."""
        holding = edge.limits.holding(edge.outstanding)
        self._late.append((edge, holding))
        signed = await self._ask(edge, holding)
        if answered and signed is not None:
            edge.limits.note(signed)

    async def hear_late(self, rng: random.Random) -> None:
        """Have the core hear a question again that was asked long ago; nobody waits for the answer."""
        if self._late:
            await self._ask(*rng.choice(self._late))

    async def _ask(self, edge: Edge, holding: Holding) -> SignedOrder | None:
        seen = look(self._store.connection, edge.name, holding)
        return await self._desk.tell(edge.name, holding, seen, within_seconds=1.0)

    def total(self) -> int | None:
        """Tell the total in force; None before the first order."""
        found = read_limits(self._store.connection)
        return found.limits.fleet_outstanding_cents if found.version else None

    def most(self) -> int:
        """Sum what can be outstanding at all edges."""
        return sum(edge.most for edge in self.edges.values())

    def check_books(self) -> None:
        """No edge has more than the core counts for it."""
        for share in read_shares(self._store.connection):
            edge = self.edges[share.node_id]
            assert edge.most <= share.counted_cents or not share.version, msgspec.to_builtins(share)


async def step(fleet: Fleet, rng: random.Random) -> None:
    """Have one thing happen."""
    edges = list(fleet.edges.values())
    what = rng.choice(
        ("join", "revoke", "order", "late", *["probe"] * 6, *["pay"] * 4, "settle", "restart")
    )
    if what == "order":
        return fleet.order(rng.choice(TOTALS), rng.choice((500, 40_000, 100_000)))
    if what == "join" or not edges:
        return fleet.join() if len(edges) < 6 else None
    if what == "late":
        return await fleet.hear_late(rng)
    edge = rng.choice(edges)
    match what:
        case "revoke":
            fleet.revoke(edge)
        case "probe":
            await fleet.probe(edge, answered=rng.random() < 0.7)
        case "pay":
            edge.pay(rng.choice((1, 500, edge.share)))
        case "settle":
            edge.outstanding = rng.choice((0, edge.outstanding // 2))
        case _:
            edge.restart()
    return None


async def live(seed: int, folder: Path) -> None:
    """Live through a history, then heal."""
    rng = random.Random(seed)
    clock = SystemClock()

    def open_store() -> CoreStore:
        return CoreStore.open(folder / "core", clock, utility=Utility(name="Test Light"))

    writer = InlineWriter(open_store, clock)
    await writer.start()
    with open_store() as store:
        fleet = Fleet(folder, store, writer)
        for _ in range(rng.randrange(4)):
            fleet.join()
        for _ in range(STEPS):
            before = fleet.most()
            await step(fleet, rng)
            total = fleet.total()
            if total is not None:
                assert fleet.most() <= max(total, before), (total, before)
        fleet.order(100_000, 40_000)
        for _ in range(4):
            for edge in fleet.edges.values():
                edge.outstanding = 0
                await fleet.probe(edge, answered=True)
        fleet.check_books()
        even = min(40_000, 100_000 // max(1, len(fleet.edges)))
        assert {edge.share for edge in fleet.edges.values()} <= {even}
    await writer.stop()


def survives(seed: int) -> None:
    """Live through one history."""
    with TemporaryDirectory() as folder:
        asyncio.run(live(seed, Path(folder)))


def survives_all(seeds: Iterable[int]) -> None:
    """Live through many."""
    for seed in seeds:
        survives(seed)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_fleet_stays_within_its_total(seed: int) -> None:
    """At every step; and once everybody was heard, each has its even part."""
    survives(seed)


def believe_old_words(share: Share, said: Holding | None) -> Share:
    """Believe whatever an edge said, however long ago."""
    return share if said is None else msgspec.structs.replace(share, held_cents=said.cents)


def forget_what_was_had(share: Share, pot: Pot) -> Share:
    """Count what was told last, whether it is followed or not."""
    told = planned(share, pot)
    return msgspec.structs.replace(told, held_cents=told.share_cents)


def share_evenly(share: Share, pot: Pot) -> Share:
    """Share out as if nobody had anything yet."""
    return planned(share, msgspec.structs.replace(pot, others_held_cents=0))


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("heard", believe_old_words),
        ("planned", forget_what_was_had),
        ("planned", share_evenly),
    ],
)
def test_a_planted_bug_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str, bug: Any) -> None:
    """Within a few histories: the same that the real sharing survives."""
    monkeypatch.setattr(f"core_cis.standin_shares.{name}", bug)
    with pytest.raises(AssertionError):
        survives_all(range(60))
