"""Tariffs, bills and homes that nobody here made."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from core_cis.domain.calendar import BillPeriod, month_period
from core_cis.domain.charges import IntervalUsage, RatedBill, RegisterUsage
from core_cis.domain.metering import IntervalBlock, empty_block
from core_cis.domain.rating import rate
from core_cis.domain.tariff_files import parse_tariff
from core_cis.domain.tariffs import Tariff, tariff_key, tariff_to_json

NEW_YORK = ZoneInfo("America/New_York")
# The only holiday of the periods that are summed up hour by hour.
LABOR_DAY = date(2025, 9, 1)


@pytest.fixture(scope="module")
def tariffs(shared_data: Path) -> dict[str, Tariff]:
    """Return every published tariff by file name."""
    files = sorted((shared_data / "tariffs").glob("*.json"))
    return {path.stem: parse_tariff(path.read_bytes()) for path in files}


def home(period: BillPeriod) -> IntervalUsage:
    """Return hours of a home that uses more in the evening: 400 to 1,780 Wh."""
    blocks = []
    for day in period.each_day():
        empty = empty_block(day, NEW_YORK, 3600)
        wh = tuple(400 + 60 * (hour % 24) for hour in range(len(empty.wh)))
        blocks.append(IntervalBlock(day, empty.start, 3600, wh, (0,) * len(wh)))
    return IntervalUsage(blocks)


def test_all_tariffs_are_read_and_stored(tariffs: dict[str, Tariff]) -> None:
    """46 files, nothing in them without a rule, each equal after the store, keys apart."""
    assert len(tariffs) == 46
    for tariff in tariffs.values():
        assert tariff.unpriced == ()
        assert parse_tariff(tariff_to_json(tariff)) == tariff
    assert len({tariff_key(tariff) for tariff in tariffs.values()}) == 46


@pytest.mark.parametrize(
    "period",
    [
        *(month_period(2025, month) for month in range(1, 13)),
        BillPeriod(date(2025, 5, 17), date(2025, 6, 18)),
        BillPeriod(date(2025, 9, 17), date(2025, 10, 16)),
    ],
    ids=lambda period: str(period.start),
)
def test_all_tariffs_price_a_month(tariffs: dict[str, Tariff], period: BillPeriod) -> None:
    """Every month of a year, and periods over both changes of season."""
    usage = home(period)
    for name, tariff in tariffs.items():
        bill = rate(tariff, usage, period, zone=NEW_YORK)
        check(name, bill)
        # What the lines say they are about is all that was used, to within their printed places.
        energy = sum(line.quantity for line in bill.lines if line.kind == "energy")
        assert abs(energy - Decimal(bill.usage_wh) / 1000) < Decimal("0.0001"), name


def check(name: str, bill: RatedBill) -> None:
    """Check what holds for every bill."""
    assert bill.total_cents == sum(line.amount_cents for line in bill.lines), name
    assert bill.total_cents > 0, name
    rounding = Decimal(len(bill.lines)) / 200
    assert abs(bill.exact_total - Decimal(bill.total_cents) / 100) <= rounding, name
    for line in bill.lines:
        assert bill.period.start <= line.period_from < line.period_to <= bill.period.end, name
        assert len(line.description) <= 120, line.description


def hour_by_hour(tariff: Tariff, usage: IntervalUsage) -> Decimal:
    """Price each hour by itself, from the published schedule and nothing else of ours."""
    total = Decimal(0)
    for block in usage.blocks:
        for index, wh in enumerate(block.wh):
            local = block.instant(index).astimezone(NEW_YORK)
            off = local.weekday() in {5, 6} or (
                tariff.schedule.holiday_policy == "as_weekend"
                and local.date() == LABOR_DAY
                and "labor_day" in tariff.schedule.holidays
            )
            rows = tariff.schedule.weekend if off else tariff.schedule.weekday
            (tier,) = tariff.energy_periods[rows[local.month - 1][local.hour]].tiers
            total += Decimal(wh or 0) * (tier.rate + tier.adjustment) / 1000
    return total


@pytest.mark.parametrize(
    "period",
    [
        BillPeriod(date(2025, 2, 20), date(2025, 3, 20)),
        BillPeriod(date(2025, 5, 27), date(2025, 6, 18)),
        BillPeriod(date(2025, 8, 15), date(2025, 9, 15)),
        BillPeriod(date(2025, 10, 20), date(2025, 11, 10)),
    ],
    ids=lambda period: str(period.start),
)
def test_untiered_tariffs_equal_a_sum_of_hours(
    tariffs: dict[str, Tariff], period: BillPeriod
) -> None:
    """Clock changes, seasons and a holiday: the energy lines are the sum of all hours' prices."""
    usage = home(period)
    untiered = {
        name: tariff
        for name, tariff in tariffs.items()
        if all(len(each.tiers) == 1 for each in tariff.energy_periods)
    }
    assert len(untiered) == 29
    for name, tariff in untiered.items():
        bill = rate(tariff, usage, period, zone=NEW_YORK)
        energy = sum(line.exact_amount for line in bill.lines if line.kind == "energy")
        assert energy == hour_by_hour(tariff, usage), name


def test_bill_vectors(shared_data: Path) -> None:
    """Five bills of another engine come out equal, before the rounding that it does not do."""
    cases = json.loads((shared_data / "rating" / "bill_vectors.json").read_text())["cases"]
    assert len(cases) == 5
    for case in cases:
        expected = case["expected"]
        tariff = parse_tariff(json.dumps(case["tariff"]).encode())
        start = date.fromisoformat(case["window"]["start"])
        period = BillPeriod(start, start + timedelta(days=case["window"]["days"]))
        usage = RegisterUsage(int(Decimal(case["usage"]["total_kwh"]) * 1000))
        bill = rate(tariff, usage, period, zone=NEW_YORK)
        assert bill.exact_total == Decimal(expected["total"]), case["name"]
        by_kind = {
            kinds: sum(line.exact_amount for line in bill.lines if line.kind in kinds)
            for kinds in (("energy",), ("fixed", "credit"))
        }
        assert by_kind["energy",] == Decimal(expected["energy_charge"]), case["name"]
        assert by_kind["fixed", "credit"] == Decimal(expected["fixed_charge"]), case["name"]
        has_minimum = any(line.kind == "minimum" for line in bill.lines)
        assert has_minimum is expected["min_charge_floor_applied"], case["name"]
        assert [
            (line.quantity, line.unit_price, line.exact_amount)
            for line in bill.lines
            if line.kind == "energy"
        ] == [
            (Decimal(item["kwh"]), Decimal(item["rate"]), Decimal(item["subtotal"]))
            for item in expected["line_items"]
            if item["period"] >= 0
        ], case["name"]
