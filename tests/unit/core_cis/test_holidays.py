from datetime import date

import pytest

from core_cis.domain.holidays import ACTUAL_DAY, KNOWN_HOLIDAYS, SUNDAY_TO_MONDAY, holiday_dates


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("mlk_day", date(2025, 1, 20)),
        ("washingtons_birthday", date(2025, 2, 17)),
        ("memorial_day", date(2025, 5, 26)),
        ("juneteenth", date(2025, 6, 19)),
        ("independence_day", date(2025, 7, 4)),
        ("labor_day", date(2025, 9, 1)),
        ("columbus_day", date(2025, 10, 13)),
        ("veterans_day", date(2025, 11, 11)),
        ("thanksgiving", date(2025, 11, 27)),
        ("day_after_thanksgiving", date(2025, 11, 28)),
        ("christmas", date(2025, 12, 25)),
        ("new_years_day", date(2025, 1, 1)),
    ],
)
def test_days_of_2025(name: str, day: date) -> None:
    """The calendar of 2025, as the Office of Personnel Management published it."""
    assert name in KNOWN_HOLIDAYS
    assert holiday_dates(2025, (name,), ACTUAL_DAY) == {day}


def test_a_sunday_holiday_is_kept_on_monday_too() -> None:
    """4 July 2021 was a Sunday; only tariffs that say so move it."""
    names = ("independence_day",)
    assert holiday_dates(2021, names, ACTUAL_DAY) == {date(2021, 7, 4)}
    assert holiday_dates(2021, names, SUNDAY_TO_MONDAY) == {date(2021, 7, 4), date(2021, 7, 5)}


def test_an_unknown_holiday_falls_on_no_day() -> None:
    """A name without a rule makes no day a holiday."""
    assert holiday_dates(2025, ("pioneer_day",), SUNDAY_TO_MONDAY) == frozenset()
