"""What happened to an account, as lists of it tell it."""

from datetime import date, timedelta

import msgspec

from edge_portal.pages.message_words import message_name
from edge_portal.pages.visit import Visit
from failover.intents import Receipt, receipt_number
from failover.message_bodies import MessageType

_KNOWN = frozenset({"posted", "accepted", "checking"})


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to the account."""

    day: date
    name: str
    when: str
    address: str
    link: str
    css: str = ""
    number: str = ""
    number_name: str = ""


def message_event(visit: Visit, message: Receipt) -> Event:
    """Tell a message in a list of what happened."""
    on_its_way = message.state in {"accepted", "checking"}
    refused = message.state in {"rejected", "cancelled"}
    return Event(
        day=visit.day_of(message.accepted_at),
        name=message_name(message),
        when=visit.event_time(message.accepted_at),
        address=f"/messages/{message.intent_id}",
        link="See it",
        css="wait then" if on_its_way else "stop then" if refused else "",
        number=receipt_number(message.intent_id),
        number_name="Receipt" if message.state in {"posted", "accepted"} else "Message",
    )


def earlier_event(visit: Visit, type_: MessageType, *, within: timedelta) -> Event | None:
    """Tell of the last message of a type that was sent lately and not refused, so that nobody sends it twice."""
    since = visit.now - within
    return next(
        (
            message_event(visit, message)
            for message in visit.view.messages
            if message.type == type_ and message.state in _KNOWN and message.accepted_at > since
        ),
        None,
    )
