"""
Live traffic of a drill: readers and payers who move between the edges, and readers kept back for the outage.

Seeded: the same seed gives the same customers the same roles, amounts and order; only their timing is the machine's.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

import msgspec

from chaos.customers import CustomerSession, EdgeClient, now
from chaos.fleet_file import Customer
from chaos.history import History, Phase
from failover.intents import intent_id

READERS_MAX = 8
PAYERS_MAX = 12
UNTOUCHED_MAX = 20
# An edge stands in for so many payments of an account a day; a demo may be drilled more than once.
PAYMENTS_MAX: dict[Phase, int] = {"before": 2, "outage": 4, "after": 2}
PAY_TRIES = 12
AMOUNT_CENTS_MAX = 1500


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses between a customer's requests, in seconds; ``stagger`` spreads the kept-back readers."""

    reading: float = 0.35
    paying: float = 2.0
    retrying: float = 0.5
    stagger: float = 0.2


class Traffic:
    """
    Customers of a running drill.

    `start` sets readers and payers going, `release_untouched` lets in customers whose accounts nobody asked for yet,
    `stop` ends everything after the request each one is at.
    """

    def __init__(
        self,
        customers: Sequence[Customer],
        edges: Sequence[EdgeClient],
        history: History,
        *,
        seed: int,
        pace: Pace | None = None,
    ) -> None:
        self._edges = list(edges)
        self._history = history
        self._pace = pace or Pace()
        self._rng = Random(seed)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._run = f"drill-{seed}-{history.milestones.begun_at:%Y%m%d%H%M%S}"
        drawn = list(customers)
        self._rng.shuffle(drawn)
        kept_back = min(UNTOUCHED_MAX, max(1, len(drawn) // 4))
        payers = min(PAYERS_MAX, max(1, len(drawn) // 3))
        self._untouched = drawn[:kept_back]
        self.payers = self._sessions(drawn[kept_back : kept_back + payers])
        self.readers = self._sessions(drawn[kept_back + payers :][:READERS_MAX])

    def _sessions(self, customers: Sequence[Customer]) -> list[CustomerSession]:
        return [CustomerSession(customer, self._history) for customer in customers]

    def start(self) -> None:
        """Set readers and payers going."""
        for number, session in enumerate(self.readers):
            self._go(self._read_on(session, self._fork(), number))
        for number, session in enumerate(self.payers):
            self._go(self._pay_on(session, self._fork(), number))

    def release_untouched(self) -> None:
        """Let in customers whose accounts were never asked for, one after the other."""
        released = [
            CustomerSession(customer, self._history, untouched=True) for customer in self._untouched
        ]
        self._go(self._read_untouched(released, self._fork()))

    async def stop(self) -> None:
        """End all traffic; what is being asked right now is still answered. Raises what a customer ran into."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    def failed(self) -> BaseException | None:
        """Return an error of the drill's own that ended a customer early, if there is one."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    async def settle(self, *, seconds: float) -> None:
        """Ask about payments that have no end yet, until they have one or the time is over."""
        until = asyncio.get_running_loop().time() + seconds
        rng = self._fork()
        while asyncio.get_running_loop().time() < until:
            waiting = [session for session in self.payers if session.open_payments]
            if not waiting:
                return
            for session in waiting:
                for intent in session.open_payments:
                    await session.read_payment(rng.choice(self._edges), intent)
            await asyncio.sleep(self._pace.retrying)

    # -- what customers do ---------------------------------------------------------------------------------------------

    def _go(self, doing: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(doing))

    def _fork(self) -> Random:
        return Random(self._rng.getrandbits(64))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _read_on(self, session: CustomerSession, rng: Random, number: int) -> None:
        """Read everything in turn, at one edge and then at the other."""
        await self._pause(number * self._pace.stagger)
        turn = number
        while not self._stopping.is_set():
            edge = self._edges[turn % len(self._edges)]
            await self._read_something(session, edge, turn // len(self._edges))
            turn += 1
            await self._pause(self._pace.reading * rng.uniform(0.5, 1.5))

    async def _read_something(self, session: CustomerSession, edge: EdgeClient, turn: int) -> None:
        match turn % 8:
            case 0 | 3:
                await session.read_account(edge)
            case 1:
                await session.read_statements(edge)
            case 2 if session.statements:
                await session.read(edge, f"/statements/{session.statements[0]}", "statement")
            case 4:
                await session.read(edge, "/usage", "usage")
            case 5 if session.archived:
                path = f"/statements/{session.archived[-1]}"
                await session.read(edge, path, "statement", archive=True)
            case 6:
                await session.read_page(edge, "/")
            case 7:
                await session.read_page(edge, "/bills")
            case _:
                await session.read_payments(edge)

    async def _read_untouched(self, sessions: list[CustomerSession], rng: Random) -> None:
        """First reads of accounts that no edge was asked for before."""
        for session in sessions:
            if self._stopping.is_set():
                return
            first, *others = rng.sample(self._edges, len(self._edges))
            await session.read_account(first)
            await session.read_statements(first)
            for edge in others:
                await session.read_account(edge)
            await self._pause(self._pace.stagger)

    async def _pay_on(self, session: CustomerSession, rng: Random, number: int) -> None:
        """Pay, look at both edges whether it shows, and follow the receipts."""
        await self._pause(number * self._pace.stagger)
        await session.read_account(rng.choice(self._edges))
        made: Counter[Phase] = Counter()
        turn = number
        while not self._stopping.is_set():
            edge = self._edges[turn % len(self._edges)]
            turn += 1
            phase = self._history.phase(now())
            if made[phase] < PAYMENTS_MAX[phase] and session.method_id:
                await self._pay_once(session, edge, rng, f"{self._run}-{made.total()}")
                made[phase] += 1
            for place in rng.sample(self._edges, len(self._edges)):
                await session.read_account(place)
            if session.open_payments:
                chosen = rng.choice(session.open_payments)
                await session.read_payment(rng.choice(self._edges), chosen)
            await self._pause(self._pace.paying * rng.uniform(0.5, 1.5))

    async def _pay_once(
        self, session: CustomerSession, edge: EdgeClient, rng: Random, key: str
    ) -> None:
        """Make one payment, repeating with the same key until something is told or it is refused."""
        amount_cents = rng.randint(100, AMOUNT_CENTS_MAX)
        intent = intent_id(session.account_id, key)
        for _ in range(PAY_TRIES):
            state = await session.pay(edge, key=key, intent_id=intent, amount_cents=amount_cents)
            if state or intent not in session.payments:
                return
            await self._pause(self._pace.retrying)
            edge = rng.choice(self._edges)
