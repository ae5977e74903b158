"""A service request is refused where it cannot be, by the day on which the customer sent it."""

from datetime import date, timedelta
from typing import Any

import pytest

from failover.message_bodies import ServiceRequest
from failover.service_request_rules import ServiceRequestProblem, problem_of_service_request

TODAY = date(2026, 11, 17)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"wished_on": TODAY}, None),
        ({"wished_on": TODAY - timedelta(days=1)}, "day_passed"),
        ({"wished_on": TODAY + timedelta(days=90)}, None),
        ({"wished_on": TODAY + timedelta(days=91)}, "day_too_far"),
        ({"wished_on": date.max}, "day_too_far"),
        ({"text": "x" * 500}, None),
        ({"text": "x" * 501}, "text_too_long"),
        ({"text": "Zoë’s dog bites.\nRing first."}, None),
        ({"text": "bell\x07"}, "text_unreadable"),
        ({"text": "\x1b[2J"}, "text_unreadable"),
        ({"text": "one\r\ntwo"}, "text_unreadable"),
        ({"text": "\u202eright to left"}, "text_unreadable"),
        ({"kind": "other"}, "text_missing"),
        ({"kind": "other", "text": " \n "}, "text_missing"),
        ({"kind": "other", "text": "A new pole"}, None),
    ],
)
def test_what_a_request_must_be(
    change: dict[str, Any], problem: ServiceRequestProblem | None
) -> None:
    """Not before today, not beyond ninety days, words that fit and can be shown; any kind may be without a day."""
    request = ServiceRequest(**({"salt": "", "kind": "move_out"} | change))
    assert problem_of_service_request(request, today=TODAY) == problem
