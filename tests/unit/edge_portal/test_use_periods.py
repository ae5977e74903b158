"""Which days belong to a period, and what they are compared with."""

from collections.abc import Sequence
from datetime import date, timedelta

from cache_sync.documents import StatementBody, UsageBody, UsageDay
from edge_portal.pages.use_periods import (
    DayTotal,
    HourlyUse,
    UsePeriod,
    day_totals,
    hourly_use,
    period_use,
    periods,
)


def bill(first: date, end: date) -> StatementBody:
    """Build a bill of a period."""
    return StatementBody(
        statement_id=first.isoformat(), account_id="a", issued_on=end, period_from=first, period_to=end,
        due_date=end, currency="USD", previous_balance_cents=0, payments_received_cents=0, total_cents=0,
        amount_due_cents=0, usage_wh=0, estimated_wh=0, lines=[], meters=[], tariffs=[],
    )  # fmt: skip


def totals(first: date, count: int, usage_wh: int = 1_000) -> dict[date, DayTotal]:
    """Build days of equal use."""
    return {first + timedelta(i): DayTotal(usage_wh, 0) for i in range(count)}


def readings(*days: UsageDay, meter: str = "m") -> UsageBody:
    """Build a month of readings."""
    return UsageBody(
        account_id="a", service_point_id=meter, month="2026-10", timezone="UTC", days=list(days)
    )


def day(
    number: int,
    hours: Sequence[int | None],
    estimated_wh: int = 0,
    estimated_hours: dict[int, int] | None = None,
) -> UsageDay:
    """Build a day of October."""
    return UsageDay(
        day=date(2026, 10, number),
        usage_wh=sum(hour or 0 for hour in hours),
        estimated_wh=estimated_wh,
        complete=None not in hours,
        hours=list(hours),
        estimated_hours=estimated_hours or {},
    )


OCTOBER = UsePeriod(first=date(2026, 10, 1), end=date(2026, 11, 1))
SEPTEMBER = UsePeriod(first=date(2026, 9, 1), end=date(2026, 10, 1))


def test_meters_of_an_account_are_added_up() -> None:
    """Two meters on one account make one day."""
    both = [readings(day(1, [500], 100)), readings(day(1, [700]), meter="n")]
    assert day_totals(both) == {date(2026, 10, 1): DayTotal(1_200, 100)}


def test_the_open_period_follows_the_newest_bill() -> None:
    """Readings since the newest bill make a period that is not billed yet; it ends as bills do."""
    bills = [bill(OCTOBER.first, OCTOBER.end), bill(SEPTEMBER.first, SEPTEMBER.end)]
    days = totals(date(2026, 9, 1), 65)
    found = periods(bills, days)
    assert found[0] == UsePeriod(first=date(2026, 11, 1), end=date(2026, 12, 1), open=True)
    assert found[1:] == [OCTOBER, SEPTEMBER]


def test_a_period_that_keeps_to_no_day_is_as_long_as_the_last() -> None:
    """Without a fixed day of the month, the open period is guessed from the last one's length."""
    found = periods([bill(date(2026, 10, 3), date(2026, 11, 2))], totals(date(2026, 11, 2), 3))
    assert found == [UsePeriod(first=date(2026, 11, 2), end=date(2026, 12, 2), open=True)]


def test_without_bills_months_are_shown() -> None:
    """Readings alone are shown by calendar month, newest first."""
    assert periods([], totals(date(2026, 9, 29), 5)) == [OCTOBER, SEPTEMBER]
    assert periods([], {}) == []


def test_two_whole_periods_are_compared_whole() -> None:
    """A billed period is compared with all of the one before, whatever their lengths."""
    use = period_use(OCTOBER, SEPTEMBER, totals(SEPTEMBER.first, 61))
    assert (use.usage_wh, use.before_same_wh, use.known_days) == (31_000, 30_000, 31)
    assert use.days[30].before_wh is None


def test_an_open_period_is_compared_with_as_many_first_days() -> None:
    """Seven days are compared with seven days."""
    period = UsePeriod(first=date(2026, 10, 1), end=date(2026, 11, 1), open=True)
    use = period_use(period, SEPTEMBER, totals(SEPTEMBER.first, 37))
    assert (use.usage_wh, use.before_same_wh, use.known_days) == (7_000, 7_000, 7)
    assert use.last_known == date(2026, 10, 7)


def test_a_hole_in_the_period_before_is_not_compared() -> None:
    """With days missing before, there is no honest difference to tell."""
    days = totals(SEPTEMBER.first, 61)
    del days[date(2026, 9, 10)]
    assert period_use(OCTOBER, SEPTEMBER, days).before_same_wh is None


def test_hours_of_clock_change_days_are_left_out() -> None:
    """A day of 23 or 25 hours, or with unknown hours, does not blur the others."""
    whole = [100] * 23 + [300]
    days = readings(
        day(1, whole), day(2, [900] * 25), day(3, [900] * 23), day(4, [*whole[:23], None])
    )
    assert hourly_use([days], OCTOBER) == HourlyUse(average_wh=(*[100.0] * 23, 300.0))


def test_without_hours_there_is_no_average() -> None:
    """Daily readings alone say nothing about hours."""
    assert hourly_use([readings(day(1, []))], OCTOBER) is None


def test_estimated_hours_say_nothing_about_when_energy_is_used() -> None:
    """Days with some are not counted, and that is told; where there are no others they are shown as what they are."""
    measured, guessed = day(1, [100] * 24), day(2, [None, *[100] * 23], 900, {0: 900})
    average = (100.0,) * 24
    both = hourly_use([readings(measured, guessed)], OCTOBER)
    assert both == HourlyUse(average_wh=average, left_out=1)
    alone = hourly_use([readings(guessed)], OCTOBER)
    assert alone == HourlyUse(average_wh=(900.0, *average[1:]), estimated=True)


def test_a_day_tells_which_of_its_hours_were_estimated() -> None:
    """Over all meters; not where one of them does not say, or its whole day was."""
    hours = [None, None, *[100] * 22]
    night = day(1, hours, 300, {0: 100, 1: 200})
    other = day(1, [*[100] * 23, None], 50, {23: 50})
    october = date(2026, 10, 1)
    assert day_totals([readings(night)])[october].estimated_hours == (0, 1)
    both = [readings(night), readings(other, meter="n"), readings(day(1, [1] * 24), meter="o")]
    assert day_totals(both)[october].estimated_hours == (0, 1, 23)
    for unsaid in (day(1, [], 500), day(1, [None] * 24, 500, dict.fromkeys(range(24), 100))):
        both = [readings(night), readings(unsaid, meter="n")]
        assert day_totals(both)[october].estimated_hours == ()
