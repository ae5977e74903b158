# ruff: noqa: D102 - the methods of World are those of Portal, documented there
"""A portal that answers from memory, to look at every page in every mode without processes."""

from collections.abc import Iterable
from datetime import timedelta

from litestar import Litestar
from litestar.datastructures import State

from cache_sync.documents import StatementBody
from cache_sync.frames import Position
from edge_portal.errors import ArchiveUnavailable, NotFound, NotSignedIn, WrongCredentials
from edge_portal.message_checks import check_message
from edge_portal.pages.failures import with_pages
from edge_portal.pages.routes import page_handlers
from edge_portal.pages.site import Site
from edge_portal.portal import Portal
from edge_portal.session import Session
from edge_portal.views import AccountView, Freshness, Mode, ModeView
from failover.intents import Receipt
from failover.intents import State as PaymentState
from failover.message_bodies import MessageBody
from failover.sibling_news import MayMiss
from failover.standin import Limits, Standing
from failover.web import exception_handlers
from tests.integration.pages.sample import (
    ACCOUNT,
    ARCHIVED,
    AS_OF,
    OTHER_ACCOUNT,
    PAID_EARLIER,
    PAID_TODAY,
    PERIODS,
    ZONE,
    account,
    message,
    payment,
    statement,
    usage,
)
from tests.unit.edge_portal.edge_world import MemoryAgent, MemoryJournal, desk


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
        self.sent: list[tuple[str, MessageBody]] = []
        self.messages: list[Receipt] = []
        self.may_miss: MayMiss | None = None
        self.elsewhere: dict[str, Receipt] = {}
        self.renews = False
        self.standing = Standing(limits=Limits(account_day_cents=50_000, account_day_count=5))

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

    def read_positions(self, text: str) -> tuple[Position, ...]:
        position = Position.parse(text)
        return () if position is None else (position,)

    def write_positions(self, positions: Iterable[Position]) -> str:
        return "+".join(str(position) for position in positions)

    def mode(self) -> ModeView:
        return ModeView(
            mode=self.now_mode,
            reason="",
            since=AS_OF,
            payments_open=self.payments_open,
            archive_open=self.archive_open,
            standing=self.standing,
        )

    def freshness(self, account_id: str = "") -> Freshness:
        return Freshness(
            position=Position(1, "0", 42),
            as_of=AS_OF,
            age_seconds=self.age_seconds,
            at_least=self.at_least,
        )

    def view(
        self,
        account_id: str,
        seen: Iterable[Position],
        *,
        statements: bool = True,
        usage: bool = True,
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
            messages=self.messages if own else [],
            may_miss=self.may_miss if own else None,
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

    async def send(self, account_id: str, *, idempotency_key: str, content: MessageBody) -> Receipt:
        self.sent.append((idempotency_key, content))
        if isinstance(self.pay_outcome, Exception):
            raise self.pay_outcome
        check_message(
            content,
            account=self.account,
            statements=self.statements,
            messages=self.messages,
            today=AS_OF.date(),
        )
        made = message(idempotency_key, content, self.pay_outcome)
        if all(known.intent_id != made.intent_id for known in self.messages):
            self.messages = [made, *self.messages]
        return made

    async def message(self, account_id: str, intent_id: str) -> Receipt:
        return await self.payment(account_id, intent_id)

    async def payment(self, account_id: str, intent_id: str) -> Receipt:
        if intent_id not in self.elsewhere:
            raise NotFound(intent_id)
        return self.elsewhere[intent_id]

    def new_form_key(self, account_id: str) -> str:
        return f"random{len(self.paid) + len(self.sent)}.{account_id}"

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


def pages_app(world: World, site: Site = SITE) -> Litestar:
    """Mount the pages on a portal."""
    receipts = desk(MemoryJournal(), MemoryAgent())
    state = State({"portal": world, "site": site, "receipts": receipts, "secure_cookies": False})
    return Litestar(
        route_handlers=page_handlers(),
        state=state,
        openapi_config=None,
        exception_handlers=with_pages(exception_handlers),
    )
