"""Every sum is worked out by hand in the test; dollars, 1 kWh an hour unless said otherwise."""

from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core_cis.domain.calendar import BillPeriod, month_period
from core_cis.domain.charges import IntervalUsage, RatedBill, RegisterUsage, TariffTerm
from core_cis.domain.rating import rate, rate_terms

JUNE = month_period(2025, 6)
FOUR_TO_NINE = "0" * 16 + "1" * 5 + "0" * 3
SUMMER_IS_1 = ["0" * 24] * 5 + ["1" * 24] * 4 + ["0" * 24] * 3


def amounts(bill: RatedBill) -> list[tuple[Decimal, int]]:
    """Return quantity and cents of each line."""
    return [(line.quantity, line.amount_cents) for line in bill.lines]


def test_usage_crosses_a_tier(make_tariff: Any, new_york: ZoneInfo) -> None:
    """450 kWh, the first 300 at 0.10: 300 x 0.10 + 150 x 0.20 = 30.00 + 30.00 = 60.00."""
    tariff = make_tariff([("0.10", "300"), ("0.20", None)])
    bill = rate(tariff, RegisterUsage(450_000), JUNE, zone=new_york)
    assert amounts(bill) == [(Decimal(300), 3000), (Decimal(150), 3000)]
    assert [line.description for line in bill.lines] == [
        "Energy, first 300 kWh",
        "Energy, above 300 kWh",
    ]
    assert bill.total_cents == 6000


def test_exactly_a_tiers_limit_stays_in_it(make_tariff: Any, new_york: ZoneInfo) -> None:
    """300 kWh are all the first tier's: 300 x 0.10 = 30.00, and no second line."""
    tariff = make_tariff([("0.10", "300"), ("0.20", None)])
    assert amounts(rate(tariff, RegisterUsage(300_000), JUNE, zone=new_york)) == [
        (Decimal(300), 3000)
    ]


@pytest.mark.parametrize(
    ("days", "first_cents", "rest_cents"),
    [
        (28, 2800, 6600),  # 280 x 0.10 = 28.00; 220 x 0.30 = 66.00
        (29, 2900, 6300),  # 290 x 0.10 = 29.00; 210 x 0.30 = 63.00
        (30, 3000, 6000),  # 300 x 0.10 = 30.00; 200 x 0.30 = 60.00
        (31, 3100, 5700),  # 310 x 0.10 = 31.00; 190 x 0.30 = 57.00
        (32, 3200, 5400),  # 320 x 0.10 = 32.00; 180 x 0.30 = 54.00
        (33, 3300, 5100),  # 330 x 0.10 = 33.00; 170 x 0.30 = 51.00
    ],
)
def test_daily_limits_scale_with_the_days(
    make_tariff: Any, new_york: ZoneInfo, days: int, first_cents: int, rest_cents: int
) -> None:
    """500 kWh, the first 10 kWh a day at 0.10, the rest at 0.30."""
    tariff = make_tariff([("0.10", "10"), ("0.30", None)], unit="kWh daily")
    period = BillPeriod(date(2025, 6, 3), date.fromordinal(date(2025, 6, 3).toordinal() + days))
    bill = rate(tariff, RegisterUsage(500_000), period, zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [first_cents, rest_cents]
    assert bill.lines[0].description == f"Energy, first {days * 10} kWh (10 a day)"


@pytest.mark.parametrize("days", [28, 33])
def test_monthly_limits_hold_for_an_ordinary_bill(
    make_tariff: Any, new_york: ZoneInfo, days: int
) -> None:
    """A limit in kWh a bill does not move: 300 x 0.10 + 200 x 0.30 = 90.00 for 28 and 33 days."""
    tariff = make_tariff([("0.10", "300"), ("0.30", None)])
    period = BillPeriod(date(2025, 6, 3), date.fromordinal(date(2025, 6, 3).toordinal() + days))
    assert rate(tariff, RegisterUsage(500_000), period, zone=new_york).total_cents == 9000


def test_a_long_bill_scales_monthly_limits(make_tariff: Any, new_york: ZoneInfo) -> None:
    """July and August in one bill, two months: 600 x 0.10 + 100 x 0.30 = 60.00 + 30.00 = 90.00."""
    tariff = make_tariff([("0.10", "300"), ("0.30", None)])
    period = BillPeriod(date(2025, 7, 1), date(2025, 9, 1))
    bill = rate(tariff, RegisterUsage(700_000), period, zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [6000, 3000]
    assert bill.lines[0].description == "Energy, first 600 kWh"


def test_weekdays_and_weekends(make_tariff: Any, make_usage: Any, new_york: ZoneInfo) -> None:
    """
    June 2025 has 21 weekdays: 21 x 5 h = 105 kWh x 0.40 = 42.00.
    The other 720 - 105 = 615 kWh x 0.20 = 123.00; together 165.00.
    """
    tariff = make_tariff(
        [("0.20", None)], [("0.40", None)], weekday=[FOUR_TO_NINE], weekend=["0" * 24]
    )
    bill = rate(tariff, make_usage(JUNE), JUNE, zone=new_york)
    assert amounts(bill) == [(Decimal(105), 4200), (Decimal(615), 12300)]
    assert [line.description for line in bill.lines] == [
        "On-peak energy, Mon–Fri 4–9 p.m.",
        "Off-peak energy, all other hours",
    ]


@pytest.mark.parametrize(
    ("policy", "holidays", "cents"),
    [
        # Thursday, 19 June, at weekend prices: 100 x 0.40 + 620 x 0.20 = 40.00 + 124.00
        ("as_weekend", ["juneteenth"], 16400),
        # ordinary days: 105 x 0.40 + 615 x 0.20 = 42.00 + 123.00
        ("as_weekday", ["juneteenth"], 16500),
        ("unknown", ["juneteenth"], 16500),
        ("as_weekend", [], 16500),
        ("as_weekend", ["a_day_nobody_knows"], 16500),
    ],
)
def test_holidays_are_weekend_only_when_the_tariff_lists_them(
    make_tariff: Any,
    make_usage: Any,
    new_york: ZoneInfo,
    policy: str,
    holidays: list[str],
    cents: int,
) -> None:
    """An unknown policy, and an unknown holiday, make an ordinary day."""
    tariff = make_tariff(
        [("0.20", None)],
        [("0.40", None)],
        weekday=[FOUR_TO_NINE],
        weekend=["0" * 24],
        schedule={"holiday_policy": policy, "holidays": holidays},
    )
    assert rate(tariff, make_usage(JUNE), JUNE, zone=new_york).total_cents == cents


def test_season_change_within_a_period(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """
    20 May to 19 June: 12 days of winter, 18 of summer, 24 kWh a day.

    Winter: 288 kWh, limit 600 x 12/30 = 240: 240 x 0.10 + 48 x 0.20 = 24.00 + 9.60.
    Summer: 432 kWh, limit 300 x 18/30 = 180: 180 x 0.30 + 252 x 0.50 = 54.00 + 126.00.
    Together 213.60.
    """
    tariff = make_tariff(
        [("0.10", "600"), ("0.20", None)],
        [("0.30", "300"), ("0.50", None)],
        weekday=SUMMER_IS_1,
    )
    period = BillPeriod(date(2025, 5, 20), date(2025, 6, 19))
    bill = rate(tariff, make_usage(period), period, zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [2400, 960, 5400, 12600]
    assert bill.total_cents == 21360
    assert (bill.lines[0].period_from, bill.lines[0].period_to) == (
        date(2025, 5, 20),
        date(2025, 6, 1),
    )
    assert (bill.lines[2].period_from, bill.lines[2].period_to) == (
        date(2025, 6, 1),
        date(2025, 6, 19),
    )
    # A register's one figure is shared by days: 720 x 12/30 = 288 and 720 x 18/30 = 432.
    register = rate(tariff, RegisterUsage(720_000), period, zone=new_york)
    assert amounts(register) == amounts(bill)


def test_tiers_with_time_of_use(make_tariff: Any, make_block: Any, new_york: ZoneInfo) -> None:
    """
    April, on-peak: 5 h a day at 800 Wh = 120 kWh; off-peak: 18 h at 800 and one at 1,600 = 480 kWh.

    All usage is 600 kWh, the limit 300: half of each time of use is in the first tier.
    On-peak: 60 x 0.40 + 60 x 0.60 = 24.00 + 36.00.
    Off-peak: 240 x 0.10 + 240 x 0.30 = 24.00 + 72.00. Together 156.00.
    """
    tariff = make_tariff(
        [("0.10", "300"), ("0.30", None)],
        [("0.40", "300"), ("0.60", None)],
        weekday=[FOUR_TO_NINE],
    )
    period = month_period(2025, 4)
    blocks = [
        msgspec.structs.replace(make_block(day), wh=(1600, *(800,) * 23))
        for day in period.each_day()
    ]
    bill = rate(tariff, IntervalUsage(blocks), period, zone=new_york)
    assert amounts(bill) == [
        (Decimal(60), 2400),
        (Decimal(60), 3600),
        (Decimal(240), 2400),
        (Decimal(240), 7200),
    ]
    assert bill.total_cents == 15600


@pytest.mark.parametrize("seconds", [3600, 900])
@pytest.mark.parametrize(
    ("month", "night_kwh", "night_cents", "day_kwh", "day_cents"),
    [
        # 30 nights of 6 h, one of 5: 185 x 0.50 = 92.50; 31 days of 18 h: 558 x 0.20 = 111.60
        (3, 185, 9250, 558, 11160),
        # 29 nights of 6 h, one of 7: 181 x 0.50 = 90.50; 30 days of 18 h: 540 x 0.20 = 108.00
        (11, 181, 9050, 540, 10800),
    ],
)
def test_days_on_which_clocks_change(
    *,
    make_tariff: Any,
    make_usage: Any,
    new_york: ZoneInfo,
    month: int,
    night_kwh: int,
    night_cents: int,
    day_kwh: int,
    day_cents: int,
    seconds: int,
) -> None:
    """Nights, midnight to six by the local clock: one is an hour shorter, one an hour longer."""
    tariff = make_tariff([("0.20", None)], [("0.50", None)], weekday=["1" * 6 + "0" * 18])
    period = month_period(2025, month)
    usage = make_usage(period, 1000 * seconds // 3600, seconds)
    bill = rate(tariff, usage, period, zone=new_york)
    assert amounts(bill) == [(Decimal(night_kwh), night_cents), (Decimal(day_kwh), day_cents)]


@pytest.mark.parametrize(
    ("start", "end", "prorate", "cents"),
    [
        (date(2025, 6, 16), date(2025, 7, 1), True, 600),  # 15/30 x 12.00
        (date(2025, 6, 16), date(2025, 7, 1), False, 1200),  # one charge a bill
        (date(2025, 3, 15), date(2025, 4, 15), True, 1218),  # (17/31 + 14/30) x 12.00 = 12.1806…
        (date(2025, 3, 15), date(2025, 4, 15), False, 1200),
        (date(2025, 6, 1), date(2025, 7, 1), True, 1200),  # a whole month
    ],
)
def test_monthly_charges_are_prorated_on_first_and_final_bills_only(
    *, make_tariff: Any, new_york: ZoneInfo, start: date, end: date, prorate: bool, cents: int
) -> None:
    """12.00 a month is charged once a bill, whatever its days."""
    tariff = make_tariff([("0.10", None)], fixed_charges=[{"amount": "12", "unit": "$/month"}])
    period = BillPeriod(start, end)
    bill = rate(tariff, RegisterUsage(0), period, zone=new_york, prorate=prorate)
    assert bill.total_cents == cents


def test_a_first_bills_limits_and_minimum_are_prorated_too(
    make_tariff: Any, new_york: ZoneInfo
) -> None:
    """
    15 of 30 days: the limit of 300 is 150: 150 x 0.10 + 50 x 0.30 = 15.00 + 15.00 = 30.00.
    The minimum of 70.00 is 35.00: 5.00 are added.
    """
    tariff = make_tariff(
        [("0.10", "300"), ("0.30", None)], min_charge={"amount": "70", "unit": "$/month"}
    )
    period = BillPeriod(date(2025, 6, 16), date(2025, 7, 1))
    bill = rate(tariff, RegisterUsage(200_000), period, zone=new_york, prorate=True)
    assert [line.amount_cents for line in bill.lines] == [1500, 1500, 500]


def test_a_new_tariff_shares_limits_by_days(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """
    June, new prices from the 11th: 240 and 480 kWh, limits 300 x 10/30 = 100 and 300 x 20/30 = 200.

    100 x 0.10 + 140 x 0.20 = 10.00 + 28.00; 200 x 0.30 + 280 x 0.40 = 60.00 + 112.00.
    """
    terms = [
        TariffTerm(
            make_tariff([("0.10", "300"), ("0.20", None)]),
            BillPeriod(date(2025, 6, 1), date(2025, 6, 11)),
        ),
        TariffTerm(
            make_tariff([("0.30", "300"), ("0.40", None)]),
            BillPeriod(date(2025, 6, 11), date(2025, 7, 1)),
        ),
    ]
    bill = rate_terms(terms, make_usage(JUNE), zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [1000, 2800, 6000, 11200]


def test_daily_charges_and_credits(make_tariff: Any, new_york: ZoneInfo) -> None:
    """30 x 0.49315 = 14.7945 → 14.79; a credit of 1.005 → -1.01 (half away from zero)."""
    tariff = make_tariff(
        [("0.10", None)],
        fixed_charges=[
            {"amount": "0.49315", "unit": "$/day", "name": "Service charge"},
            {"amount": "-1.005", "unit": "$/month"},
            {"amount": "2", "unit": "$/month"},
        ],
    )
    bill = rate(tariff, RegisterUsage(100_000), JUNE, zone=new_york)
    assert [(line.kind, line.description, line.amount_cents) for line in bill.lines] == [
        ("energy", "Energy", 1000),
        ("fixed", "Service charge", 1479),
        ("credit", "Bill credit", -101),
        ("fixed", "Other fixed charge", 200),
    ]
    assert bill.exact_total == Decimal(12) + Decimal("14.7945") - Decimal("1.005")


def test_the_minimum_fills_up_the_pre_tax_total(make_tariff: Any, new_york: ZoneInfo) -> None:
    """100 x 0.10 = 10.00 is filled up by 15.00 to 25.00; 5 % tax on that is 1.25."""
    tariff = make_tariff(
        [("0.10", None)],
        min_charge={"amount": "25", "unit": "$/month"},
        taxes=[{"name": "City tax", "percent": "5"}],
    )
    bill = rate(tariff, RegisterUsage(100_000), JUNE, zone=new_york)
    assert [(line.kind, line.amount_cents) for line in bill.lines] == [
        ("energy", 1000),
        ("minimum", 1500),
        ("tax", 125),
    ]
    assert bill.lines[1].description == "Minimum charge adjustment"
    assert bill.total_cents == 2625


def test_a_minimum_a_day_counts_days(make_tariff: Any, new_york: ZoneInfo) -> None:
    """30 x 0.392 = 11.76 at least; 50 x 0.10 = 5.00 is filled up by 6.76. 200 kWh need nothing."""
    tariff = make_tariff([("0.10", None)], min_charge={"amount": "0.392", "unit": "$/day"})
    low = rate(tariff, RegisterUsage(50_000), JUNE, zone=new_york)
    assert [line.amount_cents for line in low.lines] == [500, 676]
    assert low.lines[1].unit_price == Decimal("6.76")
    assert low.exact_total == Decimal("11.76")
    high = rate(tariff, RegisterUsage(200_000), JUNE, zone=new_york)
    assert [line.amount_cents for line in high.lines] == [2000]


def test_a_new_tariff_within_a_period(make_tariff: Any, new_york: ZoneInfo) -> None:
    """
    100 kWh, 1 April to 15 May (45 days), new prices from 16 April: 15 and 30 days.

    100 x 15/45 = 33.33 kWh x 0.30 = 10.00; 100 x 30/45 = 66.67 kWh x 0.60 = 40.00.
    The monthly charge of 9.00 is one charge: 3.00 + 6.00.
    """
    monthly = [{"amount": "9", "unit": "$/month"}]
    old = make_tariff([("0.30", None)], fixed_charges=monthly)
    new = make_tariff([("0.60", None)], fixed_charges=monthly)
    terms = [
        TariffTerm(old, BillPeriod(date(2025, 4, 1), date(2025, 4, 16))),
        TariffTerm(new, BillPeriod(date(2025, 4, 16), date(2025, 5, 16))),
    ]
    bill = rate_terms(terms, RegisterUsage(100_000), zone=new_york)
    assert amounts(bill) == [
        (Decimal("33.333333"), 1000),
        (Decimal("0.333333"), 300),
        (Decimal("66.666667"), 4000),
        (Decimal("0.666667"), 600),
    ]
    with pytest.raises(ValueError, match="ends"):
        rate_terms([terms[1], terms[0]], RegisterUsage(100_000), zone=new_york)


def test_the_total_is_the_sum_of_rounded_lines(make_tariff: Any, new_york: ZoneInfo) -> None:
    """Two lines of 0.125 are 0.13 each: 0.26, though the exact total is 0.25."""
    tariff = make_tariff([("0.00125", "100"), ("0.0025", None)])
    bill = rate(tariff, RegisterUsage(150_000), JUNE, zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [13, 13]
    assert (bill.total_cents, bill.exact_total) == (26, Decimal("0.25"))


def test_estimated_usage_marks_its_lines(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """An hour estimated at noon marks the line of its time of use and no other."""
    tariff = make_tariff([("0.20", None)], [("0.40", None)], weekday=[FOUR_TO_NINE])
    usage = make_usage(JUNE)
    noon = (0,) * 12 + (8,) + (0,) * 11
    usage.blocks[3] = msgspec.structs.replace(usage.blocks[3], quality=noon)
    bill = rate(tariff, usage, JUNE, zone=new_york)
    assert [(line.description[:4], line.estimated) for line in bill.lines] == [
        ("On-p", False),
        ("Off-", True),
    ]
    assert (bill.usage_wh, bill.estimated_wh) == (720_000, 1000)
    flat = rate(make_tariff([("0.20", None)]), usage, JUNE, zone=new_york)
    assert [line.estimated for line in flat.lines] == [True]
    assert (
        not rate(make_tariff([("0.20", None)]), make_usage(JUNE), JUNE, zone=new_york)
        .lines[0]
        .estimated
    )


def test_no_usage_still_shows_a_price(make_tariff: Any, new_york: ZoneInfo) -> None:
    """A bill of an empty home has one energy line of 0 kWh."""
    tariff = make_tariff([("0.10", "300"), ("0.20", None)])
    assert amounts(rate(tariff, RegisterUsage(0), JUNE, zone=new_york)) == [(Decimal(0), 0)]


def test_adjacent_tiers_of_one_price_are_one_line(make_tariff: Any, new_york: ZoneInfo) -> None:
    """Some tariffs list a price twice: 300 x 0.10 + 700 x 0.20 = 30.00 + 140.00."""
    tariff = make_tariff([("0.10", "300"), ("0.20", "500"), ("0.20", None)])
    bill = rate(tariff, RegisterUsage(1_000_000), JUNE, zone=new_york)
    assert [line.amount_cents for line in bill.lines] == [3000, 14000]
