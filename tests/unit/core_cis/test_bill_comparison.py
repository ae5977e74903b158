from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from core_cis.domain.bill_comparison import compare_bills
from core_cis.domain.calendar import BillPeriod, month_period
from core_cis.domain.charges import RegisterUsage
from core_cis.domain.rating import rate

THIRTY = month_period(2025, 6)


def test_more_usage_and_more_days(make_tariff: Any, new_york: ZoneInfo) -> None:
    """
    Before: 30 days, 300 kWh x 0.10 = 30.00, 30 x 0.50 = 15.00. After: 31 days, 372 kWh.

    A day more: 10 kWh x 0.10 + 0.50 = 1.50. Usage 12 instead of 10 kWh a day: 2 x 31 x 0.10 = 6.20.
    After: 37.20 + 15.50 = 52.70, which is 7.70 more.
    """
    tariff = make_tariff([("0.10", None)], fixed_charges=[{"amount": "0.50", "unit": "$/day"}])
    before = rate(tariff, RegisterUsage(300_000), THIRTY, zone=new_york)
    after = rate(tariff, RegisterUsage(372_000), month_period(2025, 7), zone=new_york)
    changes = compare_bills(before, after)
    assert [(change.label, change.amount_cents) for change in changes] == [
        ("Usage a day", 620),
        ("Days billed", 150),
    ]
    assert changes[0].detail == "10.0 kWh a day before, 12.0 now"


def test_a_new_price_and_a_new_charge(make_tariff: Any, new_york: ZoneInfo) -> None:
    """300 kWh: 0.10 → 0.12 is 6.00 more; a new monthly charge of 5.00 is the rest."""
    old = make_tariff([("0.10", None)])
    new = make_tariff([("0.12", None)], fixed_charges=[{"amount": "5", "unit": "$/month"}])
    usage = RegisterUsage(300_000)
    before, after = (rate(tariff, usage, THIRTY, zone=new_york) for tariff in (old, new))
    changes = compare_bills(before, after)
    assert [(change.label, change.amount_cents) for change in changes] == [
        ("Average price of a kWh", 600),
        ("Other charges", 500),
    ]
    assert changes[0].detail.startswith("10.00 ¢ before, 12.00 ¢ now")


def test_from_and_to_an_empty_home(make_tariff: Any, new_york: ZoneInfo) -> None:
    """Without usage there is no average price; the whole difference is usage."""
    tariff = make_tariff([("0.10", None)])
    empty = rate(tariff, RegisterUsage(0), THIRTY, zone=new_york)
    lived_in = rate(tariff, RegisterUsage(300_000), THIRTY, zone=new_york)
    assert [change.amount_cents for change in compare_bills(empty, lived_in)] == [3000]
    assert [change.amount_cents for change in compare_bills(lived_in, empty)] == [-3000]


def test_equal_bills_have_no_changes(make_tariff: Any, new_york: ZoneInfo) -> None:
    """Nothing is listed when nothing differs."""
    tariff = make_tariff([("0.10", None)])
    period = BillPeriod(date(2025, 4, 1), date(2025, 5, 1))
    first, second = (
        rate(tariff, RegisterUsage(300_000), each, zone=new_york) for each in (period, THIRTY)
    )
    assert compare_bills(first, second) == []


def test_figures_differ_where_they_are_told_apart(make_tariff: Any, new_york: ZoneInfo) -> None:
    """
    3,000 kWh at 0.10 are 300.00, at 0.10002 they are 300.06: the sentence shows what makes the difference.

    At 0.100000 and 0.10000004 ($0.12 on 3,000,000 kWh) no figure worth reading shows it.
    """
    old, new, hardly = (make_tariff([(price, None)]) for price in ("0.10", "0.10002", "0.10000004"))
    usage, much = RegisterUsage(3_000_000), RegisterUsage(3_000_000_000)
    before, after = (rate(tariff, usage, THIRTY, zone=new_york) for tariff in (old, new))
    (change,) = compare_bills(before, after)
    assert change.amount_cents == 6
    assert change.detail.startswith("10.000 ¢ before, 10.002 ¢ now")
    before, after = (rate(tariff, much, THIRTY, zone=new_york) for tariff in (old, hardly))
    (change,) = compare_bills(before, after)
    assert change.amount_cents == 12
    assert change.detail.startswith("About 10.00 ¢, before and now")
