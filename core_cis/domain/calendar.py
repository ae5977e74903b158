"""
Local days, clock changes and bill periods.

A bill counts local days of the utility's zone, `[start, end)`; a day has 23, 24 or 25 hours. Instants are UTC.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86_400

_ONE_DAY = timedelta(days=1)


class BillPeriod(msgspec.Struct, frozen=True, order=True):
    """
    The local days of one bill, `[start, end)`.

    Attributes:
        start: The first day billed.
        end: The first day not billed.
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            msg = f"a bill period ends after it starts, not {self.start} to {self.end}"
            raise ValueError(msg)

    @property
    def days(self) -> int:
        """How many local days are billed."""
        return (self.end - self.start).days

    @property
    def last_day(self) -> date:
        """The last day billed, as a bill prints it."""
        return self.end - _ONE_DAY

    def each_day(self) -> Iterator[date]:
        """Every day billed, in order."""
        return days_between(self.start, self.end)

    def months(self) -> Decimal:
        """
        How many calendar months the period is worth: the sum over each month of days billed / days of that month.

        A whole calendar month is exactly 1; 15 March to 15 April is 17/31 + 14/30.
        """
        whole = Decimal(0)
        start = self.start
        while start < self.end:
            following = next_month(start)
            stop = min(following, self.end)
            length = (following - start.replace(day=1)).days
            whole += Decimal((stop - start).days) / length
            start = stop
        return whole


def next_month(day: date) -> date:
    """The first day of the month after `day`."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def month_period(year: int, month: int) -> BillPeriod:
    """The bill period of one calendar month."""
    start = date(year, month, 1)
    return BillPeriod(start, next_month(start))


def days_between(start: date, end: date) -> Iterator[date]:
    """Every day of `[start, end)`, in order."""
    day = start
    while day < end:
        yield day
        day += _ONE_DAY


@lru_cache(maxsize=16_384)
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The instant a local day starts, UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def day_end(day: date, zone: ZoneInfo) -> datetime:
    """The instant a local day ends, UTC."""
    return day_start(day + _ONE_DAY, zone)


@lru_cache(maxsize=16_384)
def day_seconds(day: date, zone: ZoneInfo) -> int:
    """How long a local day is: 82,800, 86,400 or 90,000 seconds where clocks change by an hour."""
    return int((day_end(day, zone) - day_start(day, zone)).total_seconds())


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """The local day an instant falls on."""
    return instant.astimezone(zone).date()


@lru_cache(maxsize=4096)
def clock_times(day: date, zone: ZoneInfo, interval_seconds: int) -> tuple[int, ...]:
    """
    The local clock at the start of each interval of a day, in seconds after midnight.

    On the day clocks go back an hour's times appear twice, on the day they go forward they are left out.
    """
    count = day_seconds(day, zone) // interval_seconds
    if count * interval_seconds == SECONDS_PER_DAY:
        return _ordinary_clock_times(interval_seconds)
    start = day_start(day, zone)
    locals_ = (
        (start + timedelta(seconds=i * interval_seconds)).astimezone(zone) for i in range(count)
    )
    return tuple(
        local.hour * SECONDS_PER_HOUR + local.minute * 60 + local.second for local in locals_
    )


@lru_cache(maxsize=64)
def _ordinary_clock_times(interval_seconds: int) -> tuple[int, ...]:
    return tuple(range(0, SECONDS_PER_DAY, interval_seconds))


@lru_cache(maxsize=4096)
def clock_hours(day: date, zone: ZoneInfo, interval_seconds: int) -> tuple[int, ...]:
    """The local hour, 0 to 23, at the start of each interval of a day."""
    return tuple(
        seconds // SECONDS_PER_HOUR for seconds in clock_times(day, zone, interval_seconds)
    )
