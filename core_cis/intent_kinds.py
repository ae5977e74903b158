"""One place that knows which module handles which type of intent: payments, and messages of every type."""

from collections.abc import Callable
from typing import Any

from cache_sync.documents import MESSAGE, PAYMENT
from core_cis.decisions import Decision
from core_cis.messages import decide_message, record_message, withdraw_message
from core_cis.payment_judging import Standing, decide_payment
from core_cis.payment_posting import record_decision, withdraw_payment
from core_cis.publishing import payment_key
from core_cis.settings import ServerSettings
from core_cis.store import Transaction
from failover.intents import Intent, Outcome

Decide = Callable[[Transaction, Intent, ServerSettings, Standing | None], Decision]


def decide(
    tx: Transaction, intent: Intent, settings: ServerSettings, standing: Standing | None = None
) -> Decision:
    """Judge one intent that has no outcome yet; a payment by its ``standing``, where that was read already."""
    if intent.is_payment:
        return decide_payment(tx, intent, settings, standing)
    return decide_message(tx, intent)


def record(tx: Transaction, intent: Intent, decision: Decision) -> None:
    """Write what was decided of an intent, with everything that follows from it, and publish it."""
    if intent.is_payment:
        record_decision(tx, decision)
    else:
        record_message(tx, intent, decision)


def withdraw(tx: Transaction, intent: Intent) -> None:
    """Make room for the decision of an intent that is under review; the inbox keeps what was decided first."""
    if intent.is_payment:
        withdraw_payment(tx, intent)
    else:
        withdraw_message(tx, intent)


def document_of(intent: Intent, outcome: Outcome) -> tuple[str, str, str]:
    """Name the document that shows what was decided of an intent."""
    key = payment_key(intent.intent_id, intent.fingerprint, outcome.reason)
    return intent.account_id, PAYMENT if intent.is_payment else MESSAGE, key


def turn_of(intent: Intent) -> tuple[Any, ...]:
    """
    Tell an intent's turn among those that came together: payments as they came, messages by when they were accepted.

    Payments commute. A conflict rule decides messages whatever their order; in their own order more of them is plain.
    """
    if intent.is_payment:
        return (0,)
    return 1, intent.accepted_at, intent.edge_id, intent.incarnation, intent.ordinal
