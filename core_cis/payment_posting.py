"""Decided payments: the row, the ledger's transaction and the documents, all in the caller's transaction."""

from collections.abc import Sequence
from datetime import date, datetime

from cache_sync.sql import Connection, insert_rows, places
from core_cis.bookkeeping import post_new
from core_cis.collection_reversing import LatePayment, take_back_steps
from core_cis.decisions import Decision
from core_cis.domain import ledger
from core_cis.domain.accounts import AccountFacts, AccountStatus, Method
from core_cis.domain.payments import Wish
from core_cis.instants import to_text
from core_cis.publishing import publish_accounts, publish_payment, publish_payments
from core_cis.store import Transaction
from failover.intents import Intent
from failover.intents import fingerprint as payment_fingerprint

DESCRIPTION = "Payment, thank you"

_ACCOUNTS = "SELECT account_id, status FROM accounts WHERE account_id IN ({})"
_METHODS = (
    "SELECT account_id, method_id, label, status FROM payment_methods WHERE account_id IN ({})"
)
# The row of a dead letter makes room for that of the decision; the inbox keeps what was decided first.
_WITHDRAW = (
    "DELETE FROM payments WHERE payment_id = ? AND fingerprint = ? AND state = 'dead_letter'"
)
_INSERT = """
    INSERT INTO payments (payment_id, fingerprint, account_id, state, amount_cents, currency, method_id,
        method_label, source, accepted_at, decided_at, value_date, value_date_clamped, reason, case_number,
        transaction_id) VALUES
"""


def wish_of(intent: Intent, *, charged: bool = False) -> Wish:
    """Tell what is judged of an intent; ``charged`` says that its money was taken already."""
    return Wish(
        account_id=intent.account_id,
        amount_cents=intent.amount_cents,
        currency=intent.currency,
        method_id=intent.method_id,
        accepted_at=intent.accepted_at,
        not_after=intent.not_after,
        charged=charged,
    )


def read_account_facts(
    connection: Connection, account_id: str, currency: str
) -> AccountFacts | None:
    """Read what a payment is judged by; None when there is no such account."""
    return read_facts(connection, [account_id], currency).get(account_id)


def read_facts(
    connection: Connection, account_ids: Sequence[str], currency: str
) -> dict[str, AccountFacts]:
    """Read what payments on some accounts are judged by; an account that there is not is not in it."""
    in_places = places(account_ids)
    statuses: list[tuple[str, AccountStatus]] = connection.execute(
        _ACCOUNTS.format(in_places), account_ids
    ).fetchall()
    methods: dict[str, list[Method]] = {}
    for account_id, *method in connection.execute(_METHODS.format(in_places), account_ids):
        methods.setdefault(account_id, []).append(Method(*method))
    return {
        account_id: AccountFacts(account_id, status, currency, tuple(methods.get(account_id, ())))
        for account_id, status in statuses
    }


def record_decision(tx: Transaction, decision: Decision) -> None:
    """
    Write a decided payment with everything that follows from it.

    A posted one goes into the ledger under (source, payment id), so the database itself refuses a second. Late fees
    and other steps that it would have prevented are taken back.
    """
    record_decisions(tx, [decision])


def record_decisions(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write decided payments, of different ids, as `record_decision` does each, in few statements."""
    posted = [decision for decision in decisions if decision.state == "posted"]
    ids = post_new(tx, [_posting(decision) for decision in posted]) if posted else []
    transaction_ids = {
        decision.payment_id: transaction_id
        for decision, transaction_id in zip(posted, ids, strict=True)
    }
    insert_rows(
        tx.connection,
        _INSERT,
        [_row(tx, decision, transaction_ids.get(decision.payment_id)) for decision in decisions],
    )
    take_back_steps(tx, [_paid(decision) for decision in posted])
    publish_accounts(tx, [*dict.fromkeys(decision.account_id for decision in posted)])
    publish_payments(tx, [(decision.payment_id, decision.fingerprint) for decision in decisions])


def _paid(decision: Decision) -> LatePayment:
    assert decision.value_date is not None, "a posted payment counts on a day"
    return LatePayment(
        payment_id=decision.payment_id, account_id=decision.account_id, on=decision.value_date
    )


def _posting(decision: Decision) -> ledger.LedgerTransaction:
    assert decision.value_date is not None, "a posted payment counts on a day"
    return ledger.payment(
        account_id=decision.account_id,
        payment_id=decision.payment_id,
        source=decision.source,
        amount_cents=decision.amount_cents,
        value_date=decision.value_date,
        description=DESCRIPTION,
    )


def _row(tx: Transaction, decision: Decision, transaction_id: int | None) -> tuple[object, ...]:
    return (
        decision.payment_id,
        decision.fingerprint,
        decision.account_id,
        decision.state,
        decision.amount_cents,
        decision.currency,
        decision.method_id,
        decision.method_label,
        decision.source,
        to_text(decision.accepted_at),
        to_text(decision.decided_at or tx.stamp),
        decision.value_date.isoformat() if decision.value_date else None,
        int(decision.value_date_clamped),
        decision.reason,
        decision.case_number,
        transaction_id,
    )


def withdraw_payment(tx: Transaction, intent: Intent) -> None:
    """Make room for the decision of a payment that is under review."""
    tx.connection.execute(_WITHDRAW, (intent.intent_id, intent.fingerprint))


def post_office_payment(
    tx: Transaction,
    *,
    payment_id: str,
    account_id: str,
    amount_cents: int,
    method_id: str,
    accepted_at: datetime,
    value_date: date,
) -> None:
    """
    Post a payment that reached the utility itself, such as by mail or at the counter.

    Repeating it with the same id changes nothing. ``method_id`` may be any label of how it came.
    """
    fingerprint = payment_fingerprint(
        account_id=account_id,
        type_="payment",
        amount_cents=amount_cents,
        currency=tx.utility.currency,
        method_id=method_id,
    )
    tx.hold_accounts([account_id])
    known = tx.connection.execute(
        "SELECT 1 FROM payments WHERE payment_id = ? AND fingerprint = ?", (payment_id, fingerprint)
    ).fetchone()
    if known is not None:
        publish_payment(tx, payment_id, fingerprint)
        return
    facts = read_account_facts(tx.connection, account_id, tx.utility.currency)
    method = facts.method(method_id) if facts else None
    record_decision(
        tx,
        Decision(
            payment_id=payment_id,
            fingerprint=fingerprint,
            account_id=account_id,
            state="posted",
            amount_cents=amount_cents,
            currency=tx.utility.currency,
            method_id=method_id,
            method_label=method.label if method else method_id,
            source="office",
            accepted_at=accepted_at,
            value_date=value_date,
        ),
    )
