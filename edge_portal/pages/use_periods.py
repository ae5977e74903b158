"""Usage by bill period: which days belong to it, and the same days of the period before. Pure."""

from collections import defaultdict
from datetime import date, timedelta

import msgspec

from cache_sync.documents import StatementBody, UsageBody, UsageDay
from edge_portal.charts import HOURS_A_DAY, DayUse


class DayTotal(msgspec.Struct, frozen=True):
    """A day's use over all meters of the account, in Wh; which of its hours were estimated, where that is known."""

    usage_wh: int
    estimated_wh: int
    estimated_hours: tuple[int, ...] = ()


class UsePeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A bill period ``[first, end)``; while it is ``open``, not billed yet, ``end`` is where it would usually end."""

    first: date
    end: date
    open: bool = False


class PeriodUse(msgspec.Struct, frozen=True, kw_only=True):
    """
    A period's days beside the period before.

    ``days`` has one entry for each day of the period; days after the last reading have no usage. ``known_days``
    counts the days with readings; ``before_same_wh`` is what as many first days of the period before came to, None
    without a full set of them.
    """

    period: UsePeriod
    days: list[DayUse]
    known_days: int
    last_known: date | None
    usage_wh: int
    estimated_wh: int
    before: UsePeriod | None
    before_same_wh: int | None


def day_totals(usage: list[UsageBody]) -> dict[date, DayTotal]:
    """Add up the meters of an account, day by day."""
    days: dict[date, list[UsageDay]] = defaultdict(list)
    for month in usage:
        for day in month.days:
            days[day.day].append(day)
    return {
        day: DayTotal(
            sum(meter.usage_wh for meter in meters),
            sum(meter.estimated_wh for meter in meters),
            _estimated_hours([meter for meter in meters if meter.estimated_wh]),
        )
        for day, meters in days.items()
    }


def _estimated_hours(meters: list[UsageDay]) -> tuple[int, ...]:
    """
    Tell which hours were estimated; none where that is not known, or it was the whole day.

    A day that the clock change made shorter or longer has hours that no clock shows.
    """
    if any(
        len(day.hours) != HOURS_A_DAY or all(measured is None for measured in day.hours)
        for day in meters
    ):
        return ()
    return tuple(sorted({hour for day in meters for hour in day.estimated_hours}))


def periods(statements: list[StatementBody], totals: dict[date, DayTotal]) -> list[UsePeriod]:
    """
    List the periods that usage can be shown for, newest first.

    Bill periods with readings, and the open one since the newest bill when readings have come in since. Without any
    bill, the calendar months of the readings.
    """
    if not totals:
        return []
    billed = [UsePeriod(first=s.period_from, end=s.period_to) for s in statements]
    if not billed:
        return _calendar_months(totals)
    newest = billed[0]
    found = []
    if any(day >= newest.end for day in totals):
        end = max(_usual_end(newest), max(totals) + timedelta(1))
        found.append(UsePeriod(first=newest.end, end=end, open=True))
    days = sorted(totals)
    found += [period for period in billed if any(period.first <= day < period.end for day in days)]
    return found


def _usual_end(newest: UsePeriod) -> date:
    """Guess where the open period ends: on the same day of the next month where bills keep to one, else as long on."""
    if newest.first.day == newest.end.day:
        following = (newest.end.replace(day=1) + timedelta(32)).replace(day=1)
        return following + timedelta(newest.end.day - 1)
    return newest.end + (newest.end - newest.first)


def _calendar_months(totals: dict[date, DayTotal]) -> list[UsePeriod]:
    firsts = sorted({day.replace(day=1) for day in totals}, reverse=True)
    return [UsePeriod(first=first, end=(first + timedelta(32)).replace(day=1)) for first in firsts]


def period_use(
    period: UsePeriod, before: UsePeriod | None, totals: dict[date, DayTotal]
) -> PeriodUse:
    """Put a period's days beside the same days of the period before, counted from its start."""
    length = (period.end - period.first).days
    days = []
    for offset in range(length):
        day = period.first + timedelta(offset)
        that = None
        if before is not None and before.first + timedelta(offset) < before.end:
            that = totals.get(before.first + timedelta(offset))
        total = totals.get(day)
        days.append(
            DayUse(
                day=day,
                usage_wh=total.usage_wh if total else None,
                before_wh=that.usage_wh if that else None,
                estimated=bool(total and total.estimated_wh),
                estimated_hours=total.estimated_hours if total else (),
            )
        )
    known = [day for day in days if day.usage_wh is not None]
    same = [day.before_wh for day in days[: len(known)] if day.before_wh is not None]
    if before is not None and not period.open:
        # Two whole periods are compared as they are, whatever their lengths.
        whole = [
            total.usage_wh for day, total in totals.items() if before.first <= day < before.end
        ]
        complete = len(whole) == (before.end - before.first).days
        compared = sum(whole) if complete else None
    else:
        compared = sum(same) if known and len(same) == len(known) else None
    return PeriodUse(
        period=period,
        days=days,
        known_days=len(known),
        last_known=known[-1].day if known else None,
        usage_wh=sum(day.usage_wh or 0 for day in known),
        estimated_wh=sum(totals[day.day].estimated_wh for day in known),
        before=before,
        before_same_wh=compared,
    )


class HourlyUse(msgspec.Struct, frozen=True, kw_only=True):
    """
    The average Wh of each hour of the day within a period.

    An estimate says nothing about when energy was used, so ``left_out`` days with estimated hours are not counted;
    where all days have some they are, and ``estimated`` says so.
    """

    average_wh: tuple[float, ...]
    left_out: int = 0
    estimated: bool = False


def hourly_use(usage: list[UsageBody], period: UsePeriod) -> HourlyUse | None:
    """
    Return the use by hour of the day within a period; None without hourly readings.

    Days that the clock change made shorter or longer are left out: their hours have no counterpart on other days.
    """
    days: dict[date, list[UsageDay]] = defaultdict(list)
    for month in usage:
        for day in month.days:
            if period.first <= day.day < period.end:
                days[day.day].append(day)
    whole = [
        [day.all_hours for day in meters]
        for meters in days.values()
        if all(len(day.hours) == HOURS_A_DAY and None not in day.all_hours for day in meters)
    ]
    measured = [
        [day.hours for day in meters]
        for meters in days.values()
        if all(len(day.hours) == HOURS_A_DAY and None not in day.hours for day in meters)
    ]
    counted = measured or whole
    sums = [
        sum(meter[hour] or 0 for meters in counted for meter in meters)
        for hour in range(HOURS_A_DAY)
    ]
    if not any(sums):
        return None
    return HourlyUse(
        average_wh=tuple(total / len(counted) for total in sums),
        left_out=len(whole) - len(counted),
        estimated=not measured,
    )
