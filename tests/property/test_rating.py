"""What holds for every bill, whatever the tariff, the home and the period."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core_cis.domain.bill_comparison import compare_bills
from core_cis.domain.calendar import BillPeriod
from core_cis.domain.charges import IntervalUsage, RegisterUsage
from core_cis.domain.metering import empty_block
from core_cis.domain.rating import rate
from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import Tariff

ZONE = ZoneInfo("America/New_York")
# Dividing shares and adding them up again may leave this much of a dollar.
NOTHING = Decimal("1e-30")

prices = st.integers(0, 90_000).map(lambda tenths: f"{tenths / 100_000:.5f}")


@st.composite
def ladders(draw: st.DrawFn, *, inclining: bool, unit: str) -> list[dict[str, Any]]:
    """Draw one to four tiers, prices in any order or rising."""
    steps = draw(st.lists(st.integers(1, 60), max_size=3, unique=True))
    limits = [str(step * (1 if unit == "kWh daily" else 30)) for step in sorted(steps)]
    rates = draw(st.lists(prices, min_size=len(limits) + 1, max_size=len(limits) + 1))
    if inclining:
        rates.sort(key=Decimal)
    return [
        {"rate": rate, "adj": "0", "max": limit, "max_unit": unit}
        for rate, limit in zip(rates, [*limits, None], strict=True)
    ]


@st.composite
def tariffs(draw: st.DrawFn, *, time_of_use: bool) -> Tariff:
    """
    Draw a tariff without credits.

    Under time of use tiers rise. With a falling price, sharing tiers over times of use lets one
    cheap kWh move others into the cheaper tier: that is the rule, and no error of rating.
    """
    unit = draw(st.sampled_from(["kWh", "kWh daily"]))
    count = draw(st.integers(2, 4)) if time_of_use else 2
    periods = [draw(ladders(inclining=time_of_use, unit=unit)) for _ in range(count)]
    months = draw(st.lists(st.integers(0, 1), min_size=12, max_size=12))
    rows = st.lists(st.integers(0, count - 1), min_size=24, max_size=24)
    weekday = [draw(rows) if time_of_use else [month] * 24 for month in months]
    weekend = [draw(rows) if time_of_use else [month] * 24 for month in months]
    document = {
        "identity": {"utility_id": "U", "plan_code": "P", "plan_name": "N"},
        "energy": {"periods": [{"tiers": tiers} for tiers in periods]},
        "schedule": {"weekday": weekday, "weekend": weekend},
        "fixed_charges": [
            {"amount": draw(prices), "unit": draw(st.sampled_from(["$/day", "$/month"]))}
        ],
        "min_charge": draw(
            st.none() | st.builds(lambda amount: {"amount": amount, "unit": "$/month"}, prices)
        ),
    }
    return parse_tariff(json.dumps(document).encode())


@st.composite
def periods(draw: st.DrawFn) -> BillPeriod:
    """Draw a bill period of a day to two months, over clock changes and New Year."""
    start = date(2025, 1, 1) + timedelta(days=draw(st.integers(0, 364)))
    return BillPeriod(start, start + timedelta(days=draw(st.integers(1, 62))))


@st.composite
def homes(draw: st.DrawFn, period: BillPeriod) -> IntervalUsage:
    """Draw hours of a home: a pattern of a day, with one day of its own."""
    pattern = draw(st.lists(st.integers(0, 5000), min_size=25, max_size=25))
    blocks = []
    for day in period.each_day():
        empty = empty_block(day, ZONE, 3600)
        count = len(empty.wh)
        blocks.append(
            msgspec.structs.replace(empty, wh=tuple(pattern[:count]), quality=(0,) * count)
        )
    return IntervalUsage(blocks)


def with_more(data: st.DataObject, usage: IntervalUsage) -> IntervalUsage:
    """Add usage to one hour of one day."""
    at = data.draw(st.integers(0, len(usage.blocks) - 1))
    block = usage.blocks[at]
    hour = data.draw(st.integers(0, len(block.wh) - 1))
    more = data.draw(st.integers(1, 200_000))
    wh = tuple((value or 0) + more * (index == hour) for index, value in enumerate(block.wh))
    blocks = list(usage.blocks)
    blocks[at] = msgspec.structs.replace(block, wh=wh)
    return IntervalUsage(blocks)


@given(tariff=tariffs(time_of_use=True), period=periods(), prorate=st.booleans(), data=st.data())
def test_lines_sum_to_the_total_and_bill_every_kwh_once(
    *, tariff: Tariff, period: BillPeriod, prorate: bool, data: st.DataObject
) -> None:
    """The total is the sum of printed lines; their quantities are all the usage."""
    usage = data.draw(homes(period))
    bill = rate(tariff, usage, period, zone=ZONE, prorate=prorate)
    assert bill.total_cents == sum(line.amount_cents for line in bill.lines)
    energy = sum(line.quantity for line in bill.lines if line.kind == "energy")
    assert abs(energy - Decimal(bill.usage_wh) / 1000) < Decimal("0.0001")
    assert abs(bill.exact_total * 100 - bill.total_cents) <= Decimal(len(bill.lines)) / 2 + NOTHING


@given(tariff=tariffs(time_of_use=True), period=periods(), prorate=st.booleans(), data=st.data())
def test_more_usage_never_costs_less(
    *, tariff: Tariff, period: BillPeriod, prorate: bool, data: st.DataObject
) -> None:
    """Before rounding it never does; printed lines round apart by half a cent each at most."""
    usage = data.draw(homes(period))
    more = with_more(data, usage)
    less_bill = rate(tariff, usage, period, zone=ZONE, prorate=prorate)
    more_bill = rate(tariff, more, period, zone=ZONE, prorate=prorate)
    assert more_bill.exact_total >= less_bill.exact_total - NOTHING
    rounding = (len(less_bill.lines) + len(more_bill.lines)) / 2
    assert more_bill.total_cents >= less_bill.total_cents - rounding


@given(tariff=tariffs(time_of_use=False), period=periods(), prorate=st.booleans(), data=st.data())
def test_without_time_of_use_more_never_costs_a_cent_less(
    *, tariff: Tariff, period: BillPeriod, prorate: bool, data: st.DataObject
) -> None:
    """Each tier's line only grows, so the printed total does too, whatever the prices' order."""
    usage = data.draw(homes(period))
    more = with_more(data, usage)
    less_cents = rate(tariff, usage, period, zone=ZONE, prorate=prorate).total_cents
    assert rate(tariff, more, period, zone=ZONE, prorate=prorate).total_cents >= less_cents


@given(
    tariff=tariffs(time_of_use=False),
    before=periods(),
    after=periods(),
    usage=st.tuples(st.integers(0, 3_000_000), st.integers(0, 3_000_000)),
)
def test_the_reasons_for_a_difference_add_up_to_it(
    tariff: Tariff, before: BillPeriod, after: BillPeriod, usage: tuple[int, int]
) -> None:
    """To the cent, whatever changed."""
    previous = rate(tariff, RegisterUsage(usage[0]), before, zone=ZONE)
    current = rate(tariff, RegisterUsage(usage[1]), after, zone=ZONE)
    changes = compare_bills(previous, current)
    difference = current.total_cents - previous.total_cents
    assert sum(change.amount_cents for change in changes) == difference
