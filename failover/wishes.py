"""What a signed-in customer asks for, and the draft of the intent that comes of it. Pure."""

from datetime import datetime

import msgspec

from failover.intents import fingerprint, intent_id, message_fingerprint
from failover.journal_changes import Draft
from failover.message_bodies import MessageBody, hash_body, type_of
from failover.standin import MethodType


class PaymentWish(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment, with what the asking worker read in its snapshot.

    ``core_time`` is the estimated core time (as-of time plus age). ``snapshot_age_seconds`` is None when only a lower
    bound of the age is known.
    """

    account_id: str
    idempotency_key: str
    amount_cents: int
    currency: str
    method_id: str
    method_verified: bool
    method_type: MethodType
    core_time: datetime
    snapshot_age_seconds: float | None


class MessageWish(msgspec.Struct, frozen=True, kw_only=True):
    """A message; ``core_time`` and ``snapshot_age_seconds`` as of a `PaymentWish`."""

    account_id: str
    idempotency_key: str
    body: MessageBody
    core_time: datetime
    snapshot_age_seconds: float | None


def draft_payment(wish: PaymentWish) -> Draft:
    """Draft a payment's intent."""
    return Draft(
        intent_id=intent_id(wish.account_id, wish.idempotency_key),
        fingerprint=fingerprint(
            account_id=wish.account_id,
            type_="payment",
            amount_cents=wish.amount_cents,
            currency=wish.currency,
            method_id=wish.method_id,
        ),
        account_id=wish.account_id,
        idempotency_key=wish.idempotency_key,
        amount_cents=wish.amount_cents,
        currency=wish.currency,
        method_id=wish.method_id,
        method_verified=wish.method_verified,
        method_type=wish.method_type,
        accepted_at=wish.core_time,
        snapshot_age_seconds=wish.snapshot_age_seconds,
    )


def draft_message(wish: MessageWish) -> Draft:
    """Draft a message's intent."""
    type_, body_hash = type_of(wish.body), hash_body(wish.body)
    return Draft(
        intent_id=intent_id(wish.account_id, wish.idempotency_key),
        fingerprint=message_fingerprint(
            account_id=wish.account_id, type_=type_, body_hash=body_hash
        ),
        account_id=wish.account_id,
        idempotency_key=wish.idempotency_key,
        type=type_,
        body_hash=body_hash,
        body=wish.body,
        accepted_at=wish.core_time,
        snapshot_age_seconds=wish.snapshot_age_seconds,
    )
