"""What is known of an intent's money when it is decided: the edge's signed word, else what the core found out."""

from typing import Literal, NamedTuple

from core_cis.charge_records import (
    ChargeRow,
    answer_charge,
    begin_charge,
    find_charge,
    owe_refund,
)
from core_cis.domain.payments import RejectReason
from core_cis.errors import MoneyUnknown
from core_cis.store import Transaction
from failover.intents import Capture, Intent, declined_reason
from failover.processor import Captured, DeclineCode, Declined, Nothing

_CODES: dict[str, DeclineCode] = {
    "insufficient_funds": "insufficient_funds",
    "expired": "expired",
    "needs_confirmation": "needs_confirmation",
    "method_unusable": "method_unusable",
}
# What became of a case follows its first outcome.
_OUTCOME_STATE = """
    SELECT coalesce(c.state, i.state)
    FROM inbox i LEFT JOIN case_outcomes c ON c.intent_id = i.intent_id AND c.fingerprint = i.fingerprint
    WHERE i.intent_id = ? AND i.fingerprint = ?
"""


class Money(NamedTuple):
    """
    What became of a payment's money.

    ``none``: there is no charge of it, so it counts as a promise that is collected elsewhere. ``reason`` is set where
    it was surely not taken.
    """

    state: Literal["none", "captured", "refused", "review"]
    charge_id: str = ""
    reason: RejectReason | None = None


def money_of(tx: Transaction, intent: Intent) -> Money:
    """
    Tell what became of an intent's money; an edge's word is written down when it is the first.

    Raises:
        MoneyUnknown: It may have been charged, and the processor has not said so or not.
    """
    if isinstance(intent.capture, Capture):
        begin_charge(tx, intent)
        answer_charge(tx, intent.intent_id, intent.fingerprint, _said(intent, intent.capture))
    return money_known(find_charge(tx.connection, intent.intent_id, intent.fingerprint))


def money_known(known: ChargeRow | None) -> Money:
    """
    Tell what a charge's row says of the money; None where there is no charge.

    Raises:
        MoneyUnknown: As `money_of`.
    """
    if known is None:
        return Money("none")
    match known.state:
        case "captured":
            return Money("captured", charge_id=known.charge_id)
        case "declined":
            reason: RejectReason = declined_reason(known.code)  # type: ignore[assignment] # of `DeclineCode`
            return Money("refused", reason=reason)
        case "conflict":
            return Money("refused", reason="id_conflict")
        case "nothing":
            return Money("refused", reason="not_captured")
        case "review":
            return Money("review")
        case _:
            raise MoneyUnknown


def hear_late(tx: Transaction, intent: Intent) -> None:
    """
    Take note of a charge that the core hears of after it decided: what was not posted has to be given back.

    Where it was posted, or is known under the same name, nothing changes; of a payment under review an operator
    decides what becomes of its money.
    """
    if not isinstance(intent.capture, Capture) or intent.capture.state != "captured":
        return
    row = tx.connection.execute(_OUTCOME_STATE, (intent.intent_id, intent.fingerprint)).fetchone()
    known = find_charge(tx.connection, intent.intent_id, intent.fingerprint)
    charge_id = intent.capture.charge_id
    if row[0] in {"posted", "dead_letter"} and known is None:
        # Posted as a promise that is collected elsewhere, or parked before anybody asked: now the books know.
        money_of(tx, intent)
        return
    if (
        row[0] in {"posted", "dead_letter"}
        and known is not None
        and known.charge_id in {"", charge_id}
    ):
        return
    owe_refund(tx, intent, charge_id, str(row[0]))


def _said(intent: Intent, capture: Capture) -> Captured | Declined | Nothing:
    if capture.state == "captured":
        return Captured(
            charge_id=capture.charge_id,
            amount_cents=intent.amount_cents,
            currency=intent.currency,
        )
    if capture.state == "declined":
        return Declined(_CODES.get(capture.code, "declined"))
    return Nothing()
