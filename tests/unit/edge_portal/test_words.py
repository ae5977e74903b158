"""Money, dates, times and ages in words."""

from datetime import UTC, date, datetime, timedelta

import pytest

from cache_sync.frames import Position
from edge_portal import words
from edge_portal.views import Freshness

NEW_YORK = "America/New_York"
TODAY = date(2026, 11, 17)
MOMENT = datetime(2026, 11, 17, 14, 42, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cents", "currency", "told"),
    [
        (12556, "USD", "$125.56"),
        (0, "USD", "$0.00"),
        (5, "USD", "$0.05"),
        (-2500, "USD", "\N{MINUS SIGN}$25.00"),
        (123456789012, "USD", "$1,234,567,890.12"),
        (1234, "JPY", "¥1,234"),
        (1234, "KWD", "KWD1.234"),
    ],
)
def test_money_follows_the_currency(cents: int, currency: str, told: str) -> None:
    """Minor units become money by the currency's own number of decimals, without rounding."""
    assert words.money(cents, currency) == told


def test_changes_of_money_carry_their_sign() -> None:
    """A rise has a plus, a fall a minus, no change neither."""
    assert words.signed_money(1263, "USD") == "+$12.63"
    assert words.signed_money(-42, "USD") == "\N{MINUS SIGN}$0.42"
    assert words.signed_money(0, "USD") == "$0.00"


def test_unit_prices_keep_all_digits() -> None:
    """A price per unit is shown as it was rated with."""
    assert words.unit_price("0.11240", "USD") == "$0.11240"
    assert words.unit_price("11.3", "USD") == "$11.30"
    assert words.unit_price("5", "JPY") == "¥5"
    assert words.unit_price("-0.01", "USD") == "\N{MINUS SIGN}$0.01"


@pytest.mark.parametrize(
    ("typed", "cents"),
    [
        ("50", 5000),
        ("50.5", 5050),
        (" $1,050.56 ", 105056),
        ("0.01", 1),
        (".5", 50),
        ("0", 0),
        ("1.234", None),
        ("1.", None),
        ("", None),
        ("$", None),
        ("-5", None),
        ("1e3", None),
        ("five", None),
        ("\N{ARABIC-INDIC DIGIT FIVE}", None),
        ("1.2.3", None),
        ("5,00", None),
        ("1,2345", None),
        ("1,050", 105000),
        ("9" * 40, None),
    ],
)
def test_typed_amounts_are_read_plainly_or_not_at_all(typed: str, cents: int | None) -> None:
    """What is not plainly an amount is refused; nothing is rounded."""
    assert words.parse_amount(typed, "USD") == cents


def test_typed_amounts_follow_the_currency() -> None:
    """A currency without decimals takes none."""
    assert words.parse_amount("500", "JPY") == 500
    assert words.parse_amount("500.5", "JPY") is None


@pytest.mark.parametrize(
    ("wh", "digits", "told"),
    [(612_000, 0, "612"), (499, 0, "0"), (500, 0, "1"), (19_950, 1, "20.0"), (19_949, 1, "19.9"),
     (1_234_567, 0, "1,235"), (-1_500, 1, "\N{MINUS SIGN}1.5"), (0, 1, "0.0")],
)  # fmt: skip
def test_energy_is_rounded_half_up(wh: int, digits: int, told: str) -> None:
    """Watt-hours become kilowatt-hours, halves away from zero."""
    assert words.kwh(wh, digits) == told


@pytest.mark.parametrize(
    ("wh", "told"),
    [(0, "0"), (282, "less than 1"), (499, "less than 1"), (500, "1"), (58_000, "58")],
)
def test_a_part_is_never_told_as_nothing(wh: int, told: str) -> None:
    """A little estimated energy is not ``0 kWh estimated``."""
    assert words.part_kwh(wh) == told


def test_differences_of_energy_carry_their_sign() -> None:
    """More has a plus; what rounds to nothing has no sign."""
    assert words.signed_kwh(1_900) == "+1.9"
    assert words.signed_kwh(-1_900) == "\N{MINUS SIGN}1.9"
    assert words.signed_kwh(20) == "0.0"
    assert words.signed_kwh(-20) == "0.0"


def test_quantities_lose_trailing_zeros() -> None:
    """A quantity is written as people would."""
    assert words.quantity("612.000000") == "612"
    assert words.quantity("1405.5") == "1,405.5"
    assert words.quantity("0.516129") == "0.516"


def test_instants_are_told_in_the_utilitys_zone_with_their_day() -> None:
    """Today and yesterday are named as such; seconds are cut off, so that nothing is promised too early."""
    assert words.moment_words(MOMENT, NEW_YORK, TODAY) == "9:42 a.m. today, Tuesday, November 17"
    tomorrow = TODAY + timedelta(days=1)
    assert (
        words.moment_words(MOMENT, NEW_YORK, tomorrow)
        == "9:42 a.m. yesterday, Tuesday, November 17"
    )
    assert (
        words.moment_words(MOMENT, NEW_YORK, date(2027, 1, 2))
        == "9:42 a.m. on Tuesday, November 17, 2026"
    )
    assert words.moment_words(MOMENT, NEW_YORK, None) == "9:42 a.m. on Tuesday, November 17, 2026"


def test_the_day_is_the_zones_day() -> None:
    """Shortly after midnight in UTC it is still the evening before in New York."""
    night = datetime(2026, 11, 18, 3, 5, tzinfo=UTC)
    assert words.local_date(night, NEW_YORK) == TODAY
    assert words.moment_short(night, NEW_YORK, TODAY) == "10:05 p.m. today"
    assert words.moment_label(night, NEW_YORK, date(2026, 11, 19)) == "10:05 p.m. on November 17"
    assert words.event_time(night, NEW_YORK, date(2026, 11, 18)) == "November 17, 10:05 p.m."


@pytest.mark.parametrize(
    ("hour", "told"), [(5, "12:00 a.m."), (17, "12:00 p.m."), (18, "1:00 p.m.")]
)
def test_noon_and_midnight(hour: int, told: str) -> None:
    """Twelve o'clock exists twice."""
    moment = datetime(2026, 11, 17, hour, 0, tzinfo=UTC)
    assert words.clock_time(moment, NEW_YORK) == told


@pytest.mark.parametrize(
    ("first", "end", "told"),
    [
        (date(2026, 10, 10), date(2026, 11, 10), "October 10 to November 9"),
        (date(2026, 11, 10), date(2026, 11, 17), "November 10 to 16"),
        (date(2025, 12, 10), date(2026, 1, 10), "December 10, 2025 to January 9"),
        (date(2025, 10, 10), date(2025, 11, 10), "October 10 to November 9, 2025"),
        (date(2025, 10, 10), date(2025, 10, 20), "October 10 to 19, 2025"),
    ],
)
def test_periods_name_their_last_day(first: date, end: date, told: str) -> None:
    """A period ends the day before its end; years stand only where they are not this one."""
    assert words.period(first, end, TODAY) == told


def test_core_time_is_as_of_plus_age() -> None:
    """What day it is follows from the data, not from this machine."""
    freshness = Freshness(
        position=Position(1, "0", 1), as_of=MOMENT, age_seconds=3600.5, at_least=False
    )
    assert words.core_now(freshness) == MOMENT + timedelta(seconds=3600.5)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 seconds"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (16_300, "4 hours 31 minutes"),
        (7_200, "2 hours"),
        (90_000, "1 day 1 hour"),
    ],
)
def test_ages_are_told_in_their_largest_units(seconds: float, told: str) -> None:
    """An age is never rounded up."""
    assert words.age(seconds) == told


def test_a_lower_bound_says_so() -> None:
    """After a restart of the machine an age is only a lower bound."""
    assert words.age(7_200, at_least=True) == "at least 2 hours"


def test_zones_have_names() -> None:
    """A zone is told as people know it."""
    assert words.zone_name(NEW_YORK) == "Eastern Time"


def test_sentences_end_once() -> None:
    """A sentence that ends with a time has its full stop already."""
    assert words.stop("Today, 11:20 a.m.") == "Today, 11:20 a.m."
    assert words.stop("November 14") == "November 14."
