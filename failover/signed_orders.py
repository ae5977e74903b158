"""
Orders of the core to its edges: JSON text, and the core's signature over that text.

Whoever passes an order on, or keeps it, cannot change it. What is signed begins with what the order is for, so that no
order can be taken for one of another purpose.
"""

import base64
from typing import TypeVar

import msgspec

from failover.signing import is_signed, sign_bytes

T = TypeVar("T")


class SignedOrder(msgspec.Struct, frozen=True):
    """
    An order as it travels: JSON, and the core's signature over that text (Ed25519, base64).

    The text is kept as it was signed, so that an edge of an earlier release can check what it does not know all of.
    """

    text: str
    signature: str


def sign_as_order(order: msgspec.Struct, *, purpose: bytes, signing_key: str) -> SignedOrder:
    """Sign an order with the core's key, for a purpose."""
    text = msgspec.json.encode(order)
    signature = sign_bytes(signing_key, purpose + text)
    return SignedOrder(text.decode(), base64.b64encode(signature).decode())


def read_as_order(
    signed: SignedOrder, type_: type[T], *, purpose: bytes, core_key: str
) -> T | None:
    """Read an order of a purpose; None for what the core has not signed, or what is no such order."""
    try:
        signature = base64.b64decode(signed.signature, validate=True)
        if not is_signed(purpose + signed.text.encode(), signature, core_key):
            return None
        return msgspec.json.decode(signed.text, type=type_)
    except (ValueError, msgspec.DecodeError):
        return None
