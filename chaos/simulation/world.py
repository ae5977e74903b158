"""One world: a core, edges, customers, what goes wrong, and whether all is well in the end."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

from cache_sync.document_table import read_head
from cache_sync.shards import FIRST_SHARD
from chaos.simulation.core_node import CoreNode
from chaos.simulation.customers import Customer
from chaos.simulation.edge_node import EdgeNode
from chaos.simulation.facts import Adjusted, Facts
from chaos.simulation.faults import happen
from chaos.simulation.network import Network
from chaos.simulation.plan import Plan
from chaos.simulation.utility import ACCOUNTS, EDGES, Blueprint, adjust
from chaos.simulation.virtual_time import NodeClock, VirtualLoop
from core_cis.store import Transaction
from edge_portal.errors import EdgeError, NotSignedIn

SETTLE_SECONDS_MAX: Final = 90.0
_LOOK_SECONDS: Final = 0.5
_STAFF_PAUSE_SECONDS: Final = 3.0


class World:
    """
    One world, as its plan says. Made and used on its loop; `live` it once, then look at what was noted.

    Args:
        loop: Its time.
        plan: What goes wrong.
        blueprint: The utility that it begins with.
        folder: Where its files are.
    """

    def __init__(self, loop: VirtualLoop, plan: Plan, blueprint: Blueprint, folder: Path) -> None:
        self.plan = plan
        self.loop = loop
        self.facts = Facts()
        self.exposures: list[tuple[float, str, int]] = []
        self._rng = Random(f"world {plan.seed}")
        self.network = Network(loop, self._stream("network"))
        self.core = CoreNode(
            loop, blueprint.core(folder), self._clock("core"), self._stream("core")
        )
        self.edges = {
            name: EdgeNode(
                loop,
                blueprint.edge(name, folder),
                self.network,
                self._clock(name),
                self._stream(name),
            )
            for name in EDGES
        }
        self.network.hosts = {"core": self.core, **self.edges}
        everywhere = list(self.edges.values())
        self.customers = {
            account_id: Customer(loop, account_id, everywhere, self.facts, self._stream(account_id))
            for account_id in ACCOUNTS
        }
        self.settled = False
        self.restored = False
        self.lost_disk = False

    def _stream(self, name: str) -> Random:
        """Return a source of chance of its own: what one part draws changes nothing for another."""
        return Random(f"{self.plan.seed} {name}")

    def _clock(self, name: str) -> NodeClock:
        skew = timedelta(seconds=self.plan.skews.get(name, 0.0))
        return NodeClock(self.loop, name, skew=skew, drift=self.plan.drifts.get(name, 0.0))

    # Living

    async def live(self) -> None:
        """Let customers and faults go on for as long as planned, heal everything, and wait until all is settled."""
        await self.core.start()
        for edge in self.edges.values():
            await edge.start()
        living = [
            self.loop.start(None, customer.live(self.plan.seconds, self.plan.pause))
            for customer in self.customers.values()
        ]
        watching = self.loop.start(None, self._watch())
        staff = self.loop.start(None, self._work())
        for event in self.plan.events:
            self.loop.start(None, happen(self, event))
        await asyncio.sleep(self.plan.seconds)
        await asyncio.wait(living, timeout=60)
        await self._heal()
        await self._settle()
        watching.cancel()
        staff.cancel()
        if self.settled:
            await self._look_around()

    async def _watch(self) -> None:
        """Note what every edge has outstanding, again and again."""
        while True:
            for edge in self.edges.values():
                if edge.running is not None:
                    self.exposures.append((self.loop.time(), edge.name, edge.outstanding_cents()))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _work(self) -> None:
        """Do staff's work at the core: now and then an account owes more, or less."""
        rng, number = self._stream("staff"), 0
        while self.loop.time() < self.plan.seconds:
            await asyncio.sleep(rng.expovariate(1 / _STAFF_PAUSE_SECONDS))
            number += 1
            account_id, cents = rng.choice(ACCOUNTS), rng.randint(-5000, 5000) or 1
            key = f"adjustment {number}"

            def change(
                tx: Transaction, account_id: str = account_id, cents: int = cents, key: str = key
            ) -> None:
                adjust(tx, account_id, cents, key)

            if await self.at_core(change):
                self.facts.adjusted.append(
                    Adjusted(
                        at=self.loop.time(),
                        account_id=account_id,
                        amount_cents=cents,
                        disk=self.core.disk,
                    )
                )

    async def at_core(self, change: Callable[[Transaction], object]) -> bool:
        """Have staff change the books; tells whether they could."""
        core = self.core
        if core.life is None or core.life.frozen or core.disk_fail_chance:
            return False
        await self.loop.start(core.life, core.write(change))
        return True

    # What goes wrong

    # The end

    async def _heal(self) -> None:
        self.facts.tell(self.loop.time(), "-- all heals")
        self.network.heal()
        self.core.heal()
        if self.core.life is None:
            await self.core.start()
        for edge in self.edges.values():
            edge.thaw()
            edge.disk.fail_chance = 0.0
            edge.disk.mend()
            await edge.start()

    async def _settle(self) -> None:
        until = self.loop.time() + SETTLE_SECONDS_MAX
        while self.loop.time() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self.unsettled():
                self.settled = True
                self.facts.tell(self.loop.time(), "-- all is settled")
                return

    def unsettled(self) -> list[str]:
        """Say what is not as it should be when nothing has gone wrong for a while."""
        wrong: list[str] = []
        with self.core.reading() as connection:
            head = read_head(connection, FIRST_SHARD)
        for edge in self.edges.values():
            waiting = edge.waiting()
            if waiting:
                wrong.append(f"{edge.name}: {waiting} intents wait")
            try:
                position, mode = edge.portal.freshness().position, edge.portal.mode()
            except EdgeError as error:
                wrong.append(f"{edge.name}: {type(error).__name__}")
                continue
            if (position.epoch, position.seq) != (head.epoch, head.head):
                wrong.append(f"{edge.name}: at {position}, the core at {head.epoch}.{head.head}")
            if mode.mode != "normal":
                wrong.append(f"{edge.name}: {mode.mode}, {mode.reason}")
        return wrong

    async def _look_around(self) -> None:
        """Have every customer look at every edge, and try what no longer opens anything."""
        for account_id, customer in self.customers.items():
            for edge in self.edges.values():
                customer.go_to(edge)
                customer.look()
                for token in customer.revoked:
                    try:
                        edge.portal.authenticate(token)
                    except NotSignedIn:
                        continue
                    self.facts.stale_tokens.append(f"{edge.name}: an old token opens {account_id}")
