from typing import Any

import pytest

from core_cis.domain.rate_labels import season_label, time_label
from core_cis.domain.rate_plan import rate_plan

FOUR_TO_NINE = "0" * 16 + "1" * 5 + "0" * 3


def labels(tariff: Any, month: int = 7) -> dict[int, str]:
    """Return the words for each price of a month."""
    plan = rate_plan(tariff)
    season = plan.season_of_month[month - 1]
    return {
        ladder.period: time_label(plan, season, ladder.period, frozenset({month}))
        for ladder in plan.seasons[season].ladders
    }


def test_one_price_is_just_energy(make_tariff: Any) -> None:
    """Without time of use there is nothing to tell apart."""
    assert labels(make_tariff([("0.10", None)])) == {0: "Energy"}


@pytest.mark.parametrize(
    ("row", "hours"),
    [
        (FOUR_TO_NINE, "4–9 p.m."),
        ("1" * 6 + "0" * 18, "midnight–6 a.m."),
        ("0" * 9 + "1" * 3 + "0" * 12, "9 a.m.–noon"),
        ("0" * 12 + "1" * 12, "noon–midnight"),
        ("1" * 6 + "0" * 16 + "1" * 2, "10 p.m.–6 a.m."),
        ("0" * 6 + "1" * 3 + "0" * 8 + "1" * 3 + "0" * 4, "6–9 a.m. and 5–8 p.m."),
    ],
)
def test_hours_are_told_as_a_clock_shows_them(make_tariff: Any, row: str, hours: str) -> None:
    """The same hours every day need no days."""
    tariff = make_tariff([("0.10", None)], [("0.40", None)], weekday=[row])
    assert labels(tariff) == {
        0: "Off-peak energy, all other hours",
        1: f"On-peak energy, {hours}",
    }


def test_days_are_told_where_they_differ(make_tariff: Any) -> None:
    """Weekend hours of their own, and holidays priced like them, are said."""
    tariff = make_tariff(
        [("0.10", None)],
        [("0.40", None)],
        weekday=[FOUR_TO_NINE],
        weekend=["0" * 24],
        schedule={"holiday_policy": "as_weekend", "holidays": ["christmas"]},
    )
    assert labels(tariff)[1] == "On-peak energy, Mon–Fri except holidays 4–9 p.m."


def test_three_prices_have_a_middle(make_tariff: Any) -> None:
    """Named by rank of price, not by number of the period."""
    row = "0" * 8 + "2" * 8 + "1" * 5 + "0" * 3
    tariff = make_tariff([("0.10", None)], [("0.20", None)], [("0.40", None)], weekday=[row])
    assert labels(tariff) == {
        0: "Off-peak energy, all other hours",
        1: "Mid-peak energy, 4–9 p.m.",
        2: "On-peak energy, 8 a.m.–4 p.m.",
    }


def test_many_prices_keep_their_numbers(make_tariff: Any) -> None:
    """Four prices have no common names; adding some would mislead."""
    row = "0" * 6 + "1" * 6 + "2" * 6 + "3" * 6
    tariff = make_tariff(*([(f"0.{price}", None)] for price in (1, 2, 3, 4)), weekday=[row])
    assert labels(tariff)[3] == "Period 4 energy, 6 p.m.–midnight"


def test_equal_prices_are_one(make_tariff: Any) -> None:
    """Two period numbers of the same price are one line of the bill."""
    row = "0" * 8 + "2" * 8 + "1" * 8
    tariff = make_tariff([("0.10", None)], [("0.40", None)], [("0.40", None)], weekday=[row])
    assert labels(tariff) == {
        0: "Off-peak energy, all other hours",
        1: "On-peak energy, 8 a.m.–midnight",
    }


def test_hours_that_change_with_the_month_are_left_out(make_tariff: Any) -> None:
    """A bill over such a change tells the name only."""
    rows = [FOUR_TO_NINE] * 6 + ["1" * 6 + "0" * 18] * 6
    plan = rate_plan(make_tariff([("0.10", None)], [("0.40", None)], weekday=rows))
    assert time_label(plan, 0, 1, frozenset({6, 7})) == "On-peak energy"


@pytest.mark.parametrize(
    ("summer", "names"),
    [
        ({6, 7, 8, 9}, {1: "October–May", 7: "June–September"}),
        ({7}, {1: "August–June", 7: "July"}),
        ({5, 6, 9, 10}, {1: "November–April, July–August", 6: "May–June, September–October"}),
        (set(), {1: ""}),
    ],
)
def test_seasons_are_told_by_their_months(
    make_tariff: Any, summer: set[int], names: dict[int, str]
) -> None:
    """A winter goes on over New Year; one season all year needs no name."""
    rows = [("1" if month in summer else "0") * 24 for month in range(1, 13)]
    plan = rate_plan(make_tariff([("0.10", None)], [("0.40", None)], weekday=rows))
    for month, name in names.items():
        told = season_label(plan, plan.season_of_month[month - 1])
        assert set(told.split(", ")) == set(name.split(", "))
