"""
Dead letters: intents that the core could not process, each under a case number, and what operators do about them.

A case is resolved once: retried until the intake decides it like any other payment, rejected with a reason, or rejected
and its money given back. What became of it follows its first outcome (`case_outcomes`), goes into the ledger and out to
the customer like every decision, and is what the core answers from then on.
"""

from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from cache_sync.sql import Connection, DatabaseError, IntegrityError
from core_cis.charge_records import owe_refund
from core_cis.decisions import Decision, decision_of
from core_cis.errors import CaseRefused, MoneyUnknown, UnknownCase
from core_cis.instants import from_text, to_text
from core_cis.intake import Intake, outcome_of
from core_cis.intent_kinds import record, withdraw
from core_cis.messages import with_body
from core_cis.money_of_intents import Money, money_of
from core_cis.store import Transaction
from failover.errors import where
from failover.intents import Intent, Outcome

RejectionReason = Literal[
    "account_closed",
    "method_unknown",
    "method_expired",
    "amount_out_of_range",
    "refused_by_operator",
]
REJECTION_REASONS: tuple[RejectionReason, ...] = (
    "refused_by_operator",
    "account_closed",
    "method_unknown",
    "method_expired",
    "amount_out_of_range",
)
LISTED_MAX = 1000
_CASES = """
    SELECT i.intent, i.outcome, i.delivered_by, i.received_at, c.state, c.decided_at
    FROM inbox i LEFT JOIN case_outcomes c ON c.intent_id = i.intent_id AND c.fingerprint = i.fingerprint
    WHERE i.state = 'dead_letter'
"""
_RECORD = "INSERT INTO case_outcomes (intent_id, fingerprint, state, decided_at, outcome) VALUES (?, ?, ?, ?, ?)"
_log = structlog.get_logger(__name__)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment or message under review; ``amount`` in minor units, 0 for a message.

    ``state`` is ``open`` or what became of it: ``posted``, ``rejected``.
    """

    case_number: str
    state: Literal["open", "posted", "rejected"]
    account_id: str
    amount: int
    currency: str
    type: str
    kind: str
    edge_id: str
    delivered_by: str
    accepted_at: datetime
    received_at: datetime
    intent_id: str
    fingerprint: str
    resolved_at: datetime | None = None


class Resolved(NamedTuple):
    """What an action made of a case; ``error`` names what its processing failed with, and the case stays open."""

    state: Literal["open", "posted", "rejected"]
    error: str = ""


def read_cases(
    connection: Connection, *, everything: bool = False, account_id: str | None = None
) -> list[Case]:
    """
    List the open cases, with ``everything`` the resolved ones too; the oldest first, at most `LISTED_MAX`.

    With ``account_id`` only those of an account.
    """
    condition = "" if everything else " AND c.state IS NULL"
    values: tuple[str, ...] = ()
    if account_id is not None:
        condition, values = f"{condition} AND i.account_id = ?", (account_id,)
    rows = connection.execute(
        f"{_CASES}{condition} ORDER BY i.received_at, i.intent_id LIMIT {LISTED_MAX}", values
    )
    return [_case(row) for row in rows.fetchall()]


def count_open(connection: Connection) -> int:
    """Count the open cases."""
    (count,) = connection.execute(
        f"SELECT count(*) FROM ({_CASES} AND c.state IS NULL) AS cases"  # noqa: S608 - our own names
    ).fetchone()
    return int(count)


def read_case(connection: Connection, case_number: str) -> Case:
    """
    Read one case.

    Raises:
        UnknownCase: There is none of this number.
    """
    return _case(_find(connection, case_number))


def retry_case(tx: Transaction, case_number: str, intake: Intake) -> Resolved:
    """
    Have the intake judge a case again; nothing changes where its processing fails once more.

    Raises:
        UnknownCase: There is none of this number.
        CaseRefused: It is resolved.
        DatabaseError: The disk or the database refused.
    """
    intent = _open_intent(tx, case_number)
    tx.hold_accounts([intent.account_id])
    try:
        with tx.savepoint():
            decision = intake.judge_again(tx, intent)
            if decision.state == "dead_letter":
                return Resolved("open", decision.reason)
            return _resolve(tx, intent, decision)
    except Exception as error:
        if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
            raise
        _log.error(
            "a case could not be processed again",
            case=case_number,
            error=type(error).__name__,
            frames=where(error),
        )
        return Resolved("open", type(error).__name__)


def reject_case(tx: Transaction, case_number: str, reason: RejectionReason) -> Resolved:
    """
    Reject a case for good; nothing is posted, and the customer is told why.

    Raises:
        UnknownCase: There is none of this number.
        CaseRefused: It is resolved, its money was taken, or nobody knows yet whether it was.
    """
    intent = _open_intent(tx, case_number)
    if _money(tx, intent).state == "captured":
        raise CaseRefused("Money was taken for this payment: refund it.")
    return _resolve(tx, intent, decision_of(intent, state="rejected", reason=reason))


def refund_case(tx: Transaction, case_number: str) -> Resolved:
    """
    Reject a case for good whose money was taken at the payment processor, and have it given back.

    Raises:
        UnknownCase: There is none of this number.
        CaseRefused: It is resolved, no money was taken, or nobody knows yet whether it was.
    """
    intent = _open_intent(tx, case_number)
    money = _money(tx, intent)
    if money.state != "captured":
        raise CaseRefused(
            "No money was taken for this payment, so none can be given back: reject it."
        )
    owe_refund(tx, intent, money.charge_id, "refused_by_operator")
    return _resolve(tx, intent, decision_of(intent, state="rejected", reason="refused_by_operator"))


def _money(tx: Transaction, intent: Intent) -> Money:
    tx.hold_accounts([intent.account_id])
    try:
        money = money_of(tx, intent)
    except MoneyUnknown as error:
        raise CaseRefused(
            "The payment processor has not said yet whether money was taken."
        ) from error
    if money.state == "review":
        raise CaseRefused(
            "Nobody knows whether money was taken: ask the payment processor, then retry."
        )
    return money


def _open_intent(tx: Transaction, case_number: str) -> Intent:
    row = _find(tx.connection, case_number)
    if row[4] is not None:
        raise CaseRefused(f"Case {case_number} is resolved: {row[4]}.")
    intent = msgspec.msgpack.decode(row[0], type=Intent)
    return intent if intent.is_payment else with_body(tx.connection, intent)


def _resolve(tx: Transaction, intent: Intent, decision: Decision) -> Resolved:
    pair = (intent.intent_id, intent.fingerprint)
    withdraw(tx, intent)
    record(tx, intent, decision)
    outcome = outcome_of(tx, intent, decision)
    tx.connection.execute(
        _RECORD, (*pair, outcome.state, to_text(tx.stamp), msgspec.msgpack.encode(outcome))
    )
    return Resolved("posted" if decision.state == "posted" else "rejected")


def _find(connection: Connection, case_number: str) -> tuple[Any, ...]:
    # Their number is small, and the number is within the outcome.
    for row in connection.execute(_CASES).fetchall():
        if msgspec.msgpack.decode(row[1], type=Outcome).case_number == case_number:
            return tuple(row)
    raise UnknownCase(case_number)


def _case(row: tuple[Any, ...]) -> Case:
    encoded, outcome, delivered_by, received_at, state, decided_at = row
    intent = msgspec.msgpack.decode(encoded, type=Intent)
    return Case(
        case_number=msgspec.msgpack.decode(outcome, type=Outcome).case_number,
        state=state or "open",
        account_id=intent.account_id,
        amount=intent.amount_cents,
        currency=intent.currency,
        type=intent.type,
        kind=intent.kind,
        edge_id=intent.edge_id,
        delivered_by=delivered_by,
        accepted_at=intent.accepted_at,
        received_at=from_text(received_at),
        intent_id=intent.intent_id,
        fingerprint=intent.fingerprint,
        resolved_at=from_text(decided_at) if decided_at else None,
    )
