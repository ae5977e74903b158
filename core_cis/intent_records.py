"""What the core knows of an intent, for operators."""

from datetime import date, datetime

import msgspec

from cache_sync.sql import Connection
from core_cis.fee_dates import fee_dates
from failover.intents import Intent, Outcome

# What became of a case follows its first outcome.
_FIND = """
    SELECT i.won, i.intent, coalesce(c.outcome, i.outcome), i.delivered_by
    FROM inbox i LEFT JOIN case_outcomes c ON c.intent_id = i.intent_id AND c.fingerprint = i.fingerprint
    WHERE i.intent_id = ? ORDER BY i.won DESC, i.rowid
"""
_TRANSACTION = "SELECT transaction_id FROM payments WHERE payment_id = ? AND fingerprint = ?"
_FAILING = "SELECT fingerprint, attempts, failed_at FROM intake_failures WHERE intent_id = ?"


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    An intent and what became of it.

    ``state`` is the outcome's, or ``failing`` while it is tried again after an unexpected failure. ``amount`` is in
    minor units, positive. ``fee_effective_on`` is set where another edge accepted it before ``value_date``: fees are
    reckoned from then. ``others`` lost the same id.
    """

    intent_id: str
    fingerprint: str
    state: str
    account_id: str = ""
    type: str = "payment"
    amount: int | None = None
    currency: str = ""
    method_id: str = ""
    accepted_at: datetime | None = None
    decided_at: datetime | None = None
    value_date: date | None = None
    fee_effective_on: date | None = None
    reason: str = ""
    case_number: str = ""
    transaction_id: str | None = None
    edge_id: str = ""
    delivered_by: str = ""
    attempts: int = 0
    others: "list[IntentRecord]" = []


def read_intent(connection: Connection, intent_id: str) -> IntentRecord | None:
    """Read an intent's record; None when it never arrived."""
    records = [
        _record(connection, intent, outcome, delivered_by)
        for _, intent, outcome, delivered_by in connection.execute(_FIND, (intent_id,)).fetchall()
    ]
    if not records:
        failing = connection.execute(_FAILING, (intent_id,)).fetchone()
        if failing is None:
            return None
        return IntentRecord(
            intent_id=intent_id, fingerprint=failing[0], state="failing", attempts=failing[1]
        )
    return msgspec.structs.replace(records[0], others=records[1:])


def _record(
    connection: Connection, encoded_intent: bytes, encoded_outcome: bytes, delivered_by: str
) -> IntentRecord:
    intent = msgspec.msgpack.decode(encoded_intent, type=Intent)
    outcome = msgspec.msgpack.decode(encoded_outcome, type=Outcome)
    row = connection.execute(_TRANSACTION, (intent.intent_id, intent.fingerprint)).fetchone()
    posted = row[0] if row else None
    return IntentRecord(
        intent_id=intent.intent_id,
        fingerprint=intent.fingerprint,
        state=outcome.state,
        account_id=intent.account_id,
        type=intent.type,
        amount=intent.amount_cents,
        currency=intent.currency,
        method_id=intent.method_id,
        accepted_at=intent.accepted_at,
        decided_at=outcome.decided_at,
        value_date=outcome.value_date,
        fee_effective_on=fee_dates(connection, [intent.intent_id]).get(
            (intent.intent_id, intent.fingerprint)
        ),
        reason=outcome.reason,
        case_number=outcome.case_number,
        transaction_id=None if posted is None else str(posted),
        edge_id=intent.edge_id,
        delivered_by=delivered_by,
    )
