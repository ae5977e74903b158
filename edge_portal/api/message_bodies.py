"""What ``/api/v1`` says of messages, on the wire: what customers send besides payments."""

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from failover.intents import Receipt, receipt_number
from failover.message_bodies import ServiceKind


class ReadingForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /readings``: what a register showed at the beginning of a local day, in Wh."""

    meter_id: str
    read_on: date
    register_wh: int


class OutageForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /outage-reports``: all lights are out at a service point, or part of them."""

    service_point_id: str
    extent: Literal["all", "part"]


class ServiceRequestForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /service-requests``: what is asked for, for which local day; ``other`` says it in words."""

    kind: ServiceKind
    wished_on: date | None = None
    text: str = ""


class ContactForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /contact-changes``: how to be reached from now on; what is left out stays."""

    email: str | None = None
    phone: str | None = None


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A message as far as it is known here.

    ``content`` is what was sent, null once it was emptied. ``durable`` says that a second copy exists. ``reason`` says
    why it was rejected, or what became of a posted one; ``case_number`` is then the ticket that it stands under.
    """

    id: str
    receipt_number: str
    type: str
    state: str
    content: dict[str, Any] | None
    accepted_at: datetime
    durable: bool
    decided_at: datetime | None
    reason: str
    case_number: str


class MessageList(msgspec.Struct, frozen=True):
    """All messages known here, newest first, each once."""

    items: list[MessageAnswer]


def message_answer(receipt: Receipt) -> MessageAnswer:
    """Tell a message."""
    content: dict[str, Any] | None = None
    if receipt.body is not msgspec.UNSET:
        content = msgspec.to_builtins(receipt.body)
        content = {name: value for name, value in content.items() if name not in {"type", "salt"}}
    return MessageAnswer(
        id=receipt.intent_id,
        receipt_number=receipt_number(receipt.intent_id),
        type=receipt.type,
        state=receipt.state,
        content=content,
        accepted_at=receipt.accepted_at,
        durable=receipt.durable,
        decided_at=receipt.decided_at,
        reason=receipt.reason,
        case_number=receipt.case_number,
    )
