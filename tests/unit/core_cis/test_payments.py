"""Which payments are taken, why others are not, and on which day one counts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from core_cis.domain.accounts import AccountFacts, Method
from core_cis.domain.payments import AMOUNT_CENTS_MAX, Wish, reason_to_reject, value_date

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ACCOUNT = AccountFacts(
    "A",
    "active",
    "USD",
    (
        Method("good", "Card", "verified"),
        Method("old", "Card", "expired"),
        Method("new", "Bank", "unverified"),
    ),
)


def wish(**changes: Any) -> Wish:
    """Make a payment that would be taken, but for the changes."""
    taken = Wish(
        account_id="A", amount_cents=100, currency="USD", method_id="good", accepted_at=NOW
    )
    return msgspec.structs.replace(taken, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"amount_cents": 1}, None),
        ({"amount_cents": AMOUNT_CENTS_MAX}, None),
        ({"amount_cents": AMOUNT_CENTS_MAX + 1}, "amount_out_of_range"),
        ({"amount_cents": 0}, "amount_out_of_range"),
        ({"currency": "CAD"}, "currency_mismatch"),
        ({"method_id": "someone else's"}, "method_unknown"),
        ({"method_id": "old"}, "method_expired"),
        ({"method_id": "new"}, "method_unverified"),
        ({"not_after": NOW}, None),
        ({"not_after": NOW - timedelta(microseconds=1)}, "past_not_after"),
    ],
)
def test_reason_to_reject(changes: dict[str, Any], reason: str | None) -> None:
    """Every rule has its own code; the bounds themselves are taken."""
    assert reason_to_reject(wish(**changes), ACCOUNT, NOW) == reason


def test_account_comes_first() -> None:
    """Of an account that is unknown or closed nothing else is said."""
    closed = AccountFacts("A", "closed", "USD")
    assert reason_to_reject(wish(amount_cents=0), None, NOW) == "unknown_account"
    assert reason_to_reject(wish(amount_cents=0), closed, NOW) == "account_closed"


@pytest.mark.parametrize(
    ("accepted_at", "day", "clamped"),
    [
        (datetime(2026, 3, 10, 4, 59, tzinfo=UTC), date(2026, 3, 9), False),
        (datetime(2026, 3, 10, 5, 0, tzinfo=UTC), date(2026, 3, 10), False),
        (NOW + timedelta(seconds=120), date(2026, 3, 10), False),
        (NOW + timedelta(seconds=121), date(2026, 3, 10), True),
        (NOW - timedelta(days=30), date(2026, 2, 8), False),
        (NOW - timedelta(days=31), date(2026, 2, 8), True),
    ],
)
def test_value_date(accepted_at: datetime, day: date, clamped: bool) -> None:  # noqa: FBT001 - a table
    """The local day of acceptance counts, within bounds that no wild clock can leave."""
    found = value_date(
        accepted_at,
        now=NOW,
        timezone="America/Chicago",
        past_max=timedelta(days=30),
        future_max=timedelta(seconds=120),
    )
    assert (found.day, found.clamped) == (day, clamped)


def test_value_date_is_never_tomorrow() -> None:
    """An edge whose clock is a minute ahead at midnight does not postpone the day."""
    midnight = datetime(2026, 3, 11, 4, 59, 30, tzinfo=UTC)  # 23:59:30 in Chicago
    found = value_date(
        midnight + timedelta(seconds=60),
        now=midnight,
        timezone="America/Chicago",
        past_max=timedelta(days=30),
        future_max=timedelta(seconds=120),
    )
    assert (found.day, found.clamped) == (date(2026, 3, 10), False)
