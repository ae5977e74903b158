"""A portal that answers from memory, with one rich account, to look at every page in every mode without processes."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from litestar import Litestar
from litestar.datastructures import State
from litestar.testing import TestClient

from cache_sync.documents import (
    AccountBody,
    ArchivedStatement,
    BillChange,
    MeterRead,
    PaymentLine,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    StatementLine,
    TariffName,
    UsageBody,
    UsageDay,
)
from cache_sync.frames import Position
from edge_portal.errors import ArchiveUnavailable, NotFound, NotSignedIn, WrongCredentials
from edge_portal.pages.routes import page_handlers
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.session import Session
from edge_portal.views import AccountView, Freshness, Mode, ModeView, PaymentLimits
from failover.http_server import serve
from failover.intents import Receipt, State as PaymentState, fingerprint, intent_id

ACCOUNT = "4418220731"
OTHER_ACCOUNT = "4418220999"
ZONE = "America/New_York"
AS_OF = datetime(2026, 11, 17, 14, 42, 33, tzinfo=UTC)
BANK = "pm_bank"
PERIODS = (
    ("S-2026-11", date(2026, 10, 10), date(2026, 11, 10), date(2026, 11, 11), 12556, 612_000),
    ("S-2026-10", date(2026, 9, 10), date(2026, 10, 10), date(2026, 10, 12), 11199, 548_000),
    ("S-2026-09", date(2026, 8, 10), date(2026, 9, 10), date(2026, 9, 11), 13820, 664_000),
    ("S-2026-08", date(2026, 7, 11), date(2026, 8, 10), date(2026, 8, 12), 15173, 742_000),
)
HOUR_SHARES = (
    22,
    20,
    19,
    19,
    19,
    23,
    38,
    51,
    45,
    36,
    31,
    30,
    33,
    32,
    31,
    36,
    49,
    72,
    90,
    87,
    71,
    57,
    41,
    29,
)


def statement(index: int) -> StatementBody:
    """Build one of the account's bills, 0 is the newest."""
    name, first, end, issued, total, usage = PERIODS[index]
    older = PERIODS[index + 1] if index + 1 < len(PERIODS) else None
    days = (end - first).days
    energy = total - 1302 - 483
    lines = [
        StatementLine(kind="fixed", description="Customer charge", quantity=str(days), unit="day",
                      unit_price="0.4200", amount_cents=1302, period_from=first, period_to=end),
        StatementLine(kind="energy", description="Energy, first 500 kWh", quantity="500", unit="kWh",
                      unit_price="0.1124", amount_cents=5620, period_from=first, period_to=end),
        StatementLine(kind="energy", description="Energy, above 500 kWh", quantity=str(usage / 1000 - 500),
                      unit="kWh", unit_price="0.1386", amount_cents=energy - 5620, period_from=first,
                      period_to=end, estimated=index == 0),
        StatementLine(kind="tax", description="City utility tax", quantity="120.73", unit="$", unit_price="0.04",
                      amount_cents=483, period_from=first, period_to=end),
    ]  # fmt: skip
    previous = older[4] if older else 0
    return StatementBody(
        statement_id=name,
        account_id=ACCOUNT,
        issued_on=issued,
        period_from=first,
        period_to=end,
        due_date=issued + timedelta(days=21),
        currency="USD",
        previous_balance_cents=previous,
        payments_received_cents=previous,
        total_cents=total,
        amount_due_cents=total,
        usage_wh=usage,
        estimated_wh=58_000 if index == 0 else 0,
        lines=lines,
        meters=[
            MeterRead(
                meter_id="NW 20 771 384",
                service_point_id="sp-1",
                read_from=first,
                read_to=end,
                begin_register_wh=48_211_000,
                end_register_wh=48_211_000 + usage,
                usage_wh=usage,
                estimated_wh=58_000 if index == 0 else 0,
                end_read="estimated" if index == 0 else "actual",
            )
        ],  # fmt: skip
        tariffs=[
            TariffName(
                code="R-1",
                name="Residential Service R-1",
                utility="Northwater Power & Light",
                effective_from=date(2026, 1, 1),
            )
        ],  # fmt: skip
        payments=[
            PaymentLine(
                payment_id=f"p-{name}", value_date=older[3] + timedelta(16), amount_cents=previous
            )
        ]
        if older
        else [],
        changes=[
            BillChange(
                label="You used 64 kWh more", detail="612 kWh, up from 548", amount_cents=1263
            ),
            BillChange(
                label="One more day in the bill", detail="31 days, up from 30", amount_cents=42
            ),
            BillChange(
                label="Tax on the higher amount", detail="4%, the same rate", amount_cents=52
            ),
        ]
        if index == 0
        else [],
        previous_statement_id=older[0] if older else None,
        previous_total_cents=older[4] if older else None,
    )


def usage_day(day: date) -> UsageDay:
    """Build a day of readings; November 7 to 9 are estimated."""
    base = 17_000 + (day.toordinal() * 7919) % 6_000 + (14_000 if day == date(2026, 10, 24) else 0)
    hours: list[int | None] = [base * share // sum(HOUR_SHARES) for share in HOUR_SHARES]
    used = sum(hour or 0 for hour in hours)
    estimated = date(2026, 11, 7) <= day <= date(2026, 11, 9)
    return UsageDay(
        day=day, usage_wh=used, estimated_wh=used if estimated else 0, complete=True, hours=hours
    )


def usage() -> list[UsageBody]:
    """Build the account's readings from July 11 to November 16."""
    months: dict[str, list[UsageDay]] = {}
    day = date(2026, 7, 11)
    while day <= date(2026, 11, 16):
        months.setdefault(f"{day:%Y-%m}", []).append(usage_day(day))
        day += timedelta(days=1)
    return [
        UsageBody(
            account_id=ACCOUNT, service_point_id="sp-1", month=month, timezone=ZONE, days=days
        )
        for month, days in months.items()
    ]


def account(**changes: object) -> AccountBody:
    """Build the account's summary."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "customer_id": "C-1",
        "customer_name": "Ines Calloway",
        "email": "ines@example.com",
        "utility_name": "Northwater Power & Light",
        "currency": "USD",
        "timezone": ZONE,
        "status": "active",
        "balance_cents": 10056,
        "billed_balance_cents": 12556,
        "latest_statement_id": "S-2026-11",
        "due_date": date(2026, 12, 2),
        "payment_methods": [
            PaymentMethod(
                method_id=BANK,
                type="bank_account",
                label="Checking account ending 0417",
                status="verified",
            ),
            PaymentMethod(
                method_id="pm_visa", type="card", label="Visa ending 2291", status="verified"
            ),
            PaymentMethod(
                method_id="pm_old", type="card", label="Visa ending 1111", status="expired"
            ),
        ],
        "service_points": [
            ServicePoint(
                service_point_id="sp-1",
                meter_id="NW 20 771 384",
                address="14 Alder Quay",
                tariff_name="Residential Service R-1",
            )
        ],  # fmt: skip
    }
    return AccountBody(**(values | changes))  # type: ignore[arg-type]


def payment(
    key: str, amount_cents: int, state: PaymentState, accepted_at: datetime, **more: object
) -> Receipt:
    """Build a payment of the account."""
    values: dict[str, object] = {
        "intent_id": intent_id(ACCOUNT, key),
        "fingerprint": fingerprint(
            account_id=ACCOUNT,
            type_="payment",
            amount_cents=amount_cents,
            currency="USD",
            method_id=BANK,
        ),
        "account_id": ACCOUNT,
        "state": state,
        "amount_cents": amount_cents,
        "currency": "USD",
        "method_id": BANK,
        "accepted_at": accepted_at,
        "durable": state not in {"checking", "void"},
    }
    return Receipt(**(values | more))  # type: ignore[arg-type]


PAID_EARLIER = payment(
    "earlier",
    2500,
    "posted",
    datetime(2026, 11, 14, 16, 0, tzinfo=UTC),
    decided_at=datetime(2026, 11, 14, 16, 0, tzinfo=UTC),
    value_date=date(2026, 11, 14),
)
PAID_TODAY = AS_OF + timedelta(minutes=98)
ARCHIVED = ArchivedStatement(
    statement_id="S-2026-04",
    issued_on=date(2026, 4, 12),
    period_from=date(2026, 3, 11),
    period_to=date(2026, 4, 10),
    due_date=date(2026, 5, 3),
    total_cents=14011,
    amount_due_cents=14011,
)


class World(Portal):
    """
    A portal in memory: what tests change is what the pages show.

    ``pay_outcome`` is the state that payments get, or the error that they raise. ``paid`` remembers every call.
    """

    def __init__(self) -> None:
        self.account = account()
        self.statements = [statement(index) for index in range(len(PERIODS))]
        self.archived = [ARCHIVED]
        self.usage = usage()
        self.payments_made = [PAID_EARLIER]
        self.pending_cents = 0
        self.now_mode: Mode = "normal"
        self.payments_open = True
        self.archive_open = True
        self.age_seconds = 0.4
        self.at_least = False
        self.behind = False
        self.account_ids = [ACCOUNT]
        self.pay_outcome: PaymentState | Exception = "posted"
        self.paid: list[tuple[str, int, str]] = []
        self.elsewhere: dict[str, Receipt] = {}
        self.renews = False

    def ride_through(self, *, payments_open: bool = True, minutes: float = 98) -> None:
        """Take the core away."""
        self.now_mode, self.age_seconds = "degraded", minutes * 60
        self.payments_open, self.archive_open = payments_open, False

    def authenticate(self, token: str | None) -> Session:
        if token not in {"token", "token-other"}:
            raise NotSignedIn("missing" if token is None else "forged")
        return Session(
            customer_id="C-1",
            account_id=ACCOUNT if token == "token" else OTHER_ACCOUNT,
            account_ids=self.account_ids,
            credential_key="k",
            credential_version=1,
            session_id="s",
            signed_in_at=AS_OF,
            expires_at=AS_OF + timedelta(hours=2),
            csrf="csrf-of-session",
            renew=self.renews,
        )

    async def sign_in(self, email: str, password: str, client_id: str) -> str:
        if (email, password) != ("ines@example.com", "water"):
            raise WrongCredentials
        return "token"

    def switch_account(self, session: Session, account_id: str) -> str:
        if account_id not in session.account_ids:
            raise NotFound(account_id)
        return "token" if account_id == ACCOUNT else "token-other"

    def renew(self, session: Session) -> str:
        return "token"

    def read_position(self, text: str) -> Position | None:
        return Position.parse(text)

    def write_position(self, position: Position) -> str:
        return str(position)

    def mode(self) -> ModeView:
        return ModeView(
            mode=self.now_mode,
            reason="",
            since=AS_OF,
            payments_open=self.payments_open,
            archive_open=self.archive_open,
            limits=PaymentLimits(
                per_payment_cents=50_000, per_account_day_cents=50_000, per_account_day_count=5
            ),
        )

    def freshness(self) -> Freshness:
        return Freshness(
            position=Position(1, "0", 42),
            as_of=AS_OF,
            age_seconds=self.age_seconds,
            at_least=self.at_least,
        )

    def view(
        self, account_id: str, seen: Position | None, *, statements: bool = True, usage: bool = True
    ) -> AccountView:
        shown = self.account
        if account_id != ACCOUNT:
            shown = account(
                account_id=account_id, balance_cents=-500, billed_balance_cents=0, due_date=None
            )
        own = account_id == ACCOUNT
        return AccountView(
            account=shown,
            statements=self.statements if own else [],
            archived=self.archived if own else [],
            usage=self.usage if own else [],
            payments=self.payments_made if own else [],
            billed_cents=shown.billed_balance_cents,
            balance_cents=shown.balance_cents,
            pending_cents=self.pending_cents if own else 0,
            left_to_pay_cents=shown.balance_cents - (self.pending_cents if own else 0),
            freshness=self.freshness(),
            mode=self.mode(),
            catching_up=self.behind,
        )

    async def archived_statement(self, account_id: str, statement_id: str) -> StatementBody:
        if not self.archive_open:
            raise ArchiveUnavailable
        assert (account_id, statement_id) == (ACCOUNT, ARCHIVED.statement_id)
        return statement(3)

    async def pay(
        self, account_id: str, *, idempotency_key: str, amount_cents: int, method_id: str
    ) -> Receipt:
        self.paid.append((idempotency_key, amount_cents, method_id))
        if isinstance(self.pay_outcome, Exception):
            raise self.pay_outcome
        made = payment(idempotency_key, amount_cents, self.pay_outcome, PAID_TODAY)
        if all(known.intent_id != made.intent_id for known in self.payments_made):
            self.payments_made = [made, *self.payments_made]
            self.pending_cents += amount_cents
        return made

    async def payment(self, account_id: str, intent_id: str) -> Receipt:
        if intent_id not in self.elsewhere:
            raise NotFound(intent_id)
        return self.elsewhere[intent_id]

    def new_form_key(self, account_id: str) -> str:
        return f"random{len(self.paid)}.{account_id}"

    def check_form_key(self, account_id: str, key: str) -> str | None:
        random, _, signed = key.partition(".")
        return random if signed == account_id else None


SITE = Site(
    utility_name="Northwater Power & Light",
    utility_phone="1-800-555-0142",
    timezone=ZONE,
    currency="USD",
    retention_months=6,
)


def pages_app(world: World) -> Litestar:
    """Mount the pages on a portal."""
    state = State({"portal": world, "site": SITE, "secure_cookies": False})
    return Litestar(route_handlers=page_handlers(), state=state, openapi_config=None)


@pytest.fixture
def world() -> World:
    """Return the portal in memory, live, with one customer's account."""
    return World()


@pytest.fixture
def visitor(world: World) -> Iterator[TestClient[Litestar]]:
    """Return a browser without scripts that is not signed in."""
    with TestClient(pages_app(world), base_url="http://edge.test") as client:
        client.follow_redirects = False
        client.headers["Origin"] = "http://edge.test"
        yield client


@pytest.fixture
def customer(visitor: TestClient[Litestar]) -> TestClient[Litestar]:
    """Return a browser without scripts that is signed in."""
    visitor.cookies.set("ridethrough_session", "token")
    return visitor


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """Serve the pages for a real browser; yields the address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.setblocking(False)
        loop, stop = asyncio.new_event_loop(), asyncio.Event()
        done = threading.Thread(
            target=loop.run_until_complete, args=(serve(pages_app(world), listening, stop=stop),)
        )
        done.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            done.join(10)
            loop.close()
