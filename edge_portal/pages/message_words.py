"""What a customer is told of a message in each of its states. Pure; the sentences follow those of payments."""

from typing import Final

import msgspec

from edge_portal import words
from edge_portal.pages.band import UNSETTLED
from edge_portal.pages.payment_words import HAS_RECEIPT, Mark, Step
from edge_portal.pages.visit import Visit
from failover.intents import Receipt, receipt_number
from failover.message_bodies import (
    ContactChange,
    MessageBody,
    MeterReading,
    OutageReport,
    ServiceKind,
    ServiceRequest,
)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a type of message is told.

    ``name`` names one; ``did`` is what we have done when it is posted, ``do`` what we will do; ``form`` is where
    another one is sent. ``meanwhile`` says what holds until it is posted.
    """

    name: str
    done: str
    did: str
    do: str
    form: str
    meanwhile: str = ""


KINDS: Final[dict[str, Kind]] = {
    "reading": Kind(
        name="meter reading",
        done="Recorded",
        did="We have recorded your meter reading",
        do="record it",
        form="/reading",
    ),
    "outage": Kind(
        name="outage report",
        done="Reported",
        did="We have your outage report",
        do="pass it on",
        form="/outage",
        meanwhile="Our crews cannot see it until then: if it cannot wait, call us.",
    ),
    "service": Kind(
        name="service request",
        done="Passed on",
        did="We have your service request",
        do="pass it on",
        form="/request",
        meanwhile="Our staff cannot see it until then: if it cannot wait, call us.",
    ),
    "contact": Kind(
        name="contact change",
        done="Changed",
        did="We have changed how we reach you",
        do="make it",
        form="/contact",
    ),
}
REJECTED_BECAUSE: Final = {
    "unknown_account": "We could not find the account.",
    "account_closed": "The account is closed.",
    "past_not_after": "It reached our main system too late to be taken.",
    "refused_by_operator": "We reviewed it and could not take it.",
    "id_conflict": "Something else was sent from the same form first.",
    "body_emptied": "It reached our main system too late to be taken.",
    "email_invalid": "It is no email address.",
    "phone_invalid": "It is no phone number.",
    "nothing_changed": "It changed nothing.",
    "service_point_unknown": "This address does not belong to your account.",
    "meter_unknown": "This meter does not belong to your account.",
    "register_out_of_range": "No meter shows this number.",
    "read_in_future": "The day of the reading had not come yet.",
    "reading_decreased": "It is lower than the last reading of this meter.",
    "day_passed": "The day that you chose had passed.",
    "day_too_far": "The day that you chose is too far ahead.",
    "text_missing": "It did not say what you need.",
    "text_too_long": "It was too long.",
    "text_unreadable": "It has characters that we cannot read.",
    "reading_too_high": "It is more than can have been used since the last reading.",
}
POSTED_MORE: Final = {
    "joined_ticket": "It was added to the report that we already had of this outage. You do not need to do anything.",
    "later_wish": (
        "You had asked for this before, and it was not done yet. "
        "Both are one request, and what you asked for last counts."
    ),
    "superseded": "You sent a later one, which counts instead of this one.",
    "kept_as_history": "We know a newer reading of this meter, so yours is kept as history and changes nothing.",
}


EXTENTS: Final = {"all": "All lights", "part": "Some of the lights"}
SERVICES: Final[dict[ServiceKind, str]] = {
    "move_out": "Moving out",
    "move_in": "Moving in",
    "meter_check": "A check of the meter",
    "tree": "A tree near a power line",
    "other": "Something else",
}


class MessageWords(msgspec.Struct, frozen=True, kw_only=True):
    """
    A message as its receipt tells it; the fields are those of `PaymentWords`.

    ``again`` is where another one is sent when this one was not taken, else empty.
    """

    mark: Mark
    word: str
    slip: str
    heading: str
    before: str
    strong: str
    after: str
    steps: list[Step]
    number_name: str
    number: str
    settled: bool
    again: str


def message_words(visit: Visit, message: Receipt) -> MessageWords:
    """Find the words for a message, in the mode the node is in now."""
    kind = KINDS[message.type]
    tell = {
        "posted": _posted,
        "accepted": _accepted,
        "checking": _checking,
        "rejected": _rejected,
        "dead_letter": _review,
    }.get(message.state, _not_taken)
    told = tell(visit, message, kind)
    receipt = message.state in HAS_RECEIPT
    return msgspec.structs.replace(
        told,
        number_name="Receipt number" if receipt else "Message number",
        number=receipt_number(message.intent_id),
        settled=message.state not in UNSETTLED and message.state != "dead_letter",
        again=kind.form if message.state in {"rejected", "void", "declined_limit"} else "",
    )


def message_name(message: Receipt) -> str:
    """Name a message in a list: what it is, and how it stands."""
    kind = KINDS[message.type]
    told = {
        "posted": kind.done.lower(),
        "accepted": "accepted, on its way",
        "checking": "being checked",
        "rejected": "not accepted",
        "dead_letter": "under review",
        "cancelled": "cancelled",
    }.get(message.state, "not taken")
    return f"{kind.name[0].upper()}{kind.name[1:]} {told}"


def message_facts(visit: Visit, message: Receipt) -> list[tuple[str, str]]:
    """Tell what a message said; nothing once its body was emptied."""
    body = message.body
    facts = [] if isinstance(body, msgspec.UnsetType) else _facts(visit, body)
    if message.state == "posted" and message.case_number:
        facts.append(("Ticket", message.case_number))
    return facts


def _facts(visit: Visit, body: MessageBody) -> list[tuple[str, str]]:
    match body:
        case MeterReading():
            return [
                ("Meter", body.meter_id),
                ("Reading", f"{words.kwh(body.register_wh)} kWh"),
                ("Read on", visit.day_name(body.read_on)),
            ]
        case OutageReport():
            return [
                ("Where", _address(visit, body.service_point_id)),
                ("Out", EXTENTS[body.extent]),
            ]
        case ServiceRequest():
            day = visit.day_name(body.wished_on) if body.wished_on else "Any day"
            facts = [("Service", SERVICES[body.kind]), ("Day", day)]
            return [*facts, ("You wrote", body.text)] if body.text.strip() else facts
        case ContactChange():
            said = (("Email", body.email), ("Phone", body.phone))
            return [(name, value) for name, value in said if value is not None]


def _address(visit: Visit, service_point_id: str) -> str:
    points = visit.view.account.service_points
    found = (point.address for point in points if point.service_point_id == service_point_id)
    return next(found, service_point_id)


def _sent(visit: Visit, message: Receipt, css: str = "then") -> Step:
    return Step(name="Sent", when=visit.event_time(message.accepted_at), css=css)


def _decided(visit: Visit, message: Receipt) -> str:
    return visit.event_time(message.decided_at or message.accepted_at)


def _told(
    mark: Mark,
    word: str,
    heading: str,
    steps: list[Step],
    *,
    slip: str = "",
    before: str = "",
    strong: str = "",
    after: str = "",
) -> MessageWords:
    return MessageWords(
        mark=mark,
        word=word,
        slip=slip,
        heading=heading,
        before=before,
        strong=strong,
        after=after,
        steps=steps,
        number_name="",
        number="",
        settled=False,
        again="",
    )


def _posted(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    steps = [
        Step(name="Accepted", when=visit.event_time(message.accepted_at)),
        Step(name=kind.done, when=_decided(visit, message)),
    ]
    more = POSTED_MORE.get(message.reason, "You do not need to do anything.")
    return _told("posted", kind.done, kind.did, steps, before=more)


def _accepted(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    down = visit.view.mode.mode == "degraded"
    when = "when our main system is back" if down else "in a moment"
    steps = [
        Step(name="Accepted", when=visit.event_time(message.accepted_at), css="then"),
        Step(name=kind.done, when=when[0].upper() + when[1:], css="wait"),
    ]
    rest = kind.meanwhile if down and kind.meanwhile else "You do not need to do anything."
    before = f"It is safe. We will {kind.do} {when}. {rest}"
    heading = f"We have accepted your {kind.name}"
    return _told("held", "Accepted, on its way", heading, steps, slip="way", before=before)


def _checking(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    steps = [
        _sent(visit, message),
        Step(name="Accepted or not", when="As soon as we know, this page says so", css="wait then"),
        Step(name=kind.done, when="After that", css="wait"),
    ]
    return _told(
        "check",
        "Being checked",
        f"We are checking your {kind.name}",
        steps,
        slip="way chk",
        before="We could not confirm it yet. ",
        strong="Please do not send it again.",
    )


def _review(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    steps = [
        _sent(visit, message),
        Step(name="Under review", when=_decided(visit, message), css="wait"),
    ]
    case = f" Your case number is {message.case_number}." if message.case_number else ""
    return _told(
        "check",
        "Under review",
        f"We are checking your {kind.name}",
        steps,
        slip="way chk",
        before=f"A person is looking at it.{case} ",
        strong="Please do not send it again.",
    )


def _rejected(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    steps = [
        _sent(visit, message),
        Step(name="Not accepted", when=_decided(visit, message), css="stop"),
    ]
    because = REJECTED_BECAUSE.get(message.reason, "")
    return _told(
        "no",
        "Not accepted",
        f"Your {kind.name} was not accepted",
        steps,
        slip="nope",
        before=f"{because} " if because else "",
        strong="Nothing was changed.",
    )


def _not_taken(visit: Visit, message: Receipt, kind: Kind) -> MessageWords:
    steps = [Step(name="Not taken", when=_decided(visit, message), css="stop")]
    return _told(
        "no",
        "Not taken",
        f"We did not take your {kind.name}",
        steps,
        slip="nope",
        strong="Nothing was changed.",
    )
