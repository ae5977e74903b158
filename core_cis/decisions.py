"""What the core decided of an intent, whatever its type."""

from datetime import date, datetime
from typing import Literal

import msgspec

from failover.intents import Intent, receipt_number


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the core decided of a payment or message, and of which; a message has no amount, no method, no value date.

    ``decided_at`` is set where it was decided before, and forgotten; else it is decided in this transaction.
    """

    payment_id: str
    fingerprint: str
    account_id: str
    state: Literal["posted", "rejected", "dead_letter", "cancelled"]
    amount_cents: int
    currency: str
    method_id: str
    method_label: str
    source: Literal["intent", "office"]
    accepted_at: datetime
    value_date: date | None = None
    value_date_clamped: bool = False
    reason: str = ""
    case_number: str = ""
    decided_at: datetime | None = None


def decision_of(intent: Intent, **decided: object) -> Decision:
    """Fill a decision with what is decided about; ``decided`` are the other fields of `Decision`."""
    return msgspec.convert(
        {
            "payment_id": intent.intent_id,
            "fingerprint": intent.fingerprint,
            "account_id": intent.account_id,
            "amount_cents": intent.amount_cents,
            "currency": intent.currency,
            "method_id": intent.method_id,
            "method_label": "",
            "source": "intent",
            "accepted_at": intent.accepted_at,
        }
        | decided,
        Decision,
    )


def under_review(intent: Intent) -> dict[str, object]:
    """Say what becomes of an intent that could not be processed: the fields of its decision."""
    case_number = f"C-{receipt_number(intent.intent_id + intent.fingerprint)}"
    return {"state": "dead_letter", "reason": "under_review", "case_number": case_number}
