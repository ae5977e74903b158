"""A utility that charges late fees, with edges that answer without a network."""

from datetime import UTC, date, datetime, time
from typing import Any

import httpx

from cache_sync.documents import AccountBody
from core_cis.books import read_books
from core_cis.cli_collections import collect
from core_cis.collection_records import TakenStep, read_steps
from core_cis.collection_run import CollectionReport
from core_cis.collection_terms import set_terms
from core_cis.domain.collecting import Terms
from core_cis.intake import Intake
from core_cis.peer_journals import PeerJournals
from core_cis.reconcile import reconcile
from core_cis.settings import ServerSettings
from failover.intents import Intent
from tests.integration.core_cis.conftest import Core
from tests.integration.core_cis.console_edges import Edges
from tests.integration.utility import SmallUtility, customer_row

ACCOUNT, NEIGHBOUR = "A-7", "A-8"
# 31 days of 24 kWh at 10 cents, and 10 dollars a month.
BILL_CENTS = 8440
FEE_CENTS = 127
ISSUED, DUE, IN_TIME = date(2026, 2, 1), date(2026, 2, 22), date(2026, 2, 27)
TODAY = date(2026, 3, 10)
TERMS = Terms(
    late_fee_basis_points=150, past_due_days=10, disconnection_notice_days=2, disconnection_days=3
)


class Utility(SmallUtility):
    """Two customers with a bill each, issued on February 1 and due on the 22nd; today is March 10."""

    def __init__(self, core: Core) -> None:
        super().__init__(core.data_dir, "America/Chicago")
        self.core = core
        self.edges = Edges()

    def fill(self, through: str = "2026-01-31", terms: Terms = TERMS) -> None:
        """Have the customers, their usage, the bills and the terms."""
        self.tariff()
        since = {"supplied_from": "2026-01-01"}
        self.customers(customer_row(7, **since), customer_row(8, **since))
        for point in ("SP-7", "SP-8"):
            self.read("2026-01-01", "2026-03-09", service_point_id=point)
        self.bill(through, ACCOUNT, NEIGHBOUR)
        self.pay("neighbour", BILL_CENTS, "2026-02-10", account_id=NEIGHBOUR)
        self.set(terms)

    def set(self, terms: Terms) -> None:
        """Put terms in force."""
        with self.store.transaction(alone=True) as tx:
            set_terms(tx, terms)

    def collect(self, day: date = date(2026, 3, 1), **options: Any) -> CollectionReport:
        """Run collections as of a day; edges answer without a network."""
        journals = PeerJournals(
            self.store.keys.node_secret, transport=httpx.MockTransport(self.edges.answer)
        )
        return collect(self.store, day, journals=journals, **options)

    def intent(
        self, day: date, cents: int = BILL_CENTS, *, key: str = "web", edge: str = "east"
    ) -> Intent:
        """Record a payment of the bill at an edge, in the afternoon of a day."""
        return self.core.intent(
            key,
            account_id=ACCOUNT,
            amount_cents=cents,
            method_id="pm-7",
            edge=edge,
            accepted_at=datetime.combine(day, time(20), UTC),
        )

    def take(self, *intents: Intent) -> Any:
        """Let the core decide."""
        return Intake(self.store, ServerSettings()).take(list(intents), delivered_by="west")

    def steps(self) -> list[TakenStep]:
        """Read what was done about the account."""
        return read_steps(self.store.connection, [ACCOUNT])

    def shown_cents(self) -> int:
        """Tell the balance that the customer sees."""
        body: AccountBody = self.documents("account", ACCOUNT)[""]
        return body.balance_cents

    def check_books(self) -> None:
        """Check that the books agree with themselves and with what is published."""
        assert reconcile([], read_books(self.store.connection)).differences == []
        assert self.shown_cents() == self.balance(ACCOUNT)
