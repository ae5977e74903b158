"""
What this edge knows beyond its snapshot, laid over it: pure.

A payment or message is known by (id, fingerprint). Its document, once the snapshot has it, is the only truth about it;
until then the journal's row stands in. So each is shown exactly once, and each payment is counted exactly once: in the
ledger balance when its document is here, in the pending amount before.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from cache_sync.documents import DecidedMessageBody, PaymentBody
from cache_sync.frames import Position
from failover.intents import CORE_FINAL, Receipt, State
from failover.message_bodies import TYPES, decode_body

PENDING_STATES: Final[frozenset[State]] = frozenset({"accepted", "posted"})
"""What lowers "left to pay": `checking` does not, for nobody has confirmed it."""

NOT_TAKEN_STATES: Final[frozenset[State]] = frozenset({"void", "declined_limit"})
"""Ends of an attempt at this edge: nothing was taken, so nothing is listed."""

EMPTIED: Final = b"null"
"""What a message's document has for content once that was emptied."""

_KNOWLEDGE: Final[dict[State, int]] = {
    "void": 0,
    "declined_limit": 0,
    "checking": 1,
    "accepted": 2,
    "cancelled": 3,
    "rejected": 3,
    "dead_letter": 3,
    "posted": 4,
}


class Overlaid(msgspec.Struct, frozen=True):
    """
    Every payment and every message of an account once, newest first.

    ``pending_cents`` is what of the payments is not in the snapshot's balance yet.
    """

    payments: list[Receipt]
    pending_cents: int
    messages: list[Receipt] = []


def receipt_of_document(body: PaymentBody, position: Position) -> Receipt:
    """Tell a payment document as a receipt; ``position`` is where the document stands."""
    return Receipt(
        intent_id=body.payment_id,
        fingerprint=body.fingerprint,
        account_id=body.account_id,
        state=body.state,
        amount_cents=body.amount_cents,
        currency=body.currency,
        method_id=body.method_id,
        accepted_at=body.accepted_at,
        durable=True,
        decided_at=body.decided_at,
        value_date=body.value_date,
        reason=body.reason,
        case_number=body.case_number,
        epoch=position.epoch,
        shard=position.shard,
        seq=position.seq,
    )


def receipt_of_message(body: DecidedMessageBody, position: Position) -> Receipt | None:
    """Tell a message's document as a receipt; None for a type that a newer core knows and this edge does not."""
    if body.type not in TYPES.values():
        return None
    content = bytes(body.content)
    return Receipt(
        intent_id=body.message_id,
        fingerprint=body.fingerprint,
        account_id=body.account_id,
        state=body.state,
        type=body.type,  # type: ignore[arg-type] # one of them, as was looked
        body_hash=body.body_hash,
        body=msgspec.UNSET if content == EMPTIED else decode_body(content),
        accepted_at=body.accepted_at,
        durable=True,
        decided_at=body.decided_at,
        reason=body.reason,
        case_number=body.case_number,
        epoch=position.epoch,
        shard=position.shard,
        seq=position.seq,
    )


def overlay(
    documents: Iterable[Receipt], recorded: Iterable[Receipt], position: Position
) -> Overlaid:
    """
    Lay the journal's receipts over the documents of a snapshot that stands at ``position``.

    A posted receipt whose own position the snapshot has reached is in its balance already, document or not.
    """
    shown = {(receipt.intent_id, receipt.fingerprint): receipt for receipt in documents}
    overlaid: dict[tuple[str, str], Receipt] = {}
    for receipt in recorded:
        pair = (receipt.intent_id, receipt.fingerprint)
        if pair in shown or receipt.state in NOT_TAKEN_STATES:
            continue
        other = overlaid.get(pair)
        overlaid[pair] = receipt if other is None else better_informed(other, receipt)
    pending_cents = sum(
        receipt.amount_cents
        for receipt in overlaid.values()
        if receipt.state in PENDING_STATES and not is_in_snapshot(receipt, position)
    )
    newest_first = sorted(
        (*shown.values(), *overlaid.values()),
        key=lambda receipt: (receipt.accepted_at, receipt.intent_id),
        reverse=True,
    )
    return Overlaid(
        [receipt for receipt in newest_first if receipt.is_payment],
        pending_cents,
        [receipt for receipt in newest_first if not receipt.is_payment],
    )


def as_told(payment: Receipt) -> Receipt:
    """Show a payment of which no money was taken as not accepted: a bank's no needs no core to be one."""
    if payment.surely_not_taken:
        return msgspec.structs.replace(payment, state="rejected")
    return payment


def better_informed(one: Receipt, other: Receipt) -> Receipt:
    """Choose between two rows about the same payment: the one that knows more."""
    return max(one, other, key=lambda receipt: (_KNOWLEDGE[receipt.state], receipt.durable))


def is_in_snapshot(receipt: Receipt, position: Position) -> bool:
    """Tell whether a snapshot at this position contains what the core decided of a payment."""
    return (
        receipt.state in CORE_FINAL
        and receipt.seq is not None
        and receipt.epoch == position.epoch
        and receipt.shard == position.shard
        and receipt.seq <= position.seq
    )


def is_behind(here: Position, seen: Iterable[Position]) -> bool:
    """Tell whether a customer has already seen more than a snapshot at this position shows."""
    return any(
        one.epoch > here.epoch
        or (one.epoch == here.epoch and one.shard == here.shard and one.seq > here.seq)
        for one in seen
    )
