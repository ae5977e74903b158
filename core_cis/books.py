"""The core's side of a reconciliation, read from its database in one transaction."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

import msgspec

from cache_sync.documents import (
    ACCOUNT,
    MESSAGE,
    PAYMENT,
    AccountBody,
    DecidedMessageBody,
    PaymentBody,
)
from cache_sync.packed_bodies import unpack_body
from cache_sync.sql import Connection, read
from core_cis.backups import read_marks
from core_cis.bookkeeping import receivables
from core_cis.charge_records import read_charges, read_refunds
from core_cis.domain.ledger import CASH_CLEARING, RECEIVABLE
from core_cis.erasures import erased_accounts
from core_cis.fee_dates import fee_dates
from core_cis.reconciliation import Books, Decided, LedgerPayment, Message, Pair, Payment
from failover.intents import Intent, Outcome

_PAYMENTS = """
    SELECT payment_id, fingerprint, account_id, state, amount_cents, source, value_date, transaction_id
    FROM payments ORDER BY rowid
"""
_MESSAGES = "SELECT message_id, fingerprint, account_id, type, state FROM messages ORDER BY rowid"
_INBOX = """
    SELECT i.intent, i.outcome, c.outcome
    FROM inbox i LEFT JOIN case_outcomes c ON c.intent_id = i.intent_id AND c.fingerprint = i.fingerprint
    ORDER BY i.rowid
"""
# Whatever moves cash or calls itself a payment, and what undoes such a thing.
_LEDGER = """
    SELECT t.transaction_id, t.source, t.idempotency_key, t.kind, t.payment_id, t.value_date, r.transaction_id,
           e.ledger_account, e.account_id, e.amount_cents
    FROM ledger_transactions t
    JOIN ledger_entries e USING (transaction_id)
    LEFT JOIN ledger_transactions r ON r.reverses_transaction_id = t.transaction_id
    WHERE t.kind = 'payment' OR t.payment_id IS NOT NULL OR EXISTS (
        SELECT 1 FROM ledger_entries c
        WHERE c.transaction_id = t.transaction_id AND c.ledger_account = :cash)
    ORDER BY t.transaction_id, e.entry_id
"""
_CHARGES = """
    SELECT s.statement_id, s.total_cents, coalesce(sum(e.amount_cents), 0)
    FROM statements s
    LEFT JOIN ledger_transactions t ON t.source = 'statement' AND t.idempotency_key = s.statement_id
    LEFT JOIN ledger_entries e ON e.transaction_id = t.transaction_id AND e.account_id = s.account_id
    GROUP BY s.statement_id HAVING coalesce(sum(e.amount_cents), 0) <> s.total_cents
"""
_CHARGES_WITHOUT_STATEMENT = """
    SELECT t.idempotency_key, 0, coalesce(sum(e.amount_cents), 0)
    FROM ledger_transactions t
    LEFT JOIN ledger_entries e ON e.transaction_id = t.transaction_id AND e.ledger_account = :receivable
    WHERE t.kind = 'charge' AND (t.source <> 'statement'
        OR NOT EXISTS (SELECT 1 FROM statements s WHERE s.statement_id = t.idempotency_key))
    GROUP BY t.transaction_id
"""
_UNBALANCED = "SELECT transaction_id FROM ledger_entries GROUP BY transaction_id HAVING sum(amount_cents) <> 0"


def read_books(connection: Connection) -> Books:
    """Read inbox, payments, messages, ledger and documents as they stood at one moment."""
    with read(connection):
        earlier = fee_dates(connection)
        return Books(
            decided=[_decided(*row) for row in connection.execute(_INBOX)],
            payments=[_payment(row, earlier) for row in connection.execute(_PAYMENTS)],
            ledger=list(_ledger(connection)),
            messages=list(_messages(connection)),
            balances=_balances(connection),
            published=_published(connection),
            charges=[
                *connection.execute(_CHARGES).fetchall(),
                *connection.execute(
                    _CHARGES_WITHOUT_STATEMENT, {"receivable": RECEIVABLE}
                ).fetchall(),
            ],
            card_charges=read_charges(connection),
            refunds=read_refunds(connection),
            erased=erased_accounts(connection),
            unbalanced=[number for (number,) in connection.execute(_UNBALANCED)],
            marks=read_marks(connection),
        )


def _decided(intent: bytes, first: bytes, of_case: bytes | None) -> Decided:
    outcome = msgspec.msgpack.decode(first, type=Outcome)
    known = msgspec.msgpack.decode(intent, type=Intent)
    if of_case is None:
        return Decided(known, outcome)
    return Decided(known, msgspec.msgpack.decode(of_case, type=Outcome), outcome)


def _payment(
    row: tuple[str, str, str, str, int, str, str | None, int | None], earlier: dict[Pair, date]
) -> Payment:
    payment_id, fingerprint, account_id, state, amount_cents, source, value_date, transaction_id = (
        row
    )
    return Payment(
        payment_id=payment_id,
        fingerprint=fingerprint,
        account_id=account_id,
        state=state,
        amount_cents=amount_cents,
        source=source,
        value_date=date.fromisoformat(value_date) if value_date else None,
        transaction_id=transaction_id,
        fee_effective_on=earlier.get((payment_id, fingerprint)),
    )


def _messages(connection: Connection) -> Iterator[Message]:
    shown: dict[Pair, str] = {}
    for (body,) in connection.execute(
        "SELECT body FROM documents WHERE kind = ? AND body IS NOT NULL", (MESSAGE,)
    ):
        told = msgspec.json.decode(unpack_body(body), type=DecidedMessageBody)
        shown[told.message_id, told.fingerprint] = told.state
    for message_id, fingerprint, account_id, type_, state in connection.execute(_MESSAGES):
        yield Message(
            message_id=message_id,
            fingerprint=fingerprint,
            account_id=account_id,
            type=type_,
            state=state,
            shown=shown.get((message_id, fingerprint)),
        )


def _ledger(connection: Connection) -> Iterator[LedgerPayment]:
    heads: dict[int, tuple[str, str, str, str | None, str, int | None]] = {}
    accounts: dict[int, list[str]] = defaultdict(list)
    amounts: dict[int, int] = defaultdict(int)
    for row in connection.execute(_LEDGER, {"cash": CASH_CLEARING}):
        transaction_id = row[0]
        ledger_account, account_id, amount = row[7:]
        heads[transaction_id] = row[1:7]
        if ledger_account == RECEIVABLE:
            accounts[transaction_id].append(account_id)
            amounts[transaction_id] -= amount
    for transaction_id, (source, key, kind, payment_id, value_date, reversed_by) in heads.items():
        yield LedgerPayment(
            transaction_id=transaction_id,
            source=source,
            idempotency_key=key,
            kind=kind,
            payment_id=payment_id,
            account_ids=tuple(accounts[transaction_id]),
            amount_cents=amounts[transaction_id],
            value_date=date.fromisoformat(value_date),
            reversed_by=reversed_by,
        )


def _balances(connection: Connection) -> dict[str, tuple[int, int | None]]:
    owed = receivables(connection)
    shown = {
        account_id: msgspec.json.decode(unpack_body(body), type=AccountBody).balance_cents
        for account_id, body in connection.execute(
            "SELECT account_id, body FROM documents WHERE kind = ? AND body IS NOT NULL", (ACCOUNT,)
        )
    }
    accounts = [
        account_id for (account_id,) in connection.execute("SELECT account_id FROM accounts")
    ]
    return {
        account_id: (owed.get(account_id, 0), shown.get(account_id))
        for account_id in {*accounts, *owed, *shown}
    }


def _published(connection: Connection) -> dict[Pair, tuple[str, int]]:
    published: dict[Pair, tuple[str, int]] = {}
    for (body,) in connection.execute(
        "SELECT body FROM documents WHERE kind = ? AND body IS NOT NULL", (PAYMENT,)
    ):
        shown = msgspec.json.decode(unpack_body(body), type=PaymentBody)
        published[shown.payment_id, shown.fingerprint] = (shown.state, shown.amount_cents)
    return published
