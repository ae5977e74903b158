"""A utility with a customer who is forgotten, and edges that answer without a network."""

from typing import Any

import httpx

from cache_sync.packed_bodies import unpack_body
from cache_sync.sql import is_server
from core_cis.bookkeeping import post
from core_cis.cli_forget import ForgetReport, forget
from core_cis.domain import ledger
from core_cis.intake import Intake
from core_cis.peer_journals import PeerJournals
from core_cis.settings import ServerSettings
from core_cis.tables import tables
from tests.integration.core_cis.conftest import Core
from tests.integration.core_cis.console_edges import Edges
from tests.integration.utility import SmallUtility, customer_row

PERSON, ACCOUNT = "C-7", "A-7"
SECRETS = (
    "Wilhelmina Unforgettable",
    "wilhelmina@secret.example",
    "77 Nowhere Else Lane",
    "Savings ending 7777",
    "tok_of_wilhelmina",
    "M-777",
    "SP-777",
)


class Utility(SmallUtility):
    """The utility whose customer is forgotten."""

    def __init__(self, core: Core) -> None:
        super().__init__(core.data_dir, "America/Chicago")
        self.core = core
        self.edges = Edges()

    def fill(self) -> None:
        """Have a customer with readings, bills, a way to pay, and payments of both kinds; nothing is owed."""
        self.tariff()
        since = {"supplied_from": "2026-01-01"}
        self.customers(
            customer_row(
                7,
                name=SECRETS[0],
                email=SECRETS[1],
                address=SECRETS[2],
                method_label=SECRETS[3],
                method_token=SECRETS[4],
                meter_id=SECRETS[5],
                service_point_id=SECRETS[6],
                **since,
            ),
            customer_row(8, **since),
        )
        for point in ("SP-777", "SP-8"):
            self.read("2026-01-01", "2026-03-09", service_point_id=point)
        self.bill("2026-03-05")
        with self.store.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO import_findings (imported_at, source, line, code, detail, service_point_id)"
                " VALUES ('', 'readings.xml', 1, 'gap', '', 'SP-777')"
            )
            tx.connection.execute(
                "INSERT INTO register_reads (meter_id, read_at, register_wh, quality) VALUES ('M-777', '', 1, 0)"
            )
        self.pay("office-1", 1000, "2026-03-01", account_id=ACCOUNT)
        self.paid = self.intent("through-east", self.balance(ACCOUNT))
        (self.outcome,) = self.take(self.paid).outcomes

    def intent(self, key: str, cents: int = 100, account_id: str = ACCOUNT) -> Any:
        """Record a payment at an edge."""
        method = f"pm-{account_id.removeprefix('A-')}"
        return self.core.intent(key, account_id=account_id, amount_cents=cents, method_id=method)

    def take(self, *intents: Any) -> Any:
        """Let the core decide."""
        return Intake(self.store, ServerSettings()).take(list(intents), delivered_by="east")

    def forget(self, *, sure: bool = True, **options: Any) -> ForgetReport:
        """Forget the customer; edges answer without a network."""
        journals = PeerJournals(
            self.store.keys.node_secret, transport=httpx.MockTransport(self.edges.answer)
        )
        return forget(self.store, PERSON, sure=sure, journals=journals, **options)

    def found(self) -> dict[str, set[str]]:
        """Name the tables that hold something of the customer, and what."""
        dialect = "postgresql" if is_server(self.store.connection) else "sqlite"
        found: dict[str, set[str]] = {}
        for table in tables(dialect).tables:
            rows = self.store.connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our names
            text = "\n".join(
                (unpack_body(value) if table == "documents" else value).decode("latin-1")
                if isinstance(value, bytes)
                else str(value)
                for row in rows
                for value in row
            )
            held = {secret for secret in SECRETS if secret in text}
            if held:
                found[table] = held
        return found

    def live(self, account_id: str = ACCOUNT) -> set[str]:
        """Name the kinds of documents that are published of an account."""
        rows = self.store.connection.execute(
            "SELECT kind FROM documents WHERE account_id = ? AND body IS NOT NULL", (account_id,)
        )
        return {kind for (kind,) in rows.fetchall()}


def owe(tx: Any, cents: int) -> None:
    """Have something owed on the account."""
    post(
        tx,
        ledger.adjustment(
            account_id=ACCOUNT,
            key=f"owed-{cents}",
            amount_cents=cents,
            value_date=tx.today,
            description="A correction",
        ),
    )


def kinds_of(report: ForgetReport) -> list[str]:
    """Name what is in the way."""
    return [each.kind for each in report.obstacles]
