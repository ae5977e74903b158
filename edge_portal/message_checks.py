"""
What a worker checks of a message before it asks the agent: what can be told from the snapshot is told at once.

The core has the last word, by the books as they are when it decides.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from cache_sync.documents import AccountBody, StatementBody
from edge_portal.errors import InvalidMessage
from failover.contact_rules import ContactProblem, problem_of_contact
from failover.intents import Receipt
from failover.message_bodies import (
    ContactChange,
    MessageBody,
    MeterReading,
    OutageReport,
    ServiceRequest,
)
from failover.reading_rules import LastRead, ReadingProblem, newest, problem_of_reading
from failover.service_request_rules import (
    DAYS_AHEAD_MAX,
    TEXT_LENGTH_MAX,
    ServiceRequestProblem,
    problem_of_service_request,
)

_REFUSED = frozenset({"rejected", "cancelled", "void", "declined_limit"})
_READING_RULES: dict[ReadingProblem, tuple[str, str]] = {
    "register_out_of_range": ("register_wh", "must be what a meter can show"),
    "read_in_future": ("read_on", "must not be after today"),
    "reading_decreased": ("register_wh", "must not be lower than the last reading"),
    "reading_too_high": ("register_wh", "is more than can have been used since the last reading"),
}


_CONTACT_RULES: dict[ContactProblem, tuple[str, str]] = {
    "nothing_changed": ("email", "or phone must be given"),
    "email_invalid": ("email", "must be an e-mail address"),
    "phone_invalid": ("phone", "must be a phone number"),
}
_SERVICE_REQUEST_RULES: dict[ServiceRequestProblem, tuple[str, str]] = {
    "day_passed": ("wished_on", "must not be before today"),
    "day_too_far": ("wished_on", f"must not be more than {DAYS_AHEAD_MAX} days ahead"),
    "text_missing": ("text", "must say what is asked for"),
    "text_too_long": ("text", f"must not have more than {TEXT_LENGTH_MAX} characters"),
    "text_unreadable": ("text", "must have no control characters but line breaks"),
}


def check_message(
    body: MessageBody,
    *,
    account: AccountBody,
    statements: Sequence[StatementBody],
    messages: Iterable[Receipt],
    today: date,
) -> None:
    """
    Refuse what the core would surely refuse.

    Args:
        body: What the customer says.
        account: The customer's account.
        statements: Those held here, the newest first.
        messages: What the customer sent before.
        today: The day at the account, by the core's estimated clock.

    Raises:
        InvalidMessage: It cannot be taken; names field and rule.
    """
    match body:
        case MeterReading():
            _check_reading(body, account, statements, messages, today)
        case OutageReport():
            _check_service_point(body.service_point_id, account)
        case ServiceRequest():
            request_problem = problem_of_service_request(body, today=today)
            if request_problem is not None:
                field, rule = _SERVICE_REQUEST_RULES[request_problem]
                raise InvalidMessage(field, rule, reason=request_problem)
        case ContactChange():
            problem = problem_of_contact(body)
            if problem is not None:
                field, rule = _CONTACT_RULES[problem]
                raise InvalidMessage(field, rule, reason=problem)


def _check_service_point(service_point_id: str, account: AccountBody) -> None:
    if service_point_id not in {point.service_point_id for point in account.service_points}:
        raise InvalidMessage("service_point_id", "must be one of the account's service points")


def _check_reading(
    body: MeterReading,
    account: AccountBody,
    statements: Sequence[StatementBody],
    messages: Iterable[Receipt],
    today: date,
) -> None:
    points = {point.meter_id: point for point in account.service_points if point.meter_id}
    point = points.get(body.meter_id)
    if point is None or point.service_point_id != body.service_point_id:
        raise InvalidMessage("meter_id", "must be one of the account's meters")
    last = last_read(body.meter_id, statements=statements, messages=messages, but=body)
    problem = problem_of_reading(body.read_on, body.register_wh, last=last, today=today)
    if problem is not None:
        field, rule = _READING_RULES[problem]
        raise InvalidMessage(field, rule, reason=problem)


def last_read(
    meter_id: str,
    *,
    statements: Sequence[StatementBody],
    messages: Iterable[Receipt],
    but: MeterReading | None = None,
) -> LastRead | None:
    """Tell the newest read of a meter that is known here; a reading of the same day as ``but`` is corrected by it."""
    reads = [
        LastRead(meter.read_to, meter.end_register_wh)
        for statement in statements[:1]
        for meter in statement.meters
        if meter.meter_id == meter_id
    ]
    for message in messages:
        sent = message.body
        if message.state in _REFUSED or not isinstance(sent, MeterReading):
            continue
        if sent.meter_id == meter_id and (but is None or sent.read_on != but.read_on):
            reads.append(LastRead(sent.read_on, sent.register_wh))
    return newest(reads)
