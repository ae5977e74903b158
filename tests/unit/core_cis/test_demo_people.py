"""The demo's customers, homes and tariffs are drawn from a seed and fit what the core expects."""

from datetime import date, timedelta

from core_cis.demo_data.load_profile import AVERAGE_YEAR_KWH, Home, days_between, profile_watts
from core_cis.demo_data.people import demo_customer
from core_cis.demo_data.tariffs import demo_tariffs
from core_cis.domain.tariffs import tariff_key
from core_cis.importing.numbers import holds_a_number, is_only_a_number

HOURS = list(range(24))


def test_customers_are_drawn_from_the_seed() -> None:
    """The same number and seed give the same customer, another seed another one."""
    assert demo_customer(7, 1) == demo_customer(7, 1)
    assert demo_customer(7, 1) != demo_customer(7, 2)


def test_everybody_is_somebody_else() -> None:
    """Of 3,000 customers no id, address for signing in, meter or method is used twice."""
    people = [demo_customer(number, 1) for number in range(1, 3001)]
    for name in ("customer_id", "account_id", "service_point_id", "meter_id", "email"):
        assert len({getattr(person, name) for person in people}) == 3000, name
    methods = [method for person in people for method in person.methods]
    assert len({method.method_id for method in methods}) == len(methods)
    assert {person.methods[0].status for person in people} == {"verified"}
    for method in methods:
        assert not any(map(holds_a_number, (method.method_id, method.label, method.token)))
        assert not is_only_a_number(method.token)


def test_the_profile_uses_what_it_says() -> None:
    """A year of the published profile is 1,000 kWh, within what hourly means and rounded seasons lose."""
    year = days_between(date(2025, 1, 1), date(2026, 1, 1))
    total = sum(sum(profile_watts(day)) for day in year)
    assert 970_000 < total < 1_030_000


def test_homes_are_like_american_ones() -> None:
    """The mean of 60 homes is near the published average, each repeats from its seed, none is negative."""
    year = days_between(date(2025, 1, 1), date(2026, 1, 1))
    totals = []
    for number in range(60):
        home, again = Home(f"1/{number}"), Home(f"1/{number}")
        usage = [home.day_wh(day, HOURS) for day in year]
        assert usage == [again.day_wh(day, HOURS) for day in year]
        assert min(min(day) for day in usage) >= 0
        totals.append(sum(map(sum, usage)) / 1000)
    assert abs(sum(totals) / len(totals) / AVERAGE_YEAR_KWH - 1) < 0.35
    assert max(totals) > 1.5 * min(totals)


def test_clock_change_days_have_their_hours() -> None:
    """A home uses energy in each of the 23 or 25 hours that a day has."""
    assert len(Home(1).day_wh(date(2025, 3, 9), [0, 1, *range(3, 24)])) == 23
    assert len(Home(1).day_wh(date(2025, 11, 2), [0, 1, 1, *range(2, 24)])) == 25


def test_tariffs_name_where_they_were_published() -> None:
    """Five or more plans of real utilities, each with its source, in force from the day asked for."""
    start = date(2025, 2, 1)
    tariffs = demo_tariffs(start)
    assert len({tariff_key(tariff) for tariff in tariffs}) >= 5
    for tariff in tariffs:
        assert tariff.effective_from == start
        assert tariff.source is not None
        assert tariff.source.title
        assert tariff.unpriced == ()


def test_days_between_counts_days() -> None:
    """The first day is in, the last is out."""
    assert days_between(date(2024, 2, 28), date(2024, 3, 2)) == [
        date(2024, 2, 28) + timedelta(offset) for offset in range(3)
    ]
