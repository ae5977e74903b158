"""
Meter readings: intervals, and the blocks of one local day that the core stores.

Energy is integer Wh, instants are UTC, days are local to the utility. Qualities are the codes of ESPI
`QualityOfReading`.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from core_cis.domain.calendar import (
    SECONDS_PER_HOUR,
    day_seconds,
    day_start,
    local_date,
)

QUALITY_VALID = 0
QUALITY_EDITED = 7
QUALITY_ESTIMATED_REFERENCE_DAY = 8
QUALITY_ESTIMATED_LINEAR = 9
QUALITY_QUESTIONABLE = 10
QUALITY_PROJECTED = 12
# Not an ESPI code: there is no reading to have a quality.
QUALITY_MISSING = -1

ESTIMATED_QUALITIES = frozenset(
    {QUALITY_ESTIMATED_REFERENCE_DAY, QUALITY_ESTIMATED_LINEAR, QUALITY_PROJECTED}
)

# Intervals that divide an hour: every hour of a schedule is then made of whole intervals.
INTERVAL_SECONDS = frozenset({60, 300, 600, 900, 1200, 1800, SECONDS_PER_HOUR})


class Interval(msgspec.Struct, frozen=True, order=True):
    """
    Energy delivered in one interval.

    Attributes:
        start: UTC.
        duration_seconds: At least one.
        wh: Not negative.
        quality: ESPI `QualityOfReading`.
    """

    start: datetime
    duration_seconds: int
    wh: int
    quality: int = QUALITY_VALID

    @property
    def end(self) -> datetime:
        """The first instant after the interval."""
        return self.start + timedelta(seconds=self.duration_seconds)


class IntervalBlock(msgspec.Struct, frozen=True):
    """
    One local day of one service point.

    Attributes:
        day: The local day.
        start: The instant the day starts, UTC.
        interval_seconds: One of `INTERVAL_SECONDS`.
        wh: One value an interval, None where nothing is known: 92, 96 or 100 quarter hours.
        quality: One ESPI code an interval; `QUALITY_MISSING` where `wh` is None.
    """

    day: date
    start: datetime
    interval_seconds: int
    wh: tuple[int | None, ...]
    quality: tuple[int, ...]

    def instant(self, index: int) -> datetime:
        """When an interval of the block starts, UTC."""
        return self.start + timedelta(seconds=index * self.interval_seconds)

    @property
    def usage_wh(self) -> int:
        """What is known of the day's usage."""
        return sum(value for value in self.wh if value is not None)

    @property
    def estimated_wh(self) -> int:
        """The estimated part of `usage_wh`."""
        if ESTIMATED_QUALITIES.isdisjoint(self.quality):
            return 0
        return sum(
            value
            for value, quality in zip(self.wh, self.quality, strict=True)
            if value is not None and quality in ESTIMATED_QUALITIES
        )

    @property
    def missing(self) -> int:
        """How many intervals are not known."""
        return self.wh.count(None)


def empty_block(day: date, zone: ZoneInfo, interval_seconds: int) -> IntervalBlock:
    """A local day of which nothing is known."""
    if interval_seconds not in INTERVAL_SECONDS:
        msg = f"an interval divides an hour into whole parts, not {interval_seconds} s"
        raise ValueError(msg)
    count = day_seconds(day, zone) // interval_seconds
    return IntervalBlock(
        day=day,
        start=day_start(day, zone),
        interval_seconds=interval_seconds,
        wh=(None,) * count,
        quality=(QUALITY_MISSING,) * count,
    )


def build_blocks(
    intervals: Iterable[Interval], zone: ZoneInfo, interval_seconds: int
) -> list[IntervalBlock]:
    """
    Sort intervals into blocks of local days, oldest first.

    Args:
        intervals: Valid ones: of `interval_seconds`, on its grid, without duplicates.
        zone: The utility's zone.
        interval_seconds: One of `INTERVAL_SECONDS`.
    """
    days: dict[date, tuple[IntervalBlock, list[int | None], list[int]]] = {}
    for interval in intervals:
        day = local_date(interval.start, zone)
        if day not in days:
            block = empty_block(day, zone, interval_seconds)
            days[day] = (block, list(block.wh), list(block.quality))
        block, wh, quality = days[day]
        index = int((interval.start - block.start).total_seconds()) // interval_seconds
        wh[index] = interval.wh
        quality[index] = interval.quality
    return [
        msgspec.structs.replace(block, wh=tuple(wh), quality=tuple(quality))
        for _, (block, wh, quality) in sorted(days.items(), key=lambda item: item[0])
    ]


class Conflict(msgspec.Struct, frozen=True):
    """Two different measured values of one interval; the stored one stands."""

    start: datetime
    stored_wh: int
    offered_wh: int


def merge_blocks(
    stored: IntervalBlock, offered: IntervalBlock
) -> tuple[IntervalBlock, list[Conflict]]:
    """
    Put newly read values of a day into the stored ones.

    A measured value replaces a missing or an estimated one; it never replaces a different measured
    value, which is reported instead. Merging the same block again changes nothing.

    Raises:
        ValueError: The blocks are of different days or interval lengths.
    """
    if (stored.start, stored.interval_seconds) != (offered.start, offered.interval_seconds):
        msg = f"readings of {offered.day} come in other intervals than the stored ones"
        raise ValueError(msg)
    wh, quality, conflicts = list(stored.wh), list(stored.quality), []
    for index, value in enumerate(offered.wh):
        if value is None:
            continue
        before = wh[index]
        if before is None or quality[index] in ESTIMATED_QUALITIES:
            wh[index], quality[index] = value, offered.quality[index]
        elif before != value and offered.quality[index] not in ESTIMATED_QUALITIES:
            conflicts.append(Conflict(stored.instant(index), before, value))
    return msgspec.structs.replace(stored, wh=tuple(wh), quality=tuple(quality)), conflicts
