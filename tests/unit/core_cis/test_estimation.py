from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core_cis.domain.calendar import BillPeriod
from core_cis.domain.estimation import estimate_missing, find_gaps
from core_cis.domain.metering import QUALITY_MISSING, IntervalBlock
from core_cis.errors import MissingReadings

FIRST = date(2025, 6, 2)
WEEK = BillPeriod(FIRST, FIRST + timedelta(days=7))


def without(block: IntervalBlock, hours: range) -> IntervalBlock:
    """Return a block of which some intervals are missing."""
    wh = tuple(None if at in hours else value for at, value in enumerate(block.wh))
    quality = tuple(
        QUALITY_MISSING if at in hours else value for at, value in enumerate(block.quality)
    )
    return msgspec.structs.replace(block, wh=wh, quality=quality)


def filled(blocks: list[IntervalBlock], zone: ZoneInfo) -> list[IntervalBlock]:
    """Return the week with its holes filled."""
    return estimate_missing(blocks, WEEK, zone, service_point_id="SP-1")


def test_the_mean_of_the_days_before_and_after(make_block: Any, new_york: ZoneInfo) -> None:
    """(300 + 501) / 2 = 400.5 → 401, marked with quality 8; measured hours stay."""
    blocks = [make_block(day, 300 + 201 * (day > FIRST)) for day in WEEK.each_day()]
    blocks[1] = without(blocks[1], range(4, 7))
    day = filled(blocks, new_york)[1]
    assert day.wh[3:8] == (501, 401, 401, 401, 501)
    assert day.quality[3:8] == (0, 8, 8, 8, 0)
    assert day.estimated_wh == 3 * 401


def test_six_hours_are_estimated_and_seven_are_not(make_block: Any, new_york: ZoneInfo) -> None:
    """The refusal names the service point and the gap in UTC."""
    blocks = [make_block(day) for day in WEEK.each_day()]
    six = [*blocks[:2], without(blocks[2], range(6, 12)), *blocks[3:]]
    assert filled(six, new_york)[2].missing == 0
    seven = [*blocks[:2], without(blocks[2], range(6, 13)), *blocks[3:]]
    with pytest.raises(MissingReadings, match="SP-1") as refusal:
        filled(seven, new_york)
    assert refusal.value.start.isoformat() == "2025-06-04T10:00:00+00:00"
    assert refusal.value.end.isoformat() == "2025-06-04T17:00:00+00:00"


def test_a_gap_goes_on_over_midnight(make_block: Any, new_york: ZoneInfo) -> None:
    """Four hours before and four after midnight are eight in a row."""
    blocks = [make_block(day) for day in WEEK.each_day()]
    blocks[2] = without(blocks[2], range(20, 24))
    blocks[3] = without(blocks[3], range(4))
    with pytest.raises(MissingReadings, match="8 h"):
        filled(blocks, new_york)


def test_a_gap_goes_on_over_the_bills_border(make_block: Any, new_york: ZoneInfo) -> None:
    """What is missing just before the period counts; a gap wholly outside does not."""
    before = make_block(FIRST - timedelta(days=1))
    blocks = [make_block(day) for day in WEEK.each_day()]
    blocks[0] = without(blocks[0], range(3))
    with pytest.raises(MissingReadings, match="7 h"):
        filled([without(before, range(20, 24)), *blocks], new_york)
    assert filled([without(before, range(10, 20)), *blocks], new_york)[0].missing == 0


def test_a_gap_that_ends_where_the_bill_starts_is_not_its_own(
    make_block: Any, new_york: ZoneInfo
) -> None:
    """Ten missing hours before the first day, and after the last, are another bill's matter."""
    before, after = make_block(FIRST - timedelta(days=1)), make_block(WEEK.end)
    blocks = [make_block(day) for day in WEEK.each_day()]
    around = [without(before, range(14, 24)), *blocks, without(after, range(10))]
    assert filled(around, new_york) == blocks


def test_a_gap_at_the_end_counts(make_block: Any, new_york: ZoneInfo) -> None:
    """Seven hours missing up to the last midnight, with nothing read after them."""
    blocks = [make_block(day) for day in WEEK.each_day()]
    with pytest.raises(MissingReadings, match="7 h"):
        filled([*blocks[:-1], without(blocks[-1], range(17, 24))], new_york)


def test_six_hours_of_quarters(make_block: Any, new_york: ZoneInfo) -> None:
    """24 quarter hours are six hours, 25 are more."""
    blocks = [make_block(day, 250, 900) for day in WEEK.each_day()]
    most = [*blocks[:2], without(blocks[2], range(24)), *blocks[3:]]
    assert filled(most, new_york)[2].estimated_wh == 6000
    with pytest.raises(MissingReadings):
        filled([*blocks[:2], without(blocks[2], range(25)), *blocks[3:]], new_york)


def test_a_day_without_readings_is_refused(make_block: Any, new_york: ZoneInfo) -> None:
    """A day that is not stored at all is 24 missing hours."""
    blocks = [make_block(day) for day in WEEK.each_day()]
    with pytest.raises(MissingReadings, match="24 h"):
        filled([*blocks[:3], *blocks[4:]], new_york)


def test_estimates_are_no_reference(make_block: Any, new_york: ZoneInfo) -> None:
    """The day before was itself estimated, the day after misses the hour too: two days away."""
    blocks = [make_block(day, 100 * index) for index, day in enumerate(WEEK.each_day())]
    blocks[2] = msgspec.structs.replace(blocks[2], quality=(8,) * 24)
    blocks[3] = without(blocks[3], range(5, 6))
    blocks[4] = without(blocks[4], range(5, 6))
    week = filled(blocks, new_york)
    assert week[3].wh[5] == (100 + 500) // 2
    assert week[4].wh[5] == 500


def test_one_neighbour_is_enough(make_block: Any, new_york: ZoneInfo) -> None:
    """On the first day known only the day after tells."""
    blocks = [make_block(day, 100 * index) for index, day in enumerate(WEEK.each_day())]
    blocks[0] = without(blocks[0], range(2, 3))
    assert filled(blocks, new_york)[0].wh[2] == 100


@pytest.mark.parametrize(("distance", "found"), [(7, True), (8, False)])
def test_a_neighbour_is_at_most_a_week_away(
    *, make_block: Any, new_york: ZoneInfo, distance: int, found: bool
) -> None:
    """The same weekday before is the farthest reference."""
    blocks = [without(make_block(day), range(2, 3)) for day in WEEK.each_day()]
    one_day = BillPeriod(FIRST, FIRST + timedelta(days=1))
    reference = make_block(FIRST - timedelta(days=distance), 700)
    if found:
        done = estimate_missing([reference, *blocks], one_day, new_york, service_point_id="SP-1")
        assert done[0].wh[2] == 700
    else:
        with pytest.raises(MissingReadings, match="1 h") as refusal:
            estimate_missing([reference, *blocks], one_day, new_york, service_point_id="SP-1")
        assert refusal.value.end - refusal.value.start == timedelta(hours=1)


def test_no_neighbour_within_a_week_is_refused(make_block: Any, new_york: ZoneInfo) -> None:
    """An hour that is missing on every day has nothing to be estimated from."""
    blocks = [without(make_block(day), range(2, 3)) for day in WEEK.each_day()]
    with pytest.raises(MissingReadings, match="within 7 days"):
        filled(blocks, new_york)


def test_the_left_out_hour_is_no_reference(make_block: Any, new_york: ZoneInfo) -> None:
    """Two o'clock of 10 March is not estimated from 9 March, which had no two o'clock."""
    period = BillPeriod(date(2025, 3, 8), date(2025, 3, 12))
    blocks = [make_block(day, 100 * index) for index, day in enumerate(period.each_day())]
    blocks[2] = without(blocks[2], range(2, 3))
    done = estimate_missing(blocks, period, new_york, service_point_id="SP-1")
    assert done[2].wh[2] == 300


def test_gaps_are_found_in_a_row_of_blocks(make_block: Any) -> None:
    """Two runs on one day are two gaps."""
    block = without(without(make_block(FIRST), range(2, 4)), range(10, 11))
    assert [gap.seconds // 3600 for gap in find_gaps([block])] == [2, 1]


def test_days_that_do_not_follow_each_other_have_gaps_of_their_own(make_block: Any) -> None:
    """The last hour of one day and the first of the day after the next are not in a row."""
    first = without(make_block(FIRST), range(23, 24))
    later = without(make_block(FIRST + timedelta(days=2)), range(1))
    assert [gap.seconds // 3600 for gap in find_gaps([first, later])] == [1, 1]
