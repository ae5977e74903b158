"""
Everything a page or an API route may ask for: one instance per worker, at ``app.state.portal``.

Reads are answered from the local snapshot, the journal and the mode lease, in every mode alike; only `pay`,
`send`, `receipt` and `archived_statement` ask another process.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec
import structlog

import cache_sync.errors
from cache_sync.documents import AccountBody, CredentialBody, StatementBody
from cache_sync.frames import Position
from edge_portal.agent_link import (
    AgentSilent,
    AskRequest,
    PayRequest,
    RefusedReply,
    Reply,
    Request,
    SendRequest,
)
from edge_portal.errors import (
    KeyReused,
    NoSnapshot,
    NotFound,
    PaymentUnknown,
)
from edge_portal.form_keys import FormKeys
from edge_portal.may_miss import may_miss
from edge_portal.message_checks import check_message
from edge_portal.overlay import Overlaid, better_informed, is_behind, overlay
from edge_portal.payment_checks import check_amount, check_key, checked_method, refusal_of
from edge_portal.session import Session, Tokens
from edge_portal.signin import SignIn
from edge_portal.snapshot import (
    OneReading,
    Reading,
    Snapshot,
    core_time,
    freshness_of,
    position_of,
    read_account,
    read_archived,
    read_credential,
    read_messages,
    read_payments,
    read_statement,
    read_statements,
    read_usage,
)
from edge_portal.token_check import TokenCheck
from edge_portal.views import AccountView, Freshness, ModeView
from edge_portal.words import local_date
from failover.errors import JournalError
from failover.intents import ID_CONFLICT, Receipt, fingerprint, intent_id, message_fingerprint
from failover.message_bodies import MessageBody, hash_body, type_of
from failover.sibling_news import NewsReader

PAY_DEADLINE_SECONDS: Final = 3.0
ASK_DEADLINE_SECONDS: Final = 1.5
SETTLED_SHOWN: Final = timedelta(minutes=10)
"""What the core decided before as-of time is a document; this much is looked at beyond, for a skewed estimate."""

log = structlog.get_logger(__name__)


class JournalReceipts(Protocol):
    """What the portal needs of `failover.journal_reader`."""

    def receipts(self, account_id: str, *, settled_since: datetime) -> list[Receipt]:
        """Return the receipts of an account: all unsettled, and those decided since."""
        ...

    def receipt(self, account_id: str, intent_id: str) -> Receipt | None:
        """Return one receipt."""
        ...


class Agent(Protocol):
    """What the portal needs of `edge_portal.agent_link`."""

    async def ask(self, request: Request, *, deadline_seconds: float) -> Reply:
        """Send a request to the agent. Raises `AgentSilent`."""
        ...


class Archive(Protocol):
    """What the portal needs of `edge_portal.archive`."""

    async def statement(self, account_id: str, statement_id: str) -> StatementBody:
        """Ask the core for a statement. Raises `ArchiveUnavailable`, `NotFound`."""
        ...


class SharedAccounts(Protocol):
    """What the portal needs of `edge_portal.redis_accounts`."""

    def reading(self, account_id: str, seen: Sequence[Position]) -> Reading | None:
        """Read an account where workers share it, no older than was seen; None when the snapshot must be asked."""
        ...


class Portal:
    """Request-time services of a worker. Errors are those of `edge_portal.errors`."""

    def __init__(  # noqa: PLR0913 - everything it uses is handed in
        self,
        *,
        snapshot: Snapshot,
        journal: JournalReceipts,
        mode: Callable[[], ModeView],
        agent: Agent,
        archive: Archive,
        sign_in: SignIn,
        tokens: Tokens,
        form_keys: FormKeys,
        new_session_id: Callable[[], str],
        shared: SharedAccounts | None = None,
        siblings: NewsReader | None = None,
    ) -> None:
        self._siblings = siblings
        self._snapshot = snapshot
        self._shared = shared
        self._journal = journal
        self._mode = mode
        self._agent = agent
        self._archive = archive
        self._sign_in = sign_in
        self._tokens = tokens
        self._form_keys = form_keys
        self._new_session_id = new_session_id
        self._token_check = TokenCheck(tokens, snapshot)

    # Sign-in

    def authenticate(self, token: str | None) -> Session:
        """Check a token. Raises `NotSignedIn`; `NotHeldHere`, `NoSnapshot`."""
        with self._reading() as reading:
            return self._token_check.check(reading, token)

    async def sign_in(self, email: str, password: str, client_id: str) -> str:
        """
        Check an e-mail and password against the snapshot and issue a token, valid at every edge.

        ``client_id`` is what attempts are throttled by beside the address (the peer's IP address).
        Raises `WrongCredentials`, `SignInBusy`, `SignInThrottled`, `NoSnapshot`.
        """
        key, credential = await self._sign_in.check(
            email, password, client_id, credential_of=self.credential
        )
        return self._tokens.issue(
            key, credential, now=self.core_now(), session_id=self._new_session_id()
        )

    def switch_account(self, session: Session, account_id: str) -> str:
        """Issue a token that looks at another of the customer's accounts. Raises `NotFound`."""
        return self._tokens.renew(session, now=self.core_now(), account_id=account_id)

    def renew(self, session: Session) -> str:
        """Issue a token with a fresh expiry for the same session."""
        return self._tokens.renew(session, now=self.core_now())

    def credential(self, key: str) -> CredentialBody | None:
        """Return the credential that the snapshot holds now. Raises `NoSnapshot`."""
        with self._reading() as reading:
            return read_credential(reading, key)

    # Reads

    def read_positions(self, text: str) -> tuple[Position, ...]:
        """Read a position cookie; empty when this installation did not write it."""
        return self._tokens.read_positions(text)

    def write_positions(self, positions: Iterable[Position]) -> str:
        """Write positions as a signed cookie value."""
        return self._tokens.write_positions(positions)

    def mode(self) -> ModeView:
        """Tell the node's mode; for pages without an account (sign-in, status)."""
        return self._mode()

    def freshness(self, account_id: str = "") -> Freshness:
        """Tell how old the snapshot of an account is, or the oldest one. Raises `NoSnapshot`."""
        with self._reading(account_id, shared=False) as reading:
            return freshness_of(reading.state())

    def core_now(self) -> datetime:
        """Estimate the core's clock. Raises `NoSnapshot`."""
        with self._reading() as reading:
            return core_time(reading.state())

    def view(
        self,
        account_id: str,
        seen: Iterable[Position],
        *,
        statements: bool = True,
        usage: bool = True,
    ) -> AccountView:
        """
        Show an account as this node knows it, from one read transaction.

        ``seen`` are the positions the customer already saw (cookie or header). ``statements`` (with the archived) and
        ``usage`` may be left out, and are empty then. Raises `NotFound`, `NotHeldHere`, `NoSnapshot`.
        """
        seen = tuple(seen)
        with self._reading(account_id, seen) as reading:
            account = _known_account(reading, account_id)
            state = reading.state()
            known = self._known(reading, account_id)
            mode = self._mode()
            return AccountView(
                account=account,
                statements=read_statements(reading, account_id) if statements else [],
                archived=read_archived(reading, account_id) if statements else [],
                usage=read_usage(reading, account_id) if usage else [],
                payments=known.payments,
                messages=known.messages,
                billed_cents=account.billed_balance_cents,
                balance_cents=account.balance_cents,
                pending_cents=known.pending_cents,
                left_to_pay_cents=account.balance_cents - known.pending_cents,
                freshness=freshness_of(state),
                mode=mode,
                catching_up=is_behind(position_of(state), seen),
                may_miss=may_miss(
                    self._siblings, mode, account_id, known.payments, core_time(state)
                ),
            )

    def statement(self, account_id: str, statement_id: str) -> StatementBody | None:
        """Return a statement that is held here; None when it is not. Raises `NoSnapshot`."""
        with self._reading(account_id, shared=False) as reading:
            return read_statement(reading, account_id, statement_id)

    async def archived_statement(self, account_id: str, statement_id: str) -> StatementBody:
        """
        Ask the core for a statement older than what is held here, within 250 ms.

        Only what the snapshot lists as archived is asked for. Raises `ArchiveUnavailable`, `NotFound`.
        """
        with self._reading(account_id, shared=False) as reading:
            listed = read_archived(reading, account_id)
        if all(statement.statement_id != statement_id for statement in listed):
            raise NotFound("no such statement")
        return await self._archive.statement(account_id, statement_id)

    # Payments and messages

    async def pay(
        self, account_id: str, *, idempotency_key: str, amount_cents: int, method_id: str
    ) -> Receipt:
        """
        Record, copy and submit a payment; answers at the core's outcome or after at most about a second.

        Safe to repeat with the same key: the first receipt comes back. Raises `InvalidPayment`, `KeyReused`,
        `OverLimit`, `NotTaken`, `PaymentUnknown`, `NotFound`, `NoSnapshot`.
        """
        check_key(idempotency_key)
        check_amount(amount_cents)
        with self._reading(account_id, shared=False) as reading:
            account = _known_account(reading, account_id)
        method = checked_method(account, method_id)
        id_ = intent_id(account_id, idempotency_key)
        request = PayRequest(
            account_id=account_id,
            idempotency_key=idempotency_key,
            amount_cents=amount_cents,
            currency=account.currency,
            method_id=method.method_id,
            method_verified=method.status == "verified",
            method_type=method.type,
        )
        wanted = fingerprint(
            account_id=account_id,
            type_="payment",
            amount_cents=amount_cents,
            currency=account.currency,
            method_id=method_id,
        )
        return await self._ask_agent(request, id_, wanted)

    async def send(self, account_id: str, *, idempotency_key: str, content: MessageBody) -> Receipt:
        """
        Record, copy and submit a message; answers at the core's outcome or after at most about a second.

        Safe to repeat with the same key. Raises `InvalidMessage` where ``content`` cannot be, and what `pay` raises.
        """
        check_key(idempotency_key)
        salt = self._form_keys.salt(account_id, idempotency_key)
        body = msgspec.structs.replace(content, salt=salt)
        id_ = intent_id(account_id, idempotency_key)
        wanted = message_fingerprint(
            account_id=account_id, type_=type_of(body), body_hash=hash_body(body)
        )
        with self._reading(account_id, shared=False) as reading:
            account = _known_account(reading, account_id)
            known = self._known(reading, account_id).messages
            statements = read_statements(reading, account_id)
            today = local_date(core_time(reading.state()), account.timezone)
        if (id_, wanted) not in {(one.intent_id, one.fingerprint) for one in known}:
            # What was taken before is asked for, not judged again.
            check_message(body, account=account, statements=statements, messages=known, today=today)
        return await self._ask_agent(SendRequest(account_id, idempotency_key, body), id_, wanted)

    async def _ask_agent(self, request: PayRequest | SendRequest, id_: str, wanted: str) -> Receipt:
        try:
            reply = await self._agent.ask(request, deadline_seconds=PAY_DEADLINE_SECONDS)
        except AgentSilent as silence:
            raise PaymentUnknown("nothing could confirm this", intent_id=id_) from silence
        if isinstance(reply, RefusedReply):
            refusal = refusal_of(reply, id_)
            won = isinstance(refusal, KeyReused) and self._winner(request.account_id, id_, wanted)
            if won:
                return won
            raise refusal
        if reply.receipt is None:
            raise PaymentUnknown("nothing could confirm this", intent_id=id_)
        if reply.receipt.reason == ID_CONFLICT:
            # Two edges took different things under one key at the same time, and the core took the other one.
            raise KeyReused("this key was used for something else", intent_id=id_)
        return reply.receipt

    def _winner(self, account_id: str, id_: str, wanted: str) -> Receipt | None:
        """Find this very wish among the core's outcomes: another edge's may have won the key from this one's."""
        with self._reading(account_id, shared=False) as reading:
            known = self._known(reading, account_id)
        pair = (id_, wanted)
        everything = (*known.payments, *known.messages)
        return next((one for one in everything if (one.intent_id, one.fingerprint) == pair), None)

    async def receipt(self, account_id: str, intent_id: str) -> Receipt:
        """
        Tell what is known of a payment or message, at this node or a sibling.

        Raises `NotFound` when no node asked knows it, `PaymentUnknown` when nobody could be asked.
        """
        known = self.receipts(account_id).get(intent_id)
        if known is not None:
            return known
        try:
            recorded = self._journal.receipt(account_id, intent_id)
        except JournalError:
            log.exception("the journal cannot be read")
            recorded = None
        # An attempt that was voided here may have been taken elsewhere since.
        if recorded is not None and recorded.state != "void":
            return recorded
        try:
            reply = await self._agent.ask(
                AskRequest(account_id, intent_id), deadline_seconds=ASK_DEADLINE_SECONDS
            )
        except AgentSilent as silence:
            raise PaymentUnknown("nobody could be asked", intent_id=intent_id) from silence
        if isinstance(reply, RefusedReply):
            raise PaymentUnknown("nobody could be asked", intent_id=intent_id)
        if reply.receipt is None:
            raise NotFound("no such payment or message")
        return reply.receipt

    async def payment(self, account_id: str, intent_id: str) -> Receipt:
        """Tell what is known of a payment, as `receipt` does; a message is none."""
        found = await self.receipt(account_id, intent_id)
        if not found.is_payment:
            raise NotFound("no such payment")
        return found

    async def message(self, account_id: str, intent_id: str) -> Receipt:
        """Tell what is known of a message, as `receipt` does; a payment is none."""
        found = await self.receipt(account_id, intent_id)
        if found.is_payment:
            raise NotFound("no such message")
        return found

    def receipts(self, account_id: str) -> dict[str, Receipt]:
        """Return what is known here by id; the document's where there is one. Raises `NoSnapshot`."""
        with self._reading(account_id, shared=False) as reading:
            known = self._known(reading, account_id)
        found: dict[str, Receipt] = {}
        for receipt in (*known.payments, *known.messages):
            other = found.get(receipt.intent_id)
            found[receipt.intent_id] = receipt if other is None else better_informed(other, receipt)
        return found

    # Forms

    def new_form_key(self, account_id: str) -> str:
        """Make the signed key of a form: shown with the form, posted back with it."""
        return self._form_keys.new(account_id)

    def check_form_key(self, account_id: str, key: str) -> str | None:
        """Return the idempotency key inside a form key; None when it was not made for this account."""
        return self._form_keys.check(account_id, key)

    @contextmanager
    def _reading(
        self, account_id: str = "", seen: Sequence[Position] = (), *, shared: bool = True
    ) -> Iterator[OneReading]:
        """
        Read one barrier state; where an account is named, perhaps of nothing else, and no older than was seen.

        Not ``shared`` for what is only in the snapshot on the disk, or must be as new as that.
        """
        if self._shared is not None and account_id and shared:
            found = self._shared.reading(account_id, seen)
            if found is not None:
                yield OneReading(found)
                return
        try:
            with self._snapshot.read(account_id) as reading:
                yield OneReading(reading)
        except cache_sync.errors.NoSnapshot as missing:
            raise NoSnapshot("this edge has no snapshot yet") from missing
        except (
            cache_sync.errors.DamagedSnapshot,
            cache_sync.errors.StorageFailed,
            cache_sync.errors.UnknownVersion,
        ) as broken:
            # The applier builds another, or a newer release is put back; until then there is nothing true to show.
            log.exception("the snapshot cannot be read")
            raise NoSnapshot("this edge cannot read its snapshot") from broken

    def _known(self, reading: Reading, account_id: str) -> Overlaid:
        state = reading.state()
        try:
            recorded = self._journal.receipts(account_id, settled_since=state.as_of - SETTLED_SHOWN)
        except JournalError:
            # Bills are still worth reading; the next request asks the journal again.
            log.exception("the journal cannot be read")
            recorded = []
        decided = [*read_payments(reading, account_id), *read_messages(reading, account_id)]
        return overlay(decided, recorded, position_of(state))


def _known_account(reading: Reading, account_id: str) -> AccountBody:
    account = read_account(reading, account_id)
    if account is None:
        raise NotFound("no such account")
    return account
