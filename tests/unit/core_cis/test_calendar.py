from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from core_cis.domain.calendar import (
    BillPeriod,
    clock_hours,
    clock_times,
    day_seconds,
    day_start,
    local_date,
    month_period,
)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2025, 3, 9), 23), (date(2025, 3, 10), 24), (date(2025, 11, 2), 25)]
)
def test_days_on_which_clocks_change(day: date, hours: int, new_york: ZoneInfo) -> None:
    """The day clocks go forward has 23 hours, the day they go back 25."""
    assert day_seconds(day, new_york) == hours * 3600
    assert len(clock_times(day, new_york, 900)) == hours * 4


def test_the_left_out_hour_is_on_no_clock(new_york: ZoneInfo) -> None:
    """At two in the morning clocks show three."""
    assert clock_hours(date(2025, 3, 9), new_york, 3600)[:4] == (0, 1, 3, 4)
    # 1:30, 1:45, 3:00, 3:15
    assert clock_times(date(2025, 3, 9), new_york, 900)[6:10] == (5400, 6300, 10_800, 11_700)


def test_the_repeated_hour_is_on_the_clock_twice(new_york: ZoneInfo) -> None:
    """At two in the morning clocks show one again."""
    assert clock_hours(date(2025, 11, 2), new_york, 3600)[:4] == (0, 1, 1, 2)


def test_a_local_day_starts_at_local_midnight(new_york: ZoneInfo) -> None:
    """In winter that is five o'clock UTC, in summer four."""
    assert day_start(date(2025, 1, 15), new_york) == datetime(2025, 1, 15, 5, tzinfo=UTC)
    assert day_start(date(2025, 7, 15), new_york) == datetime(2025, 7, 15, 4, tzinfo=UTC)
    assert local_date(datetime(2025, 7, 15, 3, tzinfo=UTC), new_york) == date(2025, 7, 14)


def test_days_are_counted_without_the_end() -> None:
    """A leap year's February has 29."""
    assert month_period(2024, 2).days == 29
    assert month_period(2025, 2).days == 28
    assert month_period(2025, 12) == BillPeriod(date(2025, 12, 1), date(2026, 1, 1))
    assert month_period(2025, 12).last_day == date(2025, 12, 31)


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        (date(2025, 2, 1), date(2025, 3, 1), Decimal(1)),
        (date(2025, 6, 16), date(2025, 7, 1), Decimal("0.5")),
        (date(2025, 3, 15), date(2025, 4, 15), Decimal(17) / 31 + Decimal(14) / 30),
        (date(2025, 6, 1), date(2025, 8, 1), Decimal(2)),
    ],
)
def test_a_period_is_worth_its_share_of_each_month(start: date, end: date, months: Decimal) -> None:
    """Days billed over days of the month, month by month; never 365/12."""
    assert BillPeriod(start, end).months() == months


def test_a_period_without_days_is_none() -> None:
    """A bill bills at least one day."""
    with pytest.raises(ValueError, match="ends after it starts"):
        BillPeriod(date(2025, 1, 1), date(2025, 1, 1))
