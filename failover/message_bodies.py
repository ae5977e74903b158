"""
What customers send besides payments: the bodies of their messages.

A body may hold what is personal, and what was signed is kept for ever. So an intent's signature and fingerprint cover
the hash of its body, and the body itself may be emptied later without either breaking. The hash tells nothing without
the ``salt``: it is made from a key that only edges hold, the same for the same form at every edge, and goes with the
body.
"""

import hashlib
from datetime import date
from typing import Literal

import msgspec

MessageType = Literal["reading", "outage", "service", "contact"]
ServiceKind = Literal["move_out", "move_in", "meter_check", "tree", "other"]

REGISTER_WH_MAX = 10**12
"""More than any meter shows."""


class MeterReading(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reading"):
    """What a customer read off a meter: ``register_wh`` at the beginning of the local day ``read_on``."""

    salt: str
    service_point_id: str
    meter_id: str
    read_on: date
    register_wh: int


class OutageReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="outage"):
    """Lights out at a service point: ``all`` of them, or ``part``; when, is told by when it was accepted."""

    salt: str
    service_point_id: str
    extent: Literal["all", "part"]


class ServiceRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="service"):
    """What a customer asks the utility to do: wished for a local day, or for any; ``text`` in their own words."""

    salt: str
    kind: ServiceKind
    wished_on: date | None = None
    text: str = ""


class ContactChange(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="contact"):
    """How a customer wants to be reached from now on; None leaves a field as it is."""

    salt: str
    email: str | None = None
    phone: str | None = None


MessageBody = MeterReading | OutageReport | ServiceRequest | ContactChange

TYPES: dict[type[MessageBody], MessageType] = {
    MeterReading: "reading",
    OutageReport: "outage",
    ServiceRequest: "service",
    ContactChange: "contact",
}


def encode_body(body: MessageBody) -> bytes:
    """Encode a body as the JSON that is hashed, stored and published."""
    return msgspec.json.encode(body)


def decode_body(encoded: bytes) -> MessageBody:
    """
    Read what `encode_body` wrote.

    Raises:
        msgspec.DecodeError: It is none.
    """
    body: MessageBody = msgspec.json.decode(encoded, type=MessageBody)
    return body


def hash_body(body: MessageBody) -> str:
    """Hash a body with its salt; hex SHA-256."""
    return hashlib.sha256(encode_body(body)).hexdigest()


def type_of(body: MessageBody) -> MessageType:
    """Tell which type of message has this body."""
    return TYPES[type(body)]
