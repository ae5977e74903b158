"""
Estimating missing readings (the E of VEE: validation, estimation, editing).

A run of at most six missing hours is filled from the same local time of the nearest days: the day
before and the day after, then two days away, up to seven. Of two neighbours the mean is taken,
halves away from zero; of one, its value. Only readings that were measured are referred to, never
estimates. Filled intervals have quality 8, "estimated using a reference day". A longer run, or one
without any neighbour, is refused: the bill waits for readings.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.calendar import SECONDS_PER_HOUR, BillPeriod, clock_times
from core_cis.domain.metering import (
    ESTIMATED_QUALITIES,
    QUALITY_ESTIMATED_REFERENCE_DAY,
    IntervalBlock,
    empty_block,
)
from core_cis.errors import MissingReadings

ESTIMATED_HOURS_MAX = 6
REFERENCE_DAYS_MAX = 7


class Gap(msgspec.Struct, frozen=True):
    """A run of missing intervals, `[start, end)`, UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        """How long nothing was measured."""
        return int((self.end - self.start).total_seconds())


def estimate_missing(
    blocks: Iterable[IntervalBlock],
    period: BillPeriod,
    zone: ZoneInfo,
    *,
    service_point_id: str,
    interval_seconds: int = SECONDS_PER_HOUR,
) -> list[IntervalBlock]:
    """
    The blocks of every day of a bill period, without a missing interval.

    Args:
        blocks: What is stored of the period, and of up to a week on both sides for reference.
        period: What is to be billed.
        zone: The utility's zone.
        service_point_id: Named by a refusal.
        interval_seconds: Of days of which nothing is stored.

    Raises:
        MissingReadings: More than six hours in a row are missing, or nothing can be referred to.
    """
    by_day = {block.day: block for block in blocks}
    length = next(iter(by_day.values())).interval_seconds if by_day else interval_seconds
    for day in period.each_day():
        if day not in by_day:
            by_day[day] = empty_block(day, zone, length)
    for gap in find_gaps(by_day[day] for day in sorted(by_day)):
        if gap.seconds > ESTIMATED_HOURS_MAX * SECONDS_PER_HOUR and _touches(gap, period, by_day):
            detail = f"at most {ESTIMATED_HOURS_MAX} hours in a row are estimated"
            raise MissingReadings(service_point_id, gap.start, gap.end, detail)
    return [_fill(day, by_day, zone, service_point_id) for day in period.each_day()]


def find_gaps(blocks: Iterable[IntervalBlock]) -> Iterator[Gap]:
    """The runs of missing intervals of blocks in order; a run goes on over midnight."""
    start = end = None
    for block in blocks:
        if None not in block.wh and start is None:
            continue
        for index, value in enumerate(block.wh):
            instant = block.instant(index)
            if start is not None and end is not None and (value is not None or instant != end):
                yield Gap(start, end)
                start = None
            if value is None:
                start = instant if start is None else start
                end = instant + timedelta(seconds=block.interval_seconds)
    if start is not None and end is not None:
        yield Gap(start, end)


def _touches(gap: Gap, period: BillPeriod, by_day: dict[date, IntervalBlock]) -> bool:
    last = by_day[period.last_day]
    return gap.end > by_day[period.start].start and gap.start < last.instant(len(last.wh))


def _fill(
    day: date, by_day: dict[date, IntervalBlock], zone: ZoneInfo, service_point_id: str
) -> IntervalBlock:
    block = by_day[day]
    if None not in block.wh:
        return block
    wh, quality = list(block.wh), list(block.quality)
    times = clock_times(day, zone, block.interval_seconds)
    for index, value in enumerate(block.wh):
        if value is not None:
            continue
        estimate = _estimate(block, times[index], by_day, zone)
        if estimate is None:
            start = block.instant(index)
            end = start + timedelta(seconds=block.interval_seconds)
            detail = f"no reading at this hour within {REFERENCE_DAYS_MAX} days"
            raise MissingReadings(service_point_id, start, end, detail)
        wh[index], quality[index] = estimate, QUALITY_ESTIMATED_REFERENCE_DAY
    return msgspec.structs.replace(block, wh=tuple(wh), quality=tuple(quality))


def _estimate(
    like: IntervalBlock, clock_time: int, by_day: dict[date, IntervalBlock], zone: ZoneInfo
) -> int | None:
    for distance in range(1, REFERENCE_DAYS_MAX + 1):
        away = timedelta(days=distance)
        found = [
            value
            for neighbour in (like.day - away, like.day + away)
            if (value := _measured_at(by_day.get(neighbour), like, clock_time, zone)) is not None
        ]
        if found:
            return (2 * sum(found) + len(found)) // (2 * len(found))
    return None


def _measured_at(
    block: IntervalBlock | None, like: IntervalBlock, clock_time: int, zone: ZoneInfo
) -> int | None:
    """What was measured when a day's clock first showed a time, in intervals of the same length."""
    if block is None or block.interval_seconds != like.interval_seconds:
        return None
    try:
        # An hour that the clock change left out is no reference; of a repeated one the first is.
        index = clock_times(block.day, zone, block.interval_seconds).index(clock_time)
    except ValueError:
        return None
    return None if block.quality[index] in ESTIMATED_QUALITIES else block.wh[index]
