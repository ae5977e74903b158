"""
Events that a processor which speaks Stripe's API tells of its own accord: signed, perhaps late, perhaps twice.

Nothing is believed without a signature, and an event only ever answers a question that is already asked.
"""

import hashlib
import hmac
from typing import Any, NamedTuple

import msgspec

from failover.processor import FoundCharge
from failover.stripe_processor import REFERENCE, found_charge

TOLERANCE_SECONDS = 300
"""How old a signature may be: what was captured on the way cannot be played again much later."""

_CHARGE_EVENTS = frozenset({"charge.succeeded", "charge.failed"})


class ChargeEvent(NamedTuple):
    """What became of the charge of one reference."""

    reference: str
    found: FoundCharge


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: dict[str, Any]


def is_genuine(payload: bytes, signature: str, secret: str, *, now_seconds: float) -> bool:
    """
    Tell whether the processor signed this payload lately.

    Args:
        payload: The body as it came.
        signature: The header ``Stripe-Signature``: ``t=SECONDS,v1=HEX``, perhaps several ``v1``.
        secret: What is shared with the processor; without one nothing is genuine.
        now_seconds: The time, in seconds since 1970.
    """
    parts = [part.partition("=")[::2] for part in signature.split(",")]
    moment = next((value for name, value in parts if name.strip() == "t"), "")
    if not secret or not (moment.isascii() and moment.isdigit()) or len(moment) > 12:  # noqa: PLR2004 - no such second
        return False
    expected = hmac.new(secret.encode(), moment.encode() + b"." + payload, hashlib.sha256)
    shown = [value for name, value in parts if name.strip() == "v1"]
    matches = [hmac.compare_digest(expected.hexdigest().encode(), each.encode()) for each in shown]
    return any(matches) and abs(now_seconds - int(moment)) <= TOLERANCE_SECONDS


def read_event(payload: bytes) -> ChargeEvent | None:
    """Read what an event says of a charge; None when it is about something else, or is not one."""
    try:
        event = msgspec.json.decode(payload, type=_Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    charge = event.data.get("object")
    if event.type not in _CHARGE_EVENTS or not isinstance(charge, dict):
        return None
    metadata = charge.get("metadata")
    reference = metadata.get(REFERENCE) if isinstance(metadata, dict) else None
    if not isinstance(reference, str):
        return None
    try:
        return ChargeEvent(reference, found_charge(charge))
    except (KeyError, TypeError, ValueError):
        return None
