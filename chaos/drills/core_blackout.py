"""
Core blackout: the core is killed under live traffic, stays dead, and comes back.

Steady state, traffic, kill -9, hold, restart, drain, normal, and then every book is compared.
"""

import asyncio
import contextlib
import html
import re
from collections.abc import Callable

import msgspec

from chaos.books import Books
from chaos.core_switch import CoreSwitch
from chaos.customers import CustomerSession, EdgeClient, now
from chaos.errors import FleetError, SteadyStateError
from chaos.fleet_file import Customer, FleetFile
from chaos.history import FinalAccount, History, Milestones, Sighting, StatusSample
from chaos.money_invariants import first_taken
from chaos.traffic import Traffic
from chaos.watch import Watch

ID = "core-blackout"
SUMMARY = "Kill the core under live traffic, hold, start it again, and compare every book."

STEADY_WAIT_SECONDS = 120.0
STEADY_LAG_SECONDS_MAX = 5.0
CORE_START_SECONDS_MAX = 60.0
NORMAL_WAIT_SECONDS = 180.0
SETTLE_SECONDS_MAX = 30.0
LOOKS_AT_THE_END = 6
_POLL_SECONDS = 0.1
_SIGN_INS_AT_ONCE = 3
_HEADING = re.compile(r'<p class="big"><b>(.*?)</b>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How long each part takes, in seconds, and what is drawn."""

    hold_seconds: float = 30.0
    before_seconds: float = 8.0
    after_seconds: float = 5.0
    seed: int = 1


class CoreBlackout:
    """One run of the drill against a fleet; ``say`` is told each step."""

    def __init__(
        self, fleet: FleetFile, switch: CoreSwitch, options: Options, say: Callable[[str], None]
    ) -> None:
        self._fleet = fleet
        self._switch = switch
        self._options = options
        self._say = say
        self._core_is_down = False
        self.samples: dict[str, str] = {}
        self.history = History(
            edges=[edge.name for edge in fleet.edges],
            timezone="UTC",
            milestones=Milestones(begun_at=now()),
        )

    async def run(self) -> History:
        """
        Run the drill; returns what was seen.

        Raises:
            SteadyStateError: The fleet was not well before; nothing was broken.
            ChaosError: The drill could not be carried through. The core is started again also then.
        """
        async with contextlib.AsyncExitStack() as open_until_the_end:
            enter = open_until_the_end.enter_async_context
            books = await enter(Books(self._fleet.core))
            edges = [await enter(EdgeClient(edge.name, edge.url)) for edge in self._fleet.edges]
            watch = Watch(edges, self.history, self._fleet.core.operator_token)
            await self._check_steady_state(books, watch, edges)
            traffic = Traffic(self._fleet.customers, edges, self.history, seed=self._options.seed)
            watch.start()
            try:
                await self._blackout(books, watch, traffic, edges)
            finally:
                if self._core_is_down:
                    self._switch.start()
                await watch.stop()
            self.history.milestones.ended_at = now()
            await self._compare(books, watch, edges)
        return self.history

    # -- the steps -----------------------------------------------------------------------------------------------------

    async def _check_steady_state(
        self, books: Books, watch: Watch, edges: list[EdgeClient]
    ) -> None:
        """Wait until the fleet is well, and take down the books. Raises `SteadyStateError`."""
        self._say("Checking that the fleet is well")
        until = asyncio.get_running_loop().time() + STEADY_WAIT_SECONDS
        while True:
            unwell = [] if await books.ready() else ["the core does not answer"]
            for edge in edges:
                unwell += _unwell(await watch.look(edge))
            if not unwell:
                break
            if asyncio.get_running_loop().time() > until:
                raise SteadyStateError(f"the fleet is not well: {'; '.join(unwell)}")
            await asyncio.sleep(_POLL_SECONDS * 5)
        reconciled = await books.reconcile()
        if reconciled.exit_code:
            found = "; ".join(reconciled.differences[:3])
            raise SteadyStateError(f"the books do not agree before the drill: {found}")
        accounts = [customer.account_id for customer in self._fleet.customers]
        self.history.ledgers_before = await books.ledgers(accounts)
        self.history.samples.clear()
        self.history.milestones.begun_at = now()

    async def _blackout(
        self, books: Books, watch: Watch, traffic: Traffic, edges: list[EdgeClient]
    ) -> None:
        options, moments = self._options, self.history.milestones
        self._say(f"Traffic: {len(traffic.readers)} readers, {len(traffic.payers)} payers")
        traffic.start()
        await self._wait(options.before_seconds, traffic)
        self._say("Killing the core")
        moments.killed_from = now()
        self._core_is_down = True
        self._switch.kill()
        moments.killed_at = now()
        traffic.release_untouched()
        await self._wait(options.hold_seconds, traffic)
        await self._sample("outage", traffic, edges)
        self._say("Starting the core again")
        moments.restarting_at = now()
        self._switch.start()
        self._core_is_down = False
        await self._wait_core(books)
        moments.core_ready_at = now()
        self._say("The core answers; waiting for the drain and for normal")
        await self._wait_normal(watch, traffic, edges)
        await self._wait(options.after_seconds, traffic)
        self._say("Ending traffic")
        await traffic.stop()
        await traffic.settle(seconds=SETTLE_SECONDS_MAX)

    async def _wait(self, seconds: float, traffic: Traffic) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(min(_POLL_SECONDS, seconds))
            failed = traffic.failed()
            if failed is not None:
                raise failed

    async def _wait_core(self, books: Books) -> None:
        until = asyncio.get_running_loop().time() + CORE_START_SECONDS_MAX
        while not await books.ready():
            if asyncio.get_running_loop().time() > until:
                raise FleetError("the core did not come back")
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_normal(self, watch: Watch, traffic: Traffic, edges: list[EdgeClient]) -> None:
        """Wait until nothing waits and every edge is normal; what does not happen in time is left unset."""
        moments = self.history.milestones
        begun = now()
        until = asyncio.get_running_loop().time() + NORMAL_WAIT_SECONDS
        while asyncio.get_running_loop().time() < until:
            await self._wait(_POLL_SECONDS, traffic)
            fresh = [sample for sample in watch.latest.values() if sample.at > begun]
            first = watch.latest[edges[0].name]
            if first.mode == "recovering" and "after" not in self.samples:
                await self._sample("after", traffic, edges)
            drained = len(fresh) == len(self.history.edges) and all(
                sample.mode and not sample.pending for sample in fresh
            )
            if drained and moments.drained_at is None:
                moments.drained_at = max(sample.at for sample in fresh)
            self._note_normal(fresh)
            if moments.drained_at is not None and len(moments.normal_at) == len(self.history.edges):
                return

    def _note_normal(self, fresh: list[StatusSample]) -> None:
        for sample in fresh:
            if sample.mode == "normal" and sample.edge not in self.history.milestones.normal_at:
                self.history.milestones.normal_at[sample.edge] = sample.at
                self._say(f"{sample.edge} is normal")

    async def _sample(self, phase: str, traffic: Traffic, edges: list[EdgeClient]) -> None:
        """Keep the sentence that a customer's page shows now."""
        reader = (traffic.readers or traffic.payers)[0]
        page = await edges[0].ask("GET", "/", seconds=5, headers=reader.cookie)
        found = _HEADING.search(page.text)
        if page.ok and found:
            words = html.unescape(_TAG.sub(" ", found.group(1)))
            self.samples[phase] = " ".join(words.split())

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _compare(self, books: Books, watch: Watch, edges: list[EdgeClient]) -> None:
        """Take down every book and what every edge shows of every account."""
        self._say("Comparing every book")
        history = self.history
        accounts = [customer.account_id for customer in self._fleet.customers]
        history.ledgers_after = await books.ledgers(accounts)
        for edge in edges:
            await watch.look(edge)
        intents = {attempt.intent_id for attempt in history.attempts}
        for account_id, ledger in history.ledgers_after.items():
            before = {entry.intent_id for entry in history.ledgers_before[account_id].entries}
            since = {entry.intent_id for entry in ledger.entries} - before
            intents |= {intent for intent in since if intent}
        for intent in sorted(intents):
            history.core_intents[intent] = await books.intent(intent)
        # The receipts of the end are kept apart from what customers saw on the way.
        apart = History(edges=history.edges, timezone="UTC", milestones=history.milestones)
        await self._final_accounts(books, edges, apart)
        taken = first_taken(history)
        owners = {customer.account_id: customer for customer in self._fleet.customers}
        await self._final_receipts(taken, owners, edges, apart)
        history.final_sightings = apart.sightings
        history.reconciliation = await books.reconcile()

    async def _final_accounts(self, books: Books, edges: list[EdgeClient], apart: History) -> None:
        gate = asyncio.Semaphore(_SIGN_INS_AT_ONCE)

        async def compare(customer: Customer) -> list[FinalAccount]:
            async with gate:
                session = CustomerSession(customer, apart)
                return [await self._final_account(books, session, edge) for edge in edges]

        shown = await asyncio.gather(*(compare(one) for one in self._fleet.customers))
        self.history.final_accounts = [one for group in shown for one in group]

    async def _final_account(
        self, books: Books, session: CustomerSession, edge: EdgeClient
    ) -> FinalAccount:
        """Look at an account; a few times when somebody is just paying, for the feed takes a moment."""
        account_id = session.account_id
        answer = await session.read_account(edge)
        for _ in range(LOOKS_AT_THE_END):
            balance = self.history.ledgers_after[account_id].balance_cents
            if answer.number("balance") == balance and not answer.number("pending_amount"):
                break
            await asyncio.sleep(0.5)
            self.history.ledgers_after[account_id] = await books.ledger(account_id)
            answer = await session.read_account(edge)
        self._learn_zone(answer.members.get("timezone"))
        return FinalAccount(
            edge=edge.name,
            account_id=account_id,
            status=answer.status,
            balance_cents=answer.number("balance"),
            pending_cents=answer.number("pending_amount"),
        )

    def _learn_zone(self, zone: object) -> None:
        if isinstance(zone, str):
            self.history.timezone = zone

    async def _final_receipts(
        self,
        taken: dict[str, Sighting],
        owners: dict[str, Customer],
        edges: list[EdgeClient],
        apart: History,
    ) -> None:
        sessions: dict[str, CustomerSession] = {}
        for intent, seen in taken.items():
            if seen.account_id not in sessions:
                owner = owners[seen.account_id]
                sessions[seen.account_id] = CustomerSession(owner, apart)
            for edge in edges:
                await sessions[seen.account_id].read_payment(edge, intent)


def _unwell(sample: StatusSample) -> list[str]:
    if not sample.mode:
        return [f"{sample.edge} does not answer"]
    found = [] if sample.mode == "normal" else [f"{sample.edge} is {sample.mode}: {sample.reason}"]
    if sample.pending:
        found.append(f"{sample.edge} has {sample.pending} payments waiting")
    if sample.lag_seconds is None or sample.lag_seconds > STEADY_LAG_SECONDS_MAX:
        found.append(f"{sample.edge} shows data {sample.lag_seconds} s old")
    return found
