"""
What customers send besides payments: decided, written down and published in the caller's transaction.

Each type has a module of its own, which judges a message and enters it; the rest is the same for all. Types have
conflict rules of their own, so that the books are the same in whatever order edges bring what they accepted.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cache_sync.documents import MESSAGE, DecidedMessageBody
from cache_sync.sql import Connection
from core_cis.contact_posting import enter_contact, judge_contact
from core_cis.decisions import Decision, decision_of
from core_cis.instants import from_text, to_text
from core_cis.message_verdicts import Verdict
from core_cis.meter_reading_posting import enter_reading, judge_reading
from core_cis.outage_report_posting import enter_outage, judge_outage
from core_cis.publishing import payment_key
from core_cis.service_request_posting import enter_service_request, judge_service_request
from core_cis.store import Transaction
from failover.intents import Intent
from failover.message_bodies import MessageBody, MessageType, decode_body, encode_body

_ACCOUNT = "SELECT status FROM accounts WHERE account_id = ?"
_INSERT = """
    INSERT INTO messages (message_id, fingerprint, account_id, type, state, reason, case_number, accepted_at,
        decided_at, body_hash, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_MESSAGE = """
    SELECT message_id, account_id, fingerprint, type, state, body_hash, body, accepted_at, decided_at, reason,
        case_number
    FROM messages WHERE message_id = ? AND fingerprint = ?
"""
_BODY = "SELECT body FROM messages WHERE message_id = ? AND fingerprint = ?"
_WITHDRAW = (
    "DELETE FROM messages WHERE message_id = ? AND fingerprint = ? AND state = 'dead_letter'"
)


NOBODYS = frozenset({"unknown_account", "account_closed"})
"""Why a message is rejected whose account is not a customer's, or not any more."""


class Handling(NamedTuple):
    """What a type's module does: judge a message that was not decided yet; enter one that is posted."""

    judge: Callable[[Transaction, Intent, MessageBody], Verdict]
    enter: Callable[[Transaction, Intent, MessageBody, str], None]


HANDLINGS: dict[MessageType, Handling] = {
    "reading": Handling(judge_reading, enter_reading),
    "outage": Handling(judge_outage, enter_outage),
    "service": Handling(judge_service_request, enter_service_request),
    "contact": Handling(judge_contact, enter_contact),
}


def decide_message(tx: Transaction, intent: Intent) -> Decision:
    """Judge a message that has no outcome yet by the books as they stand in this transaction."""
    verdict = _verdict(tx, intent)
    return decision_of(
        intent, state=verdict.state, reason=verdict.reason, case_number=verdict.case_number
    )


def _verdict(tx: Transaction, intent: Intent) -> Verdict:
    row = tx.connection.execute(_ACCOUNT, (intent.account_id,)).fetchone()
    if row is None:
        return Verdict("rejected", "unknown_account")
    if row[0] != "active":
        return Verdict("rejected", "account_closed")
    if intent.not_after is not None and tx.stamp > intent.not_after:
        return Verdict("rejected", "past_not_after")
    if isinstance(intent.body, msgspec.UnsetType):
        return Verdict("rejected", "body_emptied")
    return _handling(intent).judge(tx, intent, intent.body)


def record_message(tx: Transaction, intent: Intent, decision: Decision) -> None:
    """Write a decided message with everything that follows from it; of nobody's account no word is kept."""
    body = None if isinstance(intent.body, msgspec.UnsetType) else intent.body
    if decision.reason in NOBODYS:
        body = None
    assert not isinstance(intent.body_hash, msgspec.UnsetType), "every message names its body"
    tx.connection.execute(
        _INSERT,
        (
            intent.intent_id,
            intent.fingerprint,
            intent.account_id,
            intent.type,
            decision.state,
            decision.reason,
            decision.case_number,
            to_text(decision.accepted_at),
            to_text(decision.decided_at or tx.stamp),
            intent.body_hash,
            None if body is None else encode_body(body),
        ),
    )
    if decision.state == "posted" and body is not None:
        _handling(intent).enter(tx, intent, body, decision.case_number)
    publish_message(tx, intent.intent_id, intent.fingerprint)


def publish_message(tx: Transaction, message_id: str, fingerprint: str) -> None:
    """Publish what was decided of a message, under a key as a payment's."""
    row = tx.connection.execute(_MESSAGE, (message_id, fingerprint)).fetchone()
    body = DecidedMessageBody(
        message_id=row[0],
        account_id=row[1],
        fingerprint=row[2],
        type=row[3],
        state=row[4],
        body_hash=row[5],
        content=msgspec.Raw(b"null" if row[6] is None else row[6]),
        accepted_at=from_text(row[7]),
        decided_at=from_text(row[8]),
        reason=row[9],
        case_number=row[10],
    )
    tx.publish(body.account_id, MESSAGE, payment_key(message_id, fingerprint, body.reason), body)


def withdraw_message(tx: Transaction, intent: Intent) -> None:
    """Make room for the decision of a message that is under review."""
    tx.connection.execute(_WITHDRAW, (intent.intent_id, intent.fingerprint))


def with_body(connection: Connection, intent: Intent) -> Intent:
    """Return a message that was kept without its body with it; as it is where that is emptied."""
    row = connection.execute(_BODY, (intent.intent_id, intent.fingerprint)).fetchone()
    if row is None or row[0] is None:
        return intent
    return msgspec.structs.replace(intent, body=decode_body(row[0]))


def _handling(intent: Intent) -> Handling:
    assert intent.type != "payment", "payments are decided elsewhere"
    return HANDLINGS[intent.type]
