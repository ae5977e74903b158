"""Every sum is worked out by hand in the test; dollars, 1 kWh an hour unless said otherwise."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core_cis.domain.calendar import BillPeriod, month_period
from core_cis.domain.charges import RegisterUsage, TariffTerm
from core_cis.domain.rating import rate, rate_terms

JUNE = month_period(2025, 6)


@pytest.mark.parametrize(
    ("window", "seconds", "wh", "cents"),
    [
        (60, 3600, 3000, 3000),  # 3,000 Wh in an hour: 3 kW x 10.00
        (60, 900, 3000, 3750),  # 3,000 + 3 x 250 Wh in an hour: 3.75 kW x 10.00
        (15, 900, 1000, 4000),  # 1,000 Wh in a quarter of an hour: 4 kW x 10.00
    ],
)
def test_demand_comes_from_the_readings(
    make_tariff: Any,
    make_usage: Any,
    new_york: ZoneInfo,
    window: int,
    seconds: int,
    wh: int,
    cents: int,
) -> None:
    """The highest average power of a window of the period, at 10.00 a kW."""
    tariff = make_tariff(
        [("0", None)],
        demand_charges=[{"amount": "10", "unit": "$/kW", "window_minutes": window}],
    )
    usage = make_usage(JUNE, 1000 * seconds // 3600, seconds)
    peak = msgspec.structs.replace(usage.blocks[7], wh=(wh, *usage.blocks[7].wh[1:]))
    usage.blocks[7] = peak
    assert rate(tariff, usage, JUNE, zone=new_york).total_cents == cents


def test_a_demand_register_gives_the_demand(make_tariff: Any, new_york: ZoneInfo) -> None:
    """4.5 kW x 10.00 = 45.00."""
    tariff = make_tariff([("0", None)], demand_charges=[{"amount": "10", "unit": "$/kW"}])
    usage = RegisterUsage(100_000, peak_w=4500)
    bill = rate(tariff, usage, JUNE, zone=new_york)
    assert bill.total_cents == 4500
    assert bill.lines[-1].description == "Demand, highest 60 minutes"


def test_demand_is_shared_by_days_when_the_tariff_changes(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """1 kW for 10 of 30 days at 9.00: 3.00; then 20 of 30 days at 12.00: 8.00."""
    old, new = (
        make_tariff([("0", None)], demand_charges=[{"amount": amount, "unit": "$/kW"}])
        for amount in ("9", "12")
    )
    change = date(2025, 6, 11)
    terms = [
        TariffTerm(old, BillPeriod(JUNE.start, change)),
        TariffTerm(new, BillPeriod(change, JUNE.end)),
    ]
    bill = rate_terms(terms, make_usage(JUNE), zone=new_york)
    assert [line.amount_cents for line in bill.lines if line.kind == "demand"] == [300, 800]


def test_readings_outside_the_period_do_not_count(
    make_tariff: Any, make_usage: Any, new_york: ZoneInfo
) -> None:
    """Days before and after may be at hand: neither their usage nor their demand is billed."""
    tariff = make_tariff([("0.10", None)], demand_charges=[{"amount": "10", "unit": "$/kW"}])
    around = make_usage(BillPeriod(date(2025, 5, 31), date(2025, 7, 2)))
    for at in (0, -1):
        around.blocks[at] = msgspec.structs.replace(around.blocks[at], wh=(9000,) * 24)
    bill = rate(tariff, around, JUNE, zone=new_york)
    assert bill.usage_wh == 720_000
    assert [line.amount_cents for line in bill.lines] == [7200, 1000]
