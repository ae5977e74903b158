"""
US holidays that tariffs name.

Rules after 5 U.S.C. 6103 (federal holidays), by the names the US Utility Rate Database shape uses. A tariff's own sheet
says which of them it prices like a weekend; a name not known here is an ordinary day.
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache

SUNDAY_TO_MONDAY = "sunday_to_monday"
ACTUAL_DAY = "actual_day"
OBSERVANCES = frozenset({SUNDAY_TO_MONDAY, ACTUAL_DAY})

_MONDAY, _THURSDAY, _SUNDAY = 0, 3, 6


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=(last.weekday() - _MONDAY) % 7)


_RULES: dict[str, Callable[[int], date]] = {
    "new_years_day": lambda year: date(year, 1, 1),
    "mlk_day": lambda year: _nth_weekday(year, 1, _MONDAY, 3),
    "washingtons_birthday": lambda year: _nth_weekday(year, 2, _MONDAY, 3),
    "memorial_day": _last_monday_of_may,
    "juneteenth": lambda year: date(year, 6, 19),
    "independence_day": lambda year: date(year, 7, 4),
    "labor_day": lambda year: _nth_weekday(year, 9, _MONDAY, 1),
    "columbus_day": lambda year: _nth_weekday(year, 10, _MONDAY, 2),
    "veterans_day": lambda year: date(year, 11, 11),
    "thanksgiving": lambda year: _nth_weekday(year, 11, _THURSDAY, 4),
    "day_after_thanksgiving": lambda year: _nth_weekday(year, 11, _THURSDAY, 4) + timedelta(days=1),
    "christmas": lambda year: date(year, 12, 25),
}

KNOWN_HOLIDAYS = frozenset(_RULES)


@lru_cache(maxsize=512)
def holiday_dates(year: int, names: tuple[str, ...], observance: str) -> frozenset[date]:
    """
    The days of a year that a tariff's holidays fall on.

    Args:
        year: The calendar year.
        names: The holidays the tariff names; unknown names fall on no day.
        observance: `sunday_to_monday` also counts the Monday after a holiday that falls on a Sunday, the
            usual rule of US tariffs; `actual_day` counts the day itself only.
    """
    actual = {_RULES[name](year) for name in names if name in _RULES}
    if observance != SUNDAY_TO_MONDAY:
        return frozenset(actual)
    observed = {day + timedelta(days=1) for day in actual if day.weekday() == _SUNDAY}
    return frozenset(actual | observed)
