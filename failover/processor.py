"""
The payment processor, as both applications see it: charge a saved method once, ask what became of it, give it back.

The intent's id is the processor's idempotency key and the charge's reference. An answer is one of a few types; whatever
is not certain is `Unknown`, and is resolved by asking with the same key, never by charging again. Amounts are in minor
units. A token names a saved method: no card or bank number ever comes here.
"""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

DeclineCode = Literal[
    "declined",
    "insufficient_funds",
    "expired",
    "needs_confirmation",
    "method_unusable",
]
"""Why a bank or the processor said no, in our words: what a processor says beyond these reads as ``declined``."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A charge to be made; ``key`` is the intent's id."""

    key: str
    amount_cents: int
    currency: str
    token: str


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The money was taken; ``charge_id`` is the processor's name for it."""

    charge_id: str
    amount_cents: int
    currency: str


class Declined(msgspec.Struct, frozen=True):
    """No money was taken, and none will be under this key."""

    code: DeclineCode


class Unknown(msgspec.Struct, frozen=True):
    """Nobody knows yet; without ``sent`` no byte left this node. ``why`` is for logs and names no one."""

    why: str
    sent: bool = True


class Nothing(msgspec.Struct, frozen=True):
    """The processor was asked and has nothing of this name."""


class KeyTaken(msgspec.Struct, frozen=True):
    """The processor knows this key with other content: it did nothing for this call."""


class Refunded(msgspec.Struct, frozen=True):
    """The money was given back; ``refund_id`` is the processor's name for that."""

    refund_id: str


class RefundRefused(msgspec.Struct, frozen=True):
    """The processor will not give it back, such as a charge that does not exist; a person has to look."""

    code: str


ChargeAnswer = Captured | Declined | KeyTaken | Unknown
FoundCharge = Captured | Declined | Nothing | Unknown
RefundAnswer = Refunded | RefundRefused | Unknown
FoundRefund = Refunded | Nothing | Unknown


class PaymentProcessor(Protocol):
    """A payment processor. No call raises for what the processor, or the way to it, does: the answer says it."""

    async def charge(self, charge: Charge, *, deadline_seconds: float) -> ChargeAnswer:
        """
        Take the money, at most once a key while the processor remembers the key.

        The caller has the attempt on its disk before it calls.
        """
        ...

    async def find(
        self, key: str, *, token: str | None, since: datetime, deadline_seconds: float
    ) -> FoundCharge:
        """
        Ask what became of a charge by its reference; moves no money and outlives the processor's key horizon.

        Args:
            key: The intent's id.
            token: The method that was charged, where known: it narrows the search.
            since: An instant surely before the first attempt.
            deadline_seconds: How long it may take.
        """
        ...

    async def refund(
        self, charge_id: str, amount_cents: int, *, key: str, deadline_seconds: float
    ) -> RefundAnswer:
        """Give a whole charge back, once."""
        ...

    async def find_refund(self, charge_id: str, *, deadline_seconds: float) -> FoundRefund:
        """Ask whether a charge was given back."""
        ...


def refund_key(key: str) -> str:
    """Name the refund of a charge by the charge's own key: it is given back once, whoever asks."""
    return f"{key}-refund"
