"""What a service request must be like: the same for the edge that takes it and the core that decides. Pure."""

import re
from datetime import date, timedelta
from typing import Literal

from failover.message_bodies import ServiceRequest

ServiceRequestProblem = Literal[
    "day_passed", "day_too_far", "text_missing", "text_too_long", "text_unreadable"
]

DAYS_AHEAD_MAX = 90
"""How far ahead of the day on which it is sent a request may be wished for."""
TEXT_LENGTH_MAX = 500
"""Characters of what a customer writes."""
# Control characters other than the end of a line, and those that have text shown in another order than it is written.
_UNREADABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def problem_of_service_request(
    request: ServiceRequest, *, today: date
) -> ServiceRequestProblem | None:
    """
    Say why a request cannot be; None when it can.

    Args:
        request: What is asked for. One of kind ``other`` says in words what it is.
        today: The local day on which the customer sent it.
    """
    if request.wished_on is not None:
        if request.wished_on < today:
            return "day_passed"
        if request.wished_on > today + timedelta(days=DAYS_AHEAD_MAX):
            return "day_too_far"
    if len(request.text) > TEXT_LENGTH_MAX:
        return "text_too_long"
    if _UNREADABLE.search(request.text):
        return "text_unreadable"
    if request.kind == "other" and not request.text.strip():
        return "text_missing"
    return None
