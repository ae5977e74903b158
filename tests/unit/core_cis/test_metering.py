from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core_cis.domain.metering import (
    QUALITY_MISSING,
    Interval,
    build_blocks,
    empty_block,
    merge_blocks,
)

DAY = date(2025, 6, 3)


def hourly(start: datetime, count: int, wh: int = 500) -> list[Interval]:
    """Return hours in a row."""
    return [Interval(start + timedelta(hours=index), 3600, wh) for index in range(count)]


def test_an_interval_ends_where_the_next_starts() -> None:
    """Start and duration, half open."""
    first, second = hourly(datetime(2025, 6, 3, 4, tzinfo=UTC), 2)
    assert first.end == second.start


def test_intervals_are_sorted_into_local_days(new_york: ZoneInfo) -> None:
    """30 hours from local midnight fill one day and six hours of the next."""
    blocks = build_blocks(hourly(datetime(2025, 6, 3, 4, tzinfo=UTC), 30), new_york, 3600)
    assert [(block.day, block.missing, block.usage_wh) for block in blocks] == [
        (DAY, 0, 12_000),
        (date(2025, 6, 4), 18, 3000),
    ]
    assert blocks[1].quality[6] == QUALITY_MISSING


@pytest.mark.parametrize(
    ("day", "quarters"), [(date(2025, 3, 9), 92), (DAY, 96), (date(2025, 11, 2), 100)]
)
def test_a_local_day_has_92_96_or_100_quarters(
    day: date, quarters: int, new_york: ZoneInfo
) -> None:
    """And the last of them ends where the next day starts."""
    block = empty_block(day, new_york, 900)
    assert len(block.wh) == quarters
    assert block.instant(quarters) == empty_block(day + timedelta(days=1), new_york, 900).start


def test_an_interval_divides_an_hour(new_york: ZoneInfo) -> None:
    """Seven minutes would straddle a change of price."""
    with pytest.raises(ValueError, match="divides an hour"):
        empty_block(DAY, new_york, 420)


def test_measured_values_replace_missing_and_estimated_ones(make_block: Any) -> None:
    """A later file completes a day; merging it twice changes nothing more."""
    full = make_block(DAY, 700)
    stored = msgspec.structs.replace(
        full, wh=(None, 555, *full.wh[2:]), quality=(QUALITY_MISSING, 8, *full.quality[2:])
    )
    merged, conflicts = merge_blocks(stored, full)
    assert (merged, conflicts) == (full, [])
    assert merge_blocks(merged, full) == (full, [])


def test_a_measured_value_is_not_overwritten(make_block: Any) -> None:
    """Two measured values that differ are reported, the stored one stands."""
    stored, offered = make_block(DAY, 700), make_block(DAY, 700)
    offered = msgspec.structs.replace(offered, wh=(*offered.wh[:-1], 900))
    merged, conflicts = merge_blocks(stored, offered)
    assert merged == stored
    assert [(found.stored_wh, found.offered_wh) for found in conflicts] == [(700, 900)]
    assert conflicts[0].start == stored.instant(23)


def test_other_intervals_of_a_day_are_not_mixed(make_block: Any) -> None:
    """Hours and quarter hours of one day are two meters' business."""
    with pytest.raises(ValueError, match="other intervals"):
        merge_blocks(make_block(DAY), make_block(DAY, 250, 900))


def test_a_day_knows_its_usage_and_what_of_it_is_estimated(make_block: Any) -> None:
    """Missing quarter hours add nothing; quality 8 marks an estimate."""
    block = make_block(DAY, 250, 900)
    block = msgspec.structs.replace(
        block,
        wh=(None, *block.wh[1:]),
        quality=(QUALITY_MISSING, *block.quality[1:95], 8),
    )
    assert (block.usage_wh, block.estimated_wh, block.missing) == (23_750, 250, 1)
