"""What a worker checks before it asks the agent, and what the agent's refusals mean."""

import re
from typing import Final

from cache_sync.documents import AccountBody, PaymentMethod
from edge_portal.agent_link import RefusedReply
from edge_portal.errors import (
    InvalidPayment,
    KeyReused,
    NotTaken,
    OverLimit,
    PaymentError,
    PaymentUnknown,
)

AMOUNT_MAX_CENTS: Final = 1_000_000
KEY_PATTERN: Final = re.compile(r"[\x21-\x7e]{1,128}")


def check_key(idempotency_key: str) -> None:
    """Raise `InvalidPayment` where an idempotency key cannot be used."""
    if not KEY_PATTERN.fullmatch(idempotency_key):
        raise InvalidPayment("idempotency_key", "must be 1 to 128 visible ASCII characters")


def check_amount(amount_cents: int) -> None:
    """Raise `InvalidPayment` where an amount cannot be paid."""
    if isinstance(amount_cents, bool) or amount_cents < 1:
        raise InvalidPayment("amount", "must be at least 1")
    if amount_cents > AMOUNT_MAX_CENTS:
        raise InvalidPayment("amount", f"must be at most {AMOUNT_MAX_CENTS}")


def checked_method(account: AccountBody, method_id: str) -> PaymentMethod:
    """Find a verified saved method. Raises `InvalidPayment`."""
    for method in account.payment_methods:
        if method.method_id == method_id:
            if method.status != "verified":
                raise InvalidPayment("method_id", f"this payment method is {method.status}")
            return method
    raise InvalidPayment("method_id", "must be one of the account's payment methods")


def refusal_of(reply: RefusedReply, id_: str) -> PaymentError:
    """Tell what the agent refused as the error that it is."""
    match reply.kind:
        case "invalid":
            return InvalidPayment(reply.which, reply.message)
        case "key_reused":
            return KeyReused("this key was used for something else", intent_id=id_)
        case "over_limit":
            return OverLimit(reply.which, reply.message, intent_id=id_)
        case "not_taken":
            return NotTaken(reply.message or "not taken here", intent_id=id_)
        case _:
            return PaymentUnknown("nothing could confirm this", intent_id=id_)
