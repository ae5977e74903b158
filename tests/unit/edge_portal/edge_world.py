# ruff: noqa: D102 - the methods are those of the protocols that they stand in for
"""An edge in memory: a snapshot, a journal, a mode and an agent that tests set as they like."""

import base64
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import argon2
import msgspec

from cache_sync.documents import (
    ACCOUNT,
    ARCHIVE,
    CREDENTIAL,
    KNOWN_VERSIONS,
    MESSAGE,
    PAYMENT,
    STATEMENT,
    AccountBody,
    ArchiveBody,
    ArchivedStatement,
    Body,
    CredentialBody,
    DecidedMessageBody,
    Document,
    PaymentBody,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    encode_body,
    sign_in_key,
)
from cache_sync.errors import NoSnapshot
from edge_portal.agent_link import PayRequest, ReceiptReply, Reply, Request, SendRequest
from edge_portal.errors import ArchiveUnavailable
from edge_portal.form_keys import FormKeys
from edge_portal.portal import Agent, JournalReceipts, Portal
from edge_portal.receipt_desk import ReceiptDesk
from edge_portal.session import Tokens
from edge_portal.signin import SignIn
from edge_portal.views import ModeView
from failover import message_bodies
from failover.intents import Receipt, State, fingerprint, intent_id, message_fingerprint
from failover.message_bodies import MessageBody, hash_body, type_of
from failover.signing import public_key
from failover.standin import Standing

EDGE_KEY, CORE_KEY = (base64.b64encode(letter * 32).decode() for letter in (b"e", b"c"))
LOOKUP_KEY, SESSION_KEY, FORM_KEY = b"l" * 32, b"s" * 32, b"f" * 32
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINE, OTHERS = "A-1", "A-2"
BANK, EXPIRED_CARD, OTHERS_BANK = "pm_bank", "pm_expired", "pm_others"
EMAIL, PASSWORD = "ines@example.com", "correct horse battery"
HELD, ARCHIVED, OTHERS_STATEMENT = "st_new", "st_old", "st_others"
_FAST_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
VERIFIER = _FAST_HASHER.hash(PASSWORD)


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return AS_OF + timedelta(seconds=self.seconds - 1000)

    def boot_seconds(self) -> float:
        return self.seconds

    def boot_id(self) -> str:
        return "boot"

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Where the snapshot stands."""

    epoch: int = 1
    shard: str = "0"
    cursor: int = 10
    head: int = 10
    as_of: datetime = AS_OF
    age_seconds: float = 1.5
    at_least: bool = False


class MemorySnapshot:
    """Documents in memory."""

    def __init__(self) -> None:
        self.held: Held | None = Held()
        self.bodies: dict[tuple[str, str, str], Document] = {}
        self.reads = 0

    def put(self, account_id: str, kind: str, key: str, body: Body, seq: int = 1) -> None:
        encoded, version = encode_body(body), KNOWN_VERSIONS[kind]
        self.bodies[account_id, kind, key] = Document(account_id, kind, key, seq, encoded, version)

    are_all = True

    @contextmanager
    def read(self, account_id: str = "") -> Iterator["MemorySnapshot"]:
        if self.held is None:
            raise NoSnapshot("none yet")
        self.reads += 1
        yield self

    def document(self, account_id: str, kind: str, key: str) -> Document | None:
        return self.bodies.get((account_id, kind, key))

    def documents(self, account_id: str, kind: str) -> Sequence[Document]:
        return [
            document for name, document in self.bodies.items() if name[:2] == (account_id, kind)
        ]

    def credential(self, key: str) -> Document | None:
        return next(
            (found for name, found in self.bodies.items() if name[1:] == (CREDENTIAL, key)), None
        )

    def state(self) -> Held:
        assert self.held is not None
        return self.held


class MemoryJournal:
    """The journal's receipts in memory."""

    def __init__(self) -> None:
        self.rows: list[Receipt] = []

    def receipts(self, account_id: str, *, settled_since: datetime) -> list[Receipt]:
        return [row for row in self.rows if row.account_id == account_id]

    def receipt(self, account_id: str, intent_id: str) -> Receipt | None:
        return next((row for row in self.rows if row.intent_id == intent_id), None)


class MemoryAgent:
    """Answers with ``reply`` (or raises it); without one every payment is posted."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.reply: Reply | Exception | None = None

    async def ask(self, request: Request, *, deadline_seconds: float) -> Reply:
        self.asked.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        if self.reply is not None:
            return self.reply
        if isinstance(request, SendRequest):
            return ReceiptReply(sent(request.idempotency_key, request.body))
        if not isinstance(request, PayRequest):
            return ReceiptReply(None)
        paid = receipt(request.idempotency_key, request.amount_cents, "posted", seq=11)
        return ReceiptReply(paid)


class MemoryArchive:
    """The core's archive; None while it is away."""

    def __init__(self) -> None:
        self.found: StatementBody | None = None
        self.asked = 0

    async def statement(self, account_id: str, statement_id: str) -> StatementBody:
        self.asked += 1
        if self.found is None:
            raise ArchiveUnavailable
        return self.found


class EdgeWorld:
    """One customer with an account, and a neighbour."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.rng = random.Random(7)
        self.snapshot = MemorySnapshot()
        self.journal = MemoryJournal()
        self.agent = MemoryAgent()
        self.archive = MemoryArchive()
        self.mode_now = mode()
        self.credential_key = sign_in_key(LOOKUP_KEY, EMAIL)
        self.put_credential()
        self.snapshot.put(MINE, ACCOUNT, "", account(MINE, [BANK, EXPIRED_CARD]))
        self.snapshot.put(OTHERS, ACCOUNT, "", account(OTHERS, [OTHERS_BANK]))
        self.snapshot.put(MINE, STATEMENT, HELD, statement(MINE, HELD))
        self.snapshot.put(OTHERS, STATEMENT, OTHERS_STATEMENT, statement(OTHERS, OTHERS_STATEMENT))
        self.snapshot.put(MINE, ARCHIVE, "statements", archive())
        self.sign_in = SignIn(lookup_key=LOOKUP_KEY, clock=self.clock)
        self.tokens = Tokens(SESSION_KEY)
        self.portal = Portal(
            snapshot=self.snapshot,
            journal=self.journal,
            mode=lambda: self.mode_now,
            agent=self.agent,
            archive=self.archive,
            sign_in=self.sign_in,
            tokens=self.tokens,
            form_keys=FormKeys(FORM_KEY, self.rng.randbytes),
            new_session_id=lambda: "session-1",
        )
        self.desk = desk(self.journal, self.agent)

    def put_credential(self, *, version: int = 1, status: str = "active") -> CredentialBody:
        """Publish the customer's credential."""
        body = CredentialBody(
            customer_id="C-1",
            account_ids=[MINE],
            verifier=VERIFIER,
            credential_version=version,
            status="active" if status == "active" else "revoked",
        )
        self.snapshot.put(MINE, CREDENTIAL, self.credential_key, body)
        return body

    def put_payment(self, paid: Receipt) -> None:
        """Publish the core's outcome of a payment."""
        assert paid.state in {"posted", "rejected"}
        body = PaymentBody(
            payment_id=paid.intent_id,
            account_id=paid.account_id,
            fingerprint=paid.fingerprint,
            state="posted" if paid.state == "posted" else "rejected",
            amount_cents=paid.amount_cents,
            currency=paid.currency,
            method_id=paid.method_id,
            method_label="Bank",
            accepted_at=paid.accepted_at,
            decided_at=AS_OF,
        )
        self.snapshot.put(paid.account_id, PAYMENT, paid.intent_id, body, seq=paid.seq or 9)

    def put_message(self, told: Receipt) -> None:
        """Publish the core's outcome of a message."""
        assert told.state in {"posted", "rejected"}
        assert not isinstance(told.body, msgspec.UnsetType)
        body = DecidedMessageBody(
            message_id=told.intent_id,
            account_id=told.account_id,
            fingerprint=told.fingerprint,
            type=told.type,
            state="posted" if told.state == "posted" else "rejected",
            body_hash=hash_body(told.body),
            content=msgspec.Raw(message_bodies.encode_body(told.body)),
            accepted_at=told.accepted_at,
            decided_at=AS_OF,
            reason=told.reason,
        )
        self.snapshot.put(told.account_id, MESSAGE, told.intent_id, body, seq=told.seq or 9)

    def token(self) -> str:
        """Issue the customer a token."""
        return self.tokens.issue(
            self.credential_key, self.put_credential(), now=AS_OF, session_id="session-1"
        )


def desk(journal: JournalReceipts, agent: Agent) -> ReceiptDesk:
    """Make the desk of an edge that signs receipts with `EDGE_KEY`, and believes who has `CORE_KEY`."""
    return ReceiptDesk(
        journal=journal,
        agent=agent,
        node_id="edge-1",
        signing_key=EDGE_KEY,
        core_key=public_key(CORE_KEY),
        utility="Northwater",
    )


def mode() -> ModeView:
    """Build a live node's mode."""
    return ModeView(
        mode="normal",
        reason="ok",
        since=AS_OF,
        payments_open=True,
        archive_open=True,
        standing=Standing(),
    )


def account(account_id: str, methods: list[str]) -> AccountBody:
    """Build an account that owes 100.00."""
    return AccountBody(
        account_id=account_id,
        customer_id="C-1",
        customer_name="Ines",
        email=EMAIL,
        utility_name="Northwater",
        currency="USD",
        timezone="America/New_York",
        status="active",
        balance_cents=10_000,
        billed_balance_cents=12_000,
        payment_methods=[
            PaymentMethod(
                method_id=name,
                type="bank_account",
                label=name,
                status="expired" if name == EXPIRED_CARD else "verified",
            )
            for name in methods
        ],
        service_points=[
            ServicePoint(
                service_point_id=f"SP-{account_id}",
                meter_id=f"M-{account_id}",
                address="1 Main Street",
                tariff_name="Residential",
            )
        ],
    )


def statement(account_id: str, statement_id: str) -> StatementBody:
    """Build a statement without lines."""
    return StatementBody(
        statement_id=statement_id,
        account_id=account_id,
        issued_on=date(2026, 11, 1),
        period_from=date(2026, 10, 1),
        period_to=date(2026, 11, 1),
        due_date=date(2026, 11, 22),
        currency="USD",
        previous_balance_cents=0,
        payments_received_cents=0,
        total_cents=12_000,
        amount_due_cents=12_000,
        usage_wh=1,
        estimated_wh=0,
        lines=[],
        meters=[],
        tariffs=[],
    )


def archive() -> ArchiveBody:
    """Build the list of what only the core holds."""
    return ArchiveBody(
        account_id=MINE,
        statements=[
            ArchivedStatement(
                statement_id=ARCHIVED,
                issued_on=date(2024, 1, 1),
                period_from=date(2023, 12, 1),
                period_to=date(2024, 1, 1),
                due_date=date(2024, 1, 22),
                total_cents=5_000,
                amount_due_cents=5_000,
            )
        ],
    )


def receipt(
    key: str,
    amount_cents: int = 2_500,
    state: State = "accepted",
    *,
    seq: int | None = None,
    method_id: str = BANK,
    account_id: str = MINE,
    minutes: int = 0,
) -> Receipt:
    """Build a receipt of the customer's; ``seq`` once the core decided."""
    return Receipt(
        intent_id=intent_id(account_id, key),
        fingerprint=fingerprint(
            account_id=account_id,
            type_="payment",
            amount_cents=amount_cents,
            currency="USD",
            method_id=method_id,
        ),
        account_id=account_id,
        state=state,
        amount_cents=amount_cents,
        currency="USD",
        method_id=method_id,
        accepted_at=AS_OF + timedelta(minutes=minutes),
        durable=state != "checking",
        epoch=None if seq is None else 1,
        shard=None if seq is None else "0",
        seq=seq,
    )


def sent(
    key: str,
    body: MessageBody,
    state: State = "posted",
    *,
    account_id: str = MINE,
    reason: str = "",
) -> Receipt:
    """Build a message's receipt."""
    type_, body_hash = type_of(body), hash_body(body)
    decided = state == "posted"
    return Receipt(
        intent_id=intent_id(account_id, key),
        fingerprint=message_fingerprint(account_id=account_id, type_=type_, body_hash=body_hash),
        account_id=account_id,
        state=state,
        type=type_,
        body_hash=body_hash,
        body=body,
        accepted_at=AS_OF,
        durable=state != "checking",
        reason=reason,
        epoch=1 if decided else None,
        shard="0" if decided else None,
        seq=11 if decided else None,
    )
