"""The end of a drill: every book is taken down, and what every edge shows of every account and payment."""

import asyncio
from collections.abc import Sequence

from chaos.books import Books
from chaos.customers import CustomerSession, EdgeClient
from chaos.fleet_file import Customer
from chaos.history import FinalAccount, History
from chaos.money_invariants import first_taken
from chaos.watch import Watch

LOOKS_AT_THE_END = 6
_SIGN_INS_AT_ONCE = 3


async def compare(
    history: History,
    customers: Sequence[Customer],
    books: Books,
    watch: Watch,
    edges: Sequence[EdgeClient],
) -> None:
    """Write into the history what core and edges say at the end. Raises `ControlError` without the core."""
    await _Comparison(history, customers, books, edges).run(watch)


class _Comparison:
    def __init__(
        self,
        history: History,
        customers: Sequence[Customer],
        books: Books,
        edges: Sequence[EdgeClient],
    ) -> None:
        self._history = history
        self._customers = customers
        self._books = books
        self._edges = edges
        # The receipts of the end are kept apart from what customers saw on the way.
        self._apart = History(
            edges=history.edges, timezone="UTC", milestones=history.milestones, fault=history.fault
        )

    async def run(self, watch: Watch) -> None:
        history = self._history
        accounts = [customer.account_id for customer in self._customers]
        history.ledgers_after = await self._books.ledgers(accounts)
        for edge in self._edges:
            await watch.look(edge)
        for intent in sorted(self._intents()):
            history.core_intents[intent] = await self._books.intent(intent)
        await self._take_down_accounts()
        await self._take_down_receipts()
        history.final_sightings = self._apart.sightings
        history.reconciliation = await self._books.reconcile()

    def _intents(self) -> set[str]:
        """Name every payment that was tried, and every one that is new in a ledger."""
        history = self._history
        intents = {attempt.intent_id for attempt in history.attempts}
        for account_id, ledger in history.ledgers_after.items():
            before = {entry.intent_id for entry in history.ledgers_before[account_id].entries}
            since = {entry.intent_id for entry in ledger.entries} - before
            intents |= {intent for intent in since if intent}
        return intents

    async def _take_down_accounts(self) -> None:
        gate = asyncio.Semaphore(_SIGN_INS_AT_ONCE)

        async def take_down(customer: Customer) -> list[FinalAccount]:
            async with gate:
                session = CustomerSession(customer, self._apart)
                return [await self._account(session, edge) for edge in self._edges]

        shown = await asyncio.gather(*(take_down(one) for one in self._customers))
        self._history.final_accounts = [one for group in shown for one in group]

    async def _account(self, session: CustomerSession, edge: EdgeClient) -> FinalAccount:
        """Look at an account; a few times when somebody is just paying, for the feed takes a moment."""
        account_id = session.account_id
        ledgers = self._history.ledgers_after
        answer = await session.read_account(edge)
        for _ in range(LOOKS_AT_THE_END):
            balance = ledgers[account_id].balance_cents
            if answer.number("balance") == balance and not answer.number("pending_amount"):
                break
            await asyncio.sleep(0.5)
            ledgers[account_id] = await self._books.ledger(account_id)
            answer = await session.read_account(edge)
        zone = answer.members.get("timezone")
        if isinstance(zone, str):
            self._history.timezone = zone
        return FinalAccount(
            edge=edge.name,
            account_id=account_id,
            status=answer.status,
            balance_cents=answer.number("balance"),
            pending_cents=answer.number("pending_amount"),
        )

    async def _take_down_receipts(self) -> None:
        owners = {customer.account_id: customer for customer in self._customers}
        sessions: dict[str, CustomerSession] = {}
        for intent, seen in first_taken(self._history).items():
            if seen.account_id not in sessions:
                owner = owners[seen.account_id]
                sessions[seen.account_id] = CustomerSession(owner, self._apart)
            for edge in self._edges:
                await sessions[seen.account_id].read_payment(edge, intent)
