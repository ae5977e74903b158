"""Green Button files of real homes and of the standard's own examples."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from core_cis.domain.calendar import month_period
from core_cis.domain.charges import IntervalUsage
from core_cis.domain.estimation import estimate_missing
from core_cis.domain.green_button import Channel, parse_green_button
from core_cis.domain.metering import build_blocks
from core_cis.domain.rating import rate
from core_cis.domain.tariff_files import parse_tariff

EASTERN = ZoneInfo("America/New_York")
PACIFIC = ZoneInfo("America/Los_Angeles")


def channel(shared_data: Path, name: str) -> Channel:
    """Return the only channel of a file."""
    with (shared_data / "greenbutton" / name).open("rb") as stream:
        feed = parse_green_button(stream)
    assert feed.refused == []
    (found,) = feed.channels
    return found


@pytest.mark.parametrize("name", ["openespi_test_usage_data.xml", "15minLP_15Days.xml"])
def test_quarter_hours_over_the_clock_change(shared_data: Path, name: str) -> None:
    """1,340 quarter hours; the local day clocks went forward has 92 of them."""
    found = channel(shared_data, name)
    assert (found.interval_seconds, len(found.intervals)) == (900, 1340)
    blocks = build_blocks(found.intervals, EASTERN, 900)
    assert {block.day: len(block.wh) for block in blocks} == {
        date(2012, 3, day): 92 if day == 11 else 96 for day in range(1, 15)
    }
    assert [block.missing for block in blocks] == [0] * 14
    assert found.findings == []


def test_a_month_of_hours(shared_data: Path) -> None:
    """March over the clock change: 743 hours, 23 on one day, nothing to report."""
    found = channel(shared_data, "hourlyForMonthMar.xml")
    blocks = build_blocks(found.intervals, EASTERN, 3600)
    assert (len(found.intervals), len(blocks), found.findings) == (743, 31, [])
    assert sorted({len(block.wh) for block in blocks}) == [23, 24]


HOMES = [
    "Coastal_Single_Family.xml",
    "Desert_Multi_Family.xml",
    "Inland_Single_Family.xml",
    "Mountain_Single_family.xml",
]


@pytest.mark.parametrize("name", HOMES)
def test_a_years_bad_hours_are_reported_exactly(shared_data: Path, name: str) -> None:
    """Four findings and no fifth, each with line, rule and instant; 8,757 hours are kept."""
    found = channel(shared_data, name)
    assert [
        (finding.line, finding.rule, finding.start and finding.start.isoformat())
        for finding in found.findings
    ] == [
        (12_090, "interval_size", "2011-03-13T09:00:00+00:00"),
        (12_146, "duplicate_start", "2011-03-13T17:00:00+00:00"),
        (52_130, "zero_duration", "2011-11-06T09:00:00+00:00"),
        (52_193, "gap", "2011-11-06T17:00:00+00:00"),
    ]
    assert "7200 s" in found.findings[0].detail
    assert "line 52137 has this start too" in found.findings[2].detail
    assert len(found.intervals) == 8757


@pytest.mark.parametrize("name", HOMES)
def test_a_year_with_bad_hours_can_be_billed(shared_data: Path, name: str) -> None:
    """Two hours of March and one of November are estimated, and their bills say so."""
    blocks = build_blocks(channel(shared_data, name).intervals, PACIFIC, 3600)
    tariff = parse_tariff((shared_data / "tariffs" / "sce-tou-d-4-9pm.json").read_bytes())
    estimated = {}
    for month in range(1, 13):
        period = month_period(2011, month)
        filled = estimate_missing(blocks, period, PACIFIC, service_point_id="SP-1")
        bill = rate(tariff, IntervalUsage(filled), period, zone=PACIFIC)
        estimated[month] = sum(block.quality.count(8) for block in filled)
        assert any(line.estimated for line in bill.lines) is (bill.estimated_wh > 0)
    assert {month: count for month, count in estimated.items() if count} == {3: 2, 11: 1}
